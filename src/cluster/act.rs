//! Actions on the cluster. Each may be done again: what is there already stays as it is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::host::{ClusterHost, Served};
use super::read::{AT_ONCE, hidden};
use super::retry::{CHANGING, LOOKING, Patience, retrying};
use super::trial::{gone, trial};
use super::wait::wait;
use super::{ApiError, ApiErrorKind, Apply, Choice, Cluster, Place};
use crate::model::action::{Action, Job, JobEnd, JobStatus};
use crate::model::kube::key::meta;
use crate::model::kube::patch::overlay;
use crate::model::kube::{ApiResource, Discovery, KubeAction, KubeObject, ObjectKey, OldObject};
use crate::model::sensitive::Text;
use crate::transport::OutputSink;

/// How long a kind may stay unknown after its definition is established.
const KINDS: Duration = Duration::from_secs(20);
/// What went wrong with an action: lines for people, and whether another try may help.
pub(super) struct Trouble {
    pub lines: Vec<String>,
    pub may_pass: bool,
}

/// Carries a job out.
pub(super) async fn carry_out(host: &ClusterHost, job: &Job, output: OutputSink<'_>) -> JobEnd {
    for (number, action) in job.actions.iter().enumerate() {
        let done = match action {
            Action::Kube(action) => do_one(host, action, output).await,
            _ => Err(Trouble {
                lines: vec!["a cluster can only be changed through its API".to_owned()],
                may_pass: false,
            }),
        };
        if let Err(trouble) = done {
            return JobEnd {
                status: JobStatus::Failed {
                    action: u32::try_from(number).unwrap_or(u32::MAX),
                    exit: 1,
                    retryable: trouble.may_pass,
                },
                stdout: String::new(),
                stderr: trouble.lines.join("\n"),
                dropped: 0,
            };
        }
    }
    JobEnd {
        status: JobStatus::Succeeded,
        stdout: String::new(),
        stderr: String::new(),
        dropped: 0,
    }
}

async fn do_one(
    host: &ClusterHost,
    action: &KubeAction,
    output: OutputSink<'_>,
) -> Result<(), Trouble> {
    match action {
        KubeAction::Apply { objects, force } => apply(host, objects, *force, output).await,
        KubeAction::Delete { objects, timeout } => gone(host, objects, timeout.0, output).await,
        KubeAction::Patch {
            key,
            patch,
            resource_version,
        } => self::patch(host, key, patch, resource_version.as_deref()).await,
        KubeAction::Await { objects, timeout } => wait(host, objects, timeout.0, output).await,
        KubeAction::Drain { node, timeout } => {
            super::drain::drain(&*host.cluster, node, timeout.0, output)
                .await
                .map_err(|(lines, may_pass)| Trouble { lines, may_pass })
        }
        KubeAction::Try {
            objects,
            awaited,
            timeout,
        } => trial(host, objects, awaited, timeout.0, output).await,
    }
}

/// The kind of an object, asked anew where it is not known: a definition may have been established just now.
async fn resource(host: &ClusterHost, key: &ObjectKey) -> Result<ApiResource, ApiError> {
    let began = Instant::now();
    loop {
        let served = known_or_asked(host, key).await?;
        if let Some(resource) = served.get(&key.api_version, &key.kind) {
            return Ok(resource.clone());
        }
        if began.elapsed() > KINDS {
            let versions = served.versions(&key.api_version, &key.kind);
            let others = match versions.is_empty() {
                true => String::new(),
                false => format!(" (it serves it as {})", versions.join(", ")),
            };
            return Err(ApiError::new(
                ApiErrorKind::Rejected,
                format!(
                    "the API serves no {} of {}{others}",
                    key.kind, key.api_version
                ),
            ));
        }
        sleep(Duration::from_millis(250)).await;
    }
}

pub(super) async fn known_or_asked(
    host: &ClusterHost,
    key: &ObjectKey,
) -> Result<Arc<Discovery>, ApiError> {
    served_for(&*host.cluster, &host.served, key).await
}

/// The same for who has no host at hand.
pub(super) async fn served_for(
    cluster: &dyn Cluster,
    served: &Served,
    key: &ObjectKey,
) -> Result<Arc<Discovery>, ApiError> {
    let mut known = served.lock().await;
    if let Some(served) = known.as_ref()
        && served.get(&key.api_version, &key.kind).is_some()
    {
        return Ok(served.clone());
    }
    let fresh = Arc::new(retrying(CHANGING, || cluster.discover()).await?);
    *known = Some(fresh.clone());
    Ok(fresh)
}

pub(super) async fn apply(
    host: &ClusterHost,
    objects: &[KubeObject],
    force: bool,
    output: OutputSink<'_>,
) -> Result<(), Trouble> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut troubles: Vec<(ObjectKey, ApiError)> = Vec::new();
    for object in objects {
        let resource = match resource(host, &object.key).await {
            Ok(resource) => resource,
            Err(error) => {
                troubles.push((object.key.clone(), error));
                continue;
            }
        };
        let (cluster, room, object) = (host.cluster.clone(), room.clone(), object.clone());
        tasks.spawn(async move {
            let _turn = room.acquire().await;
            let result = apply_one(&*cluster, &resource, &object, force).await;
            (object.key, result)
        });
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((key, Ok(()))) => output(&format!("applied {key}\n")),
            Ok((key, Err(error))) => troubles.push((key, error)),
            Err(error) => {
                return Err(Trouble {
                    lines: vec![format!("applying ended without an answer: {error}")],
                    may_pass: true,
                });
            }
        }
    }
    told(troubles)
}

async fn apply_one(
    cluster: &dyn Cluster,
    resource: &ApiResource,
    object: &KubeObject,
    force: bool,
) -> Result<(), ApiError> {
    let body: Value = serde_json::from_str(object.body.expose())
        .map_err(|_| ApiError::new(ApiErrorKind::Rejected, "the object is no JSON"))?;
    let place = place(resource, &object.key);
    let how = Apply {
        force,
        dry_run: false,
    };
    match retrying(CHANGING, || cluster.apply(place, &body, how)).await {
        Ok(_) => Ok(()),
        Err(mut error) => {
            error.message = hidden(&body, error.message);
            Err(error)
        }
    }
}

pub(super) fn place<'a>(resource: &'a ApiResource, key: &'a ObjectKey) -> Place<'a> {
    Place {
        resource,
        namespace: key.namespace.as_deref().filter(|_| resource.namespaced),
        name: &key.name,
    }
}

/// Several errors as lines, each with its object.
fn told(mut troubles: Vec<(ObjectKey, ApiError)>) -> Result<(), Trouble> {
    if troubles.is_empty() {
        return Ok(());
    }
    troubles.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut lines = Vec::new();
    for (key, error) in &troubles {
        lines.push(format!("{key}: {}", error.message));
        for conflict in &error.conflicts {
            lines.push(format!(
                "  {} is owned by {}",
                conflict.field, conflict.manager
            ));
        }
    }
    Err(Trouble {
        lines,
        may_pass: troubles.iter().all(|(_, error)| error.may_pass()),
    })
}

/// What came of deleting an object.
enum Deleted {
    Begun,
    /// There was none.
    Not,
    /// Another one has its name by now, which is left.
    Another,
}

/// Begins to delete these; gives those that are to be gone by that.
pub(super) async fn delete(
    host: &ClusterHost,
    objects: &[OldObject],
    output: OutputSink<'_>,
) -> Result<Vec<OldObject>, Trouble> {
    let mut troubles = Vec::new();
    let mut going = Vec::new();
    for old in objects {
        let OldObject { key, uid } = old;
        let served = match known_or_asked(host, key).await {
            Ok(served) => served,
            Err(error) => {
                troubles.push((key.clone(), error));
                continue;
            }
        };
        going.push(old.clone());
        // Of a kind that is not served there is no object.
        let Some(resource) = served.get(&key.api_version, &key.kind) else {
            continue;
        };
        let place = place(resource, key);
        match retrying(CHANGING, || {
            delete_one(&*host.cluster, place, uid.as_deref())
        })
        .await
        {
            Ok(Deleted::Begun) => output(&format!("deleted {key}\n")),
            Ok(Deleted::Not) => {}
            Ok(Deleted::Another) => {
                going.pop();
                output(&format!(
                    "left {key}: another object has this name by now\n"
                ));
            }
            Err(error) => troubles.push((key.clone(), error)),
        }
    }
    told(troubles).map(|()| going)
}

async fn delete_one(
    cluster: &dyn Cluster,
    place: Place<'_>,
    uid: Option<&str>,
) -> Result<Deleted, ApiError> {
    match cluster.delete(place, uid).await {
        Ok(true) => Ok(Deleted::Begun),
        Ok(false) => Ok(Deleted::Not),
        Err(error) if error.kind == ApiErrorKind::NotFound => Ok(Deleted::Not),
        // Also said where an object was only changed while it was to be deleted.
        Err(error) if error.kind == ApiErrorKind::Stale && uid.is_some() => {
            match cluster.get(place).await? {
                None => Ok(Deleted::Not),
                Some(live) if meta(&live, "uid") != uid => Ok(Deleted::Another),
                Some(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

async fn patch(
    host: &ClusterHost,
    key: &ObjectKey,
    patch: &Text,
    resource_version: Option<&str>,
) -> Result<(), Trouble> {
    let one = |error: ApiError| Trouble {
        may_pass: error.may_pass(),
        lines: vec![format!("{key}: {}", error.message)],
    };
    let resource = resource(host, key).await.map_err(one)?;
    let bad = || ApiError::new(ApiErrorKind::Rejected, "the patch is no JSON object");
    let change: Value = serde_json::from_str(patch.expose()).map_err(|_| one(bad()))?;
    let mut body = change.clone();
    if let (Some(version), Some(map)) = (resource_version, body.as_object_mut()) {
        let metadata = map
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), Value::from(version));
        }
    }
    let place = place(&resource, key);
    // An object that changed since is to be decided on again, not to be patched all the same.
    let patience = Patience {
        api: match resource_version {
            Some(_) => Duration::ZERO,
            None => CHANGING.api,
        },
        ..CHANGING
    };
    match retrying(patience, || host.cluster.patch(place, &body)).await {
        Ok(_) => Ok(()),
        // It may be this very patch that has changed it, by a try whose answer was lost.
        Err(error) if error.kind == ApiErrorKind::Stale => {
            let only = Choice {
                namespace: place.namespace,
                name: Some(place.name),
            };
            let looked = retrying(LOOKING, || host.cluster.list(&resource, only));
            let listed = looked.await.map_err(one)?;
            let mut items = listed.items.iter();
            let live = items.find(|item| meta(item, "name") == Some(&key.name));
            match live.is_some_and(|live| is_in(live, &change)) {
                true => Ok(()),
                false => Err(one(error)),
            }
        }
        Err(error) => Err(one(error)),
    }
}

/// Whether a patch would change nothing.
fn is_in(live: &Value, change: &Value) -> bool {
    let mut after = live.clone();
    overlay(&mut after, change);
    after == *live
}
