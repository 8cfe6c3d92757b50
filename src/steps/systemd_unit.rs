//! `systemd_unit`: a unit with its file, whether it starts at boot, whether it runs, and with which inputs.
//!
//! **No lost handlers.** "Restart when its configuration changed" is decided from facts, never from what an earlier step
//! of the same run did: every (re)start by this kind leaves a record of what the inputs held ([`stamp`]), and what
//! cannot be proven to be in use is taken into use, with the reason in the difference.

mod decide;
mod stamp;
mod validate;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::CommandTouches;
use super::file::File;
use super::shared::list::OneOrMany;
use super::shared::place::guarded;
use super::shared::{Presence, yes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Program};
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::shell::quote;
use crate::model::units::{Mode, TimeSpan};

/// Where an administrator's unit files are.
const FOLDER: &str = "/etc/systemd/system";

/// A systemd unit: its file and drop-ins, whether it starts at boot, whether it runs, and that it runs with what its
/// files hold now. What is not named stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemdUnit {
    /// Full name: `app.service`, `backup.timer`, `wg-quick@wg0.service`. For a template (`app@.service`) only `content`
    /// and `drop_in` make sense.
    pub name: String,
    /// The unit file, `/etc/systemd/system/NAME`. Anybody on the machine may read it: nothing secret. One that systemd would
    /// not load is not put in place.
    #[serde(default)]
    pub content: Option<String>,
    /// Drop-ins by name: `drop_in = { limits = "[Service]\nMemoryMax=1G\n" }` is
    /// `/etc/systemd/system/NAME.d/limits.conf`. Others that are there stay.
    #[serde(default)]
    pub drop_in: BTreeMap<String, String>,
    /// Whether it starts at boot, by the unit's `[Install]` section.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Whether it runs. For a `Type=oneshot` without `RemainAfterExit`: whether it has run with success in this boot.
    #[serde(default)]
    pub running: Option<bool>,
    /// Whether it can be started at all, by anybody. Masking does not stop what runs.
    #[serde(default)]
    pub masked: Option<bool>,
    /// Files that it reads: where one of them (or `content`, or a drop-in) is not what it was started with, it is
    /// restarted; also where nobody knows what it was started with. Without `running = true` only if it runs.
    #[serde(default)]
    pub restart_on: OneOrMany<AbsPath>,
    /// What a change of `restart_on` asks for: `"reload"` where the unit can do that (a changed unit file always asks
    /// for a restart).
    #[serde(default)]
    pub on_change: OnChange,
    /// `false`: it counts as running while it is still starting, which may take long or depend on other nodes.
    #[serde(default = "yes")]
    pub wait: bool,
    /// How long a start, restart or reload may take. The step's own `timeout` must be longer.
    #[serde(default = "default_start_timeout")]
    pub start_timeout: TimeSpan,
    /// How long a service must stay up after a start before the start counts: what crashes at once is not running.
    #[serde(default = "default_settle")]
    pub settle: TimeSpan,
    /// What else its start or stop changes: later steps look at that again.
    #[serde(default)]
    pub touches: Option<CommandTouches>,
}

/// What changed inputs ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnChange {
    /// Stop and start.
    #[default]
    Restart,
    /// Its own reload.
    Reload,
}

fn default_start_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(120))
}

fn default_settle() -> TimeSpan {
    TimeSpan(Duration::from_secs(3))
}

/// What is done to a unit, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// systemd reads unit files again.
    DaemonReload,
    /// Takes a mask back.
    Unmask {
        /// One that ends with this boot.
        runtime: bool,
    },
    /// Links it to what starts it at boot.
    Enable,
    /// The same, after taking away what an earlier `[Install]` section linked.
    Reenable,
    /// Takes those links away.
    Disable {
        /// Those that end with this boot.
        runtime: bool,
    },
    /// Forbids every start.
    Mask,
    /// Stops it.
    Stop,
    /// Starts it.
    Start,
    /// Stops and starts it.
    Restart,
    /// Lets it read its inputs again.
    Reload,
}

/// Files to write, then things to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Changes {
    /// Actions that write the unit's files.
    pub files: Vec<Action>,
    /// In this order.
    pub verbs: Vec<Verb>,
}

impl SystemdUnit {
    fn is_template(&self) -> bool {
        self.name
            .rsplit_once('.')
            .is_some_and(|(stem, _)| stem.ends_with('@'))
    }

    fn is_service(&self) -> bool {
        self.name.ends_with(".service")
    }

    /// The files that are written, as wishes of their own: the unit's first.
    fn files(&self) -> Vec<File> {
        let unit = self
            .content
            .iter()
            .filter_map(|content| Some((self.unit_path()?, content)));
        let drop_ins = self.drop_in.iter().filter_map(|(name, content)| {
            let name = name.strip_suffix(".conf").unwrap_or(name);
            let path = format!("{FOLDER}/{}.d/{name}.conf", self.name);
            Some((AbsPath::new(&path).ok()?, content))
        });
        unit.chain(drop_ins)
            .map(|(path, content)| File {
                path,
                content: Some(Text::plain(content)),
                mode: Some(Mode(0o644)),
                owner: None,
                group: None,
                state: Presence::Present,
                replace: true,
                backup: false,
            })
            .collect()
    }

    /// What writes these files and does these things; for kinds that have a unit among other things, too.
    pub(in crate::steps) fn actions(&self, files: &[Action], verbs: &[Verb]) -> Vec<Action> {
        let mut actions = Vec::new();
        if !files.is_empty() {
            actions.push(Action::Run(self.verification()));
        }
        actions.extend(files.iter().cloned());
        let programs = verbs.iter().map(|verb| self.program(*verb));
        actions.extend(programs.map(Action::Run));
        actions
    }

    fn unit_path(&self) -> Option<AbsPath> {
        AbsPath::new(&format!("{FOLDER}/{}", self.name)).ok()
    }

    /// What it is started with: the files written here, and those it reads.
    fn inputs(&self) -> Vec<AbsPath> {
        let mut paths: Vec<AbsPath> = self.files().into_iter().map(|file| file.path).collect();
        paths.extend(self.restart_on.0.iter().cloned());
        paths.sort();
        paths.dedup();
        paths
    }

    fn input_facts(path: &AbsPath) -> [Fact; 2] {
        let digest = Fact::Digest {
            path: path.clone(),
            uncached: false,
        };
        [Fact::Stat { path: path.clone() }, guarded(&digest)]
    }

    fn program(&self, verb: Verb) -> Program {
        let name = self.name.as_str();
        let words: Vec<&str> = match verb {
            Verb::DaemonReload => vec!["systemctl", "daemon-reload"],
            Verb::Unmask { runtime: false } => vec!["systemctl", "unmask", "--", name],
            Verb::Unmask { runtime: true } => vec!["systemctl", "unmask", "--runtime", "--", name],
            Verb::Enable => vec!["systemctl", "enable", "--", name],
            Verb::Reenable => vec!["systemctl", "reenable", "--", name],
            Verb::Disable { runtime: false } => vec!["systemctl", "disable", "--", name],
            Verb::Disable { runtime: true } => {
                vec!["systemctl", "disable", "--runtime", "--", name]
            }
            Verb::Mask => vec!["systemctl", "mask", "--", name],
            Verb::Stop => vec!["systemctl", "stop", "--", name],
            Verb::Start => return self.begin("start", verb),
            Verb::Restart => return self.begin("restart", verb),
            Verb::Reload => return self.begin("reload", verb),
        };
        program(
            words.into_iter().map(str::to_owned).collect(),
            None,
            self.purpose(verb),
        )
    }

    /// What a verb is for, as it goes on after "could not".
    fn purpose(&self, verb: Verb) -> String {
        let word = match verb {
            Verb::DaemonReload => return "let systemd read its unit files again".to_owned(),
            Verb::Unmask { .. } => "unmask",
            Verb::Enable | Verb::Reenable => "enable",
            Verb::Disable { .. } => "disable",
            Verb::Mask => "mask",
            Verb::Stop => "stop",
            Verb::Start => "start",
            Verb::Restart => "restart",
            Verb::Reload => "reload",
        };
        format!("{word} {}", self.name)
    }

    /// The script that asks systemd whether it would load the unit with these files.
    fn verification(&self) -> Program {
        let folder = format!("{FOLDER}/");
        let puts: String = self
            .files()
            .iter()
            .filter_map(|file| {
                let name = file.path.as_str().strip_prefix(&folder)?;
                let content = file.content.as_ref()?.expose();
                Some(format!("put {} {}\n", quote(name), quote(content)))
            })
            .collect();
        let argv = ["sh", "-s", "--", "verify", &self.name].map(str::to_owned);
        let script = include_str!("systemd_unit/verify.sh");
        let stdin = format!("{{ :; files() {{ :\n{puts}}}\n{script}\n}} </dev/null\n");
        let purpose = format!("put the files of {} in place", self.name);
        program(argv.to_vec(), Some(stdin), purpose)
    }

    /// The script that starts it and records what it was started with.
    fn begin(&self, word: &str, verb: Verb) -> Program {
        let hundredths = |span: TimeSpan| span.0.as_millis().div_ceil(10).to_string();
        let settle = match self.is_service() {
            true => hundredths(self.settle),
            false => "0".to_owned(),
        };
        let mut argv: Vec<String> = ["sh", "-s", "--", word, &self.name]
            .map(str::to_owned)
            .to_vec();
        argv.push(hundredths(self.start_timeout));
        argv.push(settle);
        argv.push(if self.wait { "1" } else { "0" }.to_owned());
        argv.extend(self.inputs().iter().map(|path| path.as_str().to_owned()));
        // The shell has read all of it before it runs the first line.
        let script = include_str!("systemd_unit/start.sh");
        let stdin = format!("{{ :; {script}\n}} </dev/null\n");
        program(argv, Some(stdin), self.purpose(verb))
    }
}

fn program(argv: Vec<String>, stdin: Option<String>, purpose: String) -> Program {
    Program {
        argv,
        cwd: None,
        env: Vec::new(),
        stdin: stdin.map(Text::plain),
        ok_exit: vec![0],
        retry_exit: Vec::new(),
        purpose: Some(purpose),
    }
}

impl Kind for SystemdUnit {
    type Drift = Changes;
    const NAME: &'static str = "systemd_unit";
    const SUMMARY: &'static str =
        "A systemd unit: its file, enabled or not, running or not, with which inputs.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        validate::mistakes(self)
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let mut missing = Vec::new();
        for file in self.files() {
            if let Want::More(facts) = Kind::facts(&file, known) {
                missing.extend(facts);
            }
        }
        let unit = (!self.is_template()).then(|| Fact::Unit {
            name: self.name.clone(),
        });
        let inputs = self.inputs();
        let inputs = inputs.iter().flat_map(Self::input_facts);
        if let Want::More(facts) = Want::all(known, unit.into_iter().chain(inputs)) {
            missing.extend(facts);
        }
        missing.sort();
        missing.dedup();
        match missing.is_empty() {
            true => Want::Done,
            false => Want::More(missing),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        decide::decide(self, known)
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        self.actions(&drift.files, &drift.verbs)
    }

    fn touches(&self) -> Touches {
        let own = self.unit_path().into_iter();
        let files = self.files().into_iter().map(|file| file.path);
        let mut units = vec![self.name.clone()];
        let more = self.touches.clone().unwrap_or_default();
        units.extend(more.units);
        Touches {
            paths: own.chain(files).collect(),
            trees: more.paths,
            units,
            packages: more.packages,
            kernel: more.kernel,
            k3s: false,
            cluster: false,
            objects: Vec::new(),
            everything: more.everything,
        }
    }
}

#[cfg(test)]
mod tests;
