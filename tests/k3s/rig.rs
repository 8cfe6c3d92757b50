//! A lab of its own for one story, with a project beside it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::secrets;

const BINARY: &str = env!("CARGO_BIN_EXE_hmco-boot");

/// The archive of images that a real K3s is given, as `$K3S_IMAGES` names it: nodes of a lab reach no registry.
fn images() -> Option<PathBuf> {
    std::env::var_os("K3S_IMAGES").map(PathBuf::from)
}

/// Whether the binary is the stand-in, which says so on its Nodes.
fn is_simulated(k3s: &std::path::Path) -> bool {
    Command::new("grep")
        .args(["-q", "-F", "hmco-boot/simulated"])
        .arg(k3s)
        .status()
        .is_ok_and(|status| status.success())
}

/// A lab, its project, and the home of who runs hmco-boot. Taken down with it.
pub struct World {
    name: String,
    servers: usize,
    /// Whether its K3s is the stand-in.
    simulated: bool,
    folder: tempfile::TempDir,
}

/// Another letter each time: labs of one test program are told apart by it.
fn letter() -> char {
    static USED: AtomicU8 = AtomicU8::new(0);
    char::from(b'a' + USED.fetch_add(1, Ordering::Relaxed) % 26)
}

/// The K3s to try with.
fn k3s() -> Option<PathBuf> {
    let named = std::env::var_os("K3S").map(PathBuf::from);
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/k3s-standin/k3s");
    named.or(Some(built)).filter(|path| path.is_file())
}

fn has(tool: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\"", tool])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
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

impl World {
    /// `None` where there can be none; that was said.
    pub fn up(servers: usize, agents: usize) -> Option<Self> {
        let tools = ["debootstrap", "systemd-nspawn", "nft", "ip", "ssh"];
        let missing = tools.into_iter().find(|tool| !has(tool));
        if !rustix::process::geteuid().is_root() || missing.is_some() {
            crate::skip::tell(format_args!(
                "needs root and the tools of the rehearsal lab ({missing:?})"
            ));
            return None;
        }
        let Some(k3s) = k3s() else {
            crate::skip::tell("no K3s: name one by $K3S, or build target/k3s-standin/k3s");
            return None;
        };
        let world = Self {
            name: format!("k{}{}", std::process::id() % 10_000, letter()),
            servers,
            simulated: is_simulated(&k3s),
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(world.project().join("inventory")).unwrap();
        world.write("playbooks/README.md", "");
        secrets::store(
            &world.project(),
            &world.home(),
            &[("app/other", "not-of-k3s")],
        );
        let nodes = servers + agents;
        let (servers, agents) = (servers.to_string(), agents.to_string());
        let args = ["up", "--servers", &servers, "--agents", &agents, "--k3s"];
        let mut up = world.lab();
        up.args(args).arg(k3s);
        let up = up.output().unwrap();
        assert!(up.status.success(), "{}", told(&up));
        if let Some(images) = images() {
            world.give_images(&images, nodes);
        }
        Some(world)
    }

    /// Puts the archive where K3s looks for images before it pulls any.
    fn give_images(&self, images: &std::path::Path, nodes: usize) {
        let folder = "/var/lib/rancher/k3s/agent/images";
        for number in 1..=nodes {
            let name = images.file_name().unwrap().to_string_lossy();
            let text = format!("sudo sh -c 'mkdir -p {folder} && cat >{folder}/{name}'");
            let mut ssh = self.lab();
            ssh.args(["ssh", &self.node(number), "--", &text])
                .stdin(std::fs::File::open(images).unwrap());
            let done = ssh.output().unwrap();
            assert!(done.status.success(), "{}", told(&done));
        }
    }

    /// The playbook that makes a cluster, with all that needs no pods at least.
    pub fn bootstrap(&self) -> &'static str {
        if self.pods("the whole of bootstrap-all") {
            return "bootstrap-all";
        }
        "k3s"
    }

    /// The name of its cluster.
    pub fn cluster(&self) -> &str {
        &self.name
    }

    /// Whether pods can run: those of the stand-in need no image, a real K3s has only what `$K3S_IMAGES` has. Where they
    /// cannot, this says what is skipped.
    pub fn pods(&self, what: &str) -> bool {
        let can = self.simulated || images().is_some();
        if !can {
            crate::skip::tell(format_args!(
                "{what}: needs pods; name an archive of this K3s' images by $K3S_IMAGES"
            ));
        }
        can
    }

    /// Whether pods of any image become ready.
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// An image that pods can be made of, where there can be pods: `$K3S_IMAGE`, else what K3s itself makes each pod with.
    pub fn image(&self) -> String {
        std::env::var("K3S_IMAGE").unwrap_or_else(|_| "rancher/mirrored-pause:3.6".to_owned())
    }

    /// How many of its nodes, from the first on, are servers.
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// The lab's own inventory.
    pub fn inventory(&self) -> PathBuf {
        let file = format!("inventory/{}.toml", self.name);
        self.project().join(file)
    }

    /// The file tree of a node, as this machine sees it.
    pub fn root(&self, number: usize) -> PathBuf {
        let (lab, node) = (&self.name, self.node(number));
        PathBuf::from(format!("/var/lib/hmco-boot-lab/{lab}/nodes/{node}/root"))
    }

    pub fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    fn home(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The name of node `number`, from 1.
    pub fn node(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn lab(&self) -> Command {
        let mut lab = Command::new(BINARY);
        lab.args(["lab", "--name", &self.name])
            .current_dir(self.project())
            .stdin(Stdio::null());
        lab
    }

    /// Runs a command of the lab, which must succeed.
    pub fn do_lab(&self, args: &[&str]) {
        let done = self.lab().args(args).output().unwrap();
        assert!(done.status.success(), "lab {args:?}: {}", told(&done));
    }

    /// Runs shell text on a node as root, which must succeed; gives what it said.
    pub fn on(&self, number: usize, text: &str) -> String {
        let text = format!("sudo sh -c '{text}'");
        let args = ["ssh", &self.node(number), "--", &text];
        let output = self.lab().args(args).output().unwrap();
        assert!(output.status.success(), "{text}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// hmco-boot in the project.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .current_dir(self.project())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.home())
            .env("HMCO_BOOT_STATE_DIR", self.folder.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end, which must be this exit code; gives all it said.
    pub fn expect(&self, code: i32, args: &[&str]) -> String {
        let begun = std::time::Instant::now();
        let output = self.command(args).output().unwrap();
        eprintln!("{args:?}: {:.1} s", begun.elapsed().as_secs_f64());
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    }

    /// Starts it, with its events as JSON lines.
    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Starts it, and reads on until an event has all these words.
    pub fn start_until(&self, args: &[&str], words: &[&str]) -> Child {
        let mut child = self.spawn(args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        let found = lines.by_ref().any(|line| {
            let line = line.unwrap();
            seen.push_str(&line);
            seen.push('\n');
            words.iter().all(|word| line.contains(word))
        });
        assert!(found, "no line with {words:?} came: {seen}");
        // Nobody may block on a full pipe.
        std::thread::spawn(move || lines.by_ref().count());
        child
    }

    /// Starts a run or a resume, and reads on until it begins with that step, and for so many events more.
    pub fn start_in(&self, step: &str, events: usize, args: &[&str]) -> Child {
        let mut child = self.spawn(args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wanted = Vec::new();
        let began = lines.by_ref().any(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let event = &line["event"];
            for pair in event["pairs"].as_array().into_iter().flatten() {
                let path = pair["step"].as_str().unwrap();
                if path.rsplit('/').next() == Some(step) {
                    wanted.push(pair["id"].clone());
                }
            }
            event["type"] == "step_started" && wanted.contains(&event["pair"])
        });
        assert!(
            began,
            "{args:?} ended without a start of {step}: {wanted:?}"
        );
        lines.by_ref().take(events).for_each(drop);
        std::thread::spawn(move || lines.by_ref().count());
        child
    }

    /// Starts it, and reads on until it said so many events or ended.
    pub fn start_after(&self, args: &[&str], events: usize) -> Child {
        let mut child = self.spawn(args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines
            .by_ref()
            .take(events)
            .for_each(|line| drop(line.unwrap()));
        std::thread::spawn(move || lines.by_ref().count());
        child
    }

    /// What kubectl says on a node.
    pub fn kubectl(&self, number: usize, args: &str) -> String {
        self.on(number, &format!("kubectl {args}"))
    }
}

/// Its end: the exit code and what it said of errors.
pub fn end(mut child: Child) -> (Option<i32>, String) {
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    (child.wait().unwrap().code(), errors)
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("HMCO_KEEP_LAB").is_some() {
            eprintln!("kept: lab {}, {:?}", self.name, self.folder.path());
            return;
        }
        let down = self.lab().arg("down").output();
        if !down.as_ref().is_ok_and(|down| down.status.success()) {
            eprintln!("the lab {} is not down: {down:?}", self.name);
        }
    }
}
