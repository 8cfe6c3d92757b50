//! Connections that break, and calls that are given up, at every moment.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use hmco_boot::model::action::JobStatus;
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::Machine;
use hmco_boot::transport::shell::{Control, LOADER, Running, Shell};
use hmco_boot::transport::{BoxFuture, Host as _, HostError, HostErrorKind};
use tokio::io::AsyncWrite;

use super::local::{books, rig};
use super::rig::{Rig, job, sandbox, within, write};

/// A shell whose connection breaks after so many bytes were sent.
struct CutShell {
    after: usize,
}

struct Cut {
    inner: Option<tokio::process::ChildStdin>,
    left: usize,
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            self.inner = None;
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(self.left);
        let inner = self.inner.as_mut().unwrap();
        let written = std::task::ready!(Pin::new(inner).poll_write(cx, &bytes[..count]))?;
        self.left -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner = None;
        Poll::Ready(Ok(()))
    }
}

struct CutControl(tokio::process::Child);

impl Control for CutControl {
    fn wait(&mut self) -> BoxFuture<'_, Option<i32>> {
        Box::pin(async { self.0.wait().await.ok()?.code() })
    }
}

impl Shell for CutShell {
    fn start<'a>(&'a self, program: &'a [String]) -> BoxFuture<'a, Result<Running, HostError>> {
        Box::pin(async move {
            let mut child = tokio::process::Command::new("setsid")
                .args(program)
                .args(["-c", LOADER])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            Ok(Running {
                stdin: Box::new(Cut {
                    inner: child.stdin.take(),
                    left: self.after,
                }),
                stdout: Box::new(child.stdout.take().unwrap()),
                stderr: Box::new(child.stderr.take().unwrap()),
                control: Box::new(CutControl(child)),
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_connection_breaks_the_job_ran_whole_or_not_at_all() {
    let content = "0123456789abcdef".repeat(64);
    let job = job("j", [write("/one", &content), write("/two", &content)]);
    // Seeded steps over all that is sent, and more closely around its end, where the job itself begins.
    let mut seen = [0_usize; 2];
    let mut after = 0_usize;
    let mut state = 0x9e37_79b9_u64;
    loop {
        let (settings, world) = sandbox("sh").unwrap();
        let cut = Machine::new(CutShell { after }, settings.clone());
        let result = within(cut.apply(&job, &[], &|_| ())).await;
        let rig = Rig::with(Box::new(LocalHost::new(settings)), world);
        let whole = match result {
            Ok(applied) => {
                // Only our side of the connection broke, so the end is heard even of a job that could not begin.
                assert!(
                    [JobStatus::Succeeded, JobStatus::Lost].contains(&applied.end.status),
                    "after {after}: {applied:?}"
                );
                applied.end.status == JobStatus::Succeeded
            }
            Err(error) => {
                let kinds = [HostErrorKind::NotStarted, HostErrorKind::Lost];
                assert!(kinds.contains(&error.kind), "after {after}: {error:?}");
                let end = rig.attach("j", false).await.unwrap();
                assert!(!books(&rig, "j").exists());
                if error.kind == HostErrorKind::NotStarted {
                    assert_eq!(end.status, JobStatus::Lost, "after {after}");
                }
                end.status == JobStatus::Succeeded
            }
        };
        for path in ["/one", "/two"] {
            assert_eq!(rig.content(path).is_some(), whole, "after {after}: {path}");
        }
        assert!(
            !rig.names("/").iter().any(|name| name.ends_with("tmp")),
            "after {after}"
        );
        seen[usize::from(whole)] += 1;
        if seen[1] == 3 {
            break;
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        after += 1 + usize::try_from((state >> 33) % 700).unwrap();
    }
    assert!(seen[0] > 10, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_call_is_given_up_the_job_ran_whole_or_not_at_all() {
    let content = "0123456789abcdef".repeat(64);
    let mut state = 0x2545_f491_u64;
    let mut seen = [0_usize; 2];
    for round in 0..60 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let rig = rig(|_| ());
        let job = job("j", [write("/one", &content), write("/two", &content)]);
        // Early and late enough for every stage; which one it hits is up to the machine.
        // A machine that is busy with other things gets ever more time for it.
        let moment = Duration::from_micros((state >> 33) % (60_000 + 20_000 * round));
        let result = tokio::time::timeout(moment, rig.host.apply(&job, &[], &|_| ())).await;
        let end = match result {
            Ok(applied) => applied.unwrap().end,
            Err(_) => rig.attach("j", round % 2 == 0).await.unwrap(),
        };
        let files = ["/one", "/two"].map(|path| rig.content(path).is_some());
        if end.status == JobStatus::Succeeded {
            assert_eq!(files, [true, true], "round {round}");
        } else {
            // One that was ended may be half done. One that was awaited may also be done and lost: its end had been
            // taken note of, but the call was given up before it could say so.
            assert_eq!(end.status, JobStatus::Lost);
            assert!(
                files[0] == files[1] || round % 2 == 0,
                "round {round}: {files:?}"
            );
        }
        assert!(!books(&rig, "j").exists());
        let late = rig.apply(&job).await.unwrap_err();
        assert_eq!(late.kind, HostErrorKind::Busy);
        let again = ["/one", "/two"].map(|path| rig.content(path).is_some());
        assert_eq!(
            files, again,
            "round {round}: it began after it was declared dead"
        );
        assert_eq!(
            rig.act("next", write("/next", "x")).await.status,
            JobStatus::Succeeded
        );
        assert!(
            !rig.names("/").iter().any(|name| name.ends_with("tmp")),
            "round {round}"
        );
        seen[usize::from(end.status == JobStatus::Succeeded)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
