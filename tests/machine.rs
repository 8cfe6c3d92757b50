//! What `make demo` asks of the machine first, and how `make demo-clean` knows that nothing is left: .ci/machine.sh.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and starts processes"
)]

use std::path::Path;
use std::process::Command;

/// Runs shell text with these functions; whether it ended well, and what it said.
fn sh(text: &str, labs: &Path) -> (bool, String) {
    let output = Command::new("bash")
        .args(["-euc", &format!(". .ci/tools.sh; . .ci/machine.sh; {text}")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HMCO_BOOT_LAB_DIR", labs)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn room_is_counted_together_on_one_file_system_and_also_where_there_is_no_folder_yet() {
    let here = tempfile::tempdir().unwrap();
    let (fine, said) = sh("enough_room . 1 \"$(labs)/not/yet\" 1", here.path());
    assert!(fine && said.is_empty(), "{said}");
    let (first, second) = (here.path().join("first"), here.path().join("second"));
    let text = format!(
        "free=$(df -Pm {0} | awk 'NR == 2 {{ print $4 }}'); enough_room {1} $((free * 2 / 3)) {2} $((free * 2 / 3))",
        here.path().display(),
        first.display(),
        second.display()
    );
    let (fine, said) = sh(&text, here.path());
    assert!(!fine, "each has room, both have not");
    assert!(said.contains("error: free space on /"), "{said}");
    assert!(
        said.contains("/first") && said.contains("/second"),
        "{said}"
    );
    assert!(said.contains("hint: make room on /"), "{said}");
}

#[test]
fn memory_that_nobody_has_is_refused_with_what_to_do() {
    let (fine, said) = sh("enough_memory 1", Path::new("/nowhere"));
    assert!(fine, "{said}");
    let (fine, said) = sh("enough_memory 999999999", Path::new("/nowhere"));
    assert!(!fine && said.contains("hint: "), "{said}");
}

#[test]
fn nodes_that_cannot_run_are_told_before_anything_is_built_and_leave_nothing() {
    // Nobody makes a folder there, root neither.
    let (fine, said) = sh("nodes_can_run", Path::new("/proc/labs"));
    assert!(!fine, "{said}");
    assert!(
        said.contains("error: systemd-nspawn cannot run a node"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/systemd-nspawn").exists() {
        eprintln!("SKIPPED: a node that runs: needs root and systemd-nspawn");
        return;
    }
    let labs = tempfile::tempdir_in("/var/lib").unwrap();
    let (fine, said) = sh("nodes_can_run", &labs.path().join("labs"));
    assert!(fine, "{said}");
    assert_eq!(std::fs::read_dir(labs.path()).unwrap().count(), 0);
}

#[test]
fn a_lab_is_gone_only_when_its_folder_is() {
    let labs = tempfile::tempdir().unwrap();
    let (fine, said) = sh("left_of_lab demo", labs.path());
    assert!(fine && said.is_empty(), "{said}");
    std::fs::create_dir(labs.path().join("demo")).unwrap();
    let (_, said) = sh("left_of_lab demo", labs.path());
    assert!(said.trim().ends_with("/demo"), "{said}");
}
