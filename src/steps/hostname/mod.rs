//! `hostname`: the name of a machine, everywhere it is kept.

mod hosts;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::whole::{self, Changes};
use super::shared::{diff, replaces, script, yes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FactError, FactValue, K3sData};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Ownership};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

const APPLY: &str = include_str!("apply.sh");
const HOSTNAME: &str = "/etc/hostname";
const HOSTS: &str = "/etc/hosts";
const CLOUD: &str = "/etc/cloud/cloud.cfg";
const CLOUD_OWN: &str = "/etc/cloud/cloud.cfg.d/99-hmco-boot-hostname.cfg";
const CLOUD_TEXT: &str = "# Written by hmco-boot: cloud-init would set the name of the image or of the hypervisor again.\n\
preserve_hostname: true\n";
/// What cloud-init writes into the `/etc/hosts` that it makes anew at every boot.
const CLOUD_HOSTS: &str = "manage_etc_hosts";
const CAP: u64 = 1 << 20;

/// The host name: of the running kernel, in `/etc/hostname`, and in the line of `127.0.1.1` in `/etc/hosts`. Where
/// cloud-init is installed it is told to leave the name alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hostname {
    /// The name without a domain: lowercase letters, digits and `-`, at most 63. K3s names its node so.
    pub name: String,
    /// With it, the line in `/etc/hosts` gets the full name `NAME.DOMAIN` too.
    #[serde(default)]
    pub domain: Option<String>,
    /// `false` leaves `/etc/hosts` alone.
    #[serde(default = "yes")]
    pub hosts: bool,
}

fn path(text: &str) -> Option<AbsPath> {
    AbsPath::new(text).ok()
}

fn content_fact(text: &str) -> Option<Fact> {
    Some(Fact::Content {
        path: path(text)?,
        unless_sha256: None,
        cap: CAP,
        sensitive: false,
    })
}

fn text_of<'a>(known: &Known<'a>, file: &str) -> Result<Option<&'a [u8]>, Unreadable> {
    let Some(fact) = content_fact(file) else {
        return Ok(None);
    };
    let Some(content) = known.content(&fact)? else {
        return Ok(None);
    };
    match content.bytes.as_deref() {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(Unreadable {
            target: known.target().clone(),
            fact,
            source: Some(FactError::Failed(
                "no bytes came with the answer".to_owned(),
            )),
        }),
    }
}

impl Hostname {
    fn full_name(&self) -> Option<String> {
        self.domain
            .as_ref()
            .map(|domain| format!("{}.{domain}", self.name))
    }

    /// A name for a machine whose K3s knows it by another one would make a second node of it.
    fn refusal(&self, live: &str, known: &Known<'_>) -> Result<Option<Failure>, Unreadable> {
        let data = match known.value(&Fact::K3sData)? {
            Some(FactValue::K3sData(data)) => data.clone(),
            _ => K3sData::default(),
        };
        if live == self.name || !(data.etcd || data.sqlite || data.agent) {
            return Ok(None);
        }
        Ok(Some(
            Failure::new(format!(
                "K3s runs on this machine as node {live:?}; under another name it would join as a second node"
            ))
            .evidence(format!("host name now: {live}, wanted: {}", self.name))
            .hint(format!(
                "name the node {live} in the inventory, or take it out of the cluster and uninstall K3s there first"
            )),
        ))
    }

    fn kernel(&self, live: &str, changes: &mut Changes) {
        if live == self.name {
            return;
        }
        changes
            .diff
            .push(DiffLine::old(format!("host name {}", diff::shown(live))));
        changes
            .diff
            .push(DiffLine::new(format!("host name {}", self.name)));
        changes.actions.push(script::run(
            Self::NAME,
            format!("give the machine the name {}", self.name),
            APPLY,
            [self.name.as_str()],
            &[],
        ));
    }

    fn hosts(
        &self,
        live: &str,
        known: &Known<'_>,
        changes: &mut Changes,
    ) -> Result<Option<Failure>, Unreadable> {
        let Some(hosts) = path(HOSTS).filter(|_| self.hosts) else {
            return Ok(None);
        };
        let bytes = text_of(known, HOSTS)?.unwrap_or_default();
        let Ok(old) = std::str::from_utf8(bytes) else {
            return Ok(Some(
                Failure::new("/etc/hosts is no UTF-8 text")
                    .hint("repair it by hand, or set `hosts = false`"),
            ));
        };
        let Some(new) = hosts::edit(old, &self.name, self.full_name().as_deref(), live) else {
            return Ok(None);
        };
        let stat = known.stat(&hosts)?;
        let content = content_fact(HOSTS).map_or(Ok(None), |fact| known.content(&fact))?;
        changes.diff.push(DiffLine::both(HOSTS));
        changes.diff.extend(diff::text(old, &new));
        if old.contains(CLOUD_HOSTS) {
            changes.diff.push(DiffLine::both(
                "cloud-init writes this file anew at every boot (manage_etc_hosts): set the same name where it gets it from \
                 (on Proxmox: the guest's name)",
            ));
        }
        changes.actions.push(Action::WriteFile {
            path: hosts,
            content: Text::plain(new),
            mode: Mode(stat.map_or(0o644, |stat| stat.mode)),
            owner: Ownership {
                user: stat.map(|stat| stat.uid.to_string()),
                group: stat.map(|stat| stat.gid.to_string()),
            },
            backup: false,
            replaces: replaces(stat, content),
        });
        Ok(None)
    }
}

impl Kind for Hostname {
    type Drift = Vec<Action>;
    const NAME: &'static str = "hostname";
    const SUMMARY: &'static str =
        "The host name: of the kernel, in /etc/hostname and in /etc/hosts.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if !is_label(&self.name) {
            let hint = if self.name.contains('.') {
                ": the domain goes into `domain`"
            } else {
                ""
            };
            mistakes.push((
                "name",
                format!(
                    "{:?} is not a host name (lowercase letters, digits and `-`, not at the ends, at most 63){hint}",
                    self.name
                ),
            ));
        }
        if let Some(domain) = &self.domain
            && (domain.len() > 253 || !domain.split('.').all(is_label))
        {
            mistakes.push(("domain", format!("{domain:?} is not a domain")));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let stats = [HOSTS, CLOUD]
            .into_iter()
            .filter_map(path)
            .map(|path| Fact::Stat { path });
        let contents = [HOSTS].into_iter().filter_map(content_fact);
        let own = Want::all(
            known,
            stats.chain(contents).chain([Fact::Os, Fact::K3sData]),
        );
        let files = [HOSTNAME, CLOUD_OWN]
            .into_iter()
            .filter_map(path)
            .map(|path| Kind::facts(&whole::file(&path, self.text_for(path.as_str())), known))
            .collect::<Vec<_>>();
        whole::join(files.into_iter().chain([own]))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let os = known.os()?;
        let live = os.map_or("", |os| os.hostname.as_str());
        if let Some(failure) = self.refusal(live, known)? {
            return Ok(Decision::Refused(failure));
        }
        let mut changes = Changes::default();
        // The files first: a crash in between leaves a name that the next boot takes, never one that it forgets.
        let cloud = path(CLOUD)
            .map_or(Ok(None), |path| known.stat(&path))?
            .is_some();
        let files = [Some(HOSTNAME), cloud.then_some(CLOUD_OWN)];
        for file in files.into_iter().flatten().filter_map(path) {
            let wanted = whole::file(&file, self.text_for(file.as_str()));
            if let Some(failure) = whole::compare(&mut changes, &wanted, known)? {
                return Ok(Decision::Refused(failure));
            }
        }
        if let Some(failure) = self.hosts(live, known, &mut changes)? {
            return Ok(Decision::Refused(failure));
        }
        self.kernel(live, &mut changes);
        if !changes.actions.is_empty() && os.is_some_and(|os| os.container == "lxc") {
            changes.diff.push(DiffLine::both(
                "an LXC guest gets its name from the host at every start: set it there too",
            ));
        }
        Ok(changes.decision())
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        Touches::paths([HOSTNAME, HOSTS, CLOUD_OWN].into_iter().filter_map(path))
    }
}

impl Hostname {
    fn text_for(&self, file: &str) -> String {
        match file {
            CLOUD_OWN => CLOUD_TEXT.to_owned(),
            _ => format!("{}\n", self.name),
        }
    }
}

/// One part of a host name, in lowercase: what Kubernetes takes for a node's name, too (RFC 1123).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests;
