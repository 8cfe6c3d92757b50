//! A project in a temporary folder and the real binary in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A project, its state folder beside it.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// With nodes `n0`, `n1` ..., each this machine with a sandbox of its own, and one playbook `main`.
    pub fn new(nodes: usize, playbook: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut inventory = "[cluster]\nname = \"test\"\n".to_owned();
        for node in 0..nodes {
            inventory.push_str(&format!(
                "[node.n{node}]\nconnection = \"local\"\nroot = \"root{node}\"\n"
            ));
            std::fs::create_dir_all(project.root(node)).unwrap();
        }
        project.write("inventory/test.toml", &inventory);
        project.write_playbook(playbook);
        project
    }

    /// The playbook `main`, with a title in front.
    pub fn write_playbook(&self, steps: &str) {
        self.write("playbooks/main.toml", &format!("title = \"Test\"\n{steps}"));
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The home of the user who runs it.
    pub fn home(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The sandbox of a node.
    pub fn root(&self, node: usize) -> PathBuf {
        self.path().join(format!("root{node}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hmco-boot"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("HMCO_BOOT_STATE_DIR", self.state())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must end with this exit code; gives its standard output.
    pub fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "hmco-boot {args:?}\n{out}\n{err}"
        );
        out.into_owned()
    }

    /// Starts a command whose JSON events are read one by one.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut child = self
            .command(args)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// Everything below the sandboxes but hmco-boot's own books: path to kind, mode and content.
    pub fn tree(&self, nodes: usize) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for node in 0..nodes {
            walk(&self.root(node), &self.path(), &mut found);
        }
        found.retain(|path, _| !path.contains("/run/hmco-boot") && !path.ends_with("/run"));
        found
    }

    /// Job folders that are left on a node.
    pub fn leftover_jobs(&self, node: usize) -> Vec<String> {
        let jobs = self.root(node).join("run/hmco-boot/jobs");
        let entries = std::fs::read_dir(jobs).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }
}

fn walk(path: &Path, base: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let name = path
            .strip_prefix(base)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let content = if meta.is_symlink() {
            format!("-> {}", std::fs::read_link(&path).unwrap().display())
        } else if meta.is_dir() {
            walk(&path, base, found);
            "folder".to_owned()
        } else if meta.is_file() {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
        } else {
            "special".to_owned()
        };
        found.insert(
            name,
            format!("{:04o} {content}", meta.permissions().mode() & 0o7777),
        );
    }
}

/// A command that is under way.
pub struct Running {
    pub child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    /// The next event, as JSON; `None` at the end.
    pub fn event(&mut self) -> Option<serde_json::Value> {
        self.lines
            .next()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    /// Reads events up to one of this type.
    pub fn until(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let event = self
                .event()
                .unwrap_or_else(|| panic!("the run ended before {kind}"));
            if event["event"]["type"] == kind {
                return event;
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Reads to the end; the exit code.
    pub fn end(mut self) -> Option<i32> {
        while self.event().is_some() {}
        self.child.wait().unwrap().code()
    }
}

/// Waits for something to become true, for at most a minute.
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(
            Instant::now() < limit,
            "{what} did not happen within a minute"
        );
        std::thread::yield_now();
    }
}

pub fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}
