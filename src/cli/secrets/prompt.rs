//! Passphrases and values that somebody types: at the terminal without echo, else through pinentry on a desktop or
//! systemd-ask-password at boot, else not at all.

#![expect(
    clippy::disallowed_methods,
    reason = "opens the terminal, and starts the programs that ask where there is none"
)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::cli::environment::Environment;
use crate::cli::secrets::typed;
use crate::model::outcome::Failure;
use crate::secrets::identity::Ask;

/// Seconds that somebody at a console has to answer.
const PATIENCE: u32 = 90;

/// Asks whoever is there.
#[derive(Clone)]
pub struct Asking {
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    Terminal,
    Pinentry,
    Systemd,
    Nobody,
}

impl Asking {
    /// Finds out who is there.
    pub fn new(env: &dyn Environment) -> Self {
        let desktop = env.flag("DISPLAY") || env.flag("WAYLAND_DISPLAY");
        let path = env.var("PATH").unwrap_or_default();
        let installed =
            |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
        // An agent answers only where systemd runs, and only root may ask it.
        let booted =
            Path::new("/run/systemd/system").is_dir() && rustix::process::geteuid().is_root();
        let way = if has_terminal() {
            Way::Terminal
        } else if desktop && installed("pinentry") {
            Way::Pinentry
        } else if booted && installed("systemd-ask-password") {
            Way::Systemd
        } else {
            Way::Nobody
        };
        Self { way }
    }

    /// Nobody, whoever is there: for what runs inside of something else.
    pub fn nobody() -> Self {
        Self { way: Way::Nobody }
    }
}

impl Ask for Asking {
    fn passphrase(&mut self, of: &str, again: bool) -> Result<SecretString, Failure> {
        let prompt = if again {
            format!("That was not it. Passphrase of {of}: ")
        } else {
            format!("Passphrase of {of}: ")
        };
        let answer = match self.way {
            Way::Terminal => hidden(&prompt)?,
            Way::Pinentry => pinentry(&prompt)?,
            Way::Systemd => systemd(&prompt)?,
            Way::Nobody => {
                return Err(Failure::new(format!("{of} has a passphrase, and nobody can be asked for it"))
                    .hint("run this at a terminal, or name an identity without a passphrase (a service: LoadCredential=hmco-boot-identity:FILE)"));
            }
        };
        Ok(SecretString::from(answer.to_string()))
    }
}

/// Whether somebody can be asked at a terminal, whatever the standard streams are.
pub fn has_terminal() -> bool {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .is_ok()
}

/// Asks at the terminal, without echo.
pub fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    /// One question at a time: identities are asked for while connections are made, which may ask for keys.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    typed::line(prompt).map_err(|error| {
        Failure::new("there is no answer at the terminal")
            .evidence(error.to_string())
            .hint("run it at a terminal, or give what is asked for on standard input")
    })
}

/// By the Assuan protocol, on pipes: the answer is in no argument and no environment.
fn pinentry(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |what: String| {
        Failure::new("pinentry gives no passphrase")
            .evidence(what)
            .hint("run this at a terminal, or name an identity without a passphrase")
    };
    let mut child = Command::new("pinentry")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let description = escaped(prompt);
    let talk =
        format!("SETTITLE hmco-boot\nSETDESC {description}\nSETPROMPT Passphrase:\nGETPIN\nBYE\n");
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(talk.as_bytes()));
    if let Some(Err(error)) = written {
        child.kill().ok();
        child.wait().ok();
        return Err(failed(error.to_string()));
    }
    let answer = child
        .stdout
        .take()
        .map(|stdout| said(BufReader::new(stdout)));
    child.wait().map_err(|error| failed(error.to_string()))?;
    match answer {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(what)) => Err(failed(what)),
        None => Err(failed("it has no output".into())),
    }
}

/// The data line of pinentry's answer.
fn said(output: impl BufRead) -> Result<Zeroizing<String>, String> {
    for line in output.lines() {
        let line = Zeroizing::new(line.map_err(|error| error.to_string())?);
        if let Some(data) = line.strip_prefix("D ") {
            return unescaped(data).ok_or_else(|| "its answer is not text".to_owned());
        }
        if let Some(error) = line.strip_prefix("ERR ") {
            return Err(error.to_owned());
        }
    }
    Err("it was closed without an answer".to_owned())
}

/// Percent signs and line ends, as the protocol wants them.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn unescaped(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

fn systemd(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |what: String| {
        Failure::new("systemd-ask-password gives no passphrase")
            .evidence(what)
            .hint("answer with systemd-tty-ask-password-agent, or give the service an identity: LoadCredential=hmco-boot-identity:FILE")
    };
    let output = Command::new("systemd-ask-password")
        .args(["--no-tty", "--id=hmco-boot:identity"])
        .arg(format!("--timeout={PATIENCE}"))
        .arg(prompt.trim_end())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let answer = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    let text = std::str::from_utf8(&answer).map_err(|_| failed("its answer is not text".into()))?;
    Ok(Zeroizing::new(text.trim_end_matches('\n').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_pinentry_is_its_data_line_unescaped() {
        let answer =
            said(&b"OK Pleased to meet you\nOK\nOK\nOK\nD a%25b%0Ac%c3%a4\nOK\n"[..]).unwrap();
        assert_eq!(*answer, "a%b\ncä");
        let refused = said(&b"OK\nERR 83886179 Operation cancelled <Pinentry>\n"[..]).unwrap_err();
        assert!(refused.contains("cancelled"));
        assert!(said(&b"OK\n"[..]).is_err());
        assert_eq!(escaped("50 %\nof it"), "50 %25%0Aof it");
        assert!(unescaped("a%2").is_none() && unescaped("%zz").is_none());
    }
}
