//! Streams to TCP ports: from this machine, and from others through the connections to them.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{BoxFuture, HostError, HostErrorKind};
use crate::model::id::Target;
use crate::model::outcome::Failure;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A stream of bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Gives streams to TCP ports as machines see them.
pub trait Tunnels: Send + Sync {
    /// A stream to `host` (`127.0.0.1` is the machine itself) and `port`, through the connection that the run has to the
    /// machine.
    ///
    /// # Errors
    ///
    /// The machine cannot be reached; it forwards nothing (`AllowTcpForwarding`, not transient); nobody answers at that
    /// port (transient).
    fn tunnel<'a>(
        &'a self,
        target: &'a Target,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Stream>, HostError>>;
}

/// A stream to a TCP port of this machine, or of another as this machine sees it.
///
/// # Errors
///
/// Nobody answers there within 10 s (transient).
pub async fn connect(host: &str, port: u16) -> Result<Box<dyn Stream>, HostError> {
    let bare = host.trim_matches(['[', ']']);
    let connecting = TcpStream::connect((bare, port));
    let why = match timeout(CONNECT, connecting).await {
        Ok(Ok(stream)) => {
            // Small requests must not wait for each other's answers.
            drop(stream.set_nodelay(true));
            return Ok(Box::new(stream));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {}s", CONNECT.as_secs()),
    };
    Err(HostError {
        kind: HostErrorKind::Unreachable { transient: true },
        failure: Failure::new(format!("cannot connect to {host} port {port}")).evidence(why),
    })
}
