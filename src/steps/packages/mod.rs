//! `packages`: packages of the distribution.

mod apt;
mod name;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::name::Name;
use super::shared::Presence;
use super::shared::list::OneOrMany;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, Os, Package, PackageManager};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;

/// Packages of the distribution that are installed, or not. All that is missing comes in one transaction; nobody is
/// asked anything, and configuration files that were changed on the machine stay. What an interrupted installation left
/// is repaired first. Upgrades are not its business: for a certain version there is `NAME=VERSION`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Names of real packages; `"NAME=VERSION"` for a certain version (a `*` at its end stands for anything).
    pub names: OneOrMany<String>,
    /// `"absent"` removes them.
    #[serde(default)]
    pub state: Presence,
    /// Also install what a package only recommends.
    #[serde(default)]
    pub recommends: bool,
    /// Let other packages be removed for it: those that conflict with a new one, or that need one which goes.
    #[serde(default)]
    pub allow_removals: bool,
    /// Let `NAME=VERSION` go back to an older version.
    #[serde(default)]
    pub allow_downgrades: bool,
    /// With `state = "absent"`: their configuration files too.
    #[serde(default)]
    pub purge: bool,
    /// When to read the repositories' lists anew before installing.
    #[serde(default)]
    pub update: Update,
    /// `update = "auto"` reads them where hmco-boot has not done so within this time of this boot.
    #[serde(default = "default_max_age")]
    pub max_age: TimeSpan,
    /// How long to wait for another program that holds the package manager's lock (unattended-upgrades after a boot).
    #[serde(default = "default_lock_timeout")]
    pub lock_timeout: TimeSpan,
}

/// When to read the repositories' lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Update {
    /// When there are none, when they are old, or when a package is not found in them.
    #[default]
    Auto,
    /// Before every installation.
    Always,
    /// Not at all.
    Never,
}

fn default_max_age() -> TimeSpan {
    TimeSpan(Duration::from_secs(24 * 3600))
}

fn default_lock_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(300))
}

/// What is wrong with one package.
enum State {
    Fine,
    /// To be installed or removed; for people.
    Differs(DiffLine),
    /// Not to be changed.
    Held,
}

impl Packages {
    fn wanted(&self) -> Vec<Name<'_>> {
        self.names.0.iter().map(|text| Name::parse(text)).collect()
    }

    fn state_of(&self, wanted: &Name<'_>, package: &Package) -> State {
        let status = package.state.rsplit(' ').next().unwrap_or_default();
        let broken = !matches!(status, "installed" | "not-installed" | "config-files")
            || package.state.split(' ').nth(1) == Some("reinstreq");
        let version = package.version.as_deref();
        let line = match (self.state, version) {
            (Presence::Absent, None) if broken => {
                DiffLine::old(format!("{} (left half-way: {status})", wanted.name))
            }
            (Presence::Absent, None) if self.purge && status == "config-files" => {
                DiffLine::old(format!("configuration of {}", wanted.name))
            }
            (Presence::Absent, None) => return State::Fine,
            (Presence::Absent, Some(version)) => {
                DiffLine::old(format!("{} {version}", wanted.name))
            }
            (Presence::Present, Some(version)) if !broken && wanted.takes(version) => {
                return State::Fine;
            }
            (Presence::Present, Some(version)) if broken => DiffLine::both(format!(
                "{} {version} is left half-way: {status}",
                wanted.name
            )),
            (Presence::Present, Some(version)) => DiffLine::both(format!(
                "{} {version} -> {}",
                wanted.name,
                wanted.version.unwrap_or_default()
            )),
            (Presence::Present, None) => DiffLine::new(wanted.text()),
        };
        // A held package may still be repaired.
        if package.held && !broken {
            State::Held
        } else {
            State::Differs(line)
        }
    }

    fn held(&self, names: &[&str]) -> Failure {
        let list = names.join(" ");
        Failure::new(format!("held back on this machine: {list}"))
            .evidence("`apt-mark showhold` lists what is held".to_owned())
            .hint(format!(
                "somebody did that on purpose: ask, then `apt-mark unhold {list}`, or take it out of this step"
            ))
    }

    fn no_manager(os: Option<&Os>) -> Failure {
        let id = os.map_or("", |os| os.id.as_str());
        let shown = if id.is_empty() { "unknown" } else { id };
        Failure::new(format!(
            "there is no apt on this machine (distribution: {shown}); no other package manager is supported yet"
        ))
        .hint("Debian, Raspberry Pi OS and Ubuntu have apt; elsewhere use a `command` step with `unless`, or exclude the node from this one")
    }
}

impl Kind for Packages {
    type Drift = Vec<String>;
    const NAME: &'static str = "packages";
    const SUMMARY: &'static str =
        "Packages of the distribution, installed or removed in one transaction.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.names.0.is_empty() {
            mistakes.push(("names", "which packages?".to_owned()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in self.wanted() {
            if let Some(why) = name.mistake() {
                mistakes.push(("names", why));
            } else if !seen.insert(name.name) {
                mistakes.push(("names", format!("{} is named twice", name.name)));
            }
            if self.state == Presence::Absent && name.version.is_some() {
                mistakes.push((
                    "names",
                    format!(
                        "{}: a version says nothing of what shall not be there",
                        name.text()
                    ),
                ));
            }
        }
        if self.purge && self.state == Presence::Present {
            mistakes.push(("purge", "`purge` goes with `state = \"absent\"`".to_owned()));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let packages = self.wanted().into_iter().map(|name| Fact::Package {
            name: name.name.to_owned(),
        });
        Want::all(known, packages.chain([Fact::PackageManager, Fact::Os]))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let none = PackageManager::default();
        let manager = known.package_manager()?.unwrap_or(&none);
        if manager.name != "apt" {
            return Ok(Decision::Refused(Self::no_manager(known.os()?)));
        }
        let (mut lines, mut names, mut held) = (Vec::new(), Vec::new(), Vec::new());
        let gone = Package::default();
        for wanted in self.wanted() {
            match self.state_of(&wanted, known.package(wanted.name)?.unwrap_or(&gone)) {
                State::Fine => {}
                State::Differs(line) => {
                    lines.push(line);
                    names.push(wanted.text());
                }
                State::Held => held.push(wanted.name),
            }
        }
        if !held.is_empty() {
            return Ok(Decision::Refused(self.held(&held)));
        }
        // While another one is at work its half-way state is nothing to repair.
        if manager.interrupted && manager.lock_holder.is_none() {
            lines.push(DiffLine::both(
                "an installation was interrupted: repaired first (dpkg --configure -a)",
            ));
        } else if names.is_empty() {
            return Ok(Decision::Unchanged);
        }
        if let Some(holder) = &manager.lock_holder {
            lines.push(DiffLine::both(format!(
                "waits for {holder}, which holds the package manager's lock (at most {})",
                self.lock_timeout
            )));
        }
        Ok(Decision::Drift {
            diff: lines,
            drift: names,
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        vec![apt::action(self, drift)]
    }

    fn touches(&self) -> Touches {
        // What a package brings lies anywhere; its maintainer scripts may do anything.
        Touches::everything()
    }
}

#[cfg(test)]
mod tests;
