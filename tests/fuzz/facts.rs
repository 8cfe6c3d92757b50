//! Fuzzing of the parser of facts: real output of the script, mutated, truncated, reordered. It must never panic, always
//! give one answer per fact, and never pass bytes that are not the file's. HMCO_FUZZ_CASES lengthens it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test starts shells, makes trees, and may fail loudly"
)]

use std::fs;
use std::time::Duration;

use hmco_boot::facts::digest_cache::DigestCache;
use hmco_boot::facts::fact::{Fact, FactValue};
use hmco_boot::facts::frame::{Delimiter, Frame, Splitter};
use hmco_boot::facts::parse::answers;
use hmco_boot::model::units::TimeSpan;
use sha2::{Digest as _, Sha256};

#[path = "../support/shells.rs"]
#[expect(dead_code, reason = "the other test file uses the rest")]
mod shells;
#[path = "../support/skip.rs"]
mod skip;
use shells::{Machine, path, run, shells};

/// xorshift64*: the same cases every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Files of the tree, and a fact of every type.
#[expect(clippy::too_many_lines, reason = "one list")]
fn questions(files: &[(&str, Vec<u8>)]) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, bytes) in files {
        let path = path(name);
        facts.push(Fact::Stat { path: path.clone() });
        facts.push(Fact::Digest {
            path: path.clone(),
            uncached: false,
        });
        for unless_sha256 in [None, Some(sha256(bytes)), Some(sha256(b"other"))] {
            facts.push(Fact::Content {
                path: path.clone(),
                unless_sha256,
                cap: 2000,
                sensitive: false,
            });
        }
    }
    let name = |text: &str| text.to_owned();
    let timeout = TimeSpan(Duration::from_secs(5));
    facts.extend([
        Fact::Stat {
            path: path("/none"),
        },
        Fact::Os,
        Fact::Boot,
        Fact::Cgroup,
        Fact::Sysctl {
            name: name("net.ipv4.ip_forward"),
        },
        Fact::Module { name: name("loop") },
        Fact::Package { name: name("bash") },
        Fact::PackageManager,
        Fact::Account { name: name("root") },
        Fact::Sudo,
        Fact::Unit {
            name: name("ssh.service"),
        },
        Fact::Disk { path: path("/x") },
        Fact::Clock,
        Fact::Net,
        Fact::Exec {
            argv: vec![name("echo"), name("hello")],
            timeout,
            sensitive: false,
        },
        Fact::RunState,
        Fact::Mounts,
        Fact::Swaps,
        Fact::SysctlFiles,
        Fact::K3sInstall,
        Fact::K3sData,
        Fact::Readiness,
        Fact::ClockOffset,
        Fact::Login,
        Fact::K3sCli {
            args: vec![name("version")],
            timeout,
        },
        Fact::Log {
            unit: name("ssh.service"),
            lines: 3,
        },
    ]);
    facts
}

/// One to four small injuries.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, delimiter: &Delimiter) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let end = at + random.below((bytes.len() - at).min(300));
        match random.below(7) {
            0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, part));
            }
            4 => bytes[at] ^= 1 << random.below(8),
            5 => {
                let mark = format!("\n{} > {}\n", delimiter.as_str(), random.below(3));
                drop(bytes.splice(at..at, mark.into_bytes()));
            }
            _ => {
                // Two lines change places.
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                let mut lines: Vec<Vec<u8>> = lines.into_iter().map(<[u8]>::to_vec).collect();
                lines.swap(one, other);
                *bytes = lines.join(&b'\n');
            }
        }
    }
}

fn frames_of(bytes: &[u8], delimiter: &Delimiter) -> Vec<Frame> {
    let mut splitter = Splitter::new(delimiter);
    let mut frames = splitter.push(bytes);
    frames.extend(splitter.finish());
    frames
}

/// The promises that hold whatever came back.
fn check(facts: &[Fact], files: &[(&str, Vec<u8>)], frames: &[Frame], case: u64) {
    let given = answers(facts, frames, &mut DigestCache::default());
    assert_eq!(given.len(), facts.len(), "case {case}");
    for ((answered, answer), asked) in given.iter().zip(facts) {
        assert_eq!(answered, asked, "case {case}");
        let (
            Fact::Content {
                path,
                unless_sha256,
                ..
            },
            Ok(FactValue::Content(content)),
        ) = (asked, answer)
        else {
            continue;
        };
        let (_, bytes) = files
            .iter()
            .find(|(name, _)| *name == path.as_str())
            .unwrap();
        assert_eq!(content.sha256, sha256(bytes), "case {case}: {path}");
        match &content.bytes {
            Some(found) => assert_eq!(found, bytes, "case {case}: {path}"),
            None => assert_eq!(unless_sha256.as_ref(), Some(&content.sha256), "case {case}"),
        }
    }
}

#[test]
fn injured_output_never_panics_and_never_gives_wrong_bytes() {
    let tree = tempfile::tempdir().unwrap();
    let files = [
        ("/text", b"hello\nworld\n".repeat(20)),
        ("/nul \\ x", b"a\0b\n\n".to_vec()),
        ("/empty", Vec::new()),
        ("/marks", b"\n0 > 0\n< facts-content 0\n".to_vec()),
    ];
    for (name, bytes) in &files {
        fs::write(tree.path().join(&name[1..]), bytes).unwrap();
    }
    let facts = questions(&files);
    let machine = Machine::new(tree.path());
    let cases: u64 = std::env::var("HMCO_FUZZ_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    for shell in shells() {
        let (text, delimiter) = machine.text_of(&facts);
        let real = run(&shell, &[], &text);
        let frames = frames_of(&real, &delimiter);
        check(&facts, &files, &frames, 0);
        let given = answers(&facts, &frames, &mut DigestCache::default());
        let good = given.iter().filter(|(_, answer)| answer.is_ok()).count();
        assert!(
            good > facts.len() - 8,
            "{}: the real output must be answered: {given:?}",
            shell.name
        );
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for case in 1..=cases {
            let mut bytes = real.clone();
            mutate(&mut random, &mut bytes, &delimiter);
            let mut frames = frames_of(&bytes, &delimiter);
            if random.below(3) == 0 && !frames.is_empty() {
                let count = frames.len();
                let (one, other) = (random.below(count), random.below(count));
                frames.swap(one, other);
            }
            check(&facts, &files, &frames, case);
        }
    }
}
