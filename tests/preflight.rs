//! The measuring of `preflight`, by the shells of this machine: its results are whole or not there, and nothing stays
//! behind, also where it is ended by force.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test starts shells and may stop at the first surprise"
)]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hmco_boot::facts::fact::{Fact, FactValue, K3sData, Net};
use hmco_boot::facts::known::Store;
use hmco_boot::model::action::Action;
use hmco_boot::model::id::Target;
use hmco_boot::steps::preflight::Preflight;

#[path = "support/shells.rs"]
#[expect(dead_code, reason = "other test files use the rest")]
mod shells;
#[path = "support/skip.rs"]
mod skip;
use shells::{Shell, shells};

/// What `preflight` would run on `pi-1`: the text, and its key.
fn program(wish: serde_json::Value) -> (String, String) {
    let wish: Preflight = serde_json::from_value(wish).unwrap();
    let target = Target::Node("pi-1".into());
    let mut store = Store::default();
    let answers = [
        (Fact::K3sData, Ok(FactValue::K3sData(K3sData::default()))),
        (Fact::Net, Ok(FactValue::Net(Net::default()))),
    ];
    store.insert(&target, answers);
    let Action::Run(program) = wish.measuring(&store.view(&target)).unwrap() else {
        panic!("it measures by a program")
    };
    let text = program.stdin.unwrap().expose().to_owned();
    assert!(text.contains("WINDOW=6 "));
    // Nobody else measures here: less patience for others.
    let text = text.replacen("WINDOW=6 ", "WINDOW=1 ", 1);
    (text, program.env[0].1.expose().to_owned())
}

fn start(shell: &Shell, root: &Path, wish: serde_json::Value) -> Child {
    start_with(shell, root, wish, None)
}

/// With programs that are found before the machine's own.
fn start_with(shell: &Shell, root: &Path, wish: serde_json::Value, own: Option<&Path>) -> Child {
    let (text, key) = program(wish);
    let mut path = std::env::var("PATH").unwrap();
    if let Some(own) = own {
        path = format!("{}:{path}", own.display());
    }
    if let Some(tools) = &shell.tools {
        path = format!("{}:{path}", tools.display());
    }
    let mut child = Command::new(&shell.argv[0])
        .args(&shell.argv[1..])
        .arg("-s")
        .env("PATH", path)
        .env("KEY", key)
        .env("HMCO_BOOT_ROOT", root)
        .env_remove("HMCO_BOOT_JOB")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    child
}

/// Everything below a folder but the folders themselves.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_measuring_leaves_whole_results_and_nothing_else() {
    // The port that it listens at for others, and that its one peer here is asked for: itself.
    let port_is_free = TcpListener::bind("0.0.0.0:10250").is_ok();
    for shell in shells() {
        let root = tempfile::tempdir().unwrap();
        let wish = serde_json::json!({
            "peers": [
                { "name": "pi-1", "roles": ["agent"] },
                { "name": "pi-2", "address": "127.0.0.1", "roles": ["agent"] },
            ],
            "flannel_backend": "host-gw",
            "resolve": ["localhost", "no-such-name.invalid"],
        });
        let (_, key) = program(wish.clone());
        let out = start(&shell, root.path(), wish).wait_with_output().unwrap();
        let talk = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{}: {talk}", shell.name);
        assert_eq!(talk, "", "{}", shell.name);
        let results = root.path().join("run/hmco-boot/preflight");
        assert_eq!(files(root.path()), [results.display().to_string()]);
        let mode = fs::metadata(&results).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", shell.name);
        let text = fs::read_to_string(&results).unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), text, "{}", shell.name);
        assert!(text.starts_with("hmco-boot preflight 1\nboot "), "{text}");
        assert!(text.contains(&format!("\nkey {key}\n")), "{text}");
        assert!(text.ends_with("\nend\n"), "{text}");
        assert!(text.contains("\nname localhost found "), "{text}");
        assert!(
            text.contains("\nname no-such-name.invalid failed\n"),
            "{text}"
        );
        assert!(!text.contains("sync-write"), "an agent has no etcd: {text}");
        if !port_is_free {
            crate::skip::tell("port 10250 is taken here: listening is not tested");
        } else if text.contains("\nlistened 10250\n") {
            assert!(
                text.contains("\nport pi-2 127.0.0.1 tcp 10250 connected\n"),
                "{text}"
            );
        } else {
            assert!(text.contains("\nuntested listen "), "{text}");
            assert!(
                text.contains("\nport pi-2 127.0.0.1 tcp 10250 refused\n"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_measuring_that_is_ended_by_force_takes_its_file_with_it_and_leaves_no_results() {
    for shell in shells() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/lib")).unwrap();
        let file = root.path().join("var/lib/.hmco-boot-preflight");
        let wish = serde_json::json!({ "role": "server" });
        let mut child = start(&shell, root.path(), wish);
        let limit = Instant::now() + Duration::from_secs(30);
        let mut seen = false;
        while child.try_wait().unwrap().is_none() && Instant::now() < limit {
            if file.exists() {
                seen = true;
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
                break;
            }
            std::thread::yield_now();
        }
        let out = child.wait_with_output().unwrap();
        let results = root.path().join("run/hmco-boot/preflight");
        if !seen {
            // busybox' dd cannot write synchronously: the file is there for a moment only.
            let text = fs::read_to_string(&results).unwrap();
            assert!(
                text.contains("untested sync-write "),
                "{}: {text}",
                shell.name
            );
            crate::skip::tell(format_args!(
                "{}: no synchronous writes to interrupt",
                shell.name
            ));
            continue;
        }
        assert!(!file.exists(), "{}", shell.name);
        if !out.status.success() {
            assert_eq!(out.status.code(), Some(143), "{}", shell.name);
            assert_eq!(files(root.path()), Vec::<String>::new(), "{}", shell.name);
        }
    }
}

/// The results of a measuring on a machine whose programs are these instead.
fn results_with(wish: serde_json::Value, programs: &[(&str, &str)]) -> String {
    let root = tempfile::tempdir().unwrap();
    let own = root.path().join("own");
    fs::create_dir_all(&own).unwrap();
    fs::create_dir_all(root.path().join("var/lib")).unwrap();
    for (name, text) in programs {
        let path = own.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let shell = &shells()[0];
    let out = start_with(shell, root.path(), wish, Some(&own))
        .wait_with_output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_disk_of_which_nothing_is_told_is_not_said_to_be_fast_and_one_that_hangs_is_said_to_be_slow() {
    let server = || serde_json::json!({ "role": "server" });
    let silent = results_with(server(), &[("dd", "echo 25+0 records out >&2")]);
    assert!(
        silent.contains("\nuntested sync-write dd does not tell"),
        "{silent}"
    );
    assert!(!silent.contains("\nsync-write "), "{silent}");
    // One batch of 25 writes that is not done within its 30 s.
    let hangs = results_with(server(), &[("timeout", "exit 124")]);
    let line = hangs
        .lines()
        .find(|line| line.starts_with("sync-write "))
        .unwrap();
    assert!(line.ends_with(" 1 25 1200000 1200000"), "{hangs}");
    let tiny = "echo '57500 bytes (58 kB, 56 KiB) copied, 5.6e-05 s, 1.0 GB/s' >&2";
    let fast = results_with(server(), &[("dd", tiny)]);
    assert!(fast.contains(" 0 0\n"), "{fast}");
}

#[test]
fn an_address_is_not_said_to_be_free_where_nobody_could_be_asked() {
    let wish = || serde_json::json!({ "role": "server", "virtual_address": "192.0.2.9" });
    let route = "case $* in *get*) echo '192.0.2.9 dev eth0 src 192.0.2.1' ;; esac";
    let dd = ("dd", "exit 1");
    let broken = results_with(wish(), &[("ip", route), ("ping", "exit 2"), dd]);
    assert!(broken.contains("\naddress 192.0.2.9 untested "), "{broken}");
    let silent = results_with(wish(), &[("ip", route), ("ping", "exit 1"), dd]);
    assert!(silent.contains("\naddress 192.0.2.9 free "), "{silent}");
    let none = results_with(wish(), &[("ip", "exit 2"), ("ping", "exit 2"), dd]);
    assert!(
        none.contains("\naddress 192.0.2.9 free no answer (there is no route"),
        "{none}"
    );
}
