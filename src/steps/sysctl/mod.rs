//! `sysctl`: kernel parameters, now and at every boot.

mod order;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::File;
use super::shared::scalar::Scalar;
use super::shared::whole::{self, Changes};
use super::shared::{Presence, diff, script};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, Os};
use crate::facts::known::{Known, Unreadable};
use crate::facts::questions::sysctl_path;
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

const APPLY: &str = include_str!("apply.sh");

/// Kernel parameters: set now, and kept in a file of their own in `/etc/sysctl.d` for every boot. What another file
/// would set differently at the next boot is refused with that file's name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Names the file: `k3s` becomes `/etc/sysctl.d/90-hmco-boot-k3s.conf`. One name for each step of this kind.
    pub name: String,
    /// The parameters and their values, text or number: `{ "net.ipv4.ip_forward" = 1 }`. Several numbers in one value
    /// are separated by blanks; how many does not matter.
    #[serde(default)]
    pub values: BTreeMap<String, Scalar>,
    /// Where in the order of files: a file that sorts later wins. 0 to 99.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// Leave out, now and at boot, what this kernel does not have. Otherwise that is refused.
    #[serde(default)]
    pub ignore_missing: bool,
    /// `"absent"` removes the file; the values that are set now stay until the next boot.
    #[serde(default)]
    pub state: Presence,
}

fn default_priority() -> u8 {
    90
}

/// One value compared.
struct Compared<'a> {
    key: &'a str,
    wanted: String,
    /// `None`: the kernel has no such parameter.
    live: Option<String>,
}

/// As the kernel takes it: any run of blanks is one.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Sysctl {
    /// The path, or the reason why there is none; `validate` has asked.
    fn path(&self) -> Result<AbsPath, String> {
        AbsPath::new(&format!(
            "/etc/sysctl.d/{:02}-hmco-boot-{}.conf",
            self.priority, self.name
        ))
        .map_err(|error| error.to_string())
    }

    /// The folders /proc/sys/net, /proc/sys/vm ...: one parameter may set others of its family (`net.ipv4.conf.all.*`).
    fn families(&self) -> Vec<AbsPath> {
        let family = |key: &String| {
            let path = sysctl_path(key)?;
            let name = path.strip_prefix("/proc/sys/")?.split('/').next()?;
            AbsPath::new(&format!("/proc/sys/{name}")).ok()
        };
        let mut families: Vec<AbsPath> = self.values.keys().filter_map(family).collect();
        families.dedup();
        families
    }

    fn file(&self) -> Option<File> {
        let path = self.path().ok()?;
        if self.state == Presence::Absent {
            return Some(whole::no_file(&path));
        }
        // A dash tells systemd-sysctl and sysctl(8) to go on where the parameter is missing.
        let dash = if self.ignore_missing { "-" } else { "" };
        let lines = self
            .values
            .iter()
            .map(|(key, value)| format!("{dash}{key} = {}\n", normal(&value.0)));
        let head = "# Written by hmco-boot; changes here are put back.\n".to_owned();
        Some(whole::file(
            &path,
            [head].into_iter().chain(lines).collect::<String>(),
        ))
    }

    fn compared(&self, known: &Known<'_>) -> Result<Vec<Compared<'_>>, Unreadable> {
        self.values
            .iter()
            .map(|(key, value)| {
                Ok(Compared {
                    key,
                    wanted: normal(&value.0),
                    live: known.sysctl(key)?.map(normal),
                })
            })
            .collect()
    }

    /// What the kernel does not have.
    fn missing(&self, compared: &[Compared<'_>], os: Option<&Os>) -> Option<Failure> {
        let missing: Vec<&str> = compared
            .iter()
            .filter(|value| value.live.is_none())
            .map(|value| value.key)
            .collect();
        if missing.is_empty() || self.ignore_missing {
            return None;
        }
        let mut failure = Failure::new(format!(
            "this kernel has no parameter {}",
            missing.join(", ")
        ));
        if let Some(os) = os {
            failure = failure.evidence(format!("kernel {}", os.kernel));
        }
        let module = missing.iter().find_map(|key| module_of(key));
        Some(failure.hint(match module {
            Some(module) => format!(
                "it comes with the module {module}: load that in a `kernel_module` step before this one, or set `ignore_missing = true`"
            ),
            None => "correct the name (`sysctl -a` lists all), or set `ignore_missing = true` for kernels without it"
                .to_owned(),
        }))
    }

    /// What another file says differently, and later.
    fn overridden(&self, known: &Known<'_>) -> Result<Option<Failure>, Unreadable> {
        let Ok(path) = self.path() else {
            return Ok(None);
        };
        let systemd = known.os()?.is_none_or(|os| os.init == "systemd");
        let later = order::later(known.sysctl_files()?, path.as_str(), systemd);
        let mut failure = Failure::new("another file sets this differently at every boot");
        let mut files: Vec<&str> = Vec::new();
        for (key, value) in &self.values {
            let Some(setting) = later.get(&sysctl_path(key)) else {
                continue;
            };
            if normal(setting.value) != normal(&value.0) {
                failure =
                    failure.evidence(format!("{}: {}", setting.file, diff::shown(setting.line)));
                files.push(setting.file);
            }
        }
        let Some(first) = files.first() else {
            return Ok(None);
        };
        Ok(Some(failure.hint(format!(
            "take the line out of {first} (a `line` step with `state = \"absent\"` before this one), or give this step a greater `priority` than that file has"
        ))))
    }
}

/// The module that brings a parameter, for those that people miss.
fn module_of(key: &str) -> Option<&'static str> {
    [
        ("net.bridge.", "br_netfilter"),
        ("net.netfilter.", "nf_conntrack"),
        ("net.nf_conntrack", "nf_conntrack"),
    ]
    .into_iter()
    .find(|(prefix, _)| key.replace('/', ".").starts_with(prefix))
    .map(|(_, module)| module)
}

impl Kind for Sysctl {
    type Drift = Vec<Action>;
    const NAME: &'static str = "sysctl";
    const SUMMARY: &'static str = "Kernel parameters, now and at every boot.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            mistakes.push((
                "name",
                "the name becomes part of a file's name: letters, digits, `-` and `_`".to_owned(),
            ));
        }
        if self.priority > 99 {
            mistakes.push(("priority", "a priority is a number from 0 to 99".to_owned()));
        }
        if self.state == Presence::Present && self.values.is_empty() {
            mistakes.push(("values", "which parameters?".to_owned()));
        }
        for (key, value) in &self.values {
            if sysctl_path(key).is_none() || key.contains(['*', '?', '[', '=']) {
                mistakes.push((
                    "values",
                    format!("{key:?} is not the name of a kernel parameter"),
                ));
            }
            if value.0.trim().is_empty() || value.0.contains(['\n', '\0']) {
                mistakes.push(("values", format!("{key}: the value is one line of text")));
            }
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let mut wants: Vec<Want> = self
            .file()
            .iter()
            .map(|file| Kind::facts(file, known))
            .collect();
        if self.state == Presence::Present {
            let live = self
                .values
                .keys()
                .map(|name| Fact::Sysctl { name: name.clone() });
            wants.push(Want::all(known, live.chain([Fact::SysctlFiles, Fact::Os])));
        }
        whole::join(wants)
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let mut changes = Changes::default();
        if self.state == Presence::Present {
            let compared = self.compared(known)?;
            let refused = match self.missing(&compared, known.os()?) {
                Some(failure) => Some(failure),
                None => self.overridden(known)?,
            };
            if let Some(failure) = refused {
                return Ok(Decision::Refused(failure));
            }
            let (mut arguments, mut keys) = (Vec::new(), Vec::new());
            for value in &compared {
                let Some(live) = value.live.as_ref().filter(|live| **live != value.wanted) else {
                    continue;
                };
                changes
                    .diff
                    .push(DiffLine::old(format!("{} = {live}", value.key)));
                changes
                    .diff
                    .push(DiffLine::new(format!("{} = {}", value.key, value.wanted)));
                keys.push(value.key);
                arguments.extend(sysctl_path(value.key));
                arguments.push(value.wanted.clone());
            }
            if !arguments.is_empty() {
                // Before the file: a value that the kernel refuses is not kept for the next boot.
                let words = arguments.iter().map(String::as_str);
                let purpose = format!("set {}", keys.join(", "));
                changes
                    .actions
                    .push(script::run(Self::NAME, purpose, APPLY, words, &[]));
            }
        }
        if let Some(file) = self.file()
            && let Some(failure) = whole::compare(&mut changes, &file, known)?
        {
            return Ok(Decision::Refused(failure));
        }
        Ok(changes.decision())
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        Touches {
            paths: self.path().into_iter().collect(),
            trees: self.families(),
            kernel: self.values.keys().any(|key| key.contains("hostname")),
            ..Touches::default()
        }
    }
}

#[cfg(test)]
mod tests;
