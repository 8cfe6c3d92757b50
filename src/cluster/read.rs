//! Facts of the cluster: each question answered by itself, all at once.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::host::{ClusterHost, unreachable};
use super::retry::{LOOKING, retrying};
use super::{ApiError, ApiErrorKind, Apply, Choice, Cluster, Place};
use crate::artifact::Artifacts;
use crate::facts::fact::{Answer, Fact, FactError, FactValue, ManifestSource, RunState};
use crate::model::artifact::Pin;
use crate::model::kube::{Discovery, DryRun, ObjectKey, ObjectList, document, key, secret};
use crate::model::sensitive::Text;
use crate::transport::HostError;

/// Requests at once.
pub(super) const AT_ONCE: usize = 12;

/// What one question came to.
type Told = Result<FactValue, Trouble>;

enum Trouble {
    Fact(FactError),
    Api(ApiError),
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// Reads facts. An error only where the API does not answer at all.
pub(super) async fn read(host: &ClusterHost, facts: &[Fact]) -> Result<Vec<Answer>, HostError> {
    let served = match facts.iter().any(needs_discovery) {
        true => Some(
            served(host, facts)
                .await
                .map_err(|error| unreachable(&error))?,
        ),
        false => None,
    };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (place, fact) in facts.iter().cloned().enumerate() {
        let (cluster, room, served) = (host.cluster.clone(), room.clone(), served.clone());
        let (files, artifacts) = (host.files.clone(), host.artifacts.clone());
        tasks.spawn(async move {
            let _turn = room.acquire().await;
            let told = match &fact {
                Fact::KubeManifest(ManifestSource::File(path)) => file(&*files, path),
                Fact::KubeManifest(ManifestSource::Artifact(pin)) => {
                    artifact(artifacts.as_deref(), pin).await
                }
                _ => ask(&*cluster, served, &fact).await,
            };
            (place, told)
        });
    }
    let mut told: Vec<Option<Told>> = facts.iter().map(|_| None).collect();
    while let Some(ended) = tasks.join_next().await {
        if let Ok((place, answer)) = ended
            && let Some(slot) = told.get_mut(place)
        {
            *slot = Some(answer);
        }
    }
    let mut answers = Vec::with_capacity(facts.len());
    for (fact, told) in facts.iter().zip(told) {
        let answer = match told {
            Some(Ok(value)) => Ok(value),
            Some(Err(Trouble::Fact(error))) => Err(error),
            Some(Err(Trouble::Api(error)))
                if matches!(error.kind, ApiErrorKind::Unreachable | ApiErrorKind::NoWay) =>
            {
                return Err(unreachable(&error));
            }
            Some(Err(Trouble::Api(error))) => Err(fact_error(&error)),
            None => Err(FactError::Failed(
                "asking ended without an answer".to_owned(),
            )),
        };
        answers.push((fact.clone(), answer));
    }
    Ok(answers)
}

fn fact_error(error: &ApiError) -> FactError {
    match error.kind {
        ApiErrorKind::NotFound => FactError::NotFound,
        _ => FactError::Failed(error.message.clone()),
    }
}

fn needs_discovery(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::KubeDiscovery | Fact::KubeList { .. } | Fact::KubeDryRun { .. }
    )
}

/// What the API serves: asked where that is a question, or where nobody has asked yet, or where a kind is not known.
async fn served(host: &ClusterHost, facts: &[Fact]) -> Result<Arc<Discovery>, ApiError> {
    let mut known = host.served.lock().await;
    let lacks = |served: &Discovery| {
        facts.iter().any(|fact| match fact {
            Fact::KubeList {
                api_version, kind, ..
            } => served.get(api_version, kind).is_none(),
            _ => false,
        })
    };
    if let Some(served) = known.as_ref()
        && !facts.contains(&Fact::KubeDiscovery)
        && !lacks(served)
    {
        return Ok(served.clone());
    }
    let fresh = Arc::new(retrying(LOOKING, || host.cluster.discover()).await?);
    *known = Some(fresh.clone());
    Ok(fresh)
}

async fn ask(cluster: &dyn Cluster, served: Option<Arc<Discovery>>, fact: &Fact) -> Told {
    let served = served.unwrap_or_default();
    match fact {
        Fact::KubeDiscovery => Ok(FactValue::KubeDiscovery(served)),
        Fact::KubeList {
            api_version,
            kind,
            namespace,
        } => {
            let resource = served.get(api_version, kind);
            let resource = resource.ok_or(Trouble::Fact(FactError::NotFound))?;
            let choice = Choice::of(namespace.as_deref());
            let listed = retrying(LOOKING, || cluster.list(resource, choice));
            let mut items = listed.await?.items;
            items.iter_mut().for_each(secret::scrub);
            Ok(FactValue::KubeList(Arc::new(ObjectList { items })))
        }
        Fact::KubeDryRun { object, force } => {
            let answer = dry_run(cluster, &served, object, *force).await?;
            Ok(FactValue::KubeDryRun(Box::new(answer)))
        }
        Fact::RunState => Ok(FactValue::RunState(RunState::default())),
        other => Err(Trouble::Fact(FactError::Failed(format!(
            "{} is no question to a cluster",
            other.describe()
        )))),
    }
}

async fn dry_run(
    cluster: &dyn Cluster,
    served: &Discovery,
    object: &Text,
    force: bool,
) -> Result<DryRun, Trouble> {
    let failed = |what: &str| Trouble::Fact(FactError::Failed(what.to_owned()));
    let object: Value =
        serde_json::from_str(object.expose()).map_err(|_| failed("the object is no JSON"))?;
    let name = ObjectKey::of(&object).ok_or_else(|| failed("the object has no name"))?;
    let resource = served
        .get(&name.api_version, &name.kind)
        .ok_or(Trouble::Fact(FactError::NotFound))?;
    let place = Place {
        resource,
        namespace: name.namespace.as_deref(),
        name: &name.name,
    };
    let how = Apply {
        force,
        dry_run: true,
    };
    let answer = retrying(LOOKING, || cluster.apply(place, &object, how)).await;
    Ok(match answer {
        Ok(mut object) => {
            secret::scrub(&mut object);
            DryRun::Object(object)
        }
        Err(error) => match error.kind {
            ApiErrorKind::Conflict => DryRun::Conflict(error.conflicts),
            ApiErrorKind::Rejected
            | ApiErrorKind::Schema
            | ApiErrorKind::Unsettled
            | ApiErrorKind::Denied
            | ApiErrorKind::NotFound => DryRun::Rejected(hidden(&object, error.message)),
            ApiErrorKind::Unreachable | ApiErrorKind::NoWay => return Err(Trouble::Api(error)),
            ApiErrorKind::Stale
            | ApiErrorKind::Busy
            | ApiErrorKind::Webhook
            | ApiErrorKind::Server => DryRun::NoAnswer(hidden(&object, error.message)),
        },
    })
}

/// What an API says of a Secret may quote its values.
pub(super) fn hidden(object: &Value, message: String) -> String {
    match secret::is_secret(object) && values(object).any(|value| message.contains(value)) {
        true => format!(
            "{} {} is refused (the reason would show its values)",
            key::kind(object),
            key::meta(object, "name").unwrap_or_default()
        ),
        false => message,
    }
}

fn values(object: &Value) -> impl Iterator<Item = &str> {
    let data = object.get("data").and_then(Value::as_object);
    let values = data.into_iter().flat_map(|data| data.values());
    values
        .filter_map(Value::as_str)
        .filter(|value| !value.is_empty())
}

fn file(files: &super::host::ProjectFiles, path: &str) -> Told {
    match files(path) {
        Ok(Some(bytes)) => text(bytes),
        Ok(None) => Err(Trouble::Fact(FactError::NotFound)),
        Err(failure) => Err(Trouble::Fact(FactError::Failed(failure.message))),
    }
}

async fn artifact(artifacts: Option<&dyn Artifacts>, pin: &Pin) -> Told {
    let failed = |what: String| Trouble::Fact(FactError::Failed(what));
    let artifacts =
        artifacts.ok_or_else(|| failed("there is no source of artifacts".to_owned()))?;
    if usize::try_from(pin.size).is_ok_and(|size| size > document::MAX_BYTES) {
        return Err(failed(format!(
            "{} is too large for a manifest",
            pin.describe()
        )));
    }
    let file = artifacts.fetch(pin, &|_| {}).await;
    let file = file.map_err(|failure| {
        let lines = std::iter::once(failure.message).chain(failure.evidence);
        failed(lines.collect::<Vec<_>>().join("; "))
    })?;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file.open()?, &mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    match read.await {
        Ok(Ok(bytes)) => text(bytes),
        Ok(Err(error)) => Err(failed(format!("{}: {error}", pin.describe()))),
        Err(_) => Err(failed(
            "reading the file ended without an answer".to_owned(),
        )),
    }
}

fn text(bytes: Vec<u8>) -> Told {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(FactValue::Manifest(Arc::from(text))),
        Err(_) => Err(Trouble::Fact(FactError::Failed(
            "it is no UTF-8 text".to_owned(),
        ))),
    }
}
