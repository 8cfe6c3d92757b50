//! An SSH server in this process that behaves as it is told to: for what a real one does only when something is wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hmco_boot::transport::ssh::route::{Hop, HostKeys, Route};
use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{
    self, Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a server behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Answers every script that it got whole with the mark of its end.
    Good,
    /// Says something and drops the connection as soon as a command is asked for.
    DropsInCommand,
    /// Talks without end on standard output.
    Floods,
    /// Talks without end on standard error.
    FloodsErrors,
    /// Closes the channel without an exit status.
    ClosesSilently,
    /// Takes everything and never says a word.
    SaysNothing,
    /// Lets nobody open a channel.
    RefusesChannels,
    /// Refuses the first channel of a connection.
    RefusesFirst,
    /// Runs no commands.
    RefusesCommands,
    /// Does not answer an offered key.
    HangsAtLogin,
    /// Never takes a byte of input.
    Deaf,
    /// Waits before everything.
    Slow,
}

/// What a server saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub offers: AtomicUsize,
    pub commands: AtomicUsize,
    pub refused: AtomicUsize,
}

/// A server, until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub host_key: PublicKey,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(manner: Manner) -> Self {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let host_key = key.public_key().clone();
        let config = Arc::new(Config {
            keys: vec![key],
            window_size: if manner == Manner::Deaf {
                0
            } else {
                1024 * 1024
            },
            auth_rejection_time: Duration::from_millis(1),
            nodelay: true,
            ..Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let all = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                all.connections.fetch_add(1, Ordering::Relaxed);
                stream.set_nodelay(true).unwrap();
                let handler = Connected {
                    manner,
                    seen: all.clone(),
                    channels: 0,
                    input: HashMap::new(),
                };
                let config = config.clone();
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, handler).await {
                        session.await.ok();
                    }
                });
            }
        });
        Self {
            address,
            host_key,
            seen,
            task,
        }
    }

    /// The way to it, with a key that it takes.
    pub fn route(&self, identity: &std::path::Path) -> Route {
        route(self.address, &self.host_key, identity)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn route(address: SocketAddr, host_key: &PublicKey, identity: &std::path::Path) -> Route {
    let hop = Hop {
        name: "node".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        user: "root".to_owned(),
        identities: vec![identity.to_owned()],
        identities_only: true,
        agent: None,
        host_keys: HostKeys::Pinned(vec![host_key.clone()]),
        password: None,
        host_key_alias: None,
    };
    Route {
        hops: vec![hop],
        unsupported: Vec::new(),
    }
}

/// Makes a key that any of these servers takes.
pub fn identity(folder: &std::path::Path) -> std::path::PathBuf {
    let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
    let path = folder.join("identity");
    let text = key
        .to_openssh(russh::keys::ssh_key::LineEnding::LF)
        .unwrap();
    std::fs::write(&path, text.as_bytes()).unwrap();
    path
}

struct Connected {
    manner: Manner,
    seen: Arc<Seen>,
    channels: usize,
    input: HashMap<ChannelId, Vec<u8>>,
}

impl Connected {
    async fn pause(&self) {
        if self.manner == Manner::Slow {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The mark of a script that has come whole, the first line being `LENGTH MARK`.
fn whole(input: &[u8]) -> Option<String> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = String::from_utf8_lossy(&input[..end]);
    let (length, mark) = line.split_once(' ')?;
    (input.len() > end + length.parse::<usize>().ok()?).then(|| mark.to_owned())
}

impl Handler for Connected {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        _: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.seen.offers.fetch_add(1, Ordering::Relaxed);
        self.pause().await;
        if self.manner == Manner::HangsAtLogin {
            std::future::pending::<()>().await;
        }
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.pause().await;
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.pause().await;
        self.channels += 1;
        let refuse = match self.manner {
            Manner::RefusesChannels => true,
            Manner::RefusesFirst => self.channels == 1,
            _ => false,
        };
        if refuse {
            self.seen.refused.fetch_add(1, Ordering::Relaxed);
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
        } else {
            reply.accept().await;
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.seen.commands.fetch_add(1, Ordering::Relaxed);
        self.pause().await;
        if self.manner == Manner::RefusesCommands {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        let handle = session.handle();
        match self.manner {
            Manner::DropsInCommand => {
                session.data(channel, "half a word".as_bytes().to_vec())?;
                session.flush()?;
                return Err(russh::Error::Disconnect);
            }
            Manner::ClosesSilently => {
                session.data(channel, "half a word".as_bytes().to_vec())?;
                session.close(channel)?;
            }
            Manner::Floods => {
                tokio::spawn(async move {
                    let piece = vec![b'x'; 32_000];
                    while handle.data(channel, piece.clone()).await.is_ok() {}
                });
            }
            Manner::FloodsErrors => {
                tokio::spawn(async move {
                    let piece = vec![b'x'; 32_000];
                    for _ in 0..4000 {
                        if handle
                            .extended_data(channel, 1, piece.clone())
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    handle.exit_status_request(channel, 3).await.ok();
                    handle.close(channel).await.ok();
                });
            }
            _ => {}
        }
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if !matches!(
            self.manner,
            Manner::Good | Manner::Slow | Manner::RefusesFirst
        ) {
            return Ok(());
        }
        let input = self.input.entry(channel).or_default();
        input.extend_from_slice(data);
        if let Some(mark) = whole(input) {
            self.input.remove(&channel);
            self.pause().await;
            let end = format!("\n{mark} < end\n\n{mark} > 0\n");
            session.data(channel, end.into_bytes())?;
            session.exit_status_request(channel, 0)?;
            session.eof(channel)?;
            session.close(channel)?;
        }
        Ok(())
    }
}
