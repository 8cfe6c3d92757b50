//! Plain users and sudo: users made for a test and removed after it, real sudo, real login shells.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmco_boot::model::action::{Action, Job, JobStatus, Ownership};
use hmco_boot::model::id::JobId;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::{Mode, TimeSpan};
use hmco_boot::transport::shell::Shell as _;
use hmco_boot::transport::ssh::route::Password;
use hmco_boot::transport::ssh::{SshShell, Sudo};
use hmco_boot::transport::{Host as _, HostError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::sshd::Sshd;
use super::support::{Said, hear, impatient, look, machine, path, refused, run, shell, within};

/// Account files have one lock each.
static ACCOUNTS: Mutex<()> = Mutex::new(());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A user of this machine for as long as a test.
pub struct User {
    pub name: String,
    pub password: String,
    /// Where sudo tells what it refused.
    log: PathBuf,
}

impl User {
    /// With rules for sudo, in which USER is its name. `None`, said aloud: this machine cannot.
    fn new(rules: &str) -> Option<Self> {
        let has = |name: &str| {
            ["/usr/sbin", "/usr/bin", "/bin"]
                .iter()
                .any(|dir| Path::new(dir).join(name).exists())
        };
        for tool in ["useradd", "chpasswd", "sudo"] {
            if !has(tool) {
                crate::skip::tell(format_args!("this machine has no {tool}"));
                return None;
            }
        }
        let _lock = ACCOUNTS.lock().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hb{}x{number}", std::process::id());
        let password = format!("correct-horse-{}-{number}", std::process::id());
        let made = Command::new("useradd")
            .args(["-m", "-s", "/bin/sh", &name])
            .status();
        assert!(made.unwrap().success());
        let log = std::env::temp_dir().join(format!("{name}.sudo.log"));
        let user = Self {
            name,
            password,
            log,
        };
        let mut chpasswd = Command::new("chpasswd")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let line = format!("{}:{}", user.name, user.password);
        chpasswd
            .stdin
            .take()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        assert!(chpasswd.wait().unwrap().success());
        if !rules.is_empty() {
            let text = format!("Defaults:USER logfile={}\n{rules}\n", user.log.display())
                .replace("USER", &user.name);
            std::fs::write(user.rules(), text).unwrap();
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(user.rules(), std::fs::Permissions::from_mode(0o440)).unwrap();
        }
        Some(user)
    }

    fn rules(&self) -> PathBuf {
        Path::new("/etc/sudoers.d").join(&self.name)
    }

    fn sudo(&self) -> Sudo {
        Sudo::Password(Password::new(self.password.clone()))
    }

    fn sudo_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn login_shell(&self, shell: &str) {
        let _lock = ACCOUNTS.lock().unwrap();
        let set = Command::new("usermod")
            .args(["-s", shell, &self.name])
            .status();
        assert!(set.unwrap().success());
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _lock = ACCOUNTS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::fs::remove_file(self.rules()).ok();
        std::fs::remove_file(&self.log).ok();
        Command::new("userdel")
            .args(["-r", "-f", &self.name])
            .stderr(Stdio::null())
            .status()
            .ok();
    }
}

fn setting(config: &str, rules: &str) -> Option<(Sshd, User)> {
    let server = Sshd::start(config)?;
    Some((server, User::new(rules)?))
}

fn becoming(server: &Sshd, user: &User, sudo: Sudo) -> SshShell {
    SshShell::new(server.route(&user.name), sudo, impatient())
}

async fn whoami(sh: &SshShell) -> Result<Said, HostError> {
    run(sh, "id -u; cat", b"the input").await
}

#[tokio::test]
async fn root_by_sudo_in_all_its_moods() {
    let rules = [
        ("USER ALL=(ALL) NOPASSWD: ALL", false),
        ("USER ALL=(ALL) NOPASSWD: ALL", true),
        ("USER ALL=(ALL) ALL", true),
        ("Defaults:USER !use_pty\nUSER ALL=(ALL) ALL", true),
        (
            "Defaults:USER use_pty, timestamp_timeout=0\nUSER ALL=(ALL) ALL",
            true,
        ),
        // The ticket of the first is good for those that follow: the password's line is left to the program.
        (
            "Defaults:USER timestamp_type=global\nUSER ALL=(ALL) ALL",
            true,
        ),
        (
            "Defaults:USER lecture=always, insults\nUSER ALL=(ALL) ALL",
            true,
        ),
    ];
    for (rules, password) in rules {
        let Some((server, user)) = setting("", rules) else {
            return;
        };
        let sudo = if password {
            user.sudo()
        } else {
            Sudo::Passwordless
        };
        let sh = becoming(&server, &user, sudo);
        for _ in 0..3 {
            let said = whoami(&sh).await.unwrap();
            assert_eq!(said.stdout, b"0\nthe input", "{rules}: {said:?}");
            assert_eq!(said.exit, Some(0));
            assert!(!said.stderr.contains("began"), "{said:?}");
        }
        let (a, b) = tokio::join!(whoami(&sh), whoami(&sh));
        assert_eq!(
            (a.unwrap().stdout, b.unwrap().stdout),
            (b"0\nthe input".to_vec(), b"0\nthe input".to_vec())
        );
        assert_eq!(server.count("Connection from"), 1);
        assert_eq!(run(&sh, "exit 7", b"").await.unwrap().exit, Some(7));
        let big = vec![b'x'; 3_000_000];
        assert!(
            run(&sh, "cat", &big).await.unwrap().stdout == big,
            "{rules}"
        );
        assert!(
            !user.sudo_log().contains("incorrect"),
            "{}",
            user.sudo_log()
        );
    }
}

#[tokio::test]
async fn a_machine_with_sudo_costs_one_connection_and_one_execution_too() {
    let Some((server, user)) = setting("", "USER ALL=(ALL) ALL") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let node = machine(becoming(&server, &user, user.sudo()), &root);
    look(&node).await.unwrap();
    assert_eq!(server.count("Connection from"), 1);
    assert_eq!(server.count("Starting session"), 1);
    // A job, as root, in a folder that the user cannot enter.
    let job = Job {
        id: JobId::new("j"),
        label: "j".to_owned(),
        actions: vec![Action::WriteFile {
            path: path("/made"),
            content: Text::plain("by root"),
            mode: Mode(0o600),
            owner: Ownership::default(),
            backup: false,
            replaces: None,
        }],
        timeout: TimeSpan(Duration::from_secs(20)),
        fence: None,
    };
    let applied = within(node.apply(&job, &[], &|_| ())).await.unwrap();
    assert_eq!(applied.end.status, JobStatus::Succeeded);
    assert_eq!(std::fs::read(root.path().join("made")).unwrap(), b"by root");
}

#[tokio::test]
async fn a_wrong_password_is_one_failure_and_ends_the_machine() {
    let Some((server, user)) = setting("", "USER ALL=(ALL) ALL") else {
        return;
    };
    let wrong = Sudo::Password(Password::new("no".to_owned()));
    let sh = becoming(&server, &user, wrong);
    let (a, b) = tokio::join!(run(&sh, "id -u", b""), run(&sh, "id -u", b""));
    for error in [
        a.unwrap_err(),
        b.unwrap_err(),
        run(&sh, "id -u", b"").await.unwrap_err(),
    ] {
        refused(&error);
        assert!(
            error.failure.message.contains("does not take the password"),
            "{error:?}"
        );
    }
    assert_eq!(server.count("Starting session"), 1);
    within(async {
        while !user.sudo_log().contains("incorrect password") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let log = user.sudo_log();
    assert!(log.contains("1 incorrect password attempt"), "{log}");
    assert_eq!(log.matches("incorrect").count(), 1, "{log}");
}

#[tokio::test]
async fn what_sudo_refuses_has_its_cure() {
    let asks = "USER ALL=(ALL) ALL";
    let cases = [
        (asks, false, "none is given", "--ask-become-pass"),
        ("", true, "may not use sudo", "visudo"),
        ("", false, "wants a password", "visudo"),
        (
            "Defaults:USER requiretty\nUSER ALL=(ALL) NOPASSWD: ALL",
            false,
            "wants a terminal",
            "!requiretty",
        ),
        (
            "Defaults:USER requiretty\nUSER ALL=(ALL) ALL",
            true,
            "wants a terminal",
            "!requiretty",
        ),
        (
            "USER ALL=(ALL) NOPASSWD: /bin/true",
            true,
            "may not use sudo",
            "visudo",
        ),
    ];
    for (rules, password, message, cure) in cases {
        let Some((server, user)) = setting("", rules) else {
            return;
        };
        let sudo = if password {
            user.sudo()
        } else {
            Sudo::Passwordless
        };
        let root = tempfile::tempdir().unwrap();
        let error = look(&machine(becoming(&server, &user, sudo), &root))
            .await
            .unwrap_err();
        refused(&error);
        assert!(
            error.failure.message.contains(message),
            "{rules}: {error:?}"
        );
        assert!(error.failure.hint.unwrap().contains(cure), "{rules}");
    }
}

/// Nothing but what the way there needs is on the path.
#[tokio::test]
async fn a_machine_without_sudo_is_told_apart() {
    let Some((_, user)) = setting("", "USER ALL=(ALL) ALL") else {
        return;
    };
    let tools = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(tools.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for tool in ["env", "sh", "dd"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), tools.path().join(tool))
            .unwrap();
    }
    let Some(server) = Sshd::start(&format!("SetEnv PATH={}", tools.path().display())) else {
        return;
    };
    for sudo in [Sudo::Passwordless, user.sudo()] {
        let root = tempfile::tempdir().unwrap();
        let error = look(&machine(becoming(&server, &user, sudo), &root))
            .await
            .unwrap_err();
        refused(&error);
        assert!(error.failure.message.contains("no sudo"), "{error:?}");
    }
}

#[tokio::test]
async fn any_login_shell_will_do() {
    let Some((server, user)) = setting("", "USER ALL=(ALL) ALL") else {
        return;
    };
    let shells = [
        "/bin/dash",
        "/bin/bash",
        "/bin/busybox",
        "/usr/bin/zsh",
        "/usr/bin/fish",
        "/bin/csh",
        "/bin/tcsh",
        "/bin/ksh",
    ];
    for name in shells {
        if !Path::new(name).exists() {
            crate::skip::tell(format_args!("this machine has no {name}"));
            continue;
        }
        let mut login = PathBuf::from(name);
        let folder = tempfile::tempdir().unwrap();
        if name.ends_with("busybox") {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
                .unwrap();
            // It looks at its own name.
            login = folder.path().join("ash");
            std::os::unix::fs::symlink(name, &login).unwrap();
        }
        user.login_shell(login.to_str().unwrap());
        for (sudo, id) in [(Sudo::None, None), (user.sudo(), Some("0\nthe input"))] {
            let said = whoami(&becoming(&server, &user, sudo)).await.unwrap();
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            assert_eq!(said.exit, Some(0), "{name}: {said:?}");
            match id {
                Some(whole) => assert_eq!(text, whole, "{name}"),
                None => assert!(
                    text.ends_with("\nthe input") && !text.starts_with("0\n"),
                    "{name}: {text}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn a_login_shell_that_runs_nothing_is_said_to_be_one() {
    let Some((server, user)) = setting("", "") else {
        return;
    };
    user.login_shell("/usr/sbin/nologin");
    let root = tempfile::tempdir().unwrap();
    let error = look(&machine(shell(server.route(&user.name)), &root))
        .await
        .unwrap_err();
    refused(&error);
    assert!(error.failure.message.contains("login shell"), "{error:?}");
}

#[tokio::test]
async fn a_shell_that_nobody_waits_for_is_ended() {
    let Some((server, user)) = setting("", "") else {
        return;
    };
    // OpenSSH carries signals to the processes of plain users only.
    let sh = shell(server.route(&user.name));
    let mut running = within(sh.start(&["sh".to_owned()])).await.unwrap();
    let script = "echo $$; sleep 60; echo";
    let text = format!("{} mark\n{script}\n#mark", script.len() + 6);
    running.stdin.write_all(text.as_bytes()).await.unwrap();
    let mut pid = [0; 16];
    let count = within(running.stdout.read(&mut pid)).await.unwrap();
    let pid = String::from_utf8_lossy(&pid[..count]).trim().to_owned();
    let process = std::path::Path::new("/proc").join(pid);
    assert!(process.exists());
    drop(running);
    within(async {
        while process.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// What every process shows of itself, until it is dropped.
struct Watch {
    seen: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn new() -> Self {
        let seen = Arc::<Mutex<BTreeSet<String>>>::default();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (to, until) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                    for name in ["cmdline", "environ"] {
                        if let Ok(bytes) = std::fs::read(entry.path().join(name)) {
                            let mut seen = to.lock().unwrap();
                            seen.insert(String::from_utf8_lossy(&bytes).into_owned());
                        }
                    }
                }
            }
        });
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    fn end(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Keeps what is traced.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what the SSH library logs, of all tests of this program.
struct Logged;

static LOGGED: Mutex<String> = Mutex::new(String::new());

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut all = LOGGED.lock().unwrap();
        all.push_str(&format!("{}\n", record.args()));
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn the_password_shows_nowhere() {
    let Some((server, user)) = setting("LogLevel DEBUG3", "USER ALL=(ALL) ALL") else {
        return;
    };
    log::set_logger(&Logged).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let watch = Watch::new();
    let right = becoming(&server, &user, user.sudo());
    let said = run(&right, "sleep 0.3; env", b"").await.unwrap();
    let wrong = format!("wrong-{}", user.password);
    let error = run(
        &becoming(&server, &user, Sudo::Password(Password::new(wrong))),
        "sleep 0.3",
        b"",
    )
    .await
    .unwrap_err();
    log::set_max_level(log::LevelFilter::Off);
    let seen = watch.end();
    assert!(
        seen.iter()
            .any(|text| text.contains("sudo") && text.contains("began-")),
        "sudo was not seen"
    );
    let traced = String::from_utf8_lossy(&kept.0.lock().unwrap()).into_owned();
    let logged = LOGGED.lock().unwrap().clone();
    assert!(
        logged.contains("userauth"),
        "the SSH library logs elsewhere"
    );
    let shown = format!(
        "{said:?}\n{error:?}\n{error}\n{traced}\n{logged}\n{}\n{}",
        server.log(),
        user.sudo_log()
    );
    assert!(!shown.contains(&user.password));
    // As a list of numbers, which is how bytes are often logged.
    let numbers: Vec<String> = user.password.bytes().map(|byte| byte.to_string()).collect();
    assert!(!shown.contains(&numbers.join(", ")));
    assert!(!seen.iter().any(|text| text.contains(&user.password)));
}

#[tokio::test]
async fn what_goes_on_at_once_does_not_mix() {
    let Some((server, user)) = setting("", "USER ALL=(ALL) ALL") else {
        return;
    };
    let sh = becoming(&server, &user, user.sudo());
    let program = ["sh".to_owned()];
    let works = (0..8).map(|n: u32| {
        let (sh, program) = (&sh, &program);
        async move {
            let running = sh.start(program).await.unwrap();
            hear(
                running,
                &format!("echo {n}; cat; exit {n}"),
                &n.to_string().repeat(50_000).into_bytes(),
            )
            .await
        }
    });
    let mut tasks: Vec<_> = works.map(Box::pin).collect();
    let mut ends = Vec::new();
    for (n, task) in tasks.iter_mut().enumerate() {
        let said = within(task).await;
        assert_eq!(said.exit, i32::try_from(n).ok());
        ends.push(said.stdout.len());
    }
    assert_eq!(ends, vec![50_002; 8]);
}
