//! Running this machine's own tools: what they said is the evidence where they fail.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place of the lab that makes commands of other programs"
)]

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::model::outcome::Failure;

/// Lines of a program's output that are shown as evidence.
const EVIDENCE_LINES: usize = 12;

/// Where this machine's own programs are, also for a root shell that has not `/sbin` in its path.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command of this machine in a plain environment: fixed locale, no input; variables of proxies are kept.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    for (name, value) in std::env::vars_os() {
        if name.to_string_lossy().to_lowercase().ends_with("_proxy") {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end and gives its standard output.
///
/// # Errors
/// Where it cannot be started or ends with another status than 0, with the end of what it said.
pub fn run(program: &str, args: &[&str]) -> Result<String, Failure> {
    let output = command(program)
        .args(args)
        .output()
        .map_err(|error| cannot_start(program, &error))?;
    checked(&shown(program, args), &output)
}

/// The same with something to read on standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(program: &str, args: &[&str], input: &str) -> Result<String, Failure> {
    let mut child = command(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(program, &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read to the end tells why by its own status.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child
        .wait_with_output()
        .map_err(|error| cannot_start(program, &error))?;
    checked(&shown(program, args), &output)
}

/// Becomes another program, which has this one's streams; comes back only where that fails.
pub fn become_program(program: &str, args: &[String]) -> Failure {
    // With the whole environment: it is the user's own program now (terminal, locale).
    let error = Command::new(program).args(args).exec();
    cannot_start(program, &error)
}

/// Whether a program can be found.
pub fn exists(program: &str) -> bool {
    PATH.split(':')
        .any(|folder| Path::new(folder).join(program).is_file())
}

/// A program could not be started.
pub fn cannot_start(program: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot start {program}: {error}"))
}

fn shown(program: &str, args: &[&str]) -> String {
    let words = std::iter::once(program).chain(args.iter().copied());
    crate::model::shell::quote_all(words)
}

fn checked(shown: &str, output: &Output) -> Result<String, Failure> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut failure = Failure::new(format!("`{shown}` failed: {}", output.status));
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    for line in tail(&String::from_utf8_lossy(&said), EVIDENCE_LINES) {
        failure = failure.evidence(line);
    }
    Err(failure)
}

/// The last lines of a text that are not empty.
pub fn tail(text: &str, lines: usize) -> Vec<&str> {
    let all: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let from = all.len().saturating_sub(lines);
    all.into_iter().skip(from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_what_it_said() {
        let failure = run("sh", &["-c", "echo one; echo two >&2; exit 3"]).unwrap_err();
        assert_eq!(
            failure.message,
            "`sh -c 'echo one; echo two >&2; exit 3'` failed: exit status: 3"
        );
        assert_eq!(failure.evidence, ["one", "two"]);
    }

    #[test]
    fn the_end_of_a_long_output_is_kept() {
        assert_eq!(tail("a\n\nb\nc\n", 2), ["b", "c"]);
        assert!(tail("", 2).is_empty());
    }

    #[test]
    fn input_is_read_to_its_end() {
        assert_eq!(run_with_input("cat", &[], "x\ny\n").unwrap(), "x\ny\n");
    }
}
