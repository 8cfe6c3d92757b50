//! Watches of the API in memory, and what can go wrong with them: nothing is forgotten unless a test says so.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{FakeCluster, Key, place_of};
use crate::cluster::{ApiError, ApiErrorKind, BoxFuture, Change, Choice, Watch};
use crate::model::kube::ApiResource;

/// A watch is over after this, as at a real API.
const RENEWED: Duration = Duration::from_secs(60);

/// What became of all objects, in order.
#[derive(Default)]
pub(super) struct History {
    changes: Vec<(u64, Key, Change)>,
    /// Everything up to this version is forgotten.
    forgotten: u64,
    /// Lists and watches are answered so.
    away: Option<ApiError>,
    /// Watches alone are answered so.
    refused: Option<ApiError>,
    /// Watches tell nothing.
    silent: bool,
    /// So many times was everything cut.
    cuts: usize,
    /// Watches that are open.
    open: usize,
}

impl History {
    pub fn add(&mut self, version: u64, key: &Key, change: Change) {
        self.changes.push((version, key.clone(), change));
    }

    pub fn trouble(&self) -> Option<ApiError> {
        self.away.clone()
    }
}

/// Which objects are meant.
pub(super) struct Chosen {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Chosen {
    pub fn of(resource: &ApiResource, choice: Choice<'_>) -> Self {
        let namespace = choice.namespace.filter(|_| resource.namespaced);
        Self {
            plural: place_of(resource),
            namespace: namespace.map(str::to_owned),
            name: choice.name.map(str::to_owned),
        }
    }

    pub fn has(&self, (plural, namespace, name): &Key) -> bool {
        self.plural == *plural
            && self.namespace.as_ref().is_none_or(|it| it == namespace)
            && self.name.as_ref().is_none_or(|it| it == name)
    }
}

/// `watch deployments.apps web in default`.
pub(super) fn described(verb: &str, resource: &ApiResource, choice: Choice<'_>) -> String {
    let mut words = format!("{verb} {}", place_of(resource));
    if let Some(name) = choice.name {
        words.push_str(&format!(" {name}"));
    }
    if let Some(namespace) = choice.namespace {
        words.push_str(&format!(" in {namespace}"));
    }
    words
}

impl FakeCluster {
    /// Lists are answered so, and watches are cut and answered so; `None` = no longer.
    pub fn away(&self, error: Option<ApiError>) {
        self.state().history.away = error;
        self.cut();
    }

    /// Watches are answered so, and lists are not; `None` = no longer.
    pub fn refuse_watches(&self, error: Option<ApiError>) {
        self.state().history.refused = error;
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.state().history.open
    }

    /// Every watch breaks.
    pub fn cut(&self) {
        self.state().history.cuts += 1;
        self.bell.notify_waiters();
    }

    /// Watches tell nothing from now on, until they are over: as where something on the way holds a dead connection.
    pub fn silence(&self, silent: bool) {
        self.state().history.silent = silent;
    }

    /// Forgets what became of objects so far: versions up to now are too old for a watch.
    pub fn forget(&self) {
        let mut state = self.state();
        let now = state.version;
        state.history.changes.clear();
        state.history.forgotten = now;
    }

    pub(super) fn watch_from<'a>(
        &'a self,
        resource: &ApiResource,
        choice: Choice<'_>,
        version: &str,
    ) -> Result<Box<dyn Watch + 'a>, ApiError> {
        let mut state = self.state();
        state.asked.push(described("watch", resource, choice));
        let refused = state.history.refused.clone();
        if let Some(error) = state.history.trouble().or(refused) {
            return Err(error);
        }
        let seen = version.parse();
        let seen = seen.map_err(|_| ApiError::new(ApiErrorKind::Rejected, "invalid version"))?;
        state.history.open += 1;
        Ok(Box::new(FakeWatch {
            cluster: self,
            chosen: Chosen::of(resource, choice),
            seen,
            cuts: state.history.cuts,
            end: Instant::now() + RENEWED,
        }))
    }
}

struct FakeWatch<'a> {
    cluster: &'a FakeCluster,
    chosen: Chosen,
    /// The version of the last change that it told, or began at.
    seen: u64,
    cuts: usize,
    end: Instant,
}

impl FakeWatch<'_> {
    /// What there is to tell by now; nothing = wait.
    fn told(&mut self) -> Option<Result<Option<Change>, ApiError>> {
        let state = self.cluster.state();
        let history = &state.history;
        if history.cuts != self.cuts {
            let cut = ApiError::new(ApiErrorKind::Unreachable, "a watch was cut");
            return Some(Err(cut));
        }
        if self.seen < history.forgotten {
            return Some(Ok(None));
        }
        let mut news = history.changes.iter();
        let news = news.find(|(version, key, _)| *version > self.seen && self.chosen.has(key));
        match news {
            Some((version, _, change)) if !history.silent => {
                self.seen = *version;
                Some(Ok(Some(change.clone())))
            }
            _ if Instant::now() >= self.end => Some(Ok(None)),
            _ => None,
        }
    }

    async fn next_change(&mut self) -> Result<Option<Change>, ApiError> {
        loop {
            // Before looking: what rings in between is heard as well.
            let rung = self.cluster.bell.notified();
            if let Some(told) = self.told() {
                return told;
            }
            tokio::select! {
                () = rung => {}
                () = sleep_until(self.end) => {}
            }
        }
    }
}

impl Drop for FakeWatch<'_> {
    fn drop(&mut self) {
        self.cluster.state().history.open -= 1;
    }
}

impl Watch for FakeWatch<'_> {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Change>, ApiError>> {
        Box::pin(self.next_change())
    }
}
