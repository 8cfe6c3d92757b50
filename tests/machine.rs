//! What `make demo` asks of the machine first, and how `make demo-clean` knows that nothing is left: .ci/machine.sh. Which
//! K3s it takes: .ci/demo-k3s.sh.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and starts processes"
)]

#[path = "support/skip.rs"]
mod skip;

use std::path::Path;
use std::process::Command;

/// Runs shell text with these functions, in a clone with a demo in `labs/demo-folder`, if anywhere; whether it ended well, and
/// what it said.
fn sh(text: &str, labs: &Path) -> (bool, String) {
    let output = Command::new("bash")
        .args(["-euc", &format!(". .ci/tools.sh; . .ci/machine.sh; {text}")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HMCO_BOOT_LAB_DIR", labs)
        .env("demo", labs.join("demo-folder"))
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
        crate::skip::tell("a node that runs: needs root and systemd-nspawn");
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

#[test]
fn the_nodes_of_a_demo_are_looked_for_where_they_were_made_and_those_of_another_clone_left_alone() {
    let labs = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let demo = labs.path().join("demo-folder");
    std::fs::create_dir(&demo).unwrap();
    assert!(sh("demo_is_ours", labs.path()).0, "there is none");
    std::fs::write(demo.join("labs"), format!("{}\n", other.path().display())).unwrap();
    let (fine, said) = sh("labs", labs.path());
    assert!(
        fine && said.trim() == other.path().to_str().unwrap(),
        "{said}"
    );
    std::fs::create_dir(other.path().join("demo")).unwrap();
    let (_, said) = sh("left_of_lab demo", labs.path());
    assert!(said.trim().ends_with("/demo"), "{said}");
    let record = |inventory: &std::path::Path| {
        let text = format!(
            "user = \"admin\"\ninventory = \"{}\"\n\n[[nodes]]\n",
            inventory.display()
        );
        std::fs::write(other.path().join("demo/lab.toml"), text).unwrap();
    };
    record(&demo.join("homelab/inventory/demo.toml"));
    assert!(sh("demo_is_ours", labs.path()).0);
    record(Path::new(
        "/srv/clone/target/demo/homelab/inventory/demo.toml",
    ));
    let (fine, said) = sh("demo_is_ours", labs.path());
    assert!(!fine && said.contains("/srv/clone/"), "{said}");
    assert!(
        said.contains("hint: make demo-clean in the clone"),
        "{said}"
    );
}

/// The same with the functions that choose a K3s, in a clone whose demo's lock names `url`.
fn k3s(text: &str, clone: &Path, url: &str) -> (bool, String) {
    let homelab = clone.join("target/demo/homelab");
    std::fs::create_dir_all(&homelab).unwrap();
    let row = |arch: &str, version: &str| {
        format!(
            "[[artifact]]\nname = \"k3s\"\nversion = \"{version}\"\narch = \"{arch}\"\nurl = \"{url}\"\n\n"
        )
    };
    let (here, other) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "amd64"),
        _ => ("amd64", "arm64"),
    };
    let other_name = row(here, "v9").replace("k3s", "other");
    let lock = row(other, "v8") + &other_name + &row(here, "v1.2.3+k3s1");
    std::fs::write(homelab.join("hmco-boot.lock"), lock).unwrap();
    let proxies = "unset HTTPS_PROXY https_proxy ALL_PROXY all_proxy HMCO_MIRROR";
    sh(
        &format!(
            "{proxies}; clone={}; . .ci/demo-k3s.sh; {text}",
            clone.display()
        ),
        clone,
    )
}

#[test]
fn a_release_that_cannot_be_had_is_told_at_once_with_what_to_do_instead() {
    let clone = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let url = format!("http://{address}/v1.2.3%2Bk3s1/k3s");
    let (fine, said) = k3s("release_is_near", clone.path(), &url);
    assert!(fine && said.is_empty(), "{said}");
    // A proxy is what has to answer then.
    let proxy = format!("HTTPS_PROXY=http://me:word@{address}/; release_is_near");
    let (fine, said) = k3s(&proxy, clone.path(), "https://k3s.invalid/k3s");
    assert!(fine && said.is_empty(), "{said}");
    drop(server);
    let (fine, said) = k3s("release_is_near", clone.path(), &url);
    assert!(!fine);
    let words =
        format!("error: the K3s release v1.2.3+k3s1 cannot be had: nothing answers at {address}");
    assert!(said.contains(&words), "{said}");
    assert!(said.contains("hint: go without K3S=release"), "{said}");
    let (fine, said) = k3s("release_is_near", clone.path(), "https://k3s.invalid/k3s");
    assert!(!fine && said.contains("k3s.invalid:443"), "{said}");
}

#[test]
fn a_demo_has_one_k3s_from_its_beginning_to_its_end() {
    let clone = tempfile::tempdir().unwrap();
    let with = |text: &str| k3s(text, clone.path(), "https://k3s.invalid/k3s");
    assert!(
        with("same_k3s v1; same_k3s '(simulated)'").0,
        "nothing is noted"
    );
    std::fs::write(clone.path().join("target/demo/k3s"), "v1 (simulated)\n").unwrap();
    let (fine, said) = with("same_k3s 'v1 (simulated)'; same_k3s '(simulated)'; same_k3s ''");
    assert!(fine, "{said}");
    for other in ["v1", "v2 (simulated)", "$(pinned version)"] {
        let (fine, said) = with(&format!("same_k3s \"{other}\""));
        assert!(!fine, "{other}");
        assert!(
            said.contains("error: the demo's nodes have K3s v1 (simulated)"),
            "{said}"
        );
        assert!(
            said.contains("hint: ") && said.contains("make demo-clean"),
            "{said}"
        );
    }
    std::fs::write(clone.path().join("target/demo/k3s"), "v1.2.3+k3s1\n").unwrap();
    assert!(with("same_k3s \"$(pinned version)\"").0);
    assert!(!with("same_k3s '(simulated)'").0);
}
