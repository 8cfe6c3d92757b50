//! Shells on a machine over SSH: one connection that is kept, channels on it, and root by sudo.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::Channel;
use russh::client::Msg;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::Access;
use super::channel::{Progress, SshControl, Streams};
use super::client::{Connection, Unopened, no_way};
use super::route::{Password, Route};
use super::sudo::{self, Gate, Sudo};
use crate::facts::fact::Login;
use crate::model::outcome::Failure;
use crate::transport::shell::{Running, Shell};
use crate::transport::{BoxFuture, HostError, HostErrorKind, Stream};

/// Pauses between tries to connect again after a connection was lost.
const RECONNECT: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];

/// Pauses between tries to open a channel on a connection on which none of ours is open: sshd needs a moment to forget
/// one that was closed.
const REOPEN: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];

/// A machine's shells over SSH. Connects when the first is started, keeps that connection, and makes a new one when it is
/// found dead at a start.
pub struct SshShell {
    who: Arc<Who>,
    route: Route,
    sudo: Sudo,
    access: Arc<Access>,
    line: Mutex<Option<Arc<Line>>>,
    proof: Mutex<Proof>,
}

/// Names for messages.
struct Who {
    machine: String,
    user: String,
}

/// A connection, and how many of our channels are open on it.
struct Line {
    connection: Connection,
    open: watch::Sender<usize>,
}

/// What is known of sudo's password.
enum Proof {
    Unknown,
    Right,
    /// It is not tried again: many machines lock an account after a few failures.
    Wrong(Failure),
}

/// Holds a channel's place on its connection.
pub(super) struct Lease {
    line: Arc<Line>,
    who: Arc<Who>,
}

impl Lease {
    pub(super) fn connection(&self) -> &Connection {
        &self.line.connection
    }

    pub(super) fn machine(&self) -> &str {
        &self.who.machine
    }

    pub(super) fn user(&self) -> &str {
        &self.who.user
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.line.open.send_modify(|open| *open -= 1);
    }
}

impl SshShell {
    /// Shells of the machine at the end of a route.
    pub fn new(route: Route, sudo: Sudo, access: Arc<Access>) -> Self {
        let last = route.hops.last();
        let who = Who {
            machine: last.map(|hop| hop.name.clone()).unwrap_or_default(),
            user: last.map(|hop| hop.user.clone()).unwrap_or_default(),
        };
        Self {
            who: Arc::new(who),
            route,
            sudo,
            access,
            line: Mutex::new(None),
            proof: Mutex::new(Proof::Unknown),
        }
    }

    /// The connection, made where there is none (any more).
    async fn line(&self) -> Result<Arc<Line>, HostError> {
        let mut line = self.line.lock().await;
        let before = match line.as_ref() {
            Some(line) if !line.connection.is_closed() => return Ok(line.clone()),
            before => before.is_some(),
        };
        let machine = &self.who.machine;
        if before {
            tracing::debug!(machine, "connecting again");
        }
        let mut pauses = RECONNECT.iter().filter(|_| before);
        let connection = loop {
            let ahead = match before {
                false => self.access.ahead.take(&self.route).await,
                true => None,
            };
            let opened = match ahead {
                Some(opened) => opened,
                None => Connection::open(&self.route, &self.access).await,
            };
            match opened {
                Ok(connection) => break connection,
                Err(error) if error.kind == (HostErrorKind::Unreachable { transient: true }) => {
                    match pauses.next() {
                        Some(pause) => {
                            tracing::debug!(machine, %error, "no connection; trying again");
                            sleep(*pause).await;
                        }
                        None => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        };
        let made = Arc::new(Line {
            connection,
            open: watch::channel(0).0,
        });
        *line = Some(made.clone());
        Ok(made)
    }

    /// Does not use this connection any more.
    async fn leave(&self, dead: &Arc<Line>) {
        let mut line = self.line.lock().await;
        if line.as_ref().is_some_and(|line| Arc::ptr_eq(line, dead)) {
            *line = None;
        }
    }

    /// A channel. Where the server takes no more (`MaxSessions`), waits for one of ours to end.
    async fn channel(&self) -> Result<(Channel<Msg>, Lease), HostError> {
        let mut anew = 0;
        let mut pauses = REOPEN.iter();
        loop {
            let line = self.line().await?;
            match line.connection.session().await {
                Ok(channel) => {
                    line.open.send_modify(|open| *open += 1);
                    let who = self.who.clone();
                    return Ok((channel, Lease { line, who }));
                }
                Err(Unopened::Lost(error)) => {
                    self.leave(&line).await;
                    anew += 1;
                    if anew > 1 {
                        return Err(error);
                    }
                }
                Err(Unopened::Refused(why)) => {
                    let mut open = line.open.subscribe();
                    let others = *open.borrow_and_update();
                    if others > 0 {
                        // The sender is in `line`, which is ours.
                        if open.wait_for(|now| *now < others).await.is_err() {
                            tracing::debug!("a connection is gone");
                        }
                    } else if let Some(pause) = pauses.next() {
                        sleep(*pause).await;
                    } else if anew == 0 {
                        // A channel that we left may hold its place until its program ends; a new connection has its own.
                        anew += 1;
                        pauses = REOPEN.iter();
                        self.leave(&line).await;
                    } else {
                        return Err(self.no_session(&why));
                    }
                }
            }
        }
    }

    /// A stream to a TCP port as the machine sees it, on the connection of its shells.
    ///
    /// # Errors
    ///
    /// As [`Connection::direct_tcpip`]; or the machine cannot be reached.
    pub async fn tunnel(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, HostError> {
        let line = self.line().await?;
        match line.connection.direct_tcpip(host, port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if line.connection.is_closed() => {
                tracing::debug!(machine = self.who.machine, %error, "connecting again");
                self.leave(&line).await;
                let line = self.line().await?;
                Ok(Box::new(line.connection.direct_tcpip(host, port).await?))
            }
            Err(error) => Err(error),
        }
    }

    fn no_session(&self, why: &str) -> HostError {
        let machine = &self.who.machine;
        no_way(
            false,
            Failure::new(format!("{machine} opens no session"))
                .evidence(format!("{machine} said: {why}"))
                .hint(format!("see `MaxSessions` in sshd_config of {machine}")),
        )
    }

    async fn start_shell(&self, program: &[String]) -> Result<Running, HostError> {
        let Sudo::Password(password) = &self.sudo else {
            let (control, streams, gate) = self.spawn(program).await?;
            if let Some(gate) = gate {
                self.send(&control, begin_line(&gate)).await?;
            }
            return Ok(running(control, streams));
        };
        let mut proof = self.proof.lock().await;
        match &*proof {
            Proof::Wrong(failure) => Err(no_way(false, failure.clone())),
            Proof::Right => {
                drop(proof);
                let (control, streams, gate) = self.spawn(program).await?;
                self.send_password(&control, password).await?;
                if let Some(gate) = gate {
                    self.send(&control, begin_line(&gate)).await?;
                }
                Ok(running(control, streams))
            }
            Proof::Unknown => {
                let (mut control, streams, gate) = self.spawn(program).await?;
                self.send_password(&control, password).await?;
                match self.prove(&mut control).await {
                    Ok(()) => *proof = Proof::Right,
                    Err(error) => {
                        if error.kind == (HostErrorKind::Unreachable { transient: false }) {
                            *proof = Proof::Wrong(error.failure.clone());
                        }
                        return Err(error);
                    }
                }
                drop(proof);
                if let Some(gate) = gate {
                    self.send(&control, begin_line(&gate)).await?;
                }
                Ok(running(control, streams))
            }
        }
    }

    /// Asks for a command on a new channel.
    async fn spawn(
        &self,
        program: &[String],
    ) -> Result<(SshControl, Streams, Option<Gate>), HostError> {
        let words = sudo::words(program, &self.sudo, &nonce()?);
        let (channel, lease) = self.channel().await?;
        let (control, streams) =
            SshControl::new(channel, lease, words.gate.clone(), self.sudo.clone());
        let asked = match control.write() {
            Some(write) => write.exec(true, words.command).await.is_ok(),
            None => false,
        };
        if asked {
            Ok((control, streams, words.gate))
        } else {
            Err(self.gone())
        }
    }

    /// Waits until sudo has taken the password.
    async fn prove(&self, control: &mut SshControl) -> Result<(), HostError> {
        match timeout(self.access.timeouts.sudo, control.begun()).await {
            Ok(Progress::Began) => Ok(()),
            Ok(Progress::Waiting | Progress::Wrong | Progress::Ended) | Err(_) => {
                match control.sudo_trouble() {
                    Some(failure) => Err(no_way(false, failure)),
                    None => Err(self.gone()),
                }
            }
        }
    }

    /// In memory that is zeroed when it was sent.
    async fn send_password(
        &self,
        control: &SshControl,
        password: &Password,
    ) -> Result<(), HostError> {
        let line = Bytes::from_owner(sudo::password_line(password));
        self.send(control, line).await
    }

    async fn send(&self, control: &SshControl, bytes: Bytes) -> Result<(), HostError> {
        let Some(write) = control.write() else {
            return Err(self.gone());
        };
        // A server that gives a channel no window never takes a line.
        match timeout(self.access.timeouts.channel, write.data_bytes(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.gone()),
        }
    }

    fn gone(&self) -> HostError {
        no_way(
            true,
            Failure::new(format!(
                "the connection to {} was lost before anything was started",
                self.who.machine
            )),
        )
    }
}

impl Shell for SshShell {
    fn start<'a>(&'a self, program: &'a [String]) -> BoxFuture<'a, Result<Running, HostError>> {
        Box::pin(self.start_shell(program))
    }

    fn login(&self) -> BoxFuture<'_, Option<Login>> {
        Box::pin(async move {
            let line = self.line.lock().await;
            line.as_ref().map(|line| Login {
                user: self.who.user.clone(),
                key: line.connection.key(),
            })
        })
    }
}

fn begin_line(gate: &Gate) -> Bytes {
    Bytes::from(format!("{}\n", gate.nonce))
}

fn running(control: SshControl, streams: Streams) -> Running {
    Running {
        stdin: Box::new(control.input()),
        stdout: Box::new(streams.stdout),
        stderr: Box::new(streams.stderr),
        control: Box::new(control),
    }
}

/// Known to nobody but this execution.
fn nonce() -> Result<String, HostError> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| {
        no_way(
            false,
            Failure::new("this machine gives no random numbers").evidence(error.to_string()),
        )
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
