//! Real nodes for tests: one rehearsal lab for the whole test program, lent out node by node, and projects whose
//! inventory has only the nodes that a test was lent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_hmco-boot");

/// Nodes of the lab.
const NODES: usize = 6;

/// The lab of this test program, where this machine can have one.
static LAB: LazyLock<Option<Lab>> = LazyLock::new(Lab::up);
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static RETURNED: Condvar = Condvar::new();
/// A lab takes one command at a time that changes it.
static AT_WORK: Mutex<()> = Mutex::new(());

/// Takes away what an earlier test left on a node. Files of tests are in /srv, and those that must be elsewhere are called
/// `hmtest`.
const CLEAN: &str = "set -e
    for m in $(sed -n 's/^[^ ]* \\(\\/srv[^ ]*\\) .*/\\1/p' /proc/mounts | sort -r); do sudo umount -l $m; done
    old=$(dpkg-query -W -f '${binary:Package}\\n' 'hmtest*' 2>/dev/null) || true
    sudo touch /srv/go
    [ -z \"$old\" ] || sudo dpkg --purge --force-all $old
    sudo rm -rf /srv/* /run/hmco-boot /var/lib/hmco-boot /etc/apt/apt.conf.d/*hmtest* /etc/sudoers.d/hmtest
    sudo systemctl stop 'hmtest*' 2>/dev/null || true
    sudo rm -f /etc/systemd/system/hmtest* /etc/systemd/system/*/hmtest* /run/hmtest*
    sudo systemctl daemon-reload
    sudo systemctl reset-failed
    for u in $(sed -n 's/^\\(hmtest[^:]*\\):.*/\\1/p' /etc/passwd); do sudo userdel -rf $u 2>/dev/null; done
    if ls /etc/ssh/sshd_config.d/hmtest* >/dev/null 2>&1; then
      sudo rm -f /etc/ssh/sshd_config.d/hmtest*
      sudo systemctl restart ssh
    fi";

/// Of how many torture tests CI runs one.
const SHARE: u64 = 4;

/// The seed of what is chosen and of when things break: `HMCO_TORTURE_SEED`.
pub fn seed() -> u64 {
    std::env::var("HMCO_TORTURE_SEED").map_or(20_261_121, |seed| seed.parse().unwrap())
}

pub fn is_torture() -> bool {
    std::env::var_os("HMCO_TORTURE").is_some()
}

fn is_chosen(test: &str) -> bool {
    let mixed = test.bytes().fold(seed(), |mixed, byte| {
        (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    is_torture() || (mixed >> 32).is_multiple_of(SHARE)
}

struct Lab {
    name: String,
    /// The tables of the inventory that the lab wrote.
    inventory: toml::Table,
}

impl Lab {
    fn up() -> Option<Self> {
        let missing = ["debootstrap", "systemd-nspawn", "nft", "ip", "ssh"]
            .into_iter()
            .find(|tool| !has(tool));
        if !rustix::process::geteuid().is_root() || missing.is_some() {
            crate::skip::tell(format_args!(
                "real nodes need root, debootstrap, systemd-container, nftables, iproute2 and openssh-client ({missing:?})"
            ));
            return None;
        }
        let name = format!("t{}", std::process::id());
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("inventory")).unwrap();
        take_down_after(&name);
        let up = lab(&name)
            .args(["up", "--servers", &NODES.to_string(), "--agents", "0"])
            .current_dir(project.path())
            .output()
            .unwrap();
        assert!(up.status.success(), "{}", told(&up));
        let text =
            std::fs::read_to_string(project.path().join(format!("inventory/{name}.toml"))).unwrap();
        *lock(&FREE) = (1..=NODES).map(|n| format!("{name}-{n}")).collect();
        Some(Self {
            name,
            inventory: text.parse().unwrap(),
        })
    }
}

/// Nothing is told when a test program ends, so a shell awaits that: its standard input is a pipe that closes then.
#[expect(
    clippy::zombie_processes,
    reason = "it outlives this program by design"
)]
fn take_down_after(name: &str) {
    let mut watch = Command::new("setsid")
        .args([
            "sh",
            "-c",
            "cat > /dev/null; exec \"$0\" lab --name \"$1\" down",
            BINARY,
            name,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::mem::forget(watch.stdin.take());
}

fn lab(name: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["lab", "--name", name]).stdin(Stdio::null());
    command
}

fn has(tool: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\"", tool])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed while it held a lock must not fail the others.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a program said, for messages.
pub fn told(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Nodes that a test was lent, and a project with just them. They come back running and uncut.
pub struct World {
    pub nodes: Vec<String>,
    folder: tempfile::TempDir,
}

impl World {
    /// `None` where there can be no lab; that was said.
    pub fn with(count: usize, playbook: &str) -> Option<Self> {
        LAB.as_ref()?;
        let mut free = lock(&FREE);
        while free.len() < count {
            free = RETURNED.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        // The inventory's order.
        free.sort();
        let nodes = free.drain(..count).collect();
        drop(free);
        let world = Self {
            nodes,
            folder: tempfile::tempdir().unwrap(),
        };
        world.write_inventory(|_| {});
        world.write_playbook(playbook);
        world.clean();
        Some(world)
    }

    /// Takes away what was done on the nodes.
    pub fn clean(&self) {
        for node in 0..self.nodes.len() {
            self.on(node, CLEAN);
        }
    }

    /// Where an operator's runs are recorded.
    pub fn state(&self, operator: &str) -> PathBuf {
        self.folder.path().join(operator)
    }

    /// Takes away an operator's records, and with them what is known of runs.
    pub fn forget(&self, operator: &str) {
        std::fs::remove_dir_all(self.state(operator)).unwrap();
    }

    /// The same, for a test that CI runs only where its seed chooses it; all of them run with `HMCO_TORTURE`.
    pub fn for_torture(test: &str, count: usize, playbook: &str) -> Option<Self> {
        if is_chosen(test) {
            Self::with(count, playbook)
        } else {
            crate::skip::tell(format_args!("{test}: part of `make torture`"));
            None
        }
    }

    /// Writes the inventory, changed by the test.
    pub fn write_inventory(&self, change: impl FnOnce(&mut toml::Table)) {
        let lab = LAB.as_ref().unwrap();
        let mut inventory = lab.inventory.clone();
        inventory["cluster"] = toml::toml! { name = "test" }.into();
        inventory["node"]
            .as_table_mut()
            .unwrap()
            .retain(|name, _| self.nodes.iter().any(|node| node == name));
        change(&mut inventory);
        self.write("inventory/test.toml", &inventory.to_string());
    }

    pub fn write_playbook(&self, steps: &str) {
        self.write("playbooks/main.toml", &format!("title = \"Test\"\n{steps}"));
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// The home of the user who runs hmco-boot.
    pub fn home(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// hmco-boot with a state folder of its own; another operator's is another `state`.
    pub fn command_as(&self, state: &str, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("HMCO_BOOT_STATE_DIR", self.state(state))
            .stdin(Stdio::null());
        command
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_as("state", args)
    }

    /// Runs hmco-boot to its end, which must be this exit code; gives both outputs.
    pub fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            told(&output)
        );
        told(&output)
    }

    /// Starts hmco-boot with its events as JSON lines.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::new(self.command(args).args(["--output", "json"]))
    }

    /// The state of every pair, by `STEP@TARGET`, of the last run on record.
    pub fn outcomes(&self) -> BTreeMap<String, String> {
        let shown = self
            .command(&["runs", "show", "--output", "json"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shown.stdout);
        let (mut labels, mut outcomes) = (Vec::new(), BTreeMap::new());
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {}", told(&shown)));
            let event = &record["event"];
            match event["type"].as_str().unwrap() {
                "run_started" => {
                    let pairs = event["pairs"].as_array().unwrap().iter();
                    let label = |pair: &serde_json::Value| {
                        let step = pair["step"].as_str().unwrap();
                        format!("{step}@{}", pair["target"]["node"].as_str().unwrap())
                    };
                    labels = pairs.map(label).collect();
                }
                "step_finished" => {
                    let pair = usize::try_from(event["pair"].as_u64().unwrap()).unwrap();
                    outcomes.insert(labels[pair].clone(), event["outcome"].to_string());
                }
                _ => {}
            }
        }
        outcomes
    }

    fn lab(&self) -> Command {
        lab(&LAB.as_ref().unwrap().name)
    }

    fn do_lab(&self, args: &[&str]) {
        let _one = lock(&AT_WORK);
        let done = self.lab().args(args).output().unwrap();
        assert!(done.status.success(), "lab {args:?}: {}", told(&done));
    }

    /// Runs shell text on a node, as its user; it must succeed.
    pub fn on(&self, node: usize, text: &str) -> String {
        let output = self.try_on(node, text);
        assert!(output.status.success(), "{text}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn try_on(&self, node: usize, text: &str) -> Output {
        self.lab()
            .args(["ssh", &self.nodes[node], "--", text])
            .output()
            .unwrap()
    }

    /// A power cut.
    pub fn kill(&self, node: usize) {
        self.do_lab(&["kill", &self.nodes[node]]);
    }

    /// Power is back, and the node answers SSH.
    pub fn boot(&self, node: usize) {
        self.do_lab(&["start", &self.nodes[node]]);
    }

    /// Limits a node's CPU time: `25%`, `off`.
    pub fn throttle(&self, node: usize, limit: &str) {
        self.do_lab(&["throttle", limit, &self.nodes[node]]);
    }

    /// Drops all packets between a node and everybody, this machine too.
    pub fn cut(&self, node: usize) {
        self.do_lab(&["cut", &self.nodes[node]]);
    }

    pub fn heal(&self, node: usize) {
        self.do_lab(&["cut", &self.nodes[node], "--heal"]);
    }

    /// A node's file tree, as this machine sees it while the node is up.
    pub fn root(&self, node: usize) -> PathBuf {
        let dir = std::env::var_os("HMCO_BOOT_LAB_DIR")
            .map_or_else(|| PathBuf::from("/var/lib/hmco-boot-lab"), PathBuf::from);
        let lab = &LAB.as_ref().unwrap().name;
        dir.join(lab)
            .join("nodes")
            .join(self.name(node))
            .join("root")
    }

    /// Its SSH server's address.
    pub fn address(&self, node: usize) -> String {
        let lab = LAB.as_ref().unwrap();
        let address = &lab.inventory["node"][self.name(node)]["address"];
        address.as_str().unwrap().to_owned()
    }

    /// Process 1 of a node, by its number on this machine.
    pub fn leader(&self, node: usize) -> String {
        let root = self.root(node);
        let is_leader = |pid: &str| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let number = ids.and_then(|ids| ids.split_whitespace().nth(1).map(str::to_owned));
            let host = format!("/proc/{pid}/root/etc/hostname");
            number.as_deref() == Some("1")
                && std::fs::read_to_string(host).ok()
                    == std::fs::read_to_string(root.join("etc/hostname")).ok()
        };
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            .find(|pid| is_leader(pid))
            .unwrap()
    }

    /// A node's name.
    pub fn name(&self, node: usize) -> &str {
        &self.nodes[node]
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _one = lock(&AT_WORK);
        for node in &self.nodes {
            for args in [
                &["cut", node, "--heal"][..],
                &["start", node],
                &["throttle", "off", node],
            ] {
                let done = self.lab().args(args).output();
                if !done.as_ref().is_ok_and(|done| done.status.success()) {
                    eprintln!("lab {args:?}: {done:?}");
                }
            }
        }
        lock(&FREE).append(&mut self.nodes);
        RETURNED.notify_all();
    }
}

/// hmco-boot at work.
pub struct Running {
    pub child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    seen: String,
}

impl Running {
    pub fn new(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            seen: String::new(),
        }
    }

    /// Reads on until a line holds all of these words; gives it.
    pub fn until(&mut self, words: &[&str]) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.seen.push_str(&line);
            self.seen.push('\n');
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
        let mut errors = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        panic!("no line with {words:?} came:\n{}\n{errors}", self.seen);
    }

    /// Reads one more event. `None`: there was none.
    pub fn event(&mut self) -> Option<String> {
        let line = self.lines.next()?.unwrap();
        self.seen.push_str(&line);
        self.seen.push('\n');
        Some(line)
    }

    /// Sends a signal, as Ctrl-C does.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Awaits its end; gives exit code and everything it said.
    pub fn end(mut self) -> (Option<i32>, String) {
        for line in self.lines.by_ref() {
            self.seen.push_str(&line.unwrap());
            self.seen.push('\n');
        }
        let mut errors = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        (
            self.child.wait().unwrap().code(),
            format!("{}{errors}", self.seen),
        )
    }
}

/// Waits until something holds, for at most a minute.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited for {what} in vain"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
