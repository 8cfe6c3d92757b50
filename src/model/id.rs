//! Names of things, as newtypes, so that a node's name cannot be passed where a step's id is wanted.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is; the rules for names are checked where files are read.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    };
}

name_type! {
    /// A node of the inventory, by the key of its `[node.NAME]` table.
    NodeName
}
name_type! {
    /// A group of the inventory, by the key of its `[group.NAME]` table.
    GroupName
}
name_type! {
    /// The `id` of a step inside one playbook.
    StepId
}
name_type! {
    /// A step in a whole plan: the ids from the outermost playbook inwards, joined by `/`; an item of an `each` step
    /// carries it in brackets: `platform/pools[lan]`.
    StepAddr
}
name_type! {
    /// A step kind, by the name of its table: `file` for `[step.file]`.
    KindName
}
name_type! {
    /// One execution of a plan: `YYYYMMDD-HHMMSS-xxxx` (UTC), so that names sort by time.
    RunId
}
name_type! {
    /// One detached execution on a target; unique over all runs.
    JobId
}

impl StepAddr {
    /// The address of a step `id` inside the playbook step `self`.
    pub fn child(&self, id: &StepId) -> Self {
        Self::new(format!("{self}/{id}"))
    }

    /// The address of the playbook step around it. An item's name may hold `/`, but no brackets.
    pub fn parent(&self) -> Option<&str> {
        let text = self.as_str();
        let mut inside = false;
        let slash = text.char_indices().rev().find(|(_, c)| {
            match c {
                ']' => inside = true,
                '[' => inside = false,
                _ => {}
            }
            *c == '/' && !inside
        });
        slash.and_then(|(at, _)| text.get(..at))
    }

    /// The address of one item of this `each` step.
    pub fn item(&self, item: &str) -> Self {
        Self::new(format!("{self}[{item}]"))
    }
}

/// What a step works on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A machine of the inventory, by its name.
    Node(NodeName),
    /// The Kubernetes API of the inventory's cluster.
    Cluster,
    /// The machine hmco-boot runs on.
    Controller,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => f.pad(name.as_str()),
            Self::Cluster => f.pad("cluster"),
            Self::Controller => f.pad("controller"),
        }
    }
}

/// Position of a (step, target) pair in its plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PairId(pub u32);

impl PairId {
    /// As an index into the plan's list of pairs.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_an_address_is_the_playbook_step_around_it_whatever_items_are_called() {
        let parent = |text: &str| StepAddr::new(text).parent().map(str::to_owned);
        assert_eq!(parent("a"), None);
        assert_eq!(parent("a[/dev/sda]"), None);
        assert_eq!(parent("p/q/a[x]").as_deref(), Some("p/q"));
        assert_eq!(parent("p[a/b]/c[d/e]").as_deref(), Some("p[a/b]"));
    }
}
