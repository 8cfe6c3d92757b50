//! Machines to test with.

use std::sync::Arc;
use std::time::Duration;

use hmco_boot::facts::fact::{Answer, Fact};
use hmco_boot::model::path::AbsPath;
use hmco_boot::transport::machine::{Machine, Settings};
use hmco_boot::transport::shell::{Running, Shell};
use hmco_boot::transport::ssh::route::Route;
use hmco_boot::transport::ssh::{Access, SshShell, Sudo, Timeouts};
use hmco_boot::transport::{Host, HostError, HostErrorKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Nothing a test waits for takes longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Fails instead of hanging.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("done before the deadline")
}

/// Short enough for tests that wait for them.
pub fn impatient() -> Arc<Access> {
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        handshake: Duration::from_millis(500),
        auth: Duration::from_secs(5),
        channel: Duration::from_secs(2),
        sudo: Duration::from_secs(10),
        keepalive: Duration::from_millis(200),
    };
    Arc::new(Access::new(timeouts, Arc::default()))
}

pub fn shell(route: Route) -> SshShell {
    SshShell::new(route, Sudo::None, Arc::default())
}

/// A machine whose paths are below a folder.
pub fn machine(shell: SshShell, root: &TempDir) -> Machine<SshShell> {
    let settings = Settings {
        root: Some(AbsPath::new(root.path().to_str().unwrap()).unwrap()),
        ..Settings::default()
    };
    Machine::new(shell, settings)
}

pub fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

pub async fn look(host: &dyn Host) -> Result<Vec<Answer>, HostError> {
    within(host.read(&[Fact::Os])).await
}

pub fn refused(error: &HostError) {
    let kind = HostErrorKind::Unreachable { transient: false };
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(error.failure.hint.is_some(), "{error:?}");
}

pub fn passing(error: &HostError) {
    let kind = HostErrorKind::Unreachable { transient: true };
    assert_eq!(error.kind, kind, "{error:?}");
}

/// What a shell said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub exit: Option<i32>,
    pub refusal: Option<HostError>,
}

/// Starts a shell that runs a script, with input behind it, and hears it to the end.
pub async fn run(shell: &SshShell, script: &str, input: &[u8]) -> Result<Said, HostError> {
    let running = within(shell.start(&["sh".to_owned()])).await?;
    Ok(hear(running, script, input).await)
}

pub async fn hear(running: Running, script: &str, input: &[u8]) -> Said {
    let Running {
        mut stdin,
        mut stdout,
        mut stderr,
        mut control,
    } = running;
    let text = format!("{script}\n#mark");
    let mut said = Said {
        stdout: Vec::new(),
        stderr: String::new(),
        exit: None,
        refusal: None,
    };
    let write = async {
        let head = format!("{} mark\n", text.len());
        stdin.write_all(head.as_bytes()).await.ok();
        stdin.write_all(text.as_bytes()).await.ok();
        if !input.is_empty() {
            stdin.write_all(input).await.ok();
        }
        stdin.shutdown().await.ok();
    };
    let (out, err) = (&mut said.stdout, &mut said.stderr);
    let all = async {
        tokio::join!(
            write,
            async { stdout.read_to_end(out).await.unwrap() },
            async { stderr.read_to_string(err).await.unwrap() },
            control.wait(),
        )
    };
    let (_, _, _, exit) = within(all).await;
    said.exit = exit;
    said.refusal = control.refusal();
    said
}
