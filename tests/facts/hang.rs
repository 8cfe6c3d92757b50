//! Watchdogs: what hangs costs its own batch.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hmco_boot::facts::fact::{Fact, FactError, FactValue};
use hmco_boot::model::units::TimeSpan;

use crate::shells::{Machine, Shell, path, shells};

fn exec(argv: &[&str], seconds: u64) -> Fact {
    Fact::Exec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        timeout: TimeSpan(Duration::from_secs(seconds)),
        sensitive: false,
    }
}

/// With all shells at once: these cases wait for watchdogs.
fn each(case: impl Fn(&Shell) + Sync) {
    let shells = shells();
    let case = &case;
    std::thread::scope(|scope| {
        for shell in &shells {
            scope.spawn(move || case(shell));
        }
    });
}

/// Waits until no process has this text in its command line: killed ones take a moment to go.
fn await_end_of(text: &str) {
    let start = Instant::now();
    let there = || {
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
            .any(|cmdline| String::from_utf8_lossy(&cmdline).contains(text))
    };
    while there() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "left over: {text}"
        );
    }
}

#[test]
fn a_hanging_program_is_ended_with_its_children_and_the_other_facts_are_answered() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), "a").unwrap();
    each(|shell| {
        let mut machine = Machine::new(tree.path());
        let file = tree.path().join(shell.name.replace(' ', "_"));
        fs::write(&file, "a").unwrap();
        let file = file.to_str().unwrap().to_owned();
        let forks = format!("tail -f {file} & tail -f {file}; :");
        let facts = [
            exec(&["sh", "-c", &forks], 1),
            Fact::Stat { path: path("/a") },
            exec(&["tail", "-f", "/dev/null"], 1),
            exec(&["echo", "fine"], 5),
        ];
        let start = Instant::now();
        let given = machine.read(shell, &facts);
        let took = start.elapsed();
        assert_eq!(given[0].1, Err(FactError::TimedOut), "{}", shell.name);
        assert!(matches!(given[1].1, Ok(FactValue::Stat(_))));
        assert_eq!(given[2].1, Err(FactError::TimedOut), "{}", shell.name);
        assert!(matches!(&given[3].1, Ok(FactValue::Exec(r)) if r.stdout == b"fine\n"));
        assert!(took < Duration::from_secs(10), "{}: {took:?}", shell.name);
        await_end_of(&file);
    });
}

#[test]
fn a_hanging_tool_costs_only_the_facts_of_its_batch() {
    let tree = tempfile::tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    fs::write(at("a"), "a").unwrap();
    fs::write(at("b"), "b").unwrap();
    each(|shell| {
        let mut machine = Machine::new(tree.path());
        machine.batch_seconds = 1;
        let facts = [
            Fact::Digest {
                path: path("/a"),
                uncached: false,
            },
            Fact::Content {
                path: path("/b"),
                unless_sha256: None,
                cap: 10,
                sensitive: false,
            },
            Fact::Stat { path: path("/a") },
            Fact::Boot,
        ];
        // As if the file had become a FIFO after it was looked at, and nobody writes.
        let (text, delimiter) = machine.text_of(&facts);
        let fifo = at(&format!("fifo of {}", shell.name));
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let text = text.replace("sha256sum", &format!("sha256sum '{}'", fifo.display()));
        let out = crate::shells::run(shell, &[], &text);
        let given = machine.parse(&facts, &out, &delimiter);
        assert_eq!(given[0].1, Err(FactError::TimedOut), "{}", shell.name);
        assert_eq!(given[1].1, Err(FactError::TimedOut), "{}", shell.name);
        assert!(
            matches!(given[2].1, Ok(FactValue::Stat(_))),
            "{}",
            shell.name
        );
        assert!(
            matches!(given[3].1, Ok(FactValue::Boot(_))),
            "{}",
            shell.name
        );
        await_end_of(&format!("{}\0", fifo.display()));
    });
}

#[test]
fn hashing_that_goes_on_is_not_taken_for_hanging() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("a"), "a").unwrap();
    each(|shell| {
        let mut machine = Machine::new(tree.path());
        machine.batch_seconds = 1;
        let fact = Fact::Digest {
            path: path("/a"),
            uncached: false,
        };
        let (text, delimiter) = machine.text_of(std::slice::from_ref(&fact));
        // Reading goes on for longer than the limit, by the clock of the shell's own uptime.
        let slow = "slow() {\nunset IFS\nread -r u v </proc/uptime\nt=${u%.*}\nwhile read -r u v </proc/uptime && \
                    [ \"${u%.*}\" -lt $((t+4)) ]; do head -c 1000000 /dev/zero >/dev/null; done\n\
                    sha256sum \"$@\"\n}\ndigests() {\n";
        let text = text
            .replace("o=$(sha256sum ", "o=$(slow ")
            .replace("digests() {\n", slow);
        assert!(text.contains("o=$(slow "));
        let out = crate::shells::run(shell, &[], &text);
        let given = machine.parse(&[fact], &out, &delimiter);
        assert!(given[0].1.is_ok(), "{}: {:?}", shell.name, given[0].1);
    });
}

#[test]
fn programs_answer_status_and_both_outputs_within_their_caps() {
    let tree = tempfile::tempdir().unwrap();
    each(|shell| {
        let mut machine = Machine::new(tree.path());
        let facts = [
            exec(
                &["sh", "-c", r"printf 'a\000b\n\n'; printf 'e\n' >&2; exit 3"],
                5,
            ),
            exec(&["sh", "-c", "kill -TERM $$"], 5),
            exec(&["no-such-program"], 5),
            exec(&["/etc/passwd"], 5),
            exec(&["head", "-c", "1048576", "/dev/zero"], 5),
            exec(&["cat", "/dev/zero"], 5),
            exec(
                &[
                    "sh",
                    "-c",
                    "head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2",
                ],
                5,
            ),
            exec(&["cat"], 5),
            exec(
                &["printf", "%s|", "a b", "$x", "'q'", "*", "new\nline", ""],
                5,
            ),
            exec(&[], 5),
            exec(&["nul\0"], 5),
        ];
        let given = machine.read(shell, &facts);
        let result = |n: usize| match &given[n].1 {
            Ok(FactValue::Exec(result)) => result.clone(),
            other => panic!("{}: {n}: {other:?}", shell.name),
        };
        assert_eq!(result(0).exit, 3, "{}", shell.name);
        assert_eq!(result(0).stdout, b"a\0b\n\n");
        assert_eq!(result(0).stderr, b"e\n");
        assert_eq!(result(1).exit, 128 + 15, "{}", shell.name);
        assert_eq!(given[2].1, Err(FactError::NotFound), "{}", shell.name);
        assert_eq!(given[3].1, Err(FactError::Denied), "{}", shell.name);
        assert_eq!(result(4).stdout.len(), 1 << 20);
        assert_eq!(given[5].1, Err(FactError::Truncated), "{}", shell.name);
        assert_eq!(result(6).stderr.len(), 64 << 10);
        assert!(result(6).stderr.ends_with(b"xend\n"));
        assert_eq!((result(7).exit, result(7).stdout.len()), (0, 0));
        assert_eq!(result(8).stdout, b"a b|$x|'q'|*|new\nline||");
        assert!(matches!(given[9].1, Err(FactError::Failed(_))));
        assert!(matches!(given[10].1, Err(FactError::Failed(_))));
    });
}
