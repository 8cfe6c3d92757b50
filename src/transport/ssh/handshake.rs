//! From an address to a connection that is logged in: TCP, the SSH handshake with its host key, the login.

use std::sync::{Arc, PoisonError};

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{AlgorithmKind, ChannelId, ChannelOpenFailure};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::auth::{AuthError, Taken, authenticate};
use super::client::{Ending, no_way};
use super::route::Hop;
use super::wire::{Cut, Prompt, Wire};
use super::{Access, Timeouts, verify};
use crate::model::outcome::Failure;
use crate::transport::HostError;

/// Bytes a channel may send before we take them.
const WINDOW: u32 = 1024 * 1024;

/// Messages of one channel (32 KiB at most each) that wait for us before the connection is no longer read.
const CHANNEL_BUFFER: usize = 16;

/// Keepalives without any answer before a connection is dead: it is found dead after three intervals.
const UNANSWERED: usize = 2;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// A TCP connection: to the first of the name's addresses that answers.
pub(super) async fn dial(hop: &Hop, timeouts: &Timeouts) -> Result<Prompt, HostError> {
    let place = format!("{} ({} port {})", hop.name, hop.address, hop.port);
    let looked = tokio::net::lookup_host((hop.address.as_str(), hop.port));
    let addresses: Vec<_> = match timeout(timeouts.connect, looked).await {
        Ok(Ok(found)) => found.take(ADDRESSES).collect(),
        Ok(Err(error)) => {
            return Err(no_way(
                true,
                Failure::new(format!("the address of {place} is not found"))
                    .evidence(error.to_string())
                    .hint("write an IP address, or a name that this machine can look up"),
            ));
        }
        Err(_) => Vec::new(),
    };
    let mut failure = Failure::new(format!("{place} does not answer"))
        .hint("see that it is on, that its address is right, and that sshd runs there");
    for address in addresses {
        match timeout(timeouts.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                prepare(&stream, timeouts);
                return Ok(Prompt(stream));
            }
            Ok(Err(error)) => failure = failure.evidence(format!("{address}: {error}")),
            Err(_) => {
                let seconds = timeouts.connect.as_secs_f32();
                failure = failure.evidence(format!("{address}: no answer within {seconds} s"));
            }
        }
    }
    Err(no_way(true, failure))
}

/// No waiting for more to send; and data that nobody takes ends the connection as soon as silence does.
fn prepare(stream: &TcpStream, timeouts: &Timeouts) {
    let patience = timeouts.keepalive * 3;
    let set = stream.set_nodelay(true).and_then(|()| {
        let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        Ok(rustix::net::sockopt::set_tcp_user_timeout(
            stream,
            milliseconds,
        )?)
    });
    if let Err(error) = set {
        tracing::debug!(%error, "socket options");
    }
}

/// A server that let us in.
pub(super) struct Greeted {
    pub handle: Handle<Client>,
    pub ending: Arc<Ending>,
    pub cut: Cut,
    /// What it let us in by.
    pub taken: Taken,
}

/// The SSH handshake and the login. `None`: connect again, the passphrase is known now.
pub(super) async fn shake_hands<S>(
    hop: &Hop,
    stream: S,
    access: &Access,
) -> Result<Option<Greeted>, HostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let ending = Arc::new(Ending::default());
    let (wire, cut) = Wire::new(stream);
    let client = Client {
        hop: hop.clone(),
        ending: ending.clone(),
    };
    let config = Arc::new(config(hop, &access.timeouts));
    let shaken = client::connect_stream(config, wire, client);
    let mut handle = match timeout(access.timeouts.handshake, shaken).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => return Err(not_shaken(hop, error, &ending)),
        Err(_) => return Err(silent(hop, &access.timeouts)),
    };
    match authenticate(&mut handle, hop, access, &ending).await {
        Ok(taken) => Ok(Some(Greeted {
            handle,
            ending,
            cut,
            taken,
        })),
        Err(AuthError::Refused(failure)) => Err(no_way(false, failure)),
        Err(AuthError::Closed(failure)) => Err(no_way(true, failure)),
        Err(AuthError::Again) => Ok(None),
    }
}

/// A server that does not go on.
pub(super) fn silent(hop: &Hop, timeouts: &Timeouts) -> HostError {
    let seconds = timeouts.handshake.as_secs_f32();
    no_way(
        true,
        Failure::new(format!(
            "{} accepts a connection and then says nothing",
            hop.name
        ))
        .evidence(format!("no SSH handshake within {seconds} s"))
        .hint("see that sshd answers there, and not something else, and how busy the machine is"),
    )
}

fn config(hop: &Hop, timeouts: &Timeouts) -> client::Config {
    client::Config {
        preferred: verify::preferred(&hop.host_keys),
        window_size: WINDOW,
        channel_buffer_size: CHANNEL_BUFFER,
        keepalive_interval: Some(timeouts.keepalive),
        keepalive_max: UNANSWERED,
        ..client::Config::default()
    }
}

pub(super) fn not_shaken(hop: &Hop, error: ClientError, ending: &Ending) -> HostError {
    let error = match error {
        ClientError::Untrusted(failure) => return no_way(false, *failure),
        ClientError::Russh(error) => error,
    };
    match error {
        russh::Error::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            theirs,
            ..
        } => no_way(false, verify::no_common_type(hop, &theirs)),
        russh::Error::NoCommonAlgo { kind, theirs, .. } => no_way(
            false,
            Failure::new(format!(
                "{} and hmco-boot have no algorithm in common ({kind:?})",
                hop.name
            ))
            .evidence(format!("it offers: {}", theirs.join(", ")))
            .hint("update sshd there, or allow a current algorithm in its configuration"),
        ),
        error @ (russh::Error::Version | russh::Error::WrongServerSig) => no_way(
            false,
            Failure::new(format!(
                "{} port {} of {} does not speak SSH as it should",
                hop.address, hop.port, hop.name
            ))
            .evidence(error.to_string())
            .hint("see that the port is right"),
        ),
        error => {
            let mut failure = Failure::new(format!(
                "{} ended the connection before the login",
                hop.name
            ))
            .evidence(error.to_string())
            .hint("sshd's log there says why (`MaxStartups`, hosts.deny, a firewall, no memory)");
            failure.evidence.extend(ending.words());
            no_way(true, failure)
        }
    }
}

/// Answers what a server asks of a client.
pub(super) struct Client {
    hop: Hop,
    ending: Arc<Ending>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum ClientError {
    Untrusted(Box<Failure>),
    Russh(russh::Error),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Russh(error)
    }
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, ClientError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => match verify::check(&self.hop, key) {
                Ok(()) => Ok(true),
                Err(failure) => Err(ClientError::Untrusted(Box::new(failure))),
            },
            // Never asked for.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        description: &str,
        _: &str,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        let mut refusal = self
            .ending
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        description.clone_into(&mut refusal);
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<ClientError>,
    ) -> Result<(), ClientError> {
        let words = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                format!("the machine ended the connection: {}", info.message)
            }
            DisconnectReason::Error(ClientError::Russh(russh::Error::KeepaliveTimeout)) => {
                "the machine went silent: it answers no keepalive".to_owned()
            }
            DisconnectReason::Error(ClientError::Russh(russh::Error::Disconnect)) => {
                "the machine closed the connection".to_owned()
            }
            DisconnectReason::Error(ClientError::Russh(error)) => error.to_string(),
            DisconnectReason::Error(ClientError::Untrusted(failure)) => failure.message,
        };
        tracing::debug!(machine = self.hop.name, words, "connection ended");
        self.ending.say(words);
        Ok(())
    }
}
