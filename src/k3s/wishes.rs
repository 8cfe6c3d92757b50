//! What the steps of [`plans`](super::plans) bring about, a file each. Each looks before it acts, so a command that was cut off is
//! given again and goes on. Here is what several of them use.

mod clean;
mod drained;
mod forgotten;
mod guard;
mod stopped;

use serde::Serialize;

use crate::facts::fact::Fact;
use crate::facts::known::Unreadable;
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::kube::{KubeAction, ObjectKey};
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::files::unit_name;
use crate::steps::shared::kube::list_fact;
use crate::steps::{Decision, Touches};
pub use clean::Clean;
pub use drained::{Drained, lost};
pub use forgotten::{Forgotten, MemberGone};
pub use guard::{Guard, Server};
pub use stopped::Stopped;

type Decided = Result<Decision<Vec<Action>>, Unreadable>;

fn key(kind: &str, namespace: Option<&str>, name: &str) -> ObjectKey {
    ObjectKey {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

/// All objects of a kind that has no namespaces, or in all of them.
fn list(kind: &str) -> Fact {
    list_fact(&key(kind, None, ""))
}

/// The units of K3s.
fn units() -> [Fact; 2] {
    [Role::Server, Role::Agent].map(|role| Fact::Unit {
        name: unit_name(role).to_owned(),
    })
}

fn drift(diff: Vec<DiffLine>, actions: Vec<Action>) -> Decided {
    Ok(match actions.is_empty() {
        true => Decision::Unchanged,
        false => Decision::Drift {
            diff,
            drift: actions,
        },
    })
}

fn kube(action: KubeAction) -> Action {
    Action::Kube(Box::new(action))
}

fn of_cluster() -> Touches {
    Touches {
        cluster: true,
        ..Touches::default()
    }
}

fn text(wish: &impl Serialize) -> String {
    serde_json::to_string(wish).unwrap_or_default()
}
