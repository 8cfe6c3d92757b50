//! Connections to the API: through the servers of the cluster, one after the other until one is healthy, or as a
//! kubeconfig says. The cluster's CA is held to its pin before anything is said to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection as HyperConnection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::client::chain;
use super::{ApiError, ApiErrorKind, BoxFuture};
use crate::facts::fact::{Fact, FactError, FactValue};
use crate::model::id::Target;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::redact::Redactor;
use crate::transport::{Hosts, Stream, Tunnels};

/// Where K3s writes the credentials of an administrator.
pub const K3S_KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// A kubeconfig is a few kB.
const KUBECONFIG_BYTES: u64 = 1024 * 1024;
/// How long a server may take to say that it is ready.
const READY: Duration = Duration::from_secs(8);

/// A connection that was made, to the server of this number.
#[derive(Clone)]
pub struct Connection {
    /// For requests.
    pub client: kube::Client,
    way: usize,
    serial: usize,
}

/// Makes connections.
pub struct Connector {
    ways: Vec<Arc<dyn Way>>,
    pin: Pin,
    now: Mutex<Option<Connection>>,
    next: AtomicUsize,
    serial: AtomicUsize,
}

/// Who the cluster is: the sha256 of its CA's certificate (the PEM file).
#[derive(Default)]
pub struct Pin {
    /// The one that must be shown, where it is known.
    pub known: Option<String>,
    /// Where the pin is said, for messages: `ca_sha256 in inventory/homelab.toml`.
    pub place: String,
    /// The one that was shown first, where none was known.
    seen: StdMutex<Option<String>>,
}

impl Pin {
    /// The pin that is known, and where it is said.
    pub fn new(known: Option<String>, place: impl Into<String>) -> Self {
        Self {
            known,
            place: place.into(),
            seen: StdMutex::default(),
        }
    }

    fn check(&self, ca: &[u8]) -> Result<(), Failure> {
        let digest: String = Sha256::digest(ca)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = self.known.clone().or_else(|| seen.clone());
        match expected {
            Some(expected) if !expected.eq_ignore_ascii_case(&digest) => Err(Failure::new(
                "the cluster has another CA than the one that is pinned",
            )
            .evidence(format!("pinned: {expected} ({})", self.place))
            .evidence(format!("found:  {digest}"))
            .hint(
                "if the cluster was made anew on purpose, put the new one in its place; if not, find out whose cluster \
                 this is before anything else",
            )),
            Some(_) => Ok(()),
            None => {
                *seen = Some(digest);
                Ok(())
            }
        }
    }
}

/// A way to the API.
trait Way: Send + Sync {
    /// For messages.
    fn name(&self) -> String;
    /// What to connect with.
    fn open(&self) -> BoxFuture<'_, Result<Opened, Failure>>;
}

/// Credentials, and what makes streams to the server they are for.
struct Opened {
    config: kube::Config,
    /// The CA as PEM, `None` where the system's are trusted.
    ca: Option<Vec<u8>>,
    dial: Dial,
}

/// Makes a stream.
type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Stream>, String>> + Send + Sync>;

impl Connector {
    /// Through servers of the cluster, in this order, with the credentials that K3s wrote there. `api_address`: where to
    /// reach the API straight, if a server forwards no connections.
    pub fn through_servers(
        servers: Vec<Target>,
        hosts: Arc<dyn Hosts>,
        tunnels: Arc<dyn Tunnels>,
        api_address: Option<String>,
        redactor: Redactor,
        pin: Pin,
    ) -> Self {
        let way = |target: Target| {
            Arc::new(ServerWay {
                target,
                hosts: hosts.clone(),
                tunnels: tunnels.clone(),
                api_address: api_address.clone(),
                redactor: redactor.clone(),
            }) as Arc<dyn Way>
        };
        Self::of(servers.into_iter().map(way).collect(), pin)
    }

    /// As a kubeconfig says. `name` is for messages.
    pub fn kubeconfig(name: String, text: String, redactor: Redactor, pin: Pin) -> Self {
        let way = KubeconfigWay {
            name,
            text,
            redactor,
        };
        Self::of(vec![Arc::new(way)], pin)
    }

    fn of(ways: Vec<Arc<dyn Way>>, pin: Pin) -> Self {
        // Where another provider was chosen before, it is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            ways,
            pin,
            now: Mutex::new(None),
            next: AtomicUsize::new(0),
            serial: AtomicUsize::new(0),
        }
    }

    /// How many servers there are to ask.
    pub fn ways(&self) -> usize {
        self.ways.len()
    }

    /// The CA that was seen where none was pinned: sha256 of its PEM file.
    pub fn first_contact(&self) -> Option<String> {
        let seen = self.pin.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone().filter(|_| self.pin.known.is_none())
    }

    /// The connection, made where there is none.
    pub(super) async fn connection(&self) -> Result<Connection, ApiError> {
        let mut now = self.now.lock().await;
        if let Some(connection) = now.as_ref() {
            return Ok(connection.clone());
        }
        let first = self.next.load(Ordering::Relaxed);
        let mut troubles = Vec::new();
        for number in 0..self.ways.len() {
            let at = (first + number) % self.ways.len();
            let Some(way) = self.ways.get(at) else {
                continue;
            };
            match self.try_way(way.as_ref(), at).await {
                Ok(connection) => {
                    tracing::info!(server = way.name(), "connected to the Kubernetes API");
                    self.next.store(at, Ordering::Relaxed);
                    *now = Some(connection.clone());
                    return Ok(connection);
                }
                Err(failure) => troubles.push((way.name(), failure)),
            }
        }
        Err(no_way(&troubles))
    }

    async fn try_way(&self, way: &dyn Way, at: usize) -> Result<Connection, Failure> {
        let opened = way.open().await?;
        if let Some(ca) = &opened.ca {
            self.pin.check(ca)?;
        }
        let client = client(&opened).map_err(Failure::new)?;
        ready(&client).await?;
        Ok(Connection {
            client,
            way: at,
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// A connection is not used any more: the next request makes one, to the next server first.
    pub(super) async fn leave(&self, connection: &Connection) {
        let mut now = self.now.lock().await;
        if now
            .as_ref()
            .is_some_and(|now| now.serial == connection.serial)
        {
            *now = None;
            self.next.store(
                (connection.way + 1) % self.ways.len().max(1),
                Ordering::Relaxed,
            );
        }
    }

    /// In words, why a connection is not used any more.
    pub(super) fn lost(&self, connection: &Connection, why: &str) -> ApiError {
        let name = self
            .ways
            .get(connection.way)
            .map(|way| way.name())
            .unwrap_or_default();
        ApiError::new(
            ApiErrorKind::Unreachable,
            format!("no answer from the Kubernetes API through {name}\n{why}"),
        )
    }
}

fn no_way(troubles: &[(String, Failure)]) -> ApiError {
    let mut text = "the Kubernetes API cannot be reached".to_owned();
    let mut hint = None;
    for (name, failure) in troubles {
        text.push_str(&format!("\n{name}: {}", failure.message));
        for line in &failure.evidence {
            text.push_str(&format!("\n  {line}"));
        }
        hint = hint.or(failure.hint.as_ref());
    }
    if troubles.is_empty() {
        text.push_str("\nthe inventory has no node with the role `server`");
    }
    let usual = "see that K3s runs on a server (`systemctl status k3s`), or name `api_address` or a kubeconfig";
    text.push_str(&format!("\nhint: {}", hint.map_or(usual, String::as_str)));
    ApiError::new(ApiErrorKind::Unreachable, text)
}

/// HTTP/2 where the server speaks it: one connection, one handshake, whatever number of requests.
fn client(opened: &Opened) -> Result<kube::Client, String> {
    let tls = opened
        .config
        .rustls_client_config()
        .map_err(|error| chain(&error))?;
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(Dialer(opened.dial.clone()));
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(20))
        .build(https);
    let layers = tower::ServiceBuilder::new()
        .layer(opened.config.base_uri_layer())
        .option_layer(opened.config.auth_layer().map_err(|error| chain(&error))?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(kube::Client::new(layers, "default"))
}

/// A server that is up but not ready yet answers much with errors: another one is better.
async fn ready(client: &kube::Client) -> Result<(), Failure> {
    let request = http::Request::get("/readyz").body(kube::client::Body::empty());
    let request = request.map_err(|error| Failure::new(error.to_string()))?;
    match timeout(READY, client.send(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) if answer.status() == http::StatusCode::UNAUTHORIZED => {
            Err(Failure::new("its API does not know these credentials")
                .hint("a client certificate that has expired is made anew by a restart of K3s"))
        }
        // A user that may not ask /readyz may be able to ask other things.
        Ok(Ok(answer)) if answer.status() == http::StatusCode::FORBIDDEN => Ok(()),
        Ok(Ok(answer)) => Err(Failure::new(format!(
            "its API is not ready (/readyz: status {})",
            answer.status().as_u16()
        ))),
        Ok(Err(error)) => Err(Failure::new("its API does not answer").evidence(chain(&error))),
        Err(_) => Err(Failure::new(format!(
            "its API does not answer within {}s",
            READY.as_secs()
        ))),
    }
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
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Line {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
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

/// Credentials of a text, and the CA in it as PEM.
async fn credentials(text: &str) -> Result<(kube::Config, Option<Vec<u8>>), Failure> {
    let bad = |why: String| {
        Failure::new("the kubeconfig cannot be used")
            .evidence(why)
            .hint("try it with `kubectl --kubeconfig FILE get --raw /readyz`")
    };
    let parsed = Kubeconfig::from_yaml(text).map_err(|error| bad(chain(&error)))?;
    let ca = ca_of(&parsed);
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(parsed, &options);
    let config = config.await.map_err(|error| bad(chain(&error)))?;
    Ok((config, ca))
}

/// The CA of the context that is chosen.
fn ca_of(parsed: &Kubeconfig) -> Option<Vec<u8>> {
    let chosen = parsed.current_context.as_ref()?;
    let context = parsed
        .contexts
        .iter()
        .find(|context| context.name == *chosen)?;
    let wanted = &context.context.as_ref()?.cluster;
    let cluster = parsed
        .clusters
        .iter()
        .find(|cluster| cluster.name == *wanted)?;
    let data = cluster
        .cluster
        .as_ref()?
        .certificate_authority_data
        .as_ref()?;
    base64::engine::general_purpose::STANDARD
        .decode(data.trim())
        .ok()
}

/// Host and port of a server's URL.
fn address(uri: &Uri) -> (String, u16) {
    let host = uri.host().unwrap_or("127.0.0.1").to_owned();
    let port = match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    (host, uri.port_u16().unwrap_or(port))
}

/// Straight, from this machine.
fn straight(host: String, port: u16) -> Dial {
    Arc::new(move || {
        let host = host.clone();
        Box::pin(async move {
            let stream = crate::transport::stream::connect(&host, port).await;
            stream.map_err(|error| told(&error.failure))
        })
    })
}

fn told(failure: &Failure) -> String {
    let lines = std::iter::once(&failure.message).chain(&failure.evidence);
    lines.map(String::as_str).collect::<Vec<_>>().join(": ")
}

/// The credentials that K3s wrote on a server; the redactor knows them before anybody else does.
pub async fn k3s_kubeconfig(
    hosts: &dyn Hosts,
    server: &Target,
    redactor: &Redactor,
) -> Result<String, Failure> {
    let path = AbsPath::new(K3S_KUBECONFIG).map_err(|error| Failure::new(error.to_string()))?;
    let fact = Fact::Content {
        path,
        unless_sha256: None,
        cap: KUBECONFIG_BYTES,
        sensitive: true,
    };
    let host = hosts.host(server).await.map_err(|error| error.failure)?;
    let answers = host.read(std::slice::from_ref(&fact)).await;
    let answers = answers.map_err(|error| error.failure)?;
    match answers.into_iter().next().map(|(_, answer)| answer) {
        Some(Ok(FactValue::Content(content))) => {
            let bytes = content.bytes.unwrap_or_default();
            redactor.register_file(&bytes);
            String::from_utf8(bytes)
                .map_err(|_| Failure::new(format!("{K3S_KUBECONFIG} there is no text")))
        }
        Some(Err(FactError::NotFound)) => Err(Failure::new(format!(
            "there is no {K3S_KUBECONFIG}: K3s has not run there yet"
        ))),
        Some(Err(error)) => Err(Failure::new(format!(
            "cannot read {K3S_KUBECONFIG}: {error}"
        ))),
        _ => Err(Failure::new(format!("{K3S_KUBECONFIG} was not read"))),
    }
}

/// Through a server of the cluster, with what K3s wrote there.
struct ServerWay {
    target: Target,
    hosts: Arc<dyn Hosts>,
    tunnels: Arc<dyn Tunnels>,
    api_address: Option<String>,
    redactor: Redactor,
}

impl ServerWay {
    /// A first stream tells whether the machine forwards connections at all.
    async fn dial(&self, host: String, port: u16) -> Result<Dial, Failure> {
        match self.tunnels.tunnel(&self.target, &host, port).await {
            Ok(_) => {}
            Err(error) => {
                use crate::transport::HostErrorKind::Unreachable;
                return match (&self.api_address, error.kind) {
                    (Some(address), Unreachable { transient: false }) => {
                        Ok(straight(address.clone(), port))
                    }
                    _ => Err(error.failure),
                };
            }
        }
        let (tunnels, target) = (self.tunnels.clone(), self.target.clone());
        Ok(Arc::new(move || {
            let (tunnels, target, host) = (tunnels.clone(), target.clone(), host.clone());
            Box::pin(async move {
                let stream = tunnels.tunnel(&target, &host, port).await;
                stream.map_err(|error| told(&error.failure))
            })
        }))
    }
}

impl Way for ServerWay {
    fn name(&self) -> String {
        self.target.to_string()
    }

    fn open(&self) -> BoxFuture<'_, Result<Opened, Failure>> {
        Box::pin(async move {
            let text = k3s_kubeconfig(&*self.hosts, &self.target, &self.redactor).await?;
            let (config, ca) = credentials(&text).await?;
            let (host, port) = address(&config.cluster_url);
            let dial = self.dial(host, port).await?;
            Ok(Opened { config, ca, dial })
        })
    }
}

/// As a kubeconfig says.
struct KubeconfigWay {
    name: String,
    text: String,
    redactor: Redactor,
}

impl Way for KubeconfigWay {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn open(&self) -> BoxFuture<'_, Result<Opened, Failure>> {
        Box::pin(async move {
            self.redactor.register_file(self.text.as_bytes());
            let (config, ca) = credentials(&self.text).await?;
            let (host, port) = address(&config.cluster_url);
            let dial = straight(host, port);
            Ok(Opened { config, ca, dial })
        })
    }
}
