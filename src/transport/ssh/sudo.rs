//! Becoming root: the command that is sent, what goes in front of its input, and what sudo's complaints mean.
//!
//! `sudo -S` reads a password from standard input, but only where it wants one: with a cached ticket or `NOPASSWD` the line
//! is left for the program. So the program throws away lines up to one that holds a nonce, and the script begins after that.
//! sudo would also go on reading (and send script lines to PAM as passwords) after a wrong one; so until a password has
//! proven right on a machine, nothing but the password is sent before the program said that it runs.

use zeroize::Zeroizing;

use super::route::Password;
use crate::model::outcome::Failure;
use crate::model::shell::{quote, quote_all};
use crate::transport::shell::LOADER;

/// How to become root.
#[derive(Clone, Debug)]
pub enum Sudo {
    /// The login is root's, or root is not needed.
    None,
    /// By sudo, which asks nothing.
    Passwordless,
    /// By sudo, with the user's password.
    Password(Password),
}

/// The words of one execution.
pub(super) struct Words {
    /// The command, for the login shell of the user, whichever that is: single quotes without backslashes inside mean
    /// the same to POSIX shells, bash, fish and csh.
    pub command: String,
    /// With sudo: what is watched for and what is sent.
    pub gate: Option<Gate>,
}

/// What stands between sudo and the script.
#[derive(Clone)]
pub(super) struct Gate {
    /// What sudo says when it wants a password, on standard error.
    pub prompt: String,
    /// What the program says when it runs, a line on standard error.
    pub began: String,
    /// The line after which the script begins.
    pub nonce: String,
}

/// Makes the words. `nonce` is hexadecimal and known to nobody else.
pub(super) fn words(program: &[String], sudo: &Sudo, nonce: &str) -> Words {
    let program = quote_all(program.iter().map(String::as_str));
    if matches!(sudo, Sudo::None) {
        return Words {
            command: format!("exec {program} -c {}", quote(LOADER)),
            gate: None,
        };
    }
    let gate = Gate {
        prompt: format!("password-{nonce}:"),
        began: format!("began-{nonce}"),
        nonce: nonce.to_owned(),
    };
    let how = match sudo {
        Sudo::Password(_) => format!("-S -p {}", quote(&gate.prompt)),
        Sudo::None | Sudo::Passwordless => "-n".to_owned(),
    };
    // The variable is unset first: one that came exported would hand the password to every program.
    let text = format!(
        "unset l;echo \"began-$1\">&2;while :;do IFS= read -r l||exit 97;case $l in \"$1\")break;;esac;done;\
         unset l;shift;{LOADER}"
    );
    let command = format!(
        "exec env LC_ALL=C sudo {how} -- {program} -c {} sh {nonce}",
        quote(&text)
    );
    Words {
        command,
        gate: Some(gate),
    }
}

/// The password's line.
pub(super) fn password_line(password: &Password) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(password.expose().len() + 1));
    line.extend_from_slice(password.expose().as_bytes());
    line.push(b'\n');
    line
}

/// What became of sudo, by what it said on standard error.
pub(super) struct Talk<'a> {
    /// What it said, without prompts.
    pub text: &'a str,
    /// How often it asked for the password.
    pub prompts: usize,
    /// Exit status, where it is known.
    pub exit: Option<i32>,
}

/// Why sudo did not start the program.
pub(super) fn trouble(talk: &Talk<'_>, sudo: &Sudo, machine: &str, user: &str) -> Failure {
    let says = |words: &str| talk.text.contains(words);
    let failure = if talk.prompts > 1 || says("incorrect password") || says("Sorry, try again") {
        Failure::new(format!(
            "sudo on {machine} does not take the password of {user}; it is not tried again"
        ))
        .hint("correct the secret that `become_password` names (or what was typed), then run again")
    } else if says("have a tty") {
        Failure::new(format!("sudo on {machine} wants a terminal")).hint(format!(
            "on {machine}, by visudo: `Defaults:{user} !requiretty`"
        ))
    } else if says("not in the sudoers")
        || says("not allowed to")
        || says("may not run")
        || says("is not permitted")
    {
        Failure::new(format!("{user} may not use sudo on {machine}")).hint(format!(
            "as root on {machine}: `adduser {user} sudo`, or a rule for {user} by visudo"
        ))
    } else if says("password is required") || says("a terminal is required") {
        match sudo {
            Sudo::Password(_) => Failure::new(format!("sudo on {machine} took no password")),
            Sudo::None | Sudo::Passwordless => Failure::new(format!(
                "sudo on {machine} wants a password of {user}, and none is given"
            )),
        }
        .hint(format!(
            "give one with `--ask-become-pass` or `become_password`, or allow {user} `NOPASSWD: ALL` by visudo"
        ))
    } else if says("password") && (says("expired") || says("change your password")) {
        Failure::new(format!(
            "the password or account of {user} on {machine} has expired"
        ))
        .hint(format!("log in to {machine} as {user} and set a new one"))
    } else if talk.exit == Some(127) || says("sudo: not found") || says("'sudo': No such file") {
        Failure::new(format!("there is no sudo on {machine}"))
            .hint("install it there, or log in as root with `become = \"none\"`")
    } else {
        Failure::new(format!("sudo on {machine} does not start a shell")).hint(format!(
            "log in to {machine} as {user} and see what `sudo true` says"
        ))
    };
    let mut failure = failure;
    failure.evidence = talk
        .text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Vec<String> {
        vec!["sh".to_owned()]
    }

    fn secret() -> Sudo {
        Sudo::Password(Password::new("hunter2".to_owned()))
    }

    #[test]
    fn a_command_is_constant_but_for_the_nonce_and_never_holds_the_password() {
        for sudo in [Sudo::None, Sudo::Passwordless, secret()] {
            let one = words(&shell(), &sudo, "aa11").command;
            let two = words(&shell(), &sudo, "bb22").command;
            assert_eq!(one.replace("aa11", "bb22"), two);
            assert!(!one.contains("hunter2"));
        }
        assert!(!format!("{:?}", secret()).contains("hunter2"));
    }

    #[test]
    fn a_command_means_the_same_to_every_login_shell() {
        for sudo in [Sudo::None, Sudo::Passwordless, secret()] {
            let command = words(&shell(), &sudo, "aa11").command;
            // fish reads backslashes inside single quotes, csh history marks and newlines.
            let outside = command.replace(r"'\''", "");
            assert!(!outside.contains('\\'), "{command}");
            assert!(!command.contains(['!', '\n', '`']), "{command}");
        }
    }

    fn said(text: &str, exit: i32, prompts: usize, sudo: &Sudo) -> String {
        let talk = Talk {
            text,
            prompts,
            exit: Some(exit),
        };
        let failure = trouble(&talk, sudo, "pi5-01", "pi");
        assert!(failure.hint.is_some());
        failure.message
    }

    #[test]
    fn each_complaint_of_sudo_has_its_cure() {
        let plain = Sudo::Passwordless;
        let cases = [
            ("", 1, 2, &secret(), "does not take the password"),
            (
                "sudo: 1 incorrect password attempt",
                1,
                1,
                &secret(),
                "does not take",
            ),
            (
                "sudo: a password is required",
                1,
                0,
                &plain,
                "none is given",
            ),
            (
                "sudo: sorry, you must have a tty to run sudo",
                1,
                0,
                &plain,
                "wants a terminal",
            ),
            (
                "pi is not in the sudoers file.",
                1,
                1,
                &secret(),
                "may not use sudo",
            ),
            (
                "Sorry, user pi is not allowed to execute '/bin/sh' as root on pi5-01.",
                1,
                1,
                &secret(),
                "may not use sudo",
            ),
            (
                "env: 'sudo': No such file or directory",
                127,
                0,
                &plain,
                "no sudo",
            ),
            ("something new", 1, 0, &plain, "does not start a shell"),
        ];
        for (text, exit, prompts, sudo, message) in cases {
            let told = said(text, exit, prompts, sudo);
            assert!(told.contains(message), "{text}: {told}");
        }
    }
}
