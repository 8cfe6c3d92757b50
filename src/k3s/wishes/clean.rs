//! That nothing of K3s is left on a machine.

use serde::Serialize;

use super::{Decided, drift, text, units};
use crate::facts::known::Known;
use crate::model::event::DiffLine;
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::cluster::is_alive;
use crate::steps::shared::k3s::files::unit_name;
use crate::steps::shared::k3s::scripts;
use crate::steps::{Touches, Want, Wish};

/// That nothing of K3s is on a machine: no processes, no files, no data.
#[derive(Clone, Debug, Serialize)]
pub struct Clean;

impl Wish for Clean {
    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, scripts::remains().into_iter().chain(units()))
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let mut diff = Vec::new();
        for role in [Role::Server, Role::Agent] {
            let name = unit_name(role);
            if known.unit(name)?.is_some_and(is_alive) {
                diff.push(DiffLine::old(format!("{name} runs")));
            }
        }
        for fact in scripts::remains() {
            let Some(at) = fact.path() else { continue };
            if known.stat(at)?.is_some() {
                diff.push(DiffLine::old(at.to_string()));
            }
        }
        let actions = match diff.is_empty() {
            true => Vec::new(),
            false => vec![scripts::uninstall()],
        };
        drift(diff, actions)
    }

    fn touches(&self) -> Touches {
        Touches::everything()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}
