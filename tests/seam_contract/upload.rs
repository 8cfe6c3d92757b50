//! Sending files to a real machine: connections that are cut or hang, bytes that change, others that send too, disks that
//! are full; and machines that fetch by themselves.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::pin::Pin as Pinned;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hmco_boot::model::action::{Job, JobStatus};
use hmco_boot::model::artifact::{Fetch, Pin};
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::{Machine, Settings};
use hmco_boot::transport::shell::{Control, LOADER, Running, Shell};
use hmco_boot::transport::{BoxFuture, HostError, HostErrorKind};
use tokio::io::AsyncWrite;
use tokio::process::ChildStdin;

use super::place::{bytes, pin, place};
use super::rig::{Rig, artifacts, job, run, sandbox};

/// What befalls a connection.
#[derive(Clone, Copy)]
enum Fate {
    /// It breaks after so many bytes were sent.
    Cut(usize),
    /// It takes so many bytes and then no more; the other side is not told.
    Hang(usize),
    /// This byte comes out as another.
    Flip(usize),
}

#[derive(Default)]
struct Net {
    fates: Mutex<VecDeque<Fate>>,
    sent: Mutex<usize>,
    /// Connections that nobody has told of their end.
    ghosts: Mutex<Vec<ChildStdin>>,
}

/// Shells behind a bad network.
#[derive(Clone)]
struct BadShell {
    net: Arc<Net>,
    program: Vec<String>,
}

struct Wire {
    net: Arc<Net>,
    inner: Option<ChildStdin>,
    fate: Option<Fate>,
    sent: usize,
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = bytes.to_vec();
        let sent = self.sent;
        match self.fate {
            Some(Fate::Cut(after)) if sent >= after => {
                self.inner = None;
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Some(Fate::Hang(after)) if sent >= after => return Poll::Pending,
            Some(Fate::Cut(after) | Fate::Hang(after)) => bytes.truncate(after - sent),
            Some(Fate::Flip(at)) if (sent..sent + bytes.len()).contains(&at) => {
                bytes[at - sent] ^= 0x20;
            }
            _ => {}
        }
        let inner = self.inner.as_mut().unwrap();
        let count = std::task::ready!(Pinned::new(inner).poll_write(cx, &bytes))?;
        self.sent += count;
        *self.net.sent.lock().unwrap() += count;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pinned<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pinned<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner = None;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let (Some(Fate::Hang(_)), Some(inner)) = (self.fate, self.inner.take()) {
            self.net.ghosts.lock().unwrap().push(inner);
        }
    }
}

struct Child(tokio::process::Child);

impl Control for Child {
    fn wait(&mut self) -> BoxFuture<'_, Option<i32>> {
        Box::pin(async { self.0.wait().await.ok()?.code() })
    }
}

impl Shell for BadShell {
    fn start<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Running, HostError>> {
        Box::pin(async move {
            let mut child = tokio::process::Command::new("setsid")
                .args(&self.program)
                .args(["-c", LOADER])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            Ok(Running {
                stdin: Box::new(Wire {
                    net: self.net.clone(),
                    inner: child.stdin.take(),
                    fate: self.net.fates.lock().unwrap().pop_front(),
                    sent: 0,
                }),
                stdout: Box::new(child.stdout.take().unwrap()),
                stderr: Box::new(child.stderr.take().unwrap()),
                control: Box::new(Child(child)),
            })
        })
    }
}

/// A machine behind a network where this happens, connection by connection.
fn behind(
    shell: &str,
    fates: impl IntoIterator<Item = Fate>,
    change: impl FnOnce(&mut Settings),
) -> Option<(Rig, Arc<Net>)> {
    let (mut settings, world) = sandbox(shell)?;
    change(&mut settings);
    let net = Arc::new(Net::default());
    net.fates.lock().unwrap().extend(fates);
    let shell = BadShell {
        net: net.clone(),
        program: settings.shell.clone(),
    };
    let machine = Machine::new(shell, settings);
    Some((Rig::with(Box::new(machine), world), net))
}

pub fn local(change: impl FnOnce(&mut Settings)) -> Rig {
    let (mut settings, world) = sandbox("sh").unwrap();
    change(&mut settings);
    Rig::with(Box::new(LocalHost::new(settings)), world)
}

/// A pin of bytes that the controller has.
fn sent(name: &str, bytes: &[u8]) -> Pin {
    let url = format!("https://example.org/{name}");
    artifacts().offer(&url, bytes);
    pin(&url, bytes, Fetch::Controller)
}

pub fn placing(pin: &Pin) -> Job {
    job("j", [place(pin, "/tool")])
}

pub fn uploads(rig: &Rig) -> PathBuf {
    rig.at("/var/lib/hmco-boot/upload")
}

async fn arrives(rig: &Rig, pin: &Pin, bytes: &[u8]) {
    let end = rig.apply(&placing(pin)).await.unwrap().end;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert!(rig.content("/tool").unwrap() == bytes);
    assert_eq!(fs::read_dir(uploads(rig)).unwrap().count(), 0);
}

async fn refused(rig: &Rig, pin: &Pin) -> HostError {
    let error = rig.apply(&placing(pin)).await.unwrap_err();
    assert!(!rig.is_there("/tool"));
    error
}

fn words(error: &HostError) -> String {
    format!("{:?}", error.failure)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_where_the_connection_was_cut() {
    let bytes = bytes(9_000_001, 1);
    for shell in ["dash", "bash", "busybox"] {
        let fates = [2_000_000, 10, 3_000_000, 9_000, 100_000].map(Fate::Cut);
        let Some((rig, net)) = behind(shell, fates, |_| ()) else {
            continue;
        };
        let pin = sent(&format!("cut-{shell}"), &bytes);
        arrives(&rig, &pin, &bytes).await;
        let sent = *net.sent.lock().unwrap();
        // What was lost on the way are the buffers of a few pipes, not the file.
        assert!(sent < bytes.len() + 2_000_000, "{shell}: {sent}");
        assert!(
            rig.heard().contains("connection was lost"),
            "{}",
            rig.heard()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_hangs_is_taken_over_from_its_own_ghost() {
    let bytes = bytes(3_000_000, 2);
    for shell in ["dash", "busybox"] {
        let fates = [Fate::Hang(1_000_000)];
        let short = |settings: &mut Settings| settings.upload.stall = Duration::from_secs(1);
        let Some((rig, net)) = behind(shell, fates, short) else {
            continue;
        };
        arrives(&rig, &sent(&format!("hang-{shell}"), &bytes), &bytes).await;
        assert_eq!(net.ghosts.lock().unwrap().len(), 1);
        assert!(rig.heard().contains("stands still"), "{}", rig.heard());
    }
}

#[tokio::test]
async fn a_connection_that_never_gets_further_is_given_up_with_what_was_reached() {
    let bytes = bytes(3_000_000, 3);
    let fates = [1_000_000, 0, 0, 0, 0].map(Fate::Cut);
    let few = |settings: &mut Settings| settings.upload.tries = 3;
    let (rig, _) = behind("sh", fates, few).unwrap();
    let pin = sent("given-up", &bytes);
    let error = refused(&rig, &pin).await;
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    assert!(words(&error).contains("tried 3 times"), "{error:?}");
    // The next run goes on there.
    assert!(
        fs::metadata(uploads(&rig).join(format!("{}.part", pin.sha256)))
            .unwrap()
            .len()
            > 500_000
    );
    arrives(&rig, &pin, &bytes).await;
    assert!(
        !rig.heard()
            .contains("sent 0 bytes of 3.0 MB\ntool v1: sent 0"),
        "{}",
        rig.heard()
    );
}

#[tokio::test]
async fn bytes_that_changed_on_the_way_are_sent_anew_once() {
    let bytes = bytes(300_000, 4);
    let (rig, _) = behind("sh", [Fate::Flip(200_000)], |_| ()).unwrap();
    arrives(&rig, &sent("flip-once", &bytes), &bytes).await;
    let (rig, _) = behind("sh", [Fate::Flip(200_000); 9], |_| ()).unwrap();
    let error = refused(&rig, &sent("flip-always", &bytes)).await;
    assert!(
        words(&error).contains("did not arrive as it was sent"),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(uploads(&rig)).unwrap().count(), 0);
}

#[tokio::test]
async fn a_part_that_is_not_the_beginning_of_the_file_is_thrown_away() {
    let bytes = bytes(300_000, 5);
    for part in [
        vec![0; 100_000],
        vec![0; 300_000],
        vec![0; 400_000],
        bytes.clone(),
    ] {
        let rig = local(|_| ());
        let pin = sent("other-part", &bytes);
        fs::create_dir_all(uploads(&rig)).unwrap();
        fs::write(uploads(&rig).join(format!("{}.part", pin.sha256)), part).unwrap();
        fs::write(uploads(&rig).join(&pin.sha256), "damaged").unwrap();
        arrives(&rig, &pin, &bytes).await;
    }
}

/// A process, and the line by which it would hold an upload.
fn holder(script: &str) -> (std::process::Child, String) {
    let child = Command::new("sh")
        .args(["-c", script])
        .process_group(0)
        .spawn()
        .unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(19)
        .unwrap()
        .to_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let line = format!("{} {} {start} other mark\n", boot.trim(), child.id());
    (child, line)
}

#[tokio::test]
async fn somebody_else_who_sends_the_same_file_is_named_and_one_who_is_dead_is_not() {
    let bytes = bytes(300_000, 6);
    let quick = |settings: &mut Settings| settings.upload.patience = Duration::from_secs(3);
    let rig = local(quick);
    let pin = sent("two-senders", &bytes);
    let folder = uploads(&rig);
    fs::create_dir_all(&folder).unwrap();
    let part = folder.join(format!("{}.part", pin.sha256));
    let lock = folder.join(format!("{}.lock", pin.sha256));
    let growing = format!("while printf x >> '{}'; do sleep 0.1; done", part.display());
    let (mut busy, line) = holder(&growing);
    fs::write(&lock, &line).unwrap();
    let error = refused(&rig, &pin).await;
    assert_eq!(error.kind, HostErrorKind::Busy);
    assert_eq!(fs::read_to_string(&lock).unwrap(), line);
    busy.kill().unwrap();
    busy.wait().unwrap();
    // Its process is gone; the number may be somebody else's by now.
    arrives(&rig, &pin, &bytes).await;
    // One that lives and stands still is ended.
    let (mut still, line) = holder("exec sleep 1000");
    fs::write(&lock, &line).unwrap();
    fs::remove_file(rig.at("/tool")).unwrap();
    let end = rig
        .apply(&job("j2", [place(&pin, "/tool")]))
        .await
        .unwrap()
        .end;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert!(!still.wait().unwrap().success());
    for dead in ["", "no such boot 1 2 3\n", "x\n"] {
        fs::write(&lock, dead).unwrap();
        let id = format!("j3-{}", dead.len());
        let end = rig
            .apply(&job(&id, [place(&pin, "/tool")]))
            .await
            .unwrap()
            .end;
        assert_eq!(end.status, JobStatus::Succeeded, "{dead:?}: {end:?}");
    }
}

#[tokio::test]
async fn uploads_that_nobody_came_back_for_are_swept() {
    let bytes = bytes(1000, 7);
    let rig = local(|_| ());
    fs::create_dir_all(uploads(&rig)).unwrap();
    let (old, new) = (
        uploads(&rig).join("old.part"),
        uploads(&rig).join("new.part"),
    );
    for file in [&old, &new] {
        fs::write(file, "x").unwrap();
    }
    let touched = Command::new("touch")
        .args(["-d", "5 days ago"])
        .arg(&old)
        .status();
    assert!(touched.unwrap().success());
    let end = rig
        .apply(&placing(&sent("sweep", &bytes)))
        .await
        .unwrap()
        .end;
    assert_eq!(end.status, JobStatus::Succeeded);
    assert!(!old.exists() && new.exists());
}

/// A small disk of its own, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        crate::skip::tell("this needs the right to mount a tmpfs");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn a_disk_that_is_too_small_or_cannot_be_written_is_told_before_anything_is_sent() {
    let bytes = bytes(9_000_000, 8);
    let rig = local(|_| ());
    let pin = sent("disk", &bytes);
    let Some(small) = Disk::mount(uploads(&rig), "size=16m") else {
        return;
    };
    let error = refused(&rig, &pin).await;
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    assert!(
        words(&error).contains("does not fit") && words(&error).contains("16.8 MB free"),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(uploads(&rig)).unwrap().count(), 0);
    drop(small);
    let Some(_disk) = Disk::mount(uploads(&rig), "ro") else {
        return;
    };
    let error = refused(&rig, &pin).await;
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    assert!(words(&error).contains("Read-only file system"), "{error:?}");
}

#[tokio::test]
async fn what_somebody_else_writes_between_arrival_and_place_is_not_placed() {
    let bytes = bytes(300_000, 10);
    for (at, shell) in ["dash", "busybox"].into_iter().enumerate() {
        let fates: [Fate; 0] = [];
        let Some((rig, _)) = behind(shell, fates, |_| ()) else {
            continue;
        };
        let pin = sent(&format!("written-{at}"), &bytes);
        let file = uploads(&rig).join(&pin.sha256);
        // The same size, and for the second one a new file of that name.
        for (id, how) in [
            "printf x | dd of=\"$0\" conv=notrunc 2>/dev/null",
            "printf x | dd of=\"$0\" conv=notrunc 2>/dev/null; cp \"$0\" \"$0.new\"; mv \"$0.new\" \"$0\"",
        ]
        .into_iter()
        .enumerate()
        {
            let writes = run(&["sh", "-c", how, file.to_str().unwrap()]);
            let end = rig.apply(&job(&format!("w{id}"), [writes, place(&pin, "/tool")])).await;
            let end = end.unwrap().end;
            let said = "was changed by somebody else";
            assert!(end.stderr.contains(said), "{shell}: {end:?}");
            assert!(!rig.is_there("/tool"));
            assert_eq!(fs::read_dir(uploads(&rig)).unwrap().count(), 0);
        }
        arrives(&rig, &pin, &bytes).await;
    }
}

#[tokio::test]
async fn a_destination_on_another_disk_gets_a_whole_copy_or_nothing() {
    let bytes = bytes(9_000_000, 9);
    let rig = local(|_| ());
    let pin = sent("other-disk", &bytes);
    let Some(_small) = Disk::mount(rig.at("/small"), "size=16m") else {
        return;
    };
    let _large = Disk::mount(rig.at("/large"), "size=64m").unwrap();
    let end = rig
        .apply(&job("s", [place(&pin, "/small/tool")]))
        .await
        .unwrap()
        .end;
    assert!(matches!(end.status, JobStatus::Failed { .. }), "{end:?}");
    assert!(end.stderr.contains("are needed"), "{}", end.stderr);
    assert!(rig.names("/small").is_empty());
    let end = rig
        .apply(&job("l", [place(&pin, "/large/tool")]))
        .await
        .unwrap()
        .end;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert!(rig.content("/large/tool").unwrap() == bytes);
    assert_eq!(rig.names("/large"), ["tool"]);
}

#[tokio::test]
async fn a_file_that_the_controller_cannot_get_stops_the_job_before_it_begins() {
    let rig = local(|_| ());
    let nowhere = pin("https://example.org/never-offered", b"x", Fetch::Controller);
    let error = refused(&rig, &nowhere).await;
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    assert!(words(&error).contains("--mirror DIR"), "{error:?}");
    let bare = local(|settings| settings.artifacts = None);
    let error = refused(&bare, &nowhere).await;
    assert!(
        words(&error).contains("cannot be fetched by this command"),
        "{error:?}"
    );
}
