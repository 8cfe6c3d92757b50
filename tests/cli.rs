//! Conversations with the real command. One file of `tests/cli/` is one conversation: files that are there before, and
//! commands with what they are told, how they exit and what they say, in a folder and a home of their own.
//!
//! `HMCO_BLESS=1 cargo test --test cli` writes what the commands said into the files; read the difference before it is
//! committed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests start the real command and read its files"
)]

#[path = "support/redact.rs"]
mod redact;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hmco_boot::journal::local_lock::{LockHolder, LockMode};
use hmco_boot::journal::state_dir::StateDir;
use redact::Redactor;
use serde::Deserialize;

/// A conversation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    /// Files that are there before, by path.
    #[serde(default)]
    files: BTreeMap<String, String>,
    command: Vec<Spoken>,
}

/// One command and its answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spoken {
    args: Vec<String>,
    /// Folder below the conversation's.
    #[serde(default)]
    cwd: String,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Only these lines of standard output, by their beginnings: for long answers that are looked at elsewhere.
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    /// Files that are there afterwards.
    #[serde(default)]
    made: Vec<String>,
}

/// What a command said.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    exit: i32,
    stdout: String,
    stderr: String,
}

fn tests_cli() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli")
}

/// The command with a home and a state folder of its own, so that no test meets the user's.
fn command(folder: &Path, cwd: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hmco-boot"));
    command
        .current_dir(cwd)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder.join("home"))
        .env("XDG_STATE_HOME", folder.join("home/state"))
        .env("TZ", "UTC");
    command
}

fn speak(spoken: &Spoken, folder: &Path) -> Said {
    let mut child = command(folder, &folder.join("work").join(&spoken.cwd))
        .args(&spoken.args)
        .envs(&spoken.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Small enough for the pipe; a command that does not read it closes it, which is no failure.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(spoken.stdin.as_bytes())
        .ok();
    let output = child.wait_with_output().unwrap();
    let redactor = Redactor::new(&folder.join("work"));
    let text = |bytes: Vec<u8>| redactor.apply(&String::from_utf8(bytes).unwrap());
    let mut stdout = text(output.stdout);
    if !spoken.only.is_empty() {
        let wanted = |line: &&str| spoken.only.iter().any(|start| line.starts_with(start));
        stdout = stdout
            .lines()
            .filter(wanted)
            .map(|line| format!("{line}\n"))
            .collect();
    }
    Said {
        exit: output.status.code().unwrap(),
        stdout,
        stderr: text(output.stderr),
    }
}

/// Holds one conversation; the differences, or the file with them taken over.
fn hold(file: &Path, bless: bool) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let conversation: Conversation =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().canonicalize().unwrap();
    fs::create_dir(folder.join("work")).unwrap();
    for (path, content) in &conversation.files {
        let path = folder.join("work").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut document: toml_edit::DocumentMut = text.parse().unwrap();
    let mut wrong = Vec::new();
    for (index, spoken) in conversation.command.iter().enumerate() {
        let said = speak(spoken, &folder);
        let wanted = Said {
            exit: spoken.exit,
            stdout: spoken.stdout.clone(),
            stderr: spoken.stderr.clone(),
        };
        if said != wanted {
            wrong.push(format!(
                "{}: hmco-boot {}\n--- expected: exit {}\n{}{}--- said: exit {}\n{}{}",
                file.display(),
                spoken.args.join(" "),
                wanted.exit,
                wanted.stdout,
                wanted.stderr,
                said.exit,
                said.stdout,
                said.stderr,
            ));
        }
        for path in &spoken.made {
            if !folder.join("work").join(path).is_file() {
                wrong.push(format!("{}: {path} is not there", file.display()));
            }
        }
        let table = &mut document["command"][index];
        table["exit"] = toml_edit::value(i64::from(said.exit));
        for (key, text) in [("stdout", said.stdout), ("stderr", said.stderr)] {
            if text.is_empty() {
                table.as_table_mut().unwrap().remove(key);
            } else {
                table[key] = toml_edit::value(text);
            }
        }
    }
    if bless && !wrong.is_empty() {
        fs::write(file, document.to_string()).unwrap();
    }
    wrong
}

#[test]
fn conversations_go_as_written() {
    let bless = std::env::var_os("HMCO_BLESS").is_some();
    let mut files: Vec<PathBuf> = fs::read_dir(tests_cli())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let wrong: Vec<String> = files.iter().flat_map(|file| hold(file, bless)).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// A folder with `work` in it for commands that no conversation file can express.
fn workplace() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let work = temporary.path().join("work");
    fs::create_dir(&work).unwrap();
    (temporary, work)
}

#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let (temporary, work) = workplace();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(temporary.path(), &work)
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn an_answer_by_exit_code_does_not_depend_on_the_reader() {
    let (temporary, work) = workplace();
    assert!(
        command(temporary.path(), &work)
            .arg("init")
            .status()
            .unwrap()
            .success()
    );
    let exit = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command(temporary.path(), &work)
            .args(args)
            .stdout(writer)
            .status();
        status.unwrap().code()
    };
    assert_eq!(exit(&["plan", "hello", "--exit-code"]), Some(4));
    fs::write(work.join("playbooks/wrong.toml"), "titel = 1").unwrap();
    assert_eq!(exit(&["check", "--output", "json"]), Some(2));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let (temporary, work) = workplace();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(temporary.path(), &work)
        .args(["completions", "bash"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("error: cannot write to standard output\n"),
        "{stderr}"
    );
}

#[test]
fn a_playbook_that_comes_with_it_can_be_ejected_once() {
    let (temporary, work) = workplace();
    let hmco_boot = |args: &[&str]| {
        command(temporary.path(), &work)
            .args(args)
            .output()
            .unwrap()
    };
    let shipped: Vec<String> = String::from_utf8(hmco_boot(&["playbooks", "list"]).stdout)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect();
    let outside = hmco_boot(&["playbooks", "eject", &shipped[0]]);
    assert_eq!(outside.status.code(), Some(2), "outside of a project");
    assert!(hmco_boot(&["init"]).status.success());
    for name in &shipped {
        let source = hmco_boot(&["playbooks", "show", "--source", name]).stdout;
        assert!(
            hmco_boot(&["playbooks", "eject", name]).status.success(),
            "{name}"
        );
        let file = work.join(format!("playbooks/{name}.toml"));
        assert_eq!(fs::read(&file).unwrap(), source, "{name}");
        let again = hmco_boot(&["playbooks", "eject", name]);
        assert_eq!(again.status.code(), Some(2), "{name} a second time");
    }
}

#[test]
fn a_lock_that_somebody_holds_is_not_unlocked_but_named() {
    let (temporary, work) = workplace();
    let hmco_boot = |args: &[&str]| {
        command(temporary.path(), &work)
            .args(args)
            .output()
            .unwrap()
    };
    assert!(hmco_boot(&["init", "--output", "json"]).status.success());
    let state = StateDir::open(&temporary.path().join("home/state/hmco-boot"), "work").unwrap();
    let holder = LockHolder {
        run: None,
        pid: std::process::id(),
        user: "somebody".to_owned(),
        host: "elsewhere".to_owned(),
        since_ms: 0,
        command: "run for ever".to_owned(),
    };
    let lock = state.lock(&holder, LockMode::Exclusive).unwrap();
    let refused = hmco_boot(&["runs", "unlock"]);
    assert_eq!(refused.status.code(), Some(5));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("run for ever") && said.contains("somebody"),
        "{said}"
    );
    drop(lock);
    assert_eq!(hmco_boot(&["runs", "unlock"]).status.code(), Some(0));
}

#[test]
fn every_command_has_a_manual_page() {
    let (temporary, work) = workplace();
    let output = command(temporary.path(), &work)
        .args(["man", "--dir", "pages"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let help = command(temporary.path(), &work)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 5, "{help}");
    for name in commands {
        let page = work.join(format!("pages/hmco-boot-{name}.1"));
        assert!(page.is_file(), "{}", page.display());
    }
}

#[test]
fn completions_exist_for_every_shell_and_know_the_commands() {
    let (temporary, work) = workplace();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = command(temporary.path(), &work)
            .args(["completions", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        for word in ["playbooks", "changed-plan", "--inventory"] {
            let word = if shell == "fish" {
                word.trim_start_matches('-')
            } else {
                word
            };
            assert!(
                script.contains(word),
                "{word} is not in the script for {shell}"
            );
        }
    }
}
