//! HTTP over streams that come from anywhere: what kube and hyper need to talk through a tunnel.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection as HyperConnection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::ConfigExt as _;

use super::BoxFuture;
use super::way::{Dial, Opened};
use crate::model::outcome::causes;
use crate::transport::Stream;

/// What a server may send of one answer, and of all together, before this side has read it: lists of definitions have
/// megabytes, and a window that only grows with use would cost each of them round trips.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// HTTP/2 where the server speaks it: one connection, one handshake, whatever number of requests.
pub(super) fn client(opened: &Opened) -> Result<kube::Client, String> {
    let tls = opened
        .config
        .rustls_client_config()
        .map_err(|error| causes(&error))?;
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(Dialer(opened.dial.clone()));
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(20))
        .build(https);
    let layers = tower::ServiceBuilder::new()
        .layer(opened.config.base_uri_layer())
        .option_layer(opened.config.auth_layer().map_err(|error| causes(&error))?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(kube::Client::new(layers, "default"))
}

/// Streams for hyper, wherever the address would lead.
#[derive(Clone)]
struct Dialer(Dial);

/// A stream as hyper wants it.
struct Line(TokioIo<Box<dyn Stream>>);

impl HyperConnection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = Line;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Line, std::io::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let stream = (self.0)();
        Box::pin(async move {
            let stream = stream.await.map_err(std::io::Error::other)?;
            Ok(Line(TokioIo::new(stream)))
        })
    }
}
