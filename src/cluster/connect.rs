//! Connections to the API: through the servers of the cluster, one after the other until one is healthy, or as a
//! kubeconfig says. The cluster's CA is held to its pin before anything is said to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;

use super::greeting::ready;
use super::way::{KubeconfigWay, NoWay, ServerWay, Way};
use super::wire::client;
use super::{ApiError, ApiErrorKind};
use crate::model::id::Target;
use crate::model::outcome::Failure;
use crate::model::redact::Redactor;
use crate::transport::{Hosts, Tunnels};

pub use super::pin::Pin;
pub use super::way::{K3S_KUBECONFIG, held, k3s_kubeconfig};

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
    now: Mutex<Now>,
    next: AtomicUsize,
    serial: AtomicUsize,
    /// How many times it was begun to connect.
    begun: AtomicUsize,
}

/// How things stand.
#[derive(Default)]
struct Now {
    connection: Option<Connection>,
    /// What the last failed attempt came to, with its number.
    failed: Option<(usize, ApiError)>,
}

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

    /// As a kubeconfig says. `name` is for messages; paths in it begin at `folder`.
    pub fn kubeconfig(
        name: String,
        text: String,
        folder: PathBuf,
        redactor: Redactor,
        pin: Pin,
    ) -> Self {
        let way = KubeconfigWay {
            name,
            text,
            folder,
            redactor,
        };
        Self::of(vec![Arc::new(way)], pin)
    }

    /// By these ways, in this order.
    pub(super) fn of(ways: Vec<Arc<dyn Way>>, pin: Pin) -> Self {
        // Where another provider was chosen before, it is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            ways,
            pin,
            now: Mutex::default(),
            next: AtomicUsize::new(0),
            serial: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        }
    }

    /// How many servers there are to ask.
    pub fn ways(&self) -> usize {
        self.ways.len()
    }

    /// The CA that was seen where none was pinned: sha256 of its PEM file.
    pub fn first_contact(&self) -> Option<String> {
        self.pin.first_contact()
    }

    /// The connection, made where there is none. Whoever waits while another tries is told what that came to, if it began
    /// after the question: many requests at once must not try one after the other what takes long to fail.
    pub(super) async fn connection(&self) -> Result<Connection, ApiError> {
        let asked = self.begun.load(Ordering::Relaxed);
        let mut now = self.now.lock().await;
        if let Some(connection) = &now.connection {
            return Ok(connection.clone());
        }
        if let Some((attempt, error)) = &now.failed
            && *attempt > asked
        {
            return Err(error.clone());
        }
        let attempt = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        match self.connect().await {
            Ok(connection) => {
                now.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                now.failed = Some((attempt, error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, ApiError> {
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
                    return Ok(connection);
                }
                Err(trouble) => {
                    tracing::debug!(server = way.name(), ?trouble, "no way to the API");
                    troubles.push((way.name(), trouble));
                }
            }
        }
        Err(no_way(&troubles))
    }

    async fn try_way(&self, way: &dyn Way, at: usize) -> Result<Connection, NoWay> {
        let opened = way.open().await?;
        let held = self.pin.check(opened.ca.as_deref(), &opened.config);
        held.map_err(NoWay::lasting)?;
        let client = client(&opened).map_err(|why| NoWay::lasting(Failure::new(why)))?;
        ready(&client, &opened).await?;
        Ok(Connection {
            client,
            way: at,
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// A connection is not used any more: the next request makes one, to the next server first.
    pub(super) async fn leave(&self, connection: &Connection) {
        let mut now = self.now.lock().await;
        let is_it = |now: &Connection| now.serial == connection.serial;
        if now.connection.as_ref().is_some_and(is_it) {
            now.connection = None;
            let next = (connection.way + 1) % self.ways.len().max(1);
            self.next.store(next, Ordering::Relaxed);
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

/// Why no way led to the API. Where none of the reasons goes away by itself, trying again would only hide them longer.
fn no_way(troubles: &[(String, NoWay)]) -> ApiError {
    let mut text = "the Kubernetes API cannot be reached".to_owned();
    let mut hint = None;
    for (name, NoWay { failure, .. }) in troubles {
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
    let lasting = troubles.iter().all(|(_, trouble)| trouble.lasting);
    let kind = match lasting {
        true => ApiErrorKind::NoWay,
        false => ApiErrorKind::Unreachable,
    };
    ApiError::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::BoxFuture;
    use crate::cluster::way::Opened;

    /// Leads nowhere, after a while.
    struct Nowhere {
        tried: AtomicUsize,
        lasting: bool,
    }

    impl Way for Nowhere {
        fn name(&self) -> String {
            "nowhere".to_owned()
        }

        fn open(&self) -> BoxFuture<'_, Result<Opened, NoWay>> {
            Box::pin(async move {
                self.tried.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(std::time::Duration::from_secs(8)).await;
                Err(NoWay {
                    failure: Failure::new("it is down"),
                    lasting: self.lasting,
                })
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_wait_for_a_way_share_what_trying_it_came_to() {
        let way = Arc::new(Nowhere {
            tried: AtomicUsize::new(0),
            lasting: false,
        });
        let connector = Arc::new(Connector::of(vec![way.clone()], Pin::default()));
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let connector = connector.clone();
            asking.spawn(async move { connector.connection().await.err() });
        }
        let errors = asking.join_all().await;
        assert!(errors.iter().all(|error| {
            error
                .as_ref()
                .is_some_and(|e| e.kind == ApiErrorKind::Unreachable)
        }));
        // Whoever came while the first was trying cannot know whether that began too early.
        assert!(way.tried.load(Ordering::Relaxed) <= 2);
        assert!(
            connector.connection().await.is_err(),
            "and it is tried anew"
        );
        assert!(way.tried.load(Ordering::Relaxed) >= 2);
    }

    /// What a kubeconfig leads to where another CA than its own, or its own, is pinned, and whether anything was sent.
    async fn pinned(cluster: &str, folder: &std::path::Path, ca: &[u8]) -> (ApiError, bool) {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             users: [{{name: a, user: {{token: t}}}}]\nclusters: [{{name: a, cluster: {{{}}}}}]\n",
            cluster.replace("ADDRESS", &address)
        );
        let asked = tokio::spawn(async move { drop(server.accept().await) });
        let digest = crate::cluster::pin::digest(ca);
        let connector = Connector::kubeconfig(
            "a.yaml".to_owned(),
            text,
            folder.to_owned(),
            Redactor::default(),
            Pin::new(Some(digest), "`ca_sha256` in inventory/a.toml"),
        );
        let error = connector.connection().await.err().unwrap();
        asked.abort();
        (error, asked.await.is_ok())
    }

    #[tokio::test]
    async fn where_a_pin_is_known_nothing_is_sent_but_to_who_is_held_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::default().self_signed(&key);
        let ca = ca.unwrap().pem();
        tokio::fs::write(folder.path().join("ca.crt"), &ca)
            .await
            .unwrap();
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &ca);
        let other = b"another".as_slice();
        let by_file = "server: 'https://ADDRESS', certificate-authority: ca.crt";
        let insecure = format!(
            "server: 'https://ADDRESS', insecure-skip-tls-verify: true, certificate-authority-data: {data}"
        );
        let plain = format!("server: 'http://ADDRESS', certificate-authority-data: {data}");
        for (cluster, pin, why) in [
            (by_file, other, "another CA than the one that is pinned"),
            ("server: 'https://ADDRESS'", ca.as_bytes(), "names no CA"),
            (&insecure, ca.as_bytes(), "insecure-skip-tls-verify"),
            (&plain, ca.as_bytes(), "without TLS"),
        ] {
            let (error, asked) = pinned(cluster, folder.path(), pin).await;
            assert_eq!(error.kind, ApiErrorKind::NoWay, "{error}");
            assert!(error.message.contains(why), "{error}");
            assert!(error.message.contains("ca_sha256"), "{error}");
            assert!(error.message.contains("hint: "), "{error}");
            assert!(!asked, "nobody is asked: {error}");
        }
        // The right one is read from its file; this server just has no TLS to offer.
        let (error, asked) = pinned(by_file, folder.path(), ca.as_bytes()).await;
        assert!(asked && error.kind == ApiErrorKind::Unreachable, "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn reasons_that_stay_are_told_at_once() {
        let way = Arc::new(Nowhere {
            tried: AtomicUsize::new(0),
            lasting: true,
        });
        let connector = Connector::of(vec![way], Pin::default());
        let error = connector.connection().await.err().unwrap();
        assert_eq!(error.kind, ApiErrorKind::NoWay);
        assert!(error.message.contains("nowhere: it is down"), "{error}");
        assert!(!error.may_pass());
    }
}
