//! A machine under test and what a test may look at without asking the machine's seam.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hmco_boot::artifact::memory::MemoryArtifacts;
use hmco_boot::model::action::{Action, Job, JobEnd, JobStatus, Ownership, Program};
use hmco_boot::model::id::JobId;
use hmco_boot::model::path::AbsPath;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::{Mode, TimeSpan};
use hmco_boot::transport::fake::{FakeHost, FakeKind, FakeRun};
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::{DEFAULT_PATH, Machine, Settings};
use hmco_boot::transport::ssh::{SshShell, Sudo};
use hmco_boot::transport::upload::UploadSettings;
use hmco_boot::transport::{Applied, Host, HostError};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::sshd::Sshd;

/// Nothing a test waits for takes longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Rig {
    pub host: Box<dyn Host>,
    pub world: World,
    output: Mutex<String>,
    /// The server that the host is reached through; held.
    server: Option<Sshd>,
}

pub enum World {
    Fake(FakeHost),
    Local { root: TempDir, _tools: TempDir },
}

/// What controllers can fetch; every test has URLs of its own.
pub fn artifacts() -> MemoryArtifacts {
    static ALL: OnceLock<MemoryArtifacts> = OnceLock::new();
    ALL.get_or_init(MemoryArtifacts::default).clone()
}

/// Shells that a local rig may use.
pub fn sandbox(shell: &str) -> Option<(Settings, World)> {
    let tools = tempfile::tempdir().unwrap();
    let mut path = DEFAULT_PATH.to_owned();
    let found = |name: &str| {
        DEFAULT_PATH
            .split(':')
            .any(|dir| PathBuf::from(dir).join(name).exists())
    };
    let words: Vec<String> = match shell {
        "busybox" => vec!["busybox".to_owned(), "ash".to_owned()],
        other => vec![other.to_owned()],
    };
    if !found(&words[0]) {
        crate::skip::tell(format_args!("this machine has no {shell}"));
        return None;
    }
    if shell == "busybox" {
        let installed = Command::new("busybox")
            .args(["--install", "-s"])
            .arg(tools.path())
            .status()
            .unwrap();
        assert!(installed.success());
        path = tools.path().to_str().unwrap().to_owned();
    }
    let root = tempfile::tempdir().unwrap();
    let upload = UploadSettings {
        pause: Duration::from_millis(10),
        ..UploadSettings::default()
    };
    let settings = Settings {
        artifacts: Some(Arc::new(artifacts())),
        upload,
        root: Some(AbsPath::new(root.path().to_str().unwrap()).unwrap()),
        shell: words,
        path,
        ..Settings::default()
    };
    Some((
        settings,
        World::Local {
            root,
            _tools: tools,
        },
    ))
}

impl Rig {
    pub fn local(shell: &str) -> Option<Self> {
        let (settings, world) = sandbox(shell)?;
        Some(Self::with(Box::new(LocalHost::new(settings)), world))
    }

    pub fn with(host: Box<dyn Host>, world: World) -> Self {
        Self {
            host,
            world,
            output: Mutex::new(String::new()),
            server: None,
        }
    }

    /// A sandbox on this machine, over SSH.
    pub fn ssh(shell: &str) -> Option<Self> {
        let server = Sshd::start("")?;
        let (settings, world) = sandbox(shell)?;
        let shell = SshShell::new(server.route("root"), Sudo::None, Arc::default());
        let mut rig = Self::with(Box::new(Machine::new(shell, settings)), world);
        rig.server = Some(server);
        Some(rig)
    }

    pub fn fake() -> Option<Self> {
        let fake = FakeHost::new();
        fake.on_run(|program, tree| {
            let argv: Vec<&str> = program.argv.iter().map(String::as_str).collect();
            let value = |name: &str| {
                let found = program.env.iter().find(|(key, _)| key == name);
                found.map_or("", |(_, value)| value.expose())
            };
            match argv.as_slice() {
                ["printf", "%s", text] => FakeRun::exit(0, *text),
                ["sh", "-c", SPEAK] => FakeRun::exit(
                    0,
                    format!(
                        "[{}]{}",
                        value("WORD"),
                        program.stdin.as_ref().map_or("", Text::expose)
                    ),
                ),
                ["sh", "-c", NOISY, n] => FakeRun::exit(0, noise(n.parse().unwrap())),
                ["sh", "-c", "exit \"$1\"", "sh", n] => FakeRun::exit(n.parse().unwrap(), ""),
                ["sh", "-c", "kill -9 $$"] => FakeRun::exit(137, ""),
                ["pwd"] => FakeRun::exit(
                    0,
                    format!("{}\n", program.cwd.as_ref().map_or("/", AbsPath::as_str)),
                ),
                ["touch", file] => {
                    tree.write(&abs(file), "", 0o644);
                    FakeRun::exit(0, "")
                }
                ["cat", _] => FakeRun::endless(),
                ["sh", "-c", HELD] => {
                    tree.write(&abs("/ran"), "ran\n", 0o644);
                    FakeRun::exit(0, "held\n")
                }
                _ => FakeRun {
                    exit: Some(127),
                    stdout: String::new(),
                    stderr: "not found\nhmco-boot: exit status 127\n".to_owned(),
                },
            }
        });
        Some(Self::with(Box::new(fake.clone()), World::Fake(fake)))
    }

    /// The sandbox's path of a path.
    pub fn at(&self, path: &str) -> PathBuf {
        match &self.world {
            World::Local { root, .. } => root.path().join(path.trim_start_matches('/')),
            World::Fake(_) => panic!("a machine in memory has no files here"),
        }
    }

    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        match &self.world {
            World::Fake(fake) => {
                fake.with_tree(|tree| tree.content(&abs(path)).map(<[u8]>::to_vec))
            }
            World::Local { .. } => std::fs::read(self.at(path)).ok(),
        }
    }

    pub fn is_there(&self, path: &str) -> bool {
        match &self.world {
            World::Fake(fake) => fake.with_tree(|tree| tree.get(&abs(path)).is_some()),
            World::Local { .. } => std::fs::symlink_metadata(self.at(path)).is_ok(),
        }
    }

    pub fn mode(&self, path: &str) -> u32 {
        match &self.world {
            World::Fake(fake) => fake.with_tree(|tree| tree.get(&abs(path)).unwrap().mode),
            World::Local { .. } => {
                std::fs::metadata(self.at(path))
                    .unwrap()
                    .permissions()
                    .mode()
                    & 0o7777
            }
        }
    }

    pub fn link(&self, path: &str) -> Option<String> {
        match &self.world {
            World::Fake(fake) => fake.with_tree(|tree| match &tree.get(&abs(path))?.kind {
                FakeKind::Symlink(to) => Some(to.clone()),
                _ => None,
            }),
            World::Local { .. } => {
                let to = std::fs::read_link(self.at(path)).ok()?;
                Some(to.to_str().unwrap().to_owned())
            }
        }
    }

    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        match &self.world {
            World::Fake(fake) => {
                fake.with_tree(|tree| tree.write(&abs(path), bytes.as_ref(), 0o644))
            }
            World::Local { .. } => {
                self.make_folder(abs(path).parent().unwrap().as_str());
                std::fs::write(self.at(path), bytes).unwrap();
            }
        }
    }

    pub fn make_folder(&self, path: &str) {
        match &self.world {
            World::Fake(fake) => fake.with_tree(|tree| tree.make_folders(&abs(path))),
            World::Local { .. } => std::fs::create_dir_all(self.at(path)).unwrap(),
        }
    }

    pub fn put_link(&self, path: &str, to: &str) {
        match &self.world {
            World::Fake(fake) => fake.with_tree(|tree| tree.link(&abs(path), to)),
            World::Local { .. } => std::os::unix::fs::symlink(to, self.at(path)).unwrap(),
        }
    }

    /// Names in a folder, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        match &self.world {
            World::Fake(fake) => fake.with_tree(|tree| {
                tree.paths()
                    .filter(|each| each.parent().is_some_and(|parent| parent.as_str() == path))
                    .map(|each| each.file_name().to_owned())
                    .collect()
            }),
            World::Local { .. } => {
                let mut names: Vec<String> = std::fs::read_dir(self.at(path))
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                names
            }
        }
    }

    pub async fn apply(&self, job: &Job) -> Result<Applied, HostError> {
        within(self.host.apply(job, &[], &|text| self.hear(text))).await
    }

    /// Applies one action as a job of its own.
    pub async fn act(&self, id: &str, action: Action) -> JobEnd {
        self.apply(&job(id, [action])).await.unwrap().end
    }

    pub async fn attach(&self, id: &str, end: bool) -> Result<JobEnd, HostError> {
        within(
            self.host
                .attach(&JobId::new(id), end, &|text| self.hear(text)),
        )
        .await
    }

    /// More time passes than any lease lasts.
    pub fn pretend_time(&self) {
        match &self.world {
            World::Fake(fake) => fake.pass(Duration::from_secs(100_000)),
            World::Local { .. } => self.rewrite_lock("until ", "until 0"),
        }
    }

    /// The lock is one of another boot.
    pub fn pretend_reboot(&self) {
        match &self.world {
            World::Fake(fake) => fake.reboot(),
            World::Local { .. } => self.rewrite_lock("boot ", "boot another"),
        }
    }

    /// The newest state of the lock.
    pub fn newest_lock(&self) -> PathBuf {
        let number = |name: &String| name.strip_prefix("lock.")?.parse::<u32>().ok();
        let newest = self.names("/run/hmco-boot").iter().filter_map(number).max();
        self.at(&format!("/run/hmco-boot/lock.{}", newest.unwrap()))
    }

    fn rewrite_lock(&self, start: &str, line: &str) {
        let path = self.newest_lock();
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = |old: &str| match old.starts_with(start) {
            true => format!("{line}\n"),
            false => format!("{old}\n"),
        };
        let text: String = text.lines().map(changed).collect();
        std::fs::write(&path, text).unwrap();
    }

    pub fn hear(&self, text: &str) {
        self.output.lock().unwrap().push_str(text);
    }

    /// What was streamed so far.
    pub fn heard(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Jobs of [`held`] begin, and do not end before [`Rig::release`].
    pub fn hold(&self) {
        match &self.world {
            World::Fake(fake) => fake.hold_jobs(true),
            World::Local { .. } => {
                let made = Command::new("mkfifo")
                    .arg(self.at("gate"))
                    .status()
                    .unwrap();
                assert!(made.success());
            }
        }
    }

    pub fn release(&self) {
        match &self.world {
            World::Fake(fake) => fake.hold_jobs(false),
            // Waits for the reader, so it cannot come too early.
            World::Local { .. } => std::fs::write(self.at("gate"), "go\n").unwrap(),
        }
    }

    /// Nothing is held any more; the gate stays shut for those that wait at it.
    pub fn unhold(&self) {
        if let World::Fake(fake) = &self.world {
            fake.hold_jobs(false);
        }
    }

    /// Waits until a job of [`held`] is in its program.
    pub async fn until_held(&self) {
        match &self.world {
            World::Fake(_) => tokio::task::yield_now().await,
            World::Local { .. } => until("the program runs", || self.at("inside").exists()).await,
        }
    }

    /// Runs a job and leaves it when it is in its program, as a crash would.
    pub async fn abandon(&self, id: &str) {
        let job = held(id);
        let apply = self.host.apply(&job, &[], &|_| ());
        tokio::pin!(apply);
        let inside = async {
            self.until_held().await;
            // The machine in memory begins when it is polled.
            tokio::task::yield_now().await;
        };
        tokio::select! {
            biased;
            result = &mut apply => panic!("a held job ended: {result:?}"),
            () = inside => {}
        }
    }
}

impl Drop for Rig {
    /// A test that fails leaves no jobs behind that wait at their gate for ever.
    fn drop(&mut self) {
        let World::Local { root, .. } = &self.world else {
            return;
        };
        let Ok(jobs) = std::fs::read_dir(root.path().join("run/hmco-boot/jobs")) else {
            return;
        };
        for folder in jobs.flatten() {
            for file in ["pid", "guard"] {
                let text = std::fs::read_to_string(folder.path().join(file)).unwrap_or_default();
                let (number, began) = text.trim().split_once(' ').unwrap_or_default();
                // The number may be somebody else's by now.
                let stat = std::fs::read_to_string(format!("/proc/{number}/stat"));
                let since = stat.ok().and_then(|stat| {
                    let (_, rest) = stat.rsplit_once(") ")?;
                    rest.split(' ').nth(19).map(str::to_owned)
                });
                if since.as_deref() != Some(began) {
                    continue;
                }
                let number = number.parse().ok();
                // One test writes its own number there.
                let other = number.filter(|number| *number != std::process::id().cast_signed());
                if let Some(group) = other.and_then(Pid::from_raw) {
                    kill_process_group(group, Signal::KILL).ok();
                }
            }
        }
    }
}

/// Prints an environment variable and standard input.
pub const SPEAK: &str = "printf '[%s]' \"$WORD\"; cat";
/// Prints many lines.
pub const NOISY: &str = "i=0; while [ $i -lt \"$0\" ]; do printf '%015d\\n' $i; i=$((i+1)); done";
/// Says that it runs, waits for the gate, says that it went through.
pub const HELD: &str = "echo held; : > \"$HMCO_BOOT_ROOT/inside\"; read -r x < \"$HMCO_BOOT_ROOT/gate\"; echo ran >> \"$HMCO_BOOT_ROOT/ran\"";

pub fn noise(lines: usize) -> String {
    (0..lines).map(|line| format!("{line:015}\n")).collect()
}

pub fn abs(path: &str) -> AbsPath {
    AbsPath::new(path).unwrap()
}

pub fn job(id: &str, actions: impl IntoIterator<Item = Action>) -> Job {
    Job {
        id: JobId::new(id),
        label: format!("{id}@test"),
        actions: actions.into_iter().collect(),
        timeout: TimeSpan(Duration::from_secs(60)),
        fence: None,
    }
}

pub fn held(id: &str) -> Job {
    job(id, [run(&["sh", "-c", HELD])])
}

pub fn program(argv: &[&str]) -> Program {
    Program {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        cwd: None,
        env: Vec::new(),
        stdin: None,
        ok_exit: vec![0],
        retry_exit: Vec::new(),
        purpose: None,
    }
}

pub fn run(argv: &[&str]) -> Action {
    Action::Run(program(argv))
}

pub fn write(path: &str, content: &str) -> Action {
    Action::WriteFile {
        path: abs(path),
        content: Text::plain(content),
        mode: Mode(0o640),
        owner: Ownership::default(),
        backup: false,
        replaces: None,
    }
}

/// Fails instead of hanging.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("done before the deadline")
}

/// Waits for something that nothing announces.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn failed(action: u32, exit: i32) -> JobStatus {
    JobStatus::Failed {
        action,
        exit,
        retryable: false,
    }
}
