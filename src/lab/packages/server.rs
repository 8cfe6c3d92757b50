//! The process that serves packages: connections of nodes, one request after another on each.

#![expect(
    clippy::disallowed_methods,
    reason = "opens the cache's files and the resolver's configuration"
)]

use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::cache::{Cache, Missing};
use super::http::{self, MAX_HEAD, Request};
use super::{Config, PORT, mirror, names};
use crate::model::outcome::Failure;

/// How long a node may be silent between two requests.
const IDLE: Duration = Duration::from_secs(120);

/// Serves until it is killed.
///
/// # Errors
/// Where it cannot listen.
pub async fn serve(config: Config) -> Result<(), Failure> {
    let cannot =
        |what: &str, error: &io::Error| Failure::new(format!("cannot listen on {what}: {error}"));
    let address = format!("{}:{PORT}", config.address);
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| cannot(&address, &error))?;
    let questions = format!("{}:53", config.address);
    let socket = UdpSocket::bind(&questions)
        .await
        .map_err(|error| cannot(&questions, &error))?;
    let resolver =
        names::upstream(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    tokio::spawn(names::serve(
        Arc::new(socket),
        config.hosts.clone(),
        resolver,
    ));
    let cache = Cache::new(
        config.cache.clone(),
        config.routes.clone(),
        mirror::client()?,
    );
    let shared = Arc::new((cache, config.greeting()));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A node that goes away in the middle is no event here.
                    talk(stream, &shared.0, &shared.1).await.ok();
                });
            }
            // Out of file descriptors, for one: some come back when a node is done.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn talk(mut stream: TcpStream, cache: &Cache, greeting: &str) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(head) = next_head(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let request = match http::parse(&head) {
            Ok(request) => request,
            Err((status, why)) => {
                refuse(&mut stream, status, why, false).await?;
                return Ok(());
            }
        };
        // Of the server itself, not of an archive.
        if head.starts_with("GET / ") {
            let head = http::head(200, "OK", greeting.len() as u64, None, "");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(greeting.as_bytes()).await?;
        } else {
            answer(&mut stream, cache, &request).await?;
        }
        if request.close {
            return stream.shutdown().await;
        }
    }
}

/// The head of the next request; apt sends several before it reads the first answer.
async fn next_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            buffer.truncate(end);
            let head = String::from_utf8_lossy(buffer).into_owned();
            *buffer = rest;
            return Ok(Some(head));
        }
        if buffer.len() > MAX_HEAD {
            return Ok(None);
        }
        match timeout(IDLE, stream.read_buf(buffer)).await {
            Ok(Ok(0)) | Err(_) => return Ok(None),
            Ok(read) => read?,
        };
    }
}

async fn answer(stream: &mut TcpStream, cache: &Cache, request: &Request) -> io::Result<()> {
    let held = match cache.get(&request.url).await {
        Ok(held) => held,
        Err(Missing { status, why }) => {
            return refuse(stream, status, &why, request.head_only).await;
        }
    };
    let mut file = tokio::fs::File::open(&held.path).await?;
    let size = file.metadata().await?.len();
    let (head, range) = http::answer(request, size, held.meta.modified.as_deref());
    stream.write_all(head.as_bytes()).await?;
    if !request.head_only && !range.is_empty() {
        file.seek(SeekFrom::Start(range.start)).await?;
        tokio::io::copy(&mut file.take(range.end - range.start), stream).await?;
    }
    Ok(())
}

async fn refuse(stream: &mut TcpStream, status: u16, why: &str, head_only: bool) -> io::Result<()> {
    let reason: String = why.chars().filter(|c| !c.is_control()).collect();
    let body = if head_only {
        String::new()
    } else {
        format!("{reason}\n")
    };
    let head = http::head(status, &reason, body.len() as u64, None, "");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}
