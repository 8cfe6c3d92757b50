//! Stat, Digest and Content on hostile trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use hmco_boot::facts::fact::{Fact, FactError, FactValue, FileKind, FileStat};
use sha2::{Digest as _, Sha256};

use crate::shells::{Machine, Shell, path, shells};

/// Names that tools and shells stumble over.
const NAMES: [&str; 16] = [
    "plain",
    "with blank",
    " edges ",
    "quote'and\"double",
    "$(touch pwned)",
    "`id`",
    "*",
    "[a-z]?",
    "-rf",
    "--help",
    "back\\slash",
    "tail\\",
    "\u{e9}\u{4e2d}\u{1f980}",
    "a -> b",
    "semi;amp&pipe|",
    "~",
];

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn stat(path_: &str) -> Fact {
    Fact::Stat { path: path(path_) }
}

fn digest(path_: &str) -> Fact {
    Fact::Digest {
        path: path(path_),
        uncached: false,
    }
}

fn content(path_: &str, unless: Option<&str>, cap: u64) -> Fact {
    Fact::Content {
        path: path(path_),
        unless_sha256: unless.map(str::to_owned),
        cap,
        sensitive: false,
    }
}

fn tree() -> tempfile::TempDir {
    let tree = tempfile::Builder::new()
        .prefix("ro'ot $x ")
        .tempdir()
        .unwrap();
    for name in NAMES {
        fs::write(tree.path().join(name), name.repeat(3)).unwrap();
    }
    let at = |name: &str| tree.path().join(name);
    fs::write(at("empty"), "").unwrap();
    fs::write(at("nul"), b"a\0b\n\n\0").unwrap();
    fs::write(at("marks"), b"\na5a5 > 0\n\n< facts-content 1\n").unwrap();
    fs::create_dir(at("folder")).unwrap();
    fs::set_permissions(at("folder"), fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("line\nbreak -> 'x' ; \\", at("link newline")).unwrap();
    symlink("ends\n\n", at("link ends")).unwrap();
    symlink(std::ffi::OsStr::from_bytes(b"\xff\xfe"), at("link bytes")).unwrap();
    symlink("plain", at("link plain")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    let made = Command::new("mkfifo").arg(at("fifo")).status().unwrap();
    assert!(made.success());
    symlink("fifo", at("link fifo")).unwrap();
    symlink("/dev/null", at("device")).unwrap();
    tree
}

/// What `std::fs` says, in the words of the contract.
fn oracle(path: &Path) -> Option<FileStat> {
    let found = fs::symlink_metadata(path).ok()?;
    let kind = match found.file_type() {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_symlink() => FileKind::Symlink,
        kind => {
            assert!(kind.is_fifo());
            FileKind::Special
        }
    };
    let name = |file: &str, id: u32| {
        let table = fs::read_to_string(file).unwrap();
        let line = table
            .lines()
            .find(|line| line.split(':').nth(2) == Some(&id.to_string()));
        line.and_then(|line| line.split(':').next())
            .map_or(id.to_string(), str::to_owned)
    };
    Some(FileStat {
        kind,
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        user: name("/etc/passwd", found.uid()),
        gid: found.gid(),
        group: name("/etc/group", found.gid()),
        size: found.size(),
        links: found.nlink(),
        identity: String::new(),
        link_target: (kind == FileKind::Symlink)
            .then(|| fs::read_link(path).unwrap().to_string_lossy().into_owned()),
    })
}

const OTHERS: [&str; 14] = [
    "empty",
    "nul",
    "marks",
    "folder",
    "link newline",
    "link ends",
    "link bytes",
    "link plain",
    "dangling",
    "loop",
    "fifo",
    "link fifo",
    "not there",
    "plain/below a file",
];

#[test]
fn stat_says_what_the_standard_library_says_for_every_odd_name_and_kind() {
    let tree = tree();
    for shell in shells() {
        let mut machine = Machine::new(tree.path());
        let names: Vec<&str> = NAMES.iter().chain(&OTHERS).copied().collect();
        let facts: Vec<Fact> = names.iter().map(|name| stat(&format!("/{name}"))).collect();
        let mut identities = BTreeMap::new();
        for (name, (_, answer)) in names.iter().zip(machine.read(&shell, &facts)) {
            let found = match answer {
                Ok(FactValue::Stat(mut stat)) => {
                    let identity = std::mem::take(&mut stat.identity);
                    assert!(identity.contains(&format!(":{}:", stat.size)), "{identity}");
                    assert_eq!(identities.insert(identity, name), None);
                    Some(stat)
                }
                Err(FactError::NotFound) => None,
                other => panic!("{}: {name:?}: {other:?}", shell.name),
            };
            assert_eq!(
                found,
                oracle(&tree.path().join(name)),
                "{}: {name:?}",
                shell.name
            );
        }
    }
    assert!(!Path::new("pwned").exists() && !tree.path().join("pwned").exists());
}

#[test]
fn digests_and_contents_are_those_of_the_bytes_and_other_kinds_do_not_block() {
    let tree = tree();
    for shell in shells() {
        let mut machine = Machine::new(tree.path());
        let names: Vec<&str> = NAMES
            .iter()
            .chain(&OTHERS)
            .copied()
            .chain(["device"])
            .collect();
        let mut facts = Vec::new();
        for name in &names {
            facts.push(digest(&format!("/{name}")));
            facts.push(content(&format!("/{name}"), None, 1000));
        }
        let given = machine.read(&shell, &facts);
        for (name, pair) in names.iter().zip(given.chunks(2)) {
            let at = tree.path().join(name);
            let regular = fs::metadata(&at).is_ok_and(|found| found.is_file());
            if regular {
                let bytes = fs::read(&at).unwrap();
                assert_eq!(
                    pair[0].1,
                    Ok(FactValue::Digest(sha256(&bytes))),
                    "{}: {name:?}",
                    shell.name
                );
                let Ok(FactValue::Content(found)) = &pair[1].1 else {
                    panic!("{}: {name:?}: {:?}", shell.name, pair[1].1);
                };
                assert_eq!(found.bytes.as_deref(), Some(bytes.as_slice()), "{name:?}");
                assert_eq!(found.sha256, sha256(&bytes));
            } else {
                for (_, answer) in pair {
                    let there = fs::metadata(&at);
                    let fits = match answer {
                        Err(FactError::NotFound) => there.is_err() && *name != "loop",
                        Err(FactError::Failed(_)) => there.is_ok() || *name == "loop",
                        _ => false,
                    };
                    assert!(fits, "{}: {name:?}: {answer:?}", shell.name);
                }
            }
        }
    }
}

#[test]
fn content_comes_only_when_it_differs_and_never_beyond_its_cap() {
    let tree = tree();
    let large = vec![b'x'; 10 << 20];
    fs::write(tree.path().join("large"), &large).unwrap();
    let middle = vec![b'y'; 1 << 20];
    fs::write(tree.path().join("middle"), &middle).unwrap();
    for shell in shells() {
        let mut machine = Machine::new(tree.path());
        let same = sha256(&fs::read(tree.path().join("nul")).unwrap());
        let facts = [
            content("/nul", Some(&same), 1000),
            content("/nul", Some(&sha256(b"")), 6),
            content("/nul", None, 5),
            content("/large", None, 1 << 20),
            content("/large", Some(&sha256(&large)), 10 << 20),
            content(
                "/back\\slash",
                Some(&sha256(b"back\\slash".repeat(3).as_slice())),
                99,
            ),
            content("/empty", None, 0),
            content("/middle", None, u64::MAX),
        ];
        let delimited = machine.read(&shell, &facts);
        let bytes = |n: usize| match &delimited[n].1 {
            Ok(FactValue::Content(content)) => content.bytes.clone(),
            other => panic!("{}: {n}: {other:?}", shell.name),
        };
        assert_eq!(bytes(0), None);
        assert_eq!(bytes(1).unwrap().len(), 6);
        assert_eq!(delimited[2].1, Err(FactError::Truncated));
        assert_eq!(delimited[3].1, Err(FactError::Truncated));
        assert_eq!(bytes(4), None);
        assert_eq!(bytes(5), None);
        assert_eq!(bytes(6).unwrap(), b"");
        assert_eq!(bytes(7).unwrap(), middle);
        // Alone, a file beyond the cap is neither hashed nor sent.
        let frames = machine.frames(&shell, &[content("/large", None, 1 << 20)]);
        assert!(format!("{frames:?}").len() < 10_000);
    }
}

#[test]
fn a_known_digest_is_not_computed_again_until_the_file_changes() {
    let tree = tree();
    // A file that was not changed in the last seconds.
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let expected = sha256(&fs::read(old).unwrap());
    for shell in shells() {
        let mut machine = Machine::new(Path::new("/"));
        machine.root = String::new();
        let answer = machine.one(&shell, digest(old));
        assert_eq!(answer, Ok(FactValue::Digest(expected.clone())));
        assert_eq!(machine.cache.len(), 1, "{}", shell.name);
        // Without sha256sum only a known digest can be answered.
        let (text, delimiter) = machine.text_of(&[digest(old)]);
        let text = text.replace("sha256sum", "no-such-tool");
        let out = crate::shells::run(&shell, &[], &text);
        let given = machine.parse(&[digest(old)], &out, &delimiter);
        assert_eq!(given[0].1, answer, "{}", shell.name);
        // Another file under the same name: its identity is not the known one.
        let json = serde_json::to_string(&machine.cache).unwrap();
        let other = tree.path().join("plain").to_str().unwrap().to_owned();
        machine.cache = serde_json::from_str(&json.replace(old, &other)).unwrap();
        fs::write(&other, "other").unwrap();
        let secret = Fact::Digest {
            path: path(&other),
            uncached: true,
        };
        let read = |machine: &mut Machine, fact| {
            let answer = machine.one(&shell, fact);
            assert_eq!(answer, Ok(FactValue::Digest(sha256(b"other"))));
        };
        read(&mut machine, digest(&other));
        read(&mut machine, secret);
        assert!(machine.cache.is_empty(), "nothing of a secret is kept");
    }
}

#[test]
fn a_secret_digest_is_never_kept() {
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for shell in shells() {
        let mut machine = Machine::new(Path::new("/"));
        machine.root = String::new();
        let secret = Fact::Digest {
            path: path(old),
            uncached: true,
        };
        let given = machine.read(&shell, &[secret, digest(old)]);
        assert!(given.iter().all(|(_, answer)| answer.is_ok()));
        assert!(machine.cache.is_empty(), "{}", shell.name);
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_never_gives_bytes_that_do_not_match() {
    let tree = tree();
    let at = tree.path().join("changing");
    for shell in shells() {
        fs::write(&at, vec![b'a'; 1 << 20]).unwrap();
        let mut machine = Machine::new(tree.path());
        let fact = content("/changing", None, 8 << 20);
        // Between the digest and the bytes the file gets another content.
        let (text, delimiter) = machine.text_of(std::slice::from_ref(&fact));
        let text = text.replace(
            "head -c \"$3\" \"$4\"",
            "printf grown >>\"$4\"; head -c \"$3\" \"$4\"",
        );
        let out = crate::shells::run(&shell, &[], &text);
        let given = machine.parse(&[fact], &out, &delimiter);
        assert_eq!(given[0].1, Err(FactError::Truncated), "{}", shell.name);
    }
}

#[test]
fn files_of_proc_have_no_size_and_are_still_read() {
    for shell in shells() {
        let mut machine = Machine::new(Path::new("/"));
        machine.root = String::new();
        let expected = fs::read("/proc/cmdline").unwrap();
        match machine.one(&shell, content("/proc/cmdline", None, 10_000)) {
            Ok(FactValue::Content(found)) => {
                assert_eq!(found.bytes.as_deref(), Some(expected.as_slice()));
            }
            other => panic!("{}: {other:?}", shell.name),
        }
    }
}

#[test]
fn what_a_login_may_not_read_is_denied_and_not_absent() {
    let Some(nobody) = as_nobody() else { return };
    let tree = tempfile::tempdir().unwrap();
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| tree.path().join(name);
    fs::write(at("closed"), "x").unwrap();
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(at("shut/in")).unwrap();
    fs::create_dir_all(at("var/lib/hmco-boot")).unwrap();
    fs::create_dir_all(at("var/lib/rancher/k3s/server/db/etcd/member")).unwrap();
    fs::create_dir_all(at("run/hmco-boot/jobs/1")).unwrap();
    for name in ["shut", "var/lib/hmco-boot", "var/lib/rancher/k3s/server"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    for shell in shells() {
        let shell = readable(&shell);
        let mut machine = Machine::new(tree.path());
        machine.prefix = nobody.clone();
        let facts = [
            stat("/closed"),
            digest("/closed"),
            content("/closed", None, 10),
            stat("/shut/in"),
            digest("/shut/in/none"),
            stat("/none"),
            Fact::RunState,
            Fact::K3sData,
        ];
        let given = machine.read(&shell, &facts);
        assert!(
            matches!(given[0].1, Ok(FactValue::Stat(_))),
            "{:?}",
            given[0]
        );
        assert_eq!(given[5].1, Err(FactError::NotFound));
        for n in [1, 2, 3, 4, 6, 7] {
            assert_eq!(
                given[n].1,
                Err(FactError::Denied),
                "{}: {:?}",
                shell.name,
                facts[n]
            );
        }
    }
}

/// The shell with tools that another user may run.
fn readable(shell: &Shell) -> Shell {
    if let Some(tools) = &shell.tools {
        fs::set_permissions(tools, fs::Permissions::from_mode(0o755)).unwrap();
    }
    shell.clone()
}

/// A command that becomes an unprivileged user, where that is possible.
pub fn as_nobody() -> Option<Vec<String>> {
    let words = [
        "/usr/bin/setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let works = Command::new(words[0])
        .args(&words[1..])
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        crate::skip::tell("cannot become another user: what root may always read is not tested");
    }
    works.then(|| words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn more_paths_than_one_command_takes_are_asked_in_several() {
    let tree = tempfile::tempdir().unwrap();
    let long = "n".repeat(180);
    let mut facts = Vec::new();
    for n in 0..400 {
        let name = format!("/{long} '{n}");
        if n % 3 != 0 {
            fs::write(tree.path().join(&name[1..]), name.as_bytes()).unwrap();
        }
        facts.push(stat(&name));
        facts.push(digest(&name));
        facts.push(content(&name, None, 500));
    }
    for shell in shells() {
        let given = Machine::new(tree.path()).read(&shell, &facts);
        for (n, three) in given.chunks(3).enumerate() {
            let name = format!("/{long} '{n}");
            let there = n % 3 != 0;
            for (fact, answer) in three {
                match answer {
                    Ok(FactValue::Digest(found)) => assert_eq!(*found, sha256(name.as_bytes())),
                    Ok(FactValue::Content(found)) => {
                        assert_eq!(found.bytes.as_deref(), Some(name.as_bytes()));
                    }
                    Ok(FactValue::Stat(found)) => assert_eq!(found.size, name.len() as u64),
                    other => assert_eq!(*other, Err(FactError::NotFound), "{fact:?}"),
                }
                assert_eq!(answer.is_ok(), there, "{}: {fact:?}", shell.name);
            }
        }
    }
}
