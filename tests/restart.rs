//! Jobs that restart the machine: on this machine, with a boot id of its own for every shell that is started.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "support/skip.rs"]
mod skip;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hmco_boot::facts::fact::{Fact, FactValue};
use hmco_boot::model::action::{Action, Job, JobStatus, Ownership, Program};
use hmco_boot::model::id::{JobId, RunId};
use hmco_boot::model::lock::{LockAnswer, LockClaim};
use hmco_boot::model::path::AbsPath;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::{Mode, TimeSpan};
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::{DEFAULT_PATH, Machine, Settings};
use hmco_boot::transport::shell::{Control, LOADER, Running, Shell};
use hmco_boot::transport::{BoxFuture, Host, HostError, HostErrorKind};
use tokio::process::{Child, Command};

/// Starts shells in a mount namespace of their own, in which the file `boot` is the kernel's boot id. While the file `down`
/// is there, no shell can be started.
struct OtherBoot {
    folder: PathBuf,
}

struct Process(Child);

impl Control for Process {
    fn wait(&mut self) -> BoxFuture<'_, Option<i32>> {
        Box::pin(async move { self.0.wait().await.ok()?.code() })
    }
}

fn away() -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable { transient: true },
        failure: hmco_boot::model::outcome::Failure::new("no route to host"),
    }
}

impl Shell for OtherBoot {
    fn start<'a>(&'a self, program: &'a [String]) -> BoxFuture<'a, Result<Running, HostError>> {
        let down = self.folder.join("down");
        if let Ok(looks) = std::fs::read_to_string(&down) {
            // It comes back after so many looks.
            match looks.trim().parse::<u32>().unwrap() {
                0 => std::fs::remove_file(&down).unwrap(),
                looks => std::fs::write(&down, (looks - 1).to_string()).unwrap(),
            }
            return Box::pin(std::future::ready(Err(away())));
        }
        let boot = self.folder.join("boot");
        let mount = format!(
            "mount --bind {} /proc/sys/kernel/random/boot_id && exec setsid {} -c \"$0\"",
            boot.display(),
            program.join(" ")
        );
        let mut child = Command::new("unshare")
            .args(["-m", "sh", "-c", &mount, LOADER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let running = Running {
            stdin: Box::new(child.stdin.take().unwrap()),
            stdout: Box::new(child.stdout.take().unwrap()),
            stderr: Box::new(child.stderr.take().unwrap()),
            control: Box::new(Process(child)),
        };
        Box::pin(std::future::ready(Ok(running)))
    }
}

struct Rig {
    folder: tempfile::TempDir,
    host: Machine<OtherBoot>,
}

/// A machine whose `systemctl reboot` runs these lines; `$BOX` is its folder. `None` where that cannot be made here.
fn rig(reboot: &str) -> Option<Rig> {
    let can = std::process::Command::new("unshare")
        .args(["-m", "true"])
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        crate::skip::tell("needs `unshare -m`, which is root's");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("tools")).unwrap();
    std::fs::create_dir_all(path("root")).unwrap();
    std::fs::write(path("boot"), boot(1)).unwrap();
    let tool = format!(
        "#!/bin/sh\nBOX={}\necho \"$*\" >> $BOX/calls\n{reboot}\n",
        folder.path().display()
    );
    std::fs::write(path("tools/systemctl"), tool).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path("tools/systemctl"), mode).unwrap();
    let shell = OtherBoot {
        folder: folder.path().to_owned(),
    };
    let settings = Settings {
        root: Some(abs(&path("root"))),
        path: format!("{}:{DEFAULT_PATH}", path("tools").display()),
        ..Settings::default()
    };
    let host = Machine::new(shell, settings);
    Some(Rig { folder, host })
}

fn abs(path: &Path) -> AbsPath {
    AbsPath::new(path.to_str().unwrap()).unwrap()
}

fn boot(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}\n")
}

/// A restart that works: what is in memory is gone, the boot id is new, and it takes three looks until it is back.
fn restarts() -> String {
    format!(
        "echo 3 > $BOX/down; rm -rf $BOX/root/run; printf %s '{}' > $BOX/boot",
        boot(2)
    )
}

fn job(id: &str, seconds: u64) -> Job {
    let mark = Action::WriteFile {
        path: AbsPath::new("/mark").unwrap(),
        content: Text::plain("x"),
        mode: Mode(0o644),
        owner: Ownership::default(),
        backup: false,
        replaces: None,
    };
    Job {
        id: JobId::new(id),
        label: id.to_owned(),
        actions: vec![mark, Action::Reboot],
        timeout: TimeSpan(Duration::from_secs(seconds)),
        fence: Some(RunId::new("r")),
    }
}

fn claim(run: &str, owner: &str) -> LockClaim {
    LockClaim {
        run: RunId::new(run),
        holder: run.to_owned(),
        owner: owner.to_owned(),
        lease: TimeSpan(Duration::from_secs(120)),
    }
}

#[tokio::test]
async fn the_apply_ends_when_the_machine_is_back_in_a_new_boot_and_its_lock_is_held_again() {
    let Some(rig) = rig(&restarts()) else { return };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let applied = rig
        .host
        .apply(&job("r-0-1", 60), &[Fact::Boot], &|_| ())
        .await
        .unwrap();
    assert_eq!(applied.end.status, JobStatus::Succeeded);
    match &applied.answers[0].1 {
        Ok(FactValue::Boot(now)) => assert_eq!(now.id, boot(2).trim()),
        other => panic!("{other:?}"),
    }
    let calls = std::fs::read_to_string(rig.folder.path().join("calls")).unwrap();
    assert_eq!(calls, "reboot\n", "once");
    assert!(rig.folder.path().join("root/mark").exists());
    let held = rig.host.lock(&claim("other", "b")).await.unwrap();
    assert!(matches!(held, LockAnswer::Held { .. }), "{held:?}");
}

#[tokio::test]
async fn a_job_that_fails_before_its_end_restarts_nothing() {
    let Some(rig) = rig(&restarts()) else { return };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let mut fails = job("r-0-1", 60);
    fails.actions.insert(
        0,
        Action::SetAttributes {
            path: AbsPath::new("/not/there").unwrap(),
            mode: Some(Mode(0o600)),
            owner: Ownership::default(),
        },
    );
    let applied = rig
        .host
        .apply(&fails, &[Fact::Boot], &|_| ())
        .await
        .unwrap();
    assert!(matches!(
        applied.end.status,
        JobStatus::Failed { action: 0, .. }
    ));
    assert_eq!(applied.answers.len(), 1);
    assert!(!rig.folder.path().join("calls").exists());
}

/// A program that cuts the connection over which its job was started, then runs these lines; `$BOX` is the folder.
fn cut(rig: &Rig, id: &str, then: &str) -> Action {
    let folder = rig.folder.path().display();
    let script = format!(
        "BOX={folder}; read -r p q < $BOX/root/run/hmco-boot/jobs/{id}/starter && kill -KILL -$p || exit 9\n{then}"
    );
    Action::Run(Program {
        argv: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        cwd: None,
        env: Vec::new(),
        stdin: None,
        ok_exit: vec![0],
        retry_exit: Vec::new(),
        purpose: None,
    })
}

#[tokio::test]
async fn a_connection_lost_before_the_verdict_does_not_take_the_old_boot_for_the_new_one() {
    let Some(rig) = rig(&restarts()) else { return };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let mut job = job("r-0-1", 60);
    job.actions.insert(1, cut(&rig, "r-0-1", ""));
    let applied = rig.host.apply(&job, &[Fact::Boot], &|_| ()).await.unwrap();
    assert_eq!(applied.end.status, JobStatus::Succeeded);
    match &applied.answers[0].1 {
        Ok(FactValue::Boot(now)) => assert_eq!(now.id, boot(2).trim()),
        other => panic!("{other:?}"),
    }
    let calls = std::fs::read_to_string(rig.folder.path().join("calls")).unwrap();
    assert_eq!(calls, "reboot\n", "once");
    let held = rig.host.lock(&claim("other", "b")).await.unwrap();
    assert!(matches!(held, LockAnswer::Held { .. }), "{held:?}");
}

#[tokio::test]
async fn a_job_that_fails_after_its_connection_was_lost_is_not_awaited_in_a_new_boot() {
    let Some(rig) = rig(&restarts()) else { return };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let mut job = job("r-0-1", 300);
    job.actions.insert(1, cut(&rig, "r-0-1", "exit 7"));
    let apply = rig.host.apply(&job, &[Fact::Boot], &|_| ());
    let applied = tokio::time::timeout(Duration::from_secs(60), apply);
    let applied = applied.await.unwrap().unwrap();
    let failed = JobStatus::Failed {
        action: 1,
        exit: 7,
        retryable: false,
    };
    assert_eq!(applied.end.status, failed);
    assert_eq!(applied.answers.len(), 1);
    assert!(!rig.folder.path().join("calls").exists());
}

#[tokio::test]
async fn a_job_whose_verdict_went_with_the_restart_is_lost_and_the_lock_is_held_in_the_new_boot() {
    let Some(rig) = rig(&restarts()) else { return };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let mut job = job("r-0-1", 60);
    job.actions.insert(1, cut(&rig, "r-0-1", &restarts()));
    let error = rig
        .host
        .apply(&job, &[Fact::Boot], &|_| ())
        .await
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Lost);
    let held = rig.host.lock(&claim("other", "b")).await.unwrap();
    assert!(matches!(held, LockAnswer::Held { .. }), "{held:?}");
    let end = rig.host.attach(&job.id, false, &|_| ()).await.unwrap();
    assert_eq!(end.status, JobStatus::Lost);
}

#[tokio::test]
async fn a_machine_that_does_not_come_back_is_unreachable_and_says_how_long_it_was_awaited() {
    let Some(rig) = rig("echo 1000 > $BOX/down") else {
        return;
    };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let error = rig
        .host
        .apply(&job("r-0-1", 2), &[Fact::Boot], &|_| ())
        .await
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Unreachable { transient: false });
    assert_eq!(
        error.failure.message,
        "the restart was ordered, and it has not answered with a new boot for 2s: it may still be shutting down"
    );
    assert_eq!(error.failure.evidence, ["no route to host"]);
}

#[tokio::test]
async fn a_machine_that_goes_on_as_it_was_shows_it_by_its_facts() {
    let Some(rig) = rig("exit 0") else { return };
    rig.host.lock(&claim("r", "a")).await.unwrap();
    let applied = rig
        .host
        .apply(&job("r-0-1", 2), &[Fact::Boot], &|_| ())
        .await
        .unwrap();
    match &applied.answers[0].1 {
        Ok(FactValue::Boot(now)) => assert_eq!(now.id, boot(1).trim()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_machine_that_this_runs_on_is_not_restarted() {
    let root = tempfile::tempdir().unwrap();
    for root in [None, Some(abs(root.path()))] {
        let host = LocalHost::new(Settings {
            root,
            ..Settings::default()
        });
        let error = host
            .apply(&job("r-0-1", 2), &[], &|_| ())
            .await
            .unwrap_err();
        assert_eq!(error.kind, HostErrorKind::NotStarted);
        assert!(error.failure.message.contains("is not restarted by it"));
    }
}
