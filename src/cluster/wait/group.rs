//! Looking at the awaited objects of one kind in one namespace: one list, and where something is not there yet, one watch
//! from there on. The list is asked for again when a watch is over or broke, and again and again where there is nothing to
//! watch: a kind that is not served yet, an API that does not answer, one that lets nobody watch, or too many watches as
//! it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{FIRST_LOOK, LAST_LOOK, News, Seen};
use crate::cluster::act::served_for;
use crate::cluster::host::Served;
use crate::cluster::{ApiErrorKind, Change, Choice, Cluster};
use crate::model::kube::key::meta;
use crate::model::kube::ready::Expected;
use crate::model::kube::{ApiResource, Awaited, Readiness};

/// An object that is not as expected, as far as is known.
#[derive(Clone)]
pub(super) struct Open {
    number: usize,
    awaited: Awaited,
    seen: Option<Seen>,
}

impl Open {
    /// Nobody has looked yet.
    pub fn new(number: usize, awaited: &Awaited) -> Self {
        Self {
            number,
            awaited: awaited.clone(),
            seen: None,
        }
    }
}

/// How long to look.
#[derive(Clone, Copy)]
pub(super) struct Until {
    /// The last list is asked for then.
    pub last: Instant,
    /// How long that one may take.
    pub spare: Duration,
}

/// Objects of one kind in one namespace.
pub(super) struct Group {
    pub cluster: Arc<dyn Cluster>,
    pub served: Arc<Served>,
    /// Room for lists at once.
    pub lists: Arc<Semaphore>,
    /// Room for watches at once.
    pub watches: Arc<Semaphore>,
    /// Whether a watch was not refused so far.
    pub watchable: bool,
    pub tell: mpsc::Sender<News>,
    pub open: Vec<Open>,
}

impl Group {
    /// Looks until all are as expected, or time is over.
    pub async fn look_until(mut self, until: Until) {
        let mut pause = FIRST_LOOK;
        let end = until.last + until.spare;
        let Ok(mut listed) = timeout_at(end, self.look()).await else {
            return;
        };
        while !self.open.is_empty() && Instant::now() < until.last {
            let began = Instant::now();
            if let Some((resource, version)) = &listed {
                self.follow(resource, version, until.last).await;
            }
            if self.open.is_empty() {
                return;
            }
            if began.elapsed() > LAST_LOOK {
                pause = FIRST_LOOK;
            }
            sleep_until(until.last.min(Instant::now() + pause)).await;
            pause = (pause * 2).min(LAST_LOOK);
            match timeout_at(end, self.look()).await {
                Ok(looked) => listed = looked,
                Err(_) => return,
            }
        }
    }

    /// Lists them; gives what to watch, and from when, where it can be watched.
    async fn look(&mut self) -> Option<(ApiResource, String)> {
        let key = self.open.first()?.awaited.key.clone();
        let served = match served_for(&*self.cluster, &self.served, &key).await {
            Ok(served) => served,
            Err(error) => {
                self.see(|_| Some(Err(error.clone()))).await;
                return None;
            }
        };
        let Some(resource) = served.get(&key.api_version, &key.kind).cloned() else {
            self.see(|awaited| {
                Some(Ok(match awaited.what {
                    Expected::Absent | Expected::Gone { .. } => Readiness::Ready,
                    _ => Readiness::Waiting(format!("the API serves no {} yet", key.kind)),
                }))
            })
            .await;
            return None;
        };
        let listed = {
            let _turn = self.lists.acquire().await;
            let choice = choice(&self.open, &resource);
            self.cluster.list(&resource, choice).await
        };
        match listed {
            Ok(listed) => {
                let found = by_name(&listed.items, &resource);
                self.see(|awaited| {
                    let object = found.get(&name(awaited, &resource));
                    Some(Ok(awaited.what.of(object.copied())))
                })
                .await;
                Some((resource, listed.version))
            }
            // Its kind is gone since it was asked for.
            Err(error) if error.kind == ApiErrorKind::NotFound => {
                self.see(|awaited| Some(Ok(awaited.what.of(None)))).await;
                None
            }
            Err(error) => {
                self.see(|_| Some(Err(error.clone()))).await;
                None
            }
        }
    }

    /// Watches them until all are as expected, the watch is over, or it is `last`.
    async fn follow(&mut self, resource: &ApiResource, version: &str, last: Instant) {
        let Ok(_turn) = self.watches.clone().try_acquire_owned() else {
            return;
        };
        if !self.watchable {
            return;
        }
        let cluster = self.cluster.clone();
        let open = self.open.clone();
        let choice = choice(&open, resource);
        let opened = timeout_at(last, cluster.watch(resource, choice, version)).await;
        let mut watch = match opened {
            Ok(Ok(watch)) => watch,
            Ok(Err(error)) => {
                // It may be that the user may only list, or that the API behind this kind cannot do it.
                self.watchable = error.may_pass();
                return;
            }
            Err(_) => return,
        };
        while !self.open.is_empty() {
            let (changed, now) = match timeout_at(last, watch.next()).await {
                Ok(Ok(Some(Change::Set(object)))) => (object, true),
                Ok(Ok(Some(Change::Gone(object)))) => (object, false),
                // A list tells what became of it, and what is wrong.
                Ok(Ok(None) | Err(_)) | Err(_) => return,
            };
            let it = its_name(&changed, resource);
            self.see(|awaited| {
                let is_it = it == Some(name(awaited, resource));
                is_it.then(|| Ok(awaited.what.of(now.then_some(&changed))))
            })
            .await;
        }
    }

    /// Notes what a look at each of them gave (`None` = nothing), and tells what is news. What is as expected is not looked
    /// at any more.
    async fn see(&mut self, look: impl Fn(&Awaited) -> Option<Seen> + Send) {
        let mut news = News::new();
        for open in &mut self.open {
            let seen = look(&open.awaited);
            if seen.is_some() && seen != open.seen {
                news.extend(seen.clone().map(|seen| (open.number, seen)));
                open.seen = seen;
            }
        }
        self.open
            .retain(|open| open.seen != Some(Ok(Readiness::Ready)));
        if !news.is_empty() {
            // Where nobody listens any more, this is about to end.
            drop(self.tell.send(news).await);
        }
    }
}

/// Namespace and name, as objects of a kind have them.
type Name<'a> = (Option<&'a str>, &'a str);

fn name<'a>(awaited: &'a Awaited, resource: &ApiResource) -> Name<'a> {
    let namespace = awaited.key.namespace.as_deref();
    (namespace.filter(|_| resource.namespaced), &awaited.key.name)
}

fn its_name<'a>(object: &'a Value, resource: &ApiResource) -> Option<Name<'a>> {
    let namespace = meta(object, "namespace").filter(|_| resource.namespaced);
    Some((namespace, meta(object, "name")?))
}

fn by_name<'a>(items: &'a [Value], resource: &ApiResource) -> BTreeMap<Name<'a>, &'a Value> {
    let named = |item| Some((its_name(item, resource)?, item));
    items.iter().filter_map(named).collect()
}

/// The one of its name where only one is awaited, else all of the namespace.
fn choice<'a>(open: &'a [Open], resource: &ApiResource) -> Choice<'a> {
    let names = |open: &'a Open| name(&open.awaited, resource);
    Choice {
        namespace: open.first().and_then(|first| names(first).0),
        name: match open {
            [only] => Some(names(only).1),
            _ => None,
        },
    }
}
