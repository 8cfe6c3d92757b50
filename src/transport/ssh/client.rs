//! Connections: one TCP connection and one SSH handshake per hop, each later hop through the one before it. A host key is
//! verified before anything else is said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::keys::PublicKey;
use russh::{Channel, ChannelOpenFailure};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Access;
use super::handshake::{Client, Greeted, dial, shake_hands};
use super::route::{Hop, Route};
use super::wire::Cut;
use crate::model::outcome::Failure;
use crate::transport::{BoxFuture, HostError, HostErrorKind};

/// An SSH connection to a machine.
pub struct Connection {
    handle: Handle<Client>,
    name: String,
    channel_limit: Duration,
    key: Option<PublicKey>,
    ending: Arc<Ending>,
    _cut: Cut,
    /// The bastion it goes through.
    _before: Option<Arc<Connection>>,
}

/// Why a connection ended, as far as it was seen.
#[derive(Default)]
pub(super) struct Ending {
    words: Mutex<Option<String>>,
    /// Why the last channel was not opened, by the server's words.
    pub(super) refusal: Mutex<String>,
}

impl Ending {
    /// The first reason counts; what follows is its consequence.
    pub(super) fn say(&self, words: impl Into<String>) {
        let mut known = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert(words.into());
    }

    pub(super) fn words(&self) -> Option<String> {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.clone()
    }
}

/// Connections to bastions, shared by the machines behind them.
#[derive(Default)]
pub(super) struct Bastions {
    open: Mutex<HashMap<String, Arc<Place>>>,
}

/// Where the connection to one bastion is, or is being made.
type Place = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl Connection {
    /// Connects hop by hop and logs in. Bastions are shared with other connections of the same `access`.
    ///
    /// # Errors
    ///
    /// [`HostErrorKind::Unreachable`]; transient where trying again may help (no answer, a name that is not found), not
    /// where it cannot (host key, login).
    pub async fn open(route: &Route, access: &Access) -> Result<Self, HostError> {
        let Some((last, before)) = route.hops.split_last() else {
            return Err(no_way(
                false,
                Failure::new("there is no way to the machine"),
            ));
        };
        let before = bastion(before, access).await?;
        hop(last, before, access).await
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The public key that the machine let in, `TYPE BASE64`; `None` after a certificate or a password.
    pub fn key(&self) -> Option<String> {
        let line = self.key.as_ref()?.to_openssh().ok()?;
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    }

    /// Why it ended, as far as is known.
    pub fn last_words(&self) -> Option<String> {
        self.ending.words()
    }

    /// A stream to a TCP port as the machine sees it.
    ///
    /// # Errors
    ///
    /// The machine does not forward (`AllowTcpForwarding`, `PermitOpen`), or nobody answers there (transient).
    pub async fn direct_tcpip(
        &self,
        host: &str,
        port: u16,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, HostError> {
        let opening = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match timeout(self.channel_limit, opening).await {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                Err(self.not_forwarded(&why, host, port))
            }
            Ok(Err(error)) => Err(self.lost(&error.to_string())),
            Err(_) => Err(self.lost("it did not open a channel in time")),
        }
    }

    /// A session channel.
    pub(super) async fn session(&self) -> Result<Channel<Msg>, Unopened> {
        match timeout(self.channel_limit, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                Err(Unopened::Refused(self.refusal(&why)))
            }
            Ok(Err(error)) => Err(Unopened::Lost(self.lost(&error.to_string()))),
            Err(_) => Err(Unopened::Lost(
                self.lost("it did not open a channel in time"),
            )),
        }
    }

    fn refusal(&self, why: &ChannelOpenFailure) -> String {
        let said = self
            .ending
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match said.as_str() {
            "" => why.description().to_owned(),
            said => format!("{} ({said})", why.description()),
        }
    }

    fn not_forwarded(&self, why: &ChannelOpenFailure, host: &str, port: u16) -> HostError {
        let name = &self.name;
        let said = self.refusal(why);
        let failure = match why {
            ChannelOpenFailure::AdministrativelyProhibited => Failure::new(format!(
                "{name} does not forward connections to {host} port {port}"
            ))
            .hint(format!(
                "in sshd_config of {name}: `AllowTcpForwarding yes` (or `local`), and no `PermitOpen` or key option that \
                 forbids {host}:{port}"
            )),
            _ => Failure::new(format!("{name} cannot reach {host} port {port}"))
                .hint(format!("try `nc -vz {host} {port}` on {name}")),
        };
        let transient = !matches!(why, ChannelOpenFailure::AdministrativelyProhibited);
        no_way(transient, failure.evidence(format!("{name} said: {said}")))
    }

    fn lost(&self, why: &str) -> HostError {
        let failure = Failure::new(format!("the connection to {} was lost", self.name))
            .evidence(self.last_words().unwrap_or_else(|| why.to_owned()));
        no_way(true, failure)
    }
}

/// Why a channel was not opened.
pub(super) enum Unopened {
    /// The server does not want to; by its words.
    Refused(String),
    /// The connection is dead.
    Lost(HostError),
}

/// Names a way.
fn key(hops: &[Hop]) -> String {
    let name = |hop: &Hop| {
        format!(
            "{}\0{}\0{}\0{}\n",
            hop.name, hop.user, hop.address, hop.port
        )
    };
    hops.iter().map(name).collect()
}

/// Connections that are being made before anybody needs them.
#[derive(Default)]
pub(super) struct Ahead {
    tasks: Mutex<HashMap<String, JoinHandle<Result<Connection, HostError>>>>,
}

impl Ahead {
    /// Begins to connect, unless that was begun already.
    pub(super) fn begin(&self, access: &Arc<Access>, route: &Route) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.entry(key(&route.hops)).or_insert_with(|| {
            let (route, access) = (route.clone(), access.clone());
            tokio::spawn(async move { Connection::open(&route, &access).await })
        });
    }

    /// The connection of a route, if it was begun and nobody took it; or why there is none.
    pub(super) async fn take(&self, route: &Route) -> Option<Result<Connection, HostError>> {
        let task = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.remove(&key(&route.hops))?
        };
        task.await.ok()
    }
}

/// The connection to the last of these bastions.
pub(super) fn bastion<'a>(
    hops: &'a [Hop],
    access: &'a Access,
) -> BoxFuture<'a, Result<Option<Arc<Connection>>, HostError>> {
    Box::pin(async move {
        let Some((last, before)) = hops.split_last() else {
            return Ok(None);
        };
        let key = key(hops);
        let place = {
            let mut open = access
                .bastions
                .open
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            open.entry(key).or_default().clone()
        };
        let mut place = place.lock().await;
        if let Some(connection) = place.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Some(connection.clone()));
        }
        let before = bastion(before, access).await?;
        let connection = Arc::new(hop(last, before, access).await?);
        *place = Some(connection.clone());
        Ok(Some(connection))
    })
}

async fn hop(
    hop: &Hop,
    before: Option<Arc<Connection>>,
    access: &Access,
) -> Result<Connection, HostError> {
    let (mut again, began) = (true, Instant::now());
    loop {
        let opened = match &before {
            None => shake_hands(hop, dial(hop, &access.timeouts).await?, access).await,
            Some(bastion) => {
                let stream = bastion.direct_tcpip(&hop.address, hop.port).await?;
                shake_hands(hop, stream, access).await
            }
        };
        match opened? {
            Some(Greeted {
                handle,
                ending,
                cut,
                taken,
            }) => {
                tracing::info!(
                    machine = hop.name,
                    user = hop.user,
                    address = hop.address,
                    port = hop.port,
                    by = taken.by,
                    ms = millis(began),
                    "connected"
                );
                return Ok(Connection {
                    handle,
                    name: hop.name.clone(),
                    channel_limit: access.timeouts.channel,
                    key: taken.key,
                    ending,
                    _cut: cut,
                    _before: before,
                });
            }
            // The server did not want to wait for a passphrase to be typed. It is known now.
            None if again => again = false,
            None => {
                return Err(no_way(
                    true,
                    Failure::new(format!("{} ended the connection at login", hop.name)),
                ));
            }
        }
    }
}

/// Milliseconds since then, for traces.
pub(super) fn millis(then: Instant) -> u64 {
    u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn no_way(transient: bool, failure: Failure) -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable { transient },
        failure,
    }
}
