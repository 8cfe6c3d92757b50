//! That K3s does not run.

use serde::Serialize;

use super::{Decided, drift, text, units};
use crate::facts::fact::Fact;
use crate::facts::known::Known;
use crate::model::event::DiffLine;
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::cluster::is_alive;
use crate::steps::shared::k3s::files::{HOLD, path, unit_name};
use crate::steps::shared::script;
use crate::steps::{Touches, Want, Wish};

/// That K3s does not run on a machine, and does not come back at its next boot.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped {
    /// It may go on until it ends by itself, as it does when its member is taken out of etcd; it is not started again then.
    pub by_itself: bool,
}

const STOP: &str = r#"[ -z "$R" ] || exit 0
for u in k3s.service k3s-agent.service; do
  systemctl cat "$u" >/dev/null 2>&1 || continue
  systemctl disable "$u" 2>/dev/null || :
  [ "$1" = now ] || continue
  systemctl stop "$u"
done
[ "$1" != now ] || exit 0
mkdir -p /run/systemd/system/k3s.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/k3s.service.d/hmco-boot-leaving.conf
systemctl daemon-reload
"#;

impl Wish for Stopped {
    fn facts(&self, known: &Known<'_>) -> Want {
        let hold = Fact::Stat { path: path(HOLD) };
        Want::all(known, units().into_iter().chain([hold]))
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let held = known.stat(&path(HOLD))?.is_some();
        let mut diff = Vec::new();
        for role in [Role::Server, Role::Agent] {
            let name = unit_name(role);
            let Some(unit) = known.unit(name)? else {
                continue;
            };
            if unit.enabled == "enabled" {
                diff.push(DiffLine::old(format!("{name} starts at boot")));
            }
            match (self.by_itself, is_alive(unit)) {
                (false, true) => diff.push(DiffLine::old(format!("{name} runs"))),
                (true, true) if !held => {
                    diff.push(DiffLine::old(format!(
                        "{name} is started again when it ends"
                    )));
                }
                _ => {}
            }
        }
        let (purpose, word) = match self.by_itself {
            true => ("keep K3s from starting again", "later"),
            false => ("stop K3s", "now"),
        };
        let actions = match diff.is_empty() {
            true => Vec::new(),
            false => vec![script::run(
                "k3s-stop",
                purpose.to_owned(),
                STOP,
                [word],
                &[],
            )],
        };
        drift(diff, actions)
    }

    fn touches(&self) -> Touches {
        Touches {
            units: [Role::Server, Role::Agent]
                .map(|role| unit_name(role).to_owned())
                .to_vec(),
            paths: vec![path(HOLD)],
            k3s: true,
            cluster: true,
            ..Touches::default()
        }
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}
