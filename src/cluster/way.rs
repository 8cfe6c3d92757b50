//! Ways to the API: through a server of the cluster with what K3s wrote there, or as a kubeconfig says. A way gives
//! credentials and what makes streams; whether the API is well is asked by whoever opened it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use jiff::Timestamp;
use kube::config::{Cluster, KubeConfigOptions, Kubeconfig};

use super::BoxFuture;
use super::certificate::valid_until;
use super::pin::Pin;
use crate::facts::fact::{Fact, FactError, FactValue};
use crate::model::id::Target;
use crate::model::outcome::{Failure, causes};
use crate::model::path::AbsPath;
use crate::model::redact::Redactor;
use crate::transport::{HostError, HostErrorKind, Hosts, Stream, Tunnels};

/// Where K3s writes the credentials of an administrator.
pub const K3S_KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// A kubeconfig is a few kB.
const KUBECONFIG_BYTES: u64 = 1024 * 1024;

/// A way to the API.
pub(super) trait Way: Send + Sync {
    /// For messages.
    fn name(&self) -> String;
    /// What to connect with.
    fn open(&self) -> BoxFuture<'_, Result<Opened, NoWay>>;
}

/// Credentials, and what makes streams to the server they are for.
pub(super) struct Opened {
    pub config: kube::Config,
    /// The CA as PEM, `None` where the system's are trusted.
    pub ca: Option<Vec<u8>>,
    /// Until when the client certificate is good, where there is one.
    pub until: Option<Timestamp>,
    /// How to come by other credentials.
    pub renewal: String,
    pub dial: Dial,
}

/// Makes a stream.
pub(super) type Dial =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Stream>, String>> + Send + Sync>;

/// Why there is no way.
#[derive(Debug)]
pub(super) struct NoWay {
    pub failure: Failure,
    /// Another try meets the same, until somebody does something about it.
    pub lasting: bool,
}

impl NoWay {
    pub fn lasting(failure: Failure) -> Self {
        Self {
            failure,
            lasting: true,
        }
    }

    pub fn passing(failure: Failure) -> Self {
        Self {
            failure,
            lasting: false,
        }
    }
}

impl From<HostError> for NoWay {
    fn from(error: HostError) -> Self {
        Self {
            lasting: error.kind == HostErrorKind::Unreachable { transient: false },
            failure: error.failure,
        }
    }
}

/// Credentials of a text, the CA in it as PEM, and until when its client certificate is good.
struct Credentials {
    config: kube::Config,
    ca: Option<Vec<u8>>,
    until: Option<Timestamp>,
}

/// `folder`: where the paths in it begin; `None` where no file that it names is on this machine.
async fn credentials(text: &str, folder: Option<&Path>) -> Result<Credentials, Failure> {
    let bad = |why: String| {
        Failure::new("the kubeconfig cannot be used")
            .evidence(why)
            .hint("try it with `kubectl --kubeconfig FILE get --raw /readyz`")
    };
    let mut parsed = Kubeconfig::from_yaml(text).map_err(|error| bad(causes(&error)))?;
    match folder {
        Some(folder) => begin_at(folder, &mut parsed),
        None if names_files(&parsed) => {
            return Err(bad(
                "it names files, which are not on this machine".to_owned()
            ));
        }
        None => {}
    }
    let ca = ca_of(&mut parsed).await.map_err(bad)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(parsed, &options);
    let config = config.await.map_err(|error| bad(causes(&error)))?;
    let certificate = config.auth_info.client_certificate_data.as_deref();
    let until = certificate.and_then(|data| valid_until(&decoded(data)?));
    Ok(Credentials { config, ca, until })
}

/// Refuses credentials that are not for the cluster whose CA is pinned.
pub async fn held(text: &str, pin: &Pin) -> Result<(), Failure> {
    let found = credentials(text, None).await?;
    pin.check(found.ca.as_deref(), &found.config)
}

/// Relative paths in a kubeconfig begin at its folder, as `kubectl` has it.
fn begin_at(folder: &Path, parsed: &mut Kubeconfig) {
    let clusters = parsed.clusters.iter_mut();
    let clusters = clusters.filter_map(|named| named.cluster.as_mut());
    let users = parsed.auth_infos.iter_mut();
    let users = users.filter_map(|named| named.auth_info.as_mut());
    let of_users = users.flat_map(|user| {
        [
            &mut user.client_certificate,
            &mut user.client_key,
            &mut user.token_file,
        ]
    });
    let paths = clusters.map(|cluster| &mut cluster.certificate_authority);
    for path in paths.chain(of_users).flatten() {
        *path = folder.join(&*path).to_string_lossy().into_owned();
    }
}

/// Whether it names files instead of having what is in them.
fn names_files(parsed: &Kubeconfig) -> bool {
    let mut clusters = parsed
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref());
    let mut users = parsed
        .auth_infos
        .iter()
        .filter_map(|named| named.auth_info.as_ref());
    clusters.any(|cluster| cluster.certificate_authority.is_some())
        || users.any(|user| {
            user.client_certificate.is_some()
                || user.client_key.is_some()
                || user.token_file.is_some()
        })
}

/// The CA of the context that is chosen. That of a file is put into the text's place, so that what is held to a pin is what
/// is trusted then.
async fn ca_of(parsed: &mut Kubeconfig) -> Result<Option<Vec<u8>>, String> {
    let Some(cluster) = chosen(parsed) else {
        return Ok(None);
    };
    if let Some(data) = &cluster.certificate_authority_data {
        return Ok(decoded(data));
    }
    let Some(path) = cluster.certificate_authority.take() else {
        return Ok(None);
    };
    let bytes = tokio::fs::read(&path).await;
    let bytes = bytes.map_err(|error| format!("cannot read its CA {path}: {error}"))?;
    cluster.certificate_authority_data = Some(STANDARD.encode(&bytes));
    Ok(Some(bytes))
}

/// The cluster of the context that is chosen.
fn chosen(parsed: &mut Kubeconfig) -> Option<&mut Cluster> {
    let chosen = parsed.current_context.as_ref()?;
    let mut contexts = parsed.contexts.iter();
    let context = contexts.find(|context| context.name == *chosen)?;
    let wanted = &context.context.as_ref()?.cluster;
    let mut clusters = parsed.clusters.iter_mut();
    let cluster = clusters.find(|cluster| cluster.name == *wanted)?;
    cluster.cluster.as_mut()
}

fn decoded(data: &str) -> Option<Vec<u8>> {
    STANDARD.decode(data.trim()).ok()
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
    let text = fetched(hosts, server, redactor).await;
    text.map_err(|no_way| no_way.failure)
}

async fn fetched(hosts: &dyn Hosts, server: &Target, redactor: &Redactor) -> Result<String, NoWay> {
    let path = AbsPath::new(K3S_KUBECONFIG)
        .map_err(|error| NoWay::lasting(Failure::new(error.to_string())))?;
    let fact = Fact::Content {
        path,
        unless_sha256: None,
        cap: KUBECONFIG_BYTES,
        sensitive: true,
    };
    let host = hosts.host(server).await?;
    let answers = host.read(std::slice::from_ref(&fact)).await?;
    match answers.into_iter().next().map(|(_, answer)| answer) {
        Some(Ok(FactValue::Content(content))) => {
            let bytes = content.bytes.unwrap_or_default();
            redactor.register_file(&bytes);
            String::from_utf8(bytes).map_err(|_| {
                let odd = format!("{K3S_KUBECONFIG} there is no text");
                NoWay::lasting(Failure::new(odd))
            })
        }
        Some(Err(FactError::NotFound)) => Err(NoWay::lasting(Failure::new(format!(
            "there is no {K3S_KUBECONFIG}: K3s has not run there yet"
        )))),
        Some(Err(error)) => Err(NoWay::passing(Failure::new(format!(
            "cannot read {K3S_KUBECONFIG}: {error}"
        )))),
        _ => Err(NoWay::passing(Failure::new(format!(
            "{K3S_KUBECONFIG} was not read"
        )))),
    }
}

/// Through a server of the cluster, with what K3s wrote there.
pub(super) struct ServerWay {
    pub target: Target,
    pub hosts: Arc<dyn Hosts>,
    pub tunnels: Arc<dyn Tunnels>,
    /// Where to reach the API straight, if the server forwards no connections.
    pub api_address: Option<String>,
    pub redactor: Redactor,
}

impl ServerWay {
    /// A first stream tells whether the machine forwards connections at all.
    async fn dial(&self, host: String, port: u16) -> Result<Dial, NoWay> {
        if let Err(error) = self.tunnels.tunnel(&self.target, &host, port).await {
            return match (&self.api_address, error.kind) {
                (Some(address), HostErrorKind::Unreachable { transient: false }) => {
                    Ok(straight(address.clone(), port))
                }
                _ => Err(error.into()),
            };
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

    fn open(&self) -> BoxFuture<'_, Result<Opened, NoWay>> {
        Box::pin(async move {
            let text = fetched(&*self.hosts, &self.target, &self.redactor).await?;
            let found = credentials(&text, None).await.map_err(NoWay::lasting)?;
            let (host, port) = address(&found.config.cluster_url);
            let dial = self.dial(host, port).await?;
            Ok(Opened {
                config: found.config,
                ca: found.ca,
                until: found.until,
                renewal: format!(
                    "K3s makes new ones when it starts: `sudo systemctl restart k3s` on {}",
                    self.target
                ),
                dial,
            })
        })
    }
}

/// As a kubeconfig says.
pub(super) struct KubeconfigWay {
    pub name: String,
    pub text: String,
    /// Where it is: relative paths in it begin there.
    pub folder: PathBuf,
    pub redactor: Redactor,
}

impl Way for KubeconfigWay {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn open(&self) -> BoxFuture<'_, Result<Opened, NoWay>> {
        Box::pin(async move {
            self.redactor.register_file(self.text.as_bytes());
            let found = credentials(&self.text, Some(&self.folder)).await;
            let found = found.map_err(NoWay::lasting)?;
            let (host, port) = address(&found.config.cluster_url);
            let dial = straight(host, port);
            Ok(Opened {
                config: found.config,
                ca: found.ca,
                until: found.until,
                renewal: format!(
                    "get new ones from where {} came from; those of K3s are in {K3S_KUBECONFIG} on a server, made anew when \
                     it starts",
                    self.name
                ),
                dial,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_server_wrote_leads_to_no_file_of_this_machine() {
        let text = |cluster: &str, user: &str| {
            format!(
                "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
                 users: [{{name: a, user: {{{user}}}}}]\n\
                 clusters: [{{name: a, cluster: {{server: 'https://a', {cluster}}}}}]\n"
            )
        };
        let refused = async |text: String| {
            let failure = credentials(&text, None).await.err()?;
            failure.evidence.first().cloned()
        };
        let why = Some("it names files, which are not on this machine".to_owned());
        assert_eq!(refused(text("certificate-authority: /a", "")).await, why);
        assert_eq!(refused(text("", "tokenFile: /a")).await, why);
        assert_eq!(refused(text("", "token: a")).await, None);
    }
}
