//! K3s on one machine: binary, links, configuration, unit, and a start that is not over before K3s is up. Which role, and
//! what its configuration says, is the kinds' business.

use std::collections::BTreeMap;
use std::time::Duration;

use super::files::{self, BASE, BINARY, DROP_INS, LINKS, path, unit_name};
use super::ready::{How, Running, Until};
use super::{Setting, Settings, live, scripts};
use crate::facts::fact::{Fact, Unit};
use crate::facts::known::{FactRef, Known, Unreadable};
use crate::model::action::{Action, Ownership};
use crate::model::artifact::{ArtifactRef, Fetch};
use crate::model::event::DiffLine;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::{Mode, TimeSpan};
use crate::steps::artifact::Artifact;
use crate::steps::preflight::Role;
use crate::steps::shared::Presence;
use crate::steps::shared::list::OneOrMany;
use crate::steps::shared::whole::{Changes, compare};
use crate::steps::systemd_unit::{OnChange, SystemdUnit, Verb};
use crate::steps::{Decision, Kind, Touches, Want};

/// A stop in the first seconds of a start takes K3s until systemd kills it after 90 s, and a restart is a stop first.
const STOP: Duration = Duration::from_secs(120);

/// What both kinds wish for.
#[derive(Clone, Copy, Debug)]
pub struct Install<'w> {
    /// What it is to be.
    pub role: Role,
    /// The binary.
    pub artifact: &'w ArtifactRef,
    /// Who fetches it.
    pub fetch: Option<Fetch>,
    /// The cluster's token.
    pub token: &'w Text,
    /// Its configuration, as far as the user says it.
    pub config: &'w Settings,
    /// Variables of its unit.
    pub env: &'w BTreeMap<String, Text>,
    /// Further files that it reads.
    pub restart_on: &'w [AbsPath],
    /// How long a start may take.
    pub start_timeout: TimeSpan,
}

/// What is found to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Steps {
    /// In order.
    pub actions: Vec<Action>,
    /// A K3s that is up is restarted.
    pub restarts: bool,
}

/// What a kind found out before: what is written, and how it starts.
#[derive(Clone, Debug)]
pub struct Part {
    /// All of [`BASE`].
    pub settings: Settings,
    /// How it starts.
    pub how: How,
    /// It is a member of the cluster.
    pub has_data: bool,
    /// It has to be a voting member of etcd.
    pub etcd: bool,
}

impl Install<'_> {
    pub(super) fn binary(&self) -> Artifact {
        Artifact {
            name: self.artifact.clone(),
            path: path(BINARY),
            member: None,
            mode: Mode(0o755),
            owner: None,
            group: None,
            fetch: self.fetch,
            state: Presence::Present,
        }
    }

    /// The unit: restarted when anything that it reads is not what it was started with.
    fn unit(&self, foreign: &[AbsPath]) -> SystemdUnit {
        let own = [BINARY, BASE, files::TOKEN, files::REGISTRIES].map(path);
        let mut inputs: Vec<AbsPath> = own
            .into_iter()
            .chain([files::env_path(self.role)])
            .collect();
        inputs.extend(foreign.iter().chain(self.restart_on).cloned());
        inputs.sort();
        inputs.dedup();
        SystemdUnit {
            name: unit_name(self.role).to_owned(),
            content: Some(files::unit_text(self.role)),
            drop_in: BTreeMap::new(),
            enabled: Some(true),
            running: Some(true),
            masked: None,
            restart_on: OneOrMany(inputs),
            on_change: OnChange::Restart,
            // K3s may wait for other servers for ever; who waits is `wait.sh`, which knows when to stop.
            wait: false,
            start_timeout: TimeSpan(self.start_timeout.0.max(STOP)),
            settle: TimeSpan(Duration::ZERO),
            touches: None,
        }
    }

    /// The version that is wished, where the machine's architecture has one.
    pub(super) fn version(&self, known: &Known<'_>) -> Result<String, Unreadable> {
        let arch = known.os()?.map_or("", |os| os.arch.as_str());
        let pin = self
            .artifact
            .found()
            .and_then(|artifact| artifact.pin(arch));
        Ok(pin.map(|pin| pin.version.clone()).unwrap_or_default())
    }

    /// Its K3s as scripts are told of it.
    pub fn running(&self, etcd: bool, known: &Known<'_>) -> Result<Running, Unreadable> {
        Ok(Running {
            role: self.role,
            node: match self.config.get("node-name") {
                Some(Setting::Text(name)) => name.clone(),
                _ => String::new(),
            },
            etcd,
            version: self.version(known)?,
        })
    }

    /// Facts that it wants; those of the kind come beside. `part`: what the kind found out, once it can.
    pub fn facts(&self, part: Option<&Part>, known: &Known<'_>) -> Vec<FactRef> {
        let mut missing = Vec::new();
        let mut more = |want: Want| {
            if let Want::More(facts) = want {
                missing.extend(facts);
            }
        };
        let stats = LINKS
            .iter()
            .flat_map(|link| [format!("/usr/local/bin/{link}"), format!("/usr/bin/{link}")])
            .chain([DROP_INS, files::HOLD].map(str::to_owned));
        let stats = stats.map(|at| Fact::Stat { path: path(&at) });
        let other = Fact::Unit {
            name: files::other_unit(self.role).to_owned(),
        };
        let rest = [Fact::K3sInstall, Fact::K3sData, live::base(), other];
        more(Want::all(known, stats.chain(rest)));
        more(Kind::facts(&self.binary(), known));
        for file in scripts::files(self.role) {
            more(Kind::facts(&file, known));
        }
        more(Kind::facts(&files::token(self.token), known));
        more(Kind::facts(&files::env(self.role, self.env), known));
        // Where it will be is known before what is in it.
        let settings = part.map(|part| part.settings.clone()).unwrap_or_default();
        let base = files::base(&settings);
        match part {
            Some(_) => more(Kind::facts(&base, known)),
            None => more(Want::all(known, [stat(&base.path), digest(&base.path)])),
        }
        let foreign = live::foreign(known);
        more(Kind::facts(&self.unit(&foreign), known));
        more(Want::all(known, foreign.iter().map(live::content)));
        if let (Some(part), Ok(Some(unit))) = (part, known.unit(unit_name(self.role)))
            && unit.active == "active"
            && let Ok(running) = self.running(part.etcd, known)
        {
            more(Want::all(known, [running.fact()]));
        }
        missing
    }

    /// Compares. A refusal is given back as one.
    pub fn decide(&self, part: &Part, known: &Known<'_>) -> Result<Decision<Steps>, Unreadable> {
        if let Some(failure) = self.objection(part, known)? {
            return Ok(Decision::Refused(failure));
        }
        let mut changes = Changes::default();
        if known.stat(&path(DROP_INS))?.is_none() {
            changes.actions.push(Action::MakeDirectory {
                path: path(DROP_INS),
                mode: Mode(0o755),
                owner: Ownership::default(),
            });
        }
        // The token first: whatever starts K3s meanwhile must not find `server` without it.
        let inputs = [
            files::token(self.token),
            files::base(&part.settings),
            files::env(self.role, self.env),
        ];
        let before = changes.actions.len();
        for file in &inputs {
            if let Some(failure) = compare(&mut changes, file, known)? {
                return Ok(Decision::Refused(failure));
            }
        }
        let binary = Kind::decide(&self.binary(), known)?;
        if let Err(failure) = changes.take(format!("{BINARY}:"), binary) {
            return Ok(Decision::Refused(failure));
        }
        let pending = changes.actions.len() > before;
        // What follows is for people: K3s does not read it.
        links(&mut changes, known)?;
        if let Some(failure) = scripts::changes(self.role, &mut changes, known)? {
            return Ok(Decision::Refused(failure));
        }
        self.start(part, pending, changes, known)
    }

    /// What comes after the files: the unit, and a start that is waited for.
    fn start(
        &self,
        part: &Part,
        pending: bool,
        mut changes: Changes,
        known: &Known<'_>,
    ) -> Result<Decision<Steps>, Unreadable> {
        let wish = self.unit(&live::foreign(known));
        let mut found = match Kind::decide(&wish, known)? {
            Decision::Unchanged => crate::steps::systemd_unit::Changes::default(),
            Decision::Refused(failure) => return Ok(Decision::Refused(failure)),
            Decision::Unknown(failure) => return Ok(Decision::Unknown(failure)),
            Decision::Drift { diff, drift } => {
                changes.diff.extend(diff);
                drift
            }
        };
        if release(&mut changes, known)? && !found.verbs.contains(&Verb::DaemonReload) {
            found.verbs.insert(0, Verb::DaemonReload);
        }
        let nothing = Unit::default();
        let unit = known.unit(unit_name(self.role))?.unwrap_or(&nothing);
        let alive = super::cluster::is_alive(unit);
        let starts = |verb: &Verb| matches!(verb, Verb::Start | Verb::Restart);
        if pending && alive && !found.verbs.iter().any(starts) {
            changes
                .diff
                .push(DiffLine::new("restart: what it reads changes"));
            found.verbs.push(Verb::Restart);
        }
        // What it waits for in vain it may have read when it started, as the host's name. Nothing is lost by another start: it
        // is no member of the cluster yet, or an agent.
        let hangs = unit.active == "activating" && (self.role == Role::Agent || !part.has_data);
        if hangs && !found.verbs.iter().any(starts) {
            let line = format!("restart: it has not come up so far ({})", unit.sub);
            changes.diff.push(DiffLine::new(line));
            found.verbs.push(Verb::Restart);
        }
        let begins = found.verbs.iter().any(starts);
        let running = self.running(part.etcd, known)?;
        if begins {
            changes
                .actions
                .push(running.before(&part.how, part.has_data));
        }
        let enables = |verb: &Verb| matches!(verb, Verb::Enable | Verb::Reenable);
        let (enable, verbs): (Vec<Verb>, Vec<Verb>) = found.verbs.into_iter().partition(enables);
        changes.actions.extend(wish.actions(&found.files, &verbs));
        let enable = wish.actions(&[], &enable);
        let waits = begins || self.is_late(&running, unit, alive, &mut changes, known)?;
        changes.actions.extend(match waits {
            true => self.up(&running, enable),
            false => enable,
        });
        if changes.actions.is_empty() {
            return Ok(Decision::Unchanged);
        }
        Ok(Decision::Drift {
            diff: changes.diff,
            drift: Steps {
                actions: changes.actions,
                restarts: verbs.contains(&Verb::Restart) && unit.active == "active",
            },
        })
    }

    /// Waits until it is up, and enables it on the way, where that is to be done: when it is a member and not before, because a
    /// first start that was cut off must not go on by itself at the next boot, when the cluster may have been made elsewhere. A
    /// member has to, or its vote is missing after a power cut.
    fn up(&self, running: &Running, enable: Vec<Action>) -> Vec<Action> {
        let wait = |until| running.wait(until, self.start_timeout);
        if enable.is_empty() {
            return vec![wait(Until::Up)];
        }
        let mut actions = vec![wait(Until::Member)];
        actions.extend(enable);
        actions.push(wait(Until::Rest));
        actions
    }

    /// Whether it runs with all that it should, and is not up yet. Says what is missing.
    fn is_late(
        &self,
        running: &Running,
        unit: &Unit,
        alive: bool,
        changes: &mut Changes,
        known: &Known<'_>,
    ) -> Result<bool, Unreadable> {
        let missing = match (alive, unit.active.as_str()) {
            (false, _) => Vec::new(),
            (true, "active") => match known.exec(&running.fact())? {
                Some(answer) => running.missing(answer),
                None => Vec::new(),
            },
            (true, _) => vec![format!(
                "{} is {} ({})",
                unit_name(self.role),
                unit.active,
                unit.sub
            )],
        };
        let late = !missing.is_empty();
        for line in missing {
            changes.diff.push(DiffLine::new(format!("wait: {line}")));
        }
        Ok(late)
    }

    /// What an apply may change.
    pub fn touches(&self) -> Touches {
        let paths = [
            DROP_INS,
            BASE,
            files::TOKEN,
            files::HOLD,
            BINARY,
            "/usr/local/bin/kubectl",
            "/usr/local/bin/crictl",
            "/usr/local/bin/ctr",
        ];
        let unit = unit_name(self.role);
        let unit_file = files::unit_path(self.role);
        Touches {
            paths: paths
                .map(path)
                .into_iter()
                .chain([files::env_path(self.role), unit_file])
                .chain(scripts::files(self.role).map(|file| file.path))
                .collect(),
            trees: [files::CONFIG, "/var/lib/rancher/k3s", "/etc/rancher/node"]
                .map(path)
                .to_vec(),
            units: vec![unit.to_owned()],
            k3s: true,
            ..Touches::default()
        }
    }
}

fn stat(at: &AbsPath) -> Fact {
    Fact::Stat { path: at.clone() }
}

fn digest(at: &AbsPath) -> Fact {
    Fact::Digest {
        path: at.clone(),
        uncached: false,
    }
}

/// Of a server that was to leave, which was given up. Whether it was.
fn release(changes: &mut Changes, known: &Known<'_>) -> Result<bool, Unreadable> {
    if known.stat(&path(files::HOLD))?.is_none() {
        return Ok(false);
    }
    changes.diff.push(DiffLine::old(format!(
        "{}: systemd would not start it again",
        files::HOLD
    )));
    changes.actions.push(Action::Remove {
        path: path(files::HOLD),
        recursive: false,
    });
    Ok(true)
}

/// `kubectl`, `crictl`, `ctr`, each where nothing of that name is there: somebody's own stays.
fn links(changes: &mut Changes, known: &Known<'_>) -> Result<(), Unreadable> {
    for name in LINKS {
        let at = path(&format!("/usr/local/bin/{name}"));
        let elsewhere = known.stat(&path(&format!("/usr/bin/{name}")))?;
        if elsewhere.is_some() || known.stat(&at)?.is_some() {
            continue;
        }
        changes
            .diff
            .push(DiffLine::new(format!("{at}: link to k3s")));
        changes.actions.push(Action::Symlink {
            path: at,
            to: "k3s".to_owned(),
        });
    }
    Ok(())
}
