//! Waiting until objects are as expected. Each kind in each namespace is looked at by itself ([`group`]): listed once, and
//! watched from then on. Here is what that comes to: whether all is well, whether to give up, and what people are told
//! meanwhile, which is not all that happens. An API that is gone for a while is waited for as well.

mod group;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::act::{Trouble, known_or_asked, place};
use super::host::ClusterHost;
use super::read::AT_ONCE;
use super::{ApiError, Choice};
use crate::model::kube::ready::{pod_reason, readiness};
use crate::model::kube::{Awaited, ObjectKey, Readiness, key};
use crate::transport::OutputSink;
use group::{Group, Open, Until};

/// Pauses between two looks where there is nothing to watch, and between two words about what is awaited.
const FIRST_LOOK: Duration = Duration::from_millis(150);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What a look at one object gave.
type Seen = Result<Readiness, ApiError>;

/// What groups saw that they did not see before, by the numbers of the objects.
type News = Vec<(usize, Seen)>;

/// Waits until all is as expected. What will not come by waiting ends it at once.
pub(super) async fn wait(
    host: &ClusterHost,
    objects: &[Awaited],
    limit: Duration,
    output: OutputSink<'_>,
) -> Result<(), Trouble> {
    let (tell, mut told) = mpsc::channel(objects.len().max(1));
    // They end with this function, however it ends.
    let _looking = looking(host, objects, limit, &tell);
    drop(tell);
    let mut picture = Picture {
        seen: objects.iter().map(|awaited| (awaited, None)).collect(),
    };
    let mut words = Words::new();
    while !picture.is_ready() {
        let news = tokio::select! {
            news = told.recv() => news,
            () = sleep_until(words.next), if words.due => Some(News::new()),
        };
        let Some(news) = news else {
            // All of them have looked for the last time.
            let mut lines = vec![format!("not so within {}s:", limit.as_secs())];
            lines.extend(picture.missing());
            return Err(match picture.first_missing() {
                Some(first) => given_up(host, first, lines).await,
                None => lasting(lines),
            });
        };
        for (number, seen) in news {
            match (&seen, objects.get(number)) {
                (Ok(Readiness::Failed(words)), Some(awaited)) => {
                    let line = format!("{}: {words}", awaited.key);
                    return Err(given_up(host, awaited, vec![line]).await);
                }
                (Err(error), Some(awaited)) if !error.may_pass() => {
                    return Err(lasting(vec![format!("{}: {error}", awaited.key)]));
                }
                _ => {}
            }
            picture.set(number, seen);
            words.due = picture.is_whole();
        }
        if !picture.is_ready() {
            words.say(&picture, output);
        }
    }
    Ok(())
}

/// Starts to look at the objects, by kind and namespace.
fn looking(
    host: &ClusterHost,
    objects: &[Awaited],
    limit: Duration,
    tell: &mpsc::Sender<News>,
) -> JoinSet<()> {
    // Whoever gave the limit may be waiting for just as long, and would only say that time is over.
    let spare = (limit / 20).min(LAST_LOOK);
    let until = Until {
        last: Instant::now() + limit - spare,
        spare,
    };
    let mut groups: BTreeMap<_, Vec<Open>> = BTreeMap::new();
    for (number, awaited) in objects.iter().enumerate() {
        let ObjectKey {
            api_version,
            kind,
            namespace,
            ..
        } = &awaited.key;
        groups
            .entry((api_version, kind, namespace))
            .or_default()
            .push(Open::new(number, awaited));
    }
    let lists = Arc::new(Semaphore::new(AT_ONCE));
    let watches = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for open in groups.into_values() {
        let group = Group {
            cluster: host.cluster.clone(),
            served: host.served.clone(),
            lists: lists.clone(),
            watches: watches.clone(),
            watchable: true,
            tell: tell.clone(),
            open,
        };
        tasks.spawn(group.look_until(until));
    }
    tasks
}

/// What is known of all objects.
struct Picture<'a> {
    /// `None` = nobody has looked yet.
    seen: Vec<(&'a Awaited, Option<Seen>)>,
}

impl Picture<'_> {
    fn set(&mut self, number: usize, seen: Seen) {
        if let Some((_, slot)) = self.seen.get_mut(number) {
            *slot = Some(seen);
        }
    }

    fn is_ready(&self) -> bool {
        let mut all = self.seen.iter();
        all.all(|(_, seen)| *seen == Some(Ok(Readiness::Ready)))
    }

    fn is_whole(&self) -> bool {
        self.seen.iter().all(|(_, seen)| seen.is_some())
    }

    fn first_missing(&self) -> Option<&Awaited> {
        let mut missing = self.seen.iter();
        let first = missing.find(|(_, seen)| *seen != Some(Ok(Readiness::Ready)));
        first.map(|(awaited, _)| *awaited)
    }

    /// What is not so, in words.
    fn missing(&self) -> Vec<String> {
        let mut trouble = false;
        let line = |(awaited, seen): &(&Awaited, Option<Seen>)| match seen {
            Some(Ok(Readiness::Ready)) => None,
            Some(Ok(Readiness::Waiting(words) | Readiness::Failed(words))) => {
                Some(format!("{}: {words}", awaited.key))
            }
            // Where the API does not answer, it does so for all of them.
            Some(Err(_)) if std::mem::replace(&mut trouble, true) => None,
            Some(Err(error)) => Some(format!("{}: {error}", awaited.key)),
            None => Some(format!("{}: nobody could look at it", awaited.key)),
        };
        self.seen.iter().filter_map(line).collect()
    }
}

/// What was said of it, and when there may be more.
struct Words {
    said: String,
    pause: Duration,
    next: Instant,
    /// There is something to say.
    due: bool,
}

impl Words {
    fn new() -> Self {
        Self {
            said: String::new(),
            pause: FIRST_LOOK,
            next: Instant::now(),
            due: false,
        }
    }

    /// Says what is missing, where that is news and something was not said just now.
    fn say(&mut self, picture: &Picture<'_>, output: OutputSink<'_>) {
        let now = Instant::now();
        if !self.due || now < self.next {
            return;
        }
        self.due = false;
        let news = picture.missing().join("\n");
        if news == self.said {
            return;
        }
        output(&format!("waiting: {news}\n"));
        self.said = news;
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LAST_LOOK);
    }
}

fn lasting(lines: Vec<String>) -> Trouble {
    Trouble {
        lines,
        may_pass: false,
    }
}

/// With why its pods do not come up, where it has pods.
async fn given_up(host: &ClusterHost, awaited: &Awaited, mut lines: Vec<String>) -> Trouble {
    lines.extend(pods(host, &awaited.key).await.unwrap_or_default());
    lasting(lines)
}

async fn pods(host: &ClusterHost, owner: &ObjectKey) -> Option<Vec<String>> {
    let namespace = owner.namespace.as_deref()?;
    let name = ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: owner.namespace.clone(),
        name: String::new(),
    };
    let served = known_or_asked(host, owner).await.ok()?;
    let resource = served.get(&owner.api_version, &owner.kind)?;
    let object = host.cluster.get(place(resource, owner)).await.ok()??;
    let labels = object
        .pointer("/spec/selector/matchLabels")?
        .as_object()?
        .clone();
    let pods = served.get(&name.api_version, &name.kind)?;
    let all = host.cluster.list(pods, Choice::of(Some(namespace)));
    let all = all.await.ok()?.items;
    let chosen = all.iter().filter(|pod| {
        labels.iter().all(|(label, value)| {
            pod.pointer("/metadata/labels").and_then(|l| l.get(label)) == Some(value)
        })
    });
    let mut lines = Vec::new();
    for pod in chosen
        .filter(|pod| readiness(pod) != Readiness::Ready)
        .take(5)
    {
        let pod_name = key::meta(pod, "name").unwrap_or_default();
        lines.push(format!("Pod {namespace}/{pod_name}: {}", pod_reason(pod)));
    }
    Some(lines)
}
