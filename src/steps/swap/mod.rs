//! `swap`: none, now and after every boot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{diff, fstab, script};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, Swaps};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

const APPLY: &str = include_str!("apply.sh");

/// Services that make and start swap at boot: Raspberry Pi OS up to bookworm, Debian's zram-tools, Ubuntu's zram-config.
/// What systemd starts by itself (fstab, partition table, zram-generator, rpi-swap) is found by its units.
const SERVICES: [&str; 3] = [
    "dphys-swapfile.service",
    "zramswap.service",
    "zram-config.service",
];

/// In front of a line of /etc/fstab that was taken out.
const MARK: &str = "# off by hmco-boot: ";

/// No swap, now and after every boot, wherever it comes from: lines of /etc/fstab are commented out, swap services
/// disabled, systemd's swap units masked. Files and partitions stay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// What shall be.
    pub state: State,
}

/// What shall be of swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum State {
    /// None.
    Off,
}

fn without_swap(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match fstab::parse(line) {
            Some(entry) if entry.fs_type == "swap" => format!("{MARK}{line}"),
            _ => line.to_owned(),
        })
        .collect()
}

fn services(known: &Known<'_>) -> Result<Vec<&'static str>, Unreadable> {
    let mut on = Vec::new();
    if known.os()?.is_some_and(|os| os.init != "systemd") {
        return Ok(on);
    }
    for name in SERVICES {
        let Some(unit) = known.unit(name)? else {
            continue;
        };
        let starts = ["enabled", "enabled-runtime", "generated", "linked", "alias"]
            .contains(&unit.enabled.as_str());
        if unit.load != "not-found" && (starts || unit.active == "active") {
            on.push(name);
        }
    }
    Ok(on)
}

impl Kind for Swap {
    type Drift = Vec<Action>;
    const NAME: &'static str = "swap";
    const SUMMARY: &'static str = "No swap, now and after every boot.";
    const CLASS: Class = Class::State;

    fn facts(&self, known: &Known<'_>) -> Want {
        let units = SERVICES.iter().map(|name| Fact::Unit {
            name: (*name).to_owned(),
        });
        Want::all(
            known,
            fstab::facts()
                .into_iter()
                .chain(units)
                .chain([Fact::Swaps, Fact::Os]),
        )
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let none = Swaps::default();
        let swaps = known.swaps()?.unwrap_or(&none);
        let container = known.os()?.map_or("", |os| os.container.as_str());
        if !container.is_empty() && !swaps.active.is_empty() {
            return Ok(Decision::Refused(
                Failure::new("this machine is a container: the swap it sees is the host's")
                    .evidence(format!("container: {container}"))
                    .hint("turn swap off on the host, or leave this step out with `when = \"not facts.os.container\"`"),
            ));
        }
        let old = match fstab::text(known)? {
            Ok(text) => text,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        let services = services(known)?;
        let (mut lines, mut actions) = (Vec::new(), Vec::new());
        for area in &swaps.active {
            lines.push(DiffLine::old(format!(
                "swap on {} ({} MiB, {} MiB used)",
                area.name,
                area.size >> 20,
                area.used >> 20
            )));
        }
        lines.extend(
            services
                .iter()
                .map(|name| DiffLine::old(format!("{name} starts swap at boot"))),
        );
        lines.extend(
            swaps
                .units
                .iter()
                .map(|name| DiffLine::old(format!("{name} starts at boot"))),
        );
        let new = without_swap(old);
        if new != old {
            lines.push(DiffLine::both(fstab::PATH));
            lines.extend(diff::text(old, &new));
            actions.extend(fstab::write(known, new)?);
        }
        if lines.is_empty() {
            return Ok(Decision::Unchanged);
        }
        let purpose = "turn swap off".to_owned();
        actions.push(script::run(Self::NAME, purpose, APPLY, services, &[]));
        Ok(Decision::Drift {
            diff: lines,
            drift: actions,
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        let paths = [fstab::PATH, "/etc/systemd/system"];
        Touches {
            trees: paths
                .iter()
                .filter_map(|path| AbsPath::new(path).ok())
                .collect(),
            units: SERVICES.map(str::to_owned).to_vec(),
            ..Touches::default()
        }
    }
}

#[cfg(test)]
mod tests;
