//! The `Cluster` seam: the Kubernetes API. Two implementations, the real one ([`client`], over the connections that
//! [`connect`] makes) and an API in memory (`fake`); `tests/seam_contract_cluster.rs` holds both to the same cases.
//!
//! The engine knows nothing of it: [`host::ClusterHost`] makes a [`Host`](crate::transport::Host) of any `Cluster`, which
//! answers facts and carries jobs out like a machine. What objects are, and when one is as wished, is `model::kube`.

mod act;
mod certificate;
pub mod client;
pub mod connect;
mod drain;
pub mod error;
#[doc(hidden)]
pub mod fake;
mod greeting;
pub mod host;
pub mod hosts;
mod pin;
mod read;
mod request;
mod retry;
mod trial;
mod wait;
mod watch;
mod way;
mod wire;

use serde_json::Value;

pub use crate::transport::BoxFuture;
pub use error::{ApiError, ApiErrorKind};

use crate::model::kube::{ApiResource, Discovery};

/// An API. Every call is one request (discovery a few), with a deadline of its own; whoever calls decides what to try
/// again.
pub trait Cluster: Send + Sync {
    /// Everything it serves.
    fn discover(&self) -> BoxFuture<'_, Result<Discovery, ApiError>>;

    /// Objects of a kind, as they are now, with apiVersion and kind in each.
    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        choice: Choice<'a>,
    ) -> BoxFuture<'a, Result<Listed, ApiError>>;

    /// Every change of objects of a kind after the `version` of a list of them: of that choice, or of one that has this
    /// one in it.
    fn watch<'a>(
        &'a self,
        resource: &'a ApiResource,
        choice: Choice<'a>,
        version: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Watch + 'a>, ApiError>>;

    /// One object; `None` = there is none.
    fn get<'a>(&'a self, place: Place<'a>) -> BoxFuture<'a, Result<Option<Value>, ApiError>>;

    /// A server-side apply by [`MANAGER`](crate::model::kube::MANAGER); gives the object as it is then, or would be.
    fn apply<'a>(
        &'a self,
        place: Place<'a>,
        object: &'a Value,
        how: Apply,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;

    /// A JSON merge patch. With a `metadata.resourceVersion` in it, only of the object as it was then.
    fn patch<'a>(
        &'a self,
        place: Place<'a>,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>>;

    /// Begins to delete an object, what depends on it in the background; false where there was none. With a `uid` only
    /// that very object: [`ApiErrorKind::Stale`] where another one has its name.
    fn delete<'a>(
        &'a self,
        place: Place<'a>,
        uid: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool, ApiError>>;

    /// Asks that the pod of this `uid` leaves its node (`eviction`), which a PodDisruptionBudget may refuse for now
    /// ([`ApiErrorKind::Busy`]); false where that pod is gone, also where another one has its name.
    fn evict<'a>(&'a self, pod: Place<'a>, uid: &'a str) -> BoxFuture<'a, Result<bool, ApiError>>;
}

/// Changes as they come.
pub trait Watch: Send {
    /// The next change, whenever it comes. `None` = the watch is over, as every watch is after a minute or so, or when the
    /// version that it began at is too old: nothing is wrong, and a fresh list tells what it did not. After that, and
    /// after an error, it is not asked again. To stop waiting for the answer loses no change.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Change>, ApiError>>;
}

/// What became of an object.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// It is new, or another one than before: as it is now, with apiVersion and kind.
    Set(Value),
    /// It is gone: as it was last.
    Gone(Value),
}

/// Which objects of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Choice<'a> {
    /// Those of this namespace; `None` = of all, and for kinds without.
    pub namespace: Option<&'a str>,
    /// The one of this name; `None` = whatever they are called.
    pub name: Option<&'a str>,
}

impl<'a> Choice<'a> {
    /// All.
    pub const ALL: Choice<'static> = Choice {
        namespace: None,
        name: None,
    };

    /// Those of this namespace; all where there is none.
    pub fn of(namespace: Option<&'a str>) -> Self {
        Self {
            namespace,
            name: None,
        }
    }
}

/// What a list gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// The objects.
    pub items: Vec<Value>,
    /// The state that they were seen in, for [`Cluster::watch`].
    pub version: String,
}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its kind.
    pub resource: &'a ApiResource,
    /// Its namespace; `None` for kinds without.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

/// How to apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Apply {
    /// Take over fields that others own.
    pub force: bool,
    /// Only say what would be.
    pub dry_run: bool,
}
