//! The environment as the command sees it: one question, so that a test answers it from a map. Nothing else in the
//! crate reads environment variables.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the process environment"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Where environment variables come from.
pub trait Environment: Send + Sync {
    /// The value of a variable; `None` where it is not set.
    fn var(&self, name: &str) -> Option<OsString>;

    /// Whether a variable is set to something that is not empty: what `NO_COLOR` and its like ask for.
    fn flag(&self, name: &str) -> bool {
        self.var(name).is_some_and(|value| !value.is_empty())
    }
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

impl Environment for BTreeMap<String, OsString> {
    fn var(&self, name: &str) -> Option<OsString> {
        self.get(name).cloned()
    }
}
