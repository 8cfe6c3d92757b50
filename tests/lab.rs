//! The rehearsal lab on this machine: real nodes brought up, cut, killed, and gone without a trace.
//!
//! Needs root and the lab's tools; says so where it skips. The base tree that labs share is made by the first test and
//! kept (`hmco-boot lab down --all --caches` removes it).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "support/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hmco_boot::lab::names::Tag;
use hmco_boot::lab::place::DEFAULT_DIR;
use hmco_boot::lab::tools;
use serde_json::Value;

/// A lab in a project of its own; taken down when the test ends, however it ends.
struct Lab {
    project: tempfile::TempDir,
    name: String,
    dir: PathBuf,
}

/// Whether labs can be tried here; says why not.
fn can_be_tried() -> bool {
    let able = tools::expect_root().and_then(|()| tools::expect_tools());
    if let Err(error) = &able {
        crate::skip::tell(format_args!("no lab can be made here: {error}"));
    }
    able.is_ok()
}

/// A project whose own inventory is somebody's.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("inventory")).unwrap();
    let text = "[cluster]\nname = \"home\"\n[node.here]\nconnection = \"local\"\n";
    std::fs::write(folder.path().join("inventory/home.toml"), text).unwrap();
    folder
}

/// Waits for something to become true, for at most two minutes.
fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !ready() {
        assert!(
            Instant::now() < limit,
            "{what} did not happen within two minutes"
        );
        std::thread::yield_now();
    }
}

impl Lab {
    fn new(name: &str) -> Self {
        Self::within(name, Path::new(DEFAULT_DIR))
    }

    fn within(name: &str, dir: &Path) -> Self {
        Self {
            project: project(),
            // Several test runs on one machine do not meet.
            name: format!("t{}-{name}", std::process::id()),
            dir: dir.to_owned(),
        }
    }

    fn node(&self, number: u32) -> String {
        format!("{}-{number}", self.name)
    }

    fn folder(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn tag(&self) -> Tag {
        Tag::of(&self.folder().to_string_lossy())
    }

    fn inventory(&self) -> PathBuf {
        self.project
            .path()
            .join("inventory")
            .join(format!("{}.toml", self.name))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program();
        command
            .args(["lab", "--name", &self.name, "--dir"])
            .arg(&self.dir)
            .args(args);
        command
    }

    /// The program in the project.
    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hmco-boot"));
        command
            .current_dir(self.project.path())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.project.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must end well; gives all that it said.
    fn expect(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = said(&output);
        assert!(
            output.status.success(),
            "lab {args:?}: {}\n{said}",
            output.status
        );
        said
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs a command on a node.
    fn on(&self, number: u32, script: &str) -> Output {
        self.run(&["ssh", &self.node(number), "--", script])
    }

    fn on_expect(&self, number: u32, script: &str) -> String {
        let output = self.on(number, script);
        assert!(output.status.success(), "{script}\n{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self) -> Value {
        let output = self.run(&["status", "--output", "json"]);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn of_node(&self, number: usize, key: &str) -> Value {
        self.status()["nodes"][number - 1][key].clone()
    }

    /// Whether one node reaches another's SSH server.
    fn reaches(&self, from: u32, to: usize) -> bool {
        let address = self.of_node(to, "address");
        let address = address.as_str().unwrap();
        let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/22'");
        self.on(from, &script).status.success()
    }

    /// All that there is of this lab on the machine.
    fn traces(&self) -> Vec<String> {
        let tag = self.tag();
        let folder = self.folder().to_string_lossy().into_owned();
        let mut found = Vec::new();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        found.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&folder))
                .map(str::to_owned),
        );
        for entry in std::fs::read_dir("/sys/class/net").unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.contains(tag.as_str()) {
                found.push(format!("link {name}"));
            }
        }
        let rules = Command::new("nft")
            .args(["list", "tables"])
            .output()
            .unwrap();
        let rules = String::from_utf8(rules.stdout).unwrap();
        found.extend(
            rules
                .lines()
                .filter(|line| line.ends_with(&tag.table()))
                .map(str::to_owned),
        );
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
            if !own && (words.contains(&folder) || words.contains(&format!("{}-", tag.as_str()))) {
                found.push(format!("process {words}"));
            }
        }
        let groups = Command::new("find")
            .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &tag.cgroup()])
            .output()
            .unwrap();
        found.extend(
            String::from_utf8(groups.stdout)
                .unwrap()
                .lines()
                .map(str::to_owned),
        );
        for path in [self.folder(), self.inventory()] {
            if path.exists() {
                found.push(path.display().to_string());
            }
        }
        let left = std::fs::read_dir("/run/systemd/nspawn/propagate")
            .into_iter()
            .flatten();
        for name in left.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            if name.starts_with(tag.as_str()) {
                found.push(format!("/run/systemd/nspawn/propagate/{name}"));
            }
        }
        found
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", said(&self.run(&["status"])));
            for number in [1, 2] {
                let node = self.folder().join("nodes").join(self.node(number));
                let console = std::fs::read(node.join("console.log")).unwrap_or_default();
                let console = String::from_utf8_lossy(&console);
                let end = console.lines().count().saturating_sub(20);
                console
                    .lines()
                    .skip(end)
                    .for_each(|line| eprintln!("{line}"));
            }
        }
        let output = self.run(&["down"]);
        if std::thread::panicking() {
            eprintln!("{}", said(&output));
        }
    }
}

fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}

#[test]
fn nodes_come_up_install_packages_lose_power_and_network_and_go_without_a_trace() {
    if !can_be_tried() {
        return;
    }
    let lab = Lab::new("a");
    assert_eq!(lab.traces(), Vec::<String>::new());
    let told = lab.expect(&["up", "--servers", "1", "--agents", "1"]);
    assert!(told.contains("as powerful as root"), "{told}");
    assert_ne!(lab.traces(), Vec::<String>::new());
    it_is_written_down(&lab);
    a_second_up_changes_nothing(&lab);
    ssh_is_the_systems(&lab);
    packages_are_installed(&lab);
    a_reboot_and_a_power_cut_are_new_boots(&lab);
    networks_are_cut_and_healed(&lab);
    a_firewall_of_the_host_is_named(&lab);
    cpu_is_limited(&lab);
    let told = lab.expect(&["down"]);
    assert!(told.contains("is down"), "{told}");
    assert_eq!(lab.traces(), Vec::<String>::new());
    let told = lab.expect(&["down"]);
    assert!(told.contains("was not there"), "{told}");
}

fn it_is_written_down(lab: &Lab) {
    let file = lab.inventory();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("ssh-ed25519 ").count(), 2, "{text}");
    assert!(text.contains("roles = [\"agent\"]"), "{text}");
    // It is a good inventory for the program itself.
    let mut check = lab.program();
    let checked = check.args(["check", "-i"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
    // The private key is in the lab's folder, which nobody else may look into.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&lab.folder().join("key")), 0o600);
    assert_eq!(mode(&lab.folder()), 0o700);
}

fn a_second_up_changes_nothing(lab: &Lab) {
    let text = std::fs::read_to_string(lab.inventory()).unwrap();
    let before = lab.status();
    let told = lab.expect(&["up"]);
    assert_eq!(told.matches("(it was up)").count(), 2, "{told}");
    assert_eq!(std::fs::read_to_string(lab.inventory()).unwrap(), text);
    for number in [0, 1] {
        let boot = |status: &Value| status["nodes"][number]["boot_id"].clone();
        assert_eq!(boot(&before), boot(&lab.status()));
    }
    let fewer = lab.run(&["up", "--servers", "0"]);
    assert_eq!(fewer.status.code(), Some(2), "{}", said(&fewer));
}

fn ssh_is_the_systems(lab: &Lab) {
    assert_eq!(
        lab.on_expect(1, "id -un; sudo id -un; hostname"),
        format!("pi\nroot\n{}\n", lab.node(1))
    );
    assert_eq!(lab.on(1, "exit 7").status.code(), Some(7));
    assert_eq!(
        lab.on_expect(2, "systemctl is-system-running --wait")
            .trim(),
        "running"
    );
    // Names of the lab are known in it.
    lab.on_expect(1, &format!("getent hosts {}", lab.node(2)));
    let unknown = lab.on(9, "true");
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
}

fn packages_are_installed(lab: &Lab) {
    let install = "sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y jq >/dev/null && echo '{\"a\":7}' | jq .a";
    for number in [1, 2] {
        assert_eq!(lab.on_expect(number, install), "7\n");
    }
    // That is all that goes out.
    let out = lab.on(1, "curl -sS -m 5 -x http://$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'):3142 http://example.org/");
    assert!(said(&out).contains("no uplink"), "{}", said(&out));
    assert!(
        !lab.on(1, "curl -sS -m 2 http://deb.debian.org/")
            .status
            .success()
    );
}

fn a_reboot_and_a_power_cut_are_new_boots(lab: &Lab) {
    let mut boots = vec![lab.of_node(1, "boot_id")];
    let id = lab.on_expect(
        1,
        "cat /proc/sys/kernel/random/boot_id; sudo touch /run/gone /kept",
    );
    assert_eq!(id.trim(), boots[0].as_str().unwrap());
    let hosts = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_ne!(id, hosts, "a node has a boot id of its own");

    // The connection may go down with the machine.
    lab.on(1, "sudo systemctl reboot");
    wait_for("the reboot", || {
        let boot = lab.of_node(1, "boot_id");
        !boot.is_null() && !boots.contains(&boot) && lab.of_node(1, "power") == "answers"
    });
    boots.push(lab.of_node(1, "boot_id"));
    lab.on_expect(
        1,
        "test ! -e /run/gone && test -e /kept && sudo touch /run/gone",
    );

    lab.expect(&["kill", &lab.node(1)]);
    assert_eq!(lab.of_node(1, "power"), "off");
    assert_eq!(lab.of_node(2, "power"), "answers");
    assert_eq!(lab.on(1, "true").status.code(), Some(255));
    lab.expect(&["start", &lab.node(1)]);
    let boot = lab.of_node(1, "boot_id");
    assert!(
        !boot.is_null() && !boots.contains(&boot),
        "{boot} of {boots:?}"
    );
    // Pinned as before.
    lab.on_expect(1, "test ! -e /run/gone && test -e /kept");

    lab.expect(&["kill", &lab.node(1), &lab.node(2)]);
    let told = lab.expect(&["up"]);
    assert!(!told.contains("(it was up)"), "{told}");
}

fn networks_are_cut_and_healed(lab: &Lab) {
    let (one, two) = (lab.node(1), lab.node(2));
    assert!(lab.reaches(1, 2) && lab.reaches(2, 1));
    lab.expect(&["cut", &one, &two]);
    assert!(!lab.reaches(1, 2) && !lab.reaches(2, 1));
    assert_eq!(
        lab.status()["cuts"][0]["pair"],
        serde_json::json!([one, two])
    );
    // Others, as this machine, still reach both; and a cut is no reason for `up` to complain.
    lab.expect(&["up"]);
    lab.expect(&["cut", "--heal", &two, &one]);
    assert!(lab.reaches(1, 2) && lab.reaches(2, 1));
    assert_eq!(lab.status()["cuts"], serde_json::json!([]));

    lab.expect(&["cut", &two]);
    assert_eq!(lab.of_node(2, "power"), "on");
    assert!(!lab.reaches(1, 2));
    let told = lab.expect(&["up"]);
    assert!(told.contains("its network is cut"), "{told}");
    lab.expect(&["cut", "--heal"]);
    assert!(lab.reaches(1, 2));
    lab.expect(&["cut", "--heal", &two]);
    assert_eq!(lab.run(&["cut", &two, &two]).status.code(), Some(2));
}

/// As Docker leaves a machine: what is forwarded is dropped unless somebody lets it pass, on bridges too. Only on this
/// lab's bridge here.
fn a_firewall_of_the_host_is_named(lab: &Lab) {
    let handed = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if handed.is_ok_and(|text| text.trim() != "1") {
        crate::skip::tell("packets on bridges do not meet this machine's firewall");
        return;
    }
    let bridge = lab.tag().bridge().to_owned();
    let table = format!("test_{}", lab.tag().table());
    let nft = |script: &str| {
        let done = Command::new("nft").arg(script).status().unwrap();
        assert!(done.success(), "{script}");
    };
    nft(&format!("add table ip {table}"));
    nft(&format!(
        "add chain ip {table} FORWARD {{ type filter hook forward priority 0; policy drop; }}; \
         add rule ip {table} FORWARD iifname != \"{bridge}\" accept"
    ));
    let refused = lab.run(&["up"]);
    nft(&format!("delete table ip {table}"));
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    for words in ["firewall drops packets", &table, "-j ACCEPT"] {
        assert!(said(&refused).contains(words), "{}", said(&refused));
    }
    lab.expect(&["up"]);
}

fn cpu_is_limited(lab: &Lab) {
    lab.expect(&["throttle", "25%", &lab.node(2)]);
    assert_eq!(lab.of_node(1, "cpu_limit"), Value::Null);
    assert_eq!(lab.of_node(2, "cpu_limit"), 25);
    lab.expect(&["throttle", "off"]);
    assert_eq!(lab.of_node(2, "cpu_limit"), Value::Null);
}

#[test]
fn two_labs_live_side_by_side_and_do_not_see_each_other() {
    if !can_be_tried() {
        return;
    }
    let (one, two) = (Lab::new("b"), Lab::new("c"));
    let begun = ["up", "--servers", "1", "--agents", "0"];
    // Both at once: neither takes the other's addresses.
    let mut first = one.start(&begun);
    two.expect(&begun);
    assert!(first.wait().unwrap().success());
    assert_ne!(one.status()["subnet"], two.status()["subnet"]);
    one.expect(&["up", "--agents", "1"]);
    assert_eq!(one.of_node(2, "role"), "agent");
    let other = two.of_node(1, "address");
    let script = format!(
        "timeout 2 bash -c 'exec 3<>/dev/tcp/{}/22'",
        other.as_str().unwrap()
    );
    assert!(!one.on(1, &script).status.success());
    one.expect(&["down"]);
    assert_eq!(one.traces(), Vec::<String>::new());
    two.on_expect(1, "true");
}

#[test]
fn an_up_that_is_killed_at_any_moment_is_gone_on_with_or_taken_down() {
    if !can_be_tried() {
        return;
    }
    let lab = Lab::new("d");
    let (tag, folder) = (lab.tag(), lab.folder());
    let up = ["up", "--servers", "1", "--agents", "0"];
    let node = lab.node(1);
    let tree = format!("{}/nodes/{node}/root", folder.display());
    let moments = [
        ("the record", format!("{}/lab.toml", folder.display())),
        ("the bridge", format!("/sys/class/net/{}", tag.bridge())),
        ("the key", format!("{}/key", folder.display())),
        ("the tree", format!("{tree}/etc")),
        ("the link", format!("/sys/class/net/{}", tag.link(1))),
        ("host keys", format!("{tree}/etc/ssh/ssh_host_rsa_key.pub")),
        ("known hosts", format!("{}/known_hosts", folder.display())),
    ];
    for (index, (what, path)) in moments.iter().enumerate() {
        let mut command = lab.start(&up);
        wait_for(what, || Path::new(path).exists());
        command.kill().unwrap();
        command.wait().unwrap();
        // Alternately taken down and gone on with.
        if index % 2 == 0 {
            lab.expect(&up);
            lab.on_expect(1, "sudo true");
        }
        lab.expect(&["down"]);
        assert_eq!(lab.traces(), Vec::<String>::new(), "killed at {what}");
    }
}

#[test]
fn a_base_that_is_half_made_is_removed_with_who_still_makes_it() {
    if !can_be_tried() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("labs");
    let lab = Lab::within("e", &dir);
    let mut command = lab.start(&["up", "--servers", "1", "--agents", "0"]);
    let makers = || {
        let found = Command::new("pgrep")
            .args(["-f", &dir.to_string_lossy()])
            .output()
            .unwrap();
        let own = std::process::id().to_string();
        let found = String::from_utf8(found.stdout).unwrap();
        let pids = found.lines().filter(|pid| *pid != own);
        pids.map(str::to_owned).collect::<Vec<_>>()
    };
    let new = || {
        let names = std::fs::read_dir(dir.join(".cache")).into_iter().flatten();
        names
            .filter(|entry| entry.as_ref().unwrap().path().join("debootstrap").exists())
            .count()
    };
    wait_for("debootstrap", || new() == 1);
    // Held, so that it does not end by itself when nobody reads what it says any more.
    let caller = command.id().to_string();
    for pid in makers().iter().filter(|pid| **pid != caller) {
        // One that has just ended is no matter.
        Command::new("kill").args(["-STOP", pid]).status().unwrap();
    }
    command.kill().unwrap();
    command.wait().unwrap();
    assert_ne!(makers().len(), 0, "debootstrap outlives its caller");
    lab.expect(&["down"]);
    assert_eq!(makers(), Vec::<String>::new());
    assert_eq!(new(), 0);
    assert_eq!(lab.traces(), Vec::<String>::new());
    lab.expect(&["down", "--all", "--caches"]);
    assert!(!dir.exists());
}

#[test]
fn what_others_wrote_is_never_overwritten_or_removed() {
    if !can_be_tried() {
        return;
    }
    let lab = Lab::new("f");
    let up = ["up", "--servers", "1", "--agents", "0"];
    std::fs::write(lab.inventory(), "[cluster]\nname = \"mine\"\n").unwrap();
    let refused = lab.run(&up);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).contains("this lab did not write it"),
        "{}",
        said(&refused)
    );
    assert_eq!(
        std::fs::read_to_string(lab.inventory()).unwrap(),
        "[cluster]\nname = \"mine\"\n"
    );
    std::fs::remove_file(lab.inventory()).unwrap();
    assert_eq!(lab.traces(), Vec::<String>::new());

    lab.expect(&up);
    let text = std::fs::read_to_string(lab.inventory()).unwrap() + "# mine\n";
    std::fs::write(lab.inventory(), &text).unwrap();
    let told = lab.expect(&["up"]);
    assert!(told.contains("was changed since"), "{told}");
    let told = lab.expect(&["down"]);
    assert!(told.contains("was changed since"), "{told}");
    assert_eq!(std::fs::read_to_string(lab.inventory()).unwrap(), text);
    std::fs::remove_file(lab.inventory()).unwrap();
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn folders_of_others_with_a_labs_name_are_refused_and_stay() {
    if !can_be_tried() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::within("h", folder.path());
    let mine = lab.folder().join("mine");
    let base = folder.path().join(".cache/new-mine");
    std::fs::create_dir(lab.folder()).unwrap();
    std::fs::write(&mine, "mine").unwrap();
    for args in [&["up", "--servers", "200"][..], &["up"], &["down"]] {
        let refused = lab.run(args);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        let words = "is there and is no lab";
        assert!(said(&refused).contains(words), "{}", said(&refused));
        assert!(mine.exists(), "lab {args:?}");
    }
    lab.expect(&["down", "--all"]);
    assert!(mine.exists());
    std::fs::remove_dir_all(lab.folder()).unwrap();

    std::fs::create_dir_all(&base).unwrap();
    for args in [&["up"][..], &["down", "--all", "--caches"]] {
        let refused = lab.run(args);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        let words = "is there and is no cache of labs";
        assert!(said(&refused).contains(words), "{}", said(&refused));
    }
    lab.expect(&["down"]);
    assert!(base.exists());
    std::fs::remove_dir_all(folder.path().join(".cache")).unwrap();

    // What this call made for a lab that cannot be is gone again.
    let refused = lab.run(&["up", "--servers", "200"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert_eq!(lab.traces(), Vec::<String>::new());
    lab.expect(&["down", "--all", "--caches"]);
    assert!(!folder.path().exists());
}

#[test]
fn who_is_not_root_or_has_no_project_is_told_what_to_do() {
    if !can_be_tried() {
        return;
    }
    let lab = Lab::new("g");
    let empty = tempfile::tempdir().unwrap();
    let refused = lab
        .command(&["up"])
        .current_dir(empty.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    for words in ["no project", "hmco-boot init", "--no-inventory"] {
        assert!(said(&refused).contains(words), "{}", said(&refused));
    }
    assert_eq!(lab.traces(), Vec::<String>::new());
    let refused = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--clear-groups",
            env!("CARGO_BIN_EXE_hmco-boot"),
            "lab",
            "status",
        ])
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("needs root"), "{}", said(&refused));
}
