//! The stream below an SSH connection: quick to acknowledge, and with a way to cut it. A handshake that its peer leaves hanging would otherwise
//! keep its socket and task for as long as the peer likes.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A stream that fails once its [`Cut`] is dropped.
pub(super) struct Wire<S> {
    stream: S,
    /// `None` once it was cut.
    cut: Option<oneshot::Receiver<()>>,
}

/// Cuts the [`Wire`] when dropped.
pub(super) struct Cut {
    _sender: oneshot::Sender<()>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> (Self, Cut) {
        let (sender, cut) = oneshot::channel();
        let cut = Some(cut);
        (Self { stream, cut }, Cut { _sender: sender })
    }

    /// One task does all reading and writing, so the one waker that is kept is the right one.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            if Pin::new(cut).poll(context).is_pending() {
                return Ok(());
            }
            self.cut = None;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A TCP stream that acknowledges at once. A server that does not set TCP_NODELAY (OpenSSH for sessions without a
/// terminal) holds each small packet back until the one before it was acknowledged, and by default that takes up to 40 ms.
pub(super) struct Prompt(pub TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        // The kernel forgets it again and again.
        if read.is_ready()
            && let Err(error) = rustix::net::sockopt::set_tcp_quickack(&self.0, true)
        {
            tracing::trace!(%error, "TCP_QUICKACK");
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
