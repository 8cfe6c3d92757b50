//! `command`: a program to run while something says that it is needed.

mod validate;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::diff;
use super::shared::list::OneOrMany;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Program};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::shell::quote_all;
use crate::model::units::TimeSpan;

/// Runs a program, and states what makes it unnecessary. It runs while anything named by `creates` is missing, anything
/// named by `removes` is there, or `unless` does not succeed; and only if `only_if` succeeds. After it ran, the same
/// conditions must say that it is no longer needed: else the step failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments, run without a shell. Visible in the target's process list: nothing secret.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Instead of `argv`: text for `sh -eu`, sent by standard input (so it may hold a secret); programs in it read from
    /// /dev/null.
    #[serde(default)]
    pub script: Option<Text>,
    /// Paths that are there afterwards: needed while one of them is missing.
    #[serde(default)]
    pub creates: OneOrMany<AbsPath>,
    /// Paths that are gone afterwards: needed while one of them is there.
    #[serde(default)]
    pub removes: OneOrMany<AbsPath>,
    /// A program that only reads (argv): needed while it does not exit with 0. It runs in plans too, by this promise.
    #[serde(default)]
    pub unless: Vec<String>,
    /// A program that only reads (argv): not needed unless it exits with 0. It runs in plans too, by this promise.
    #[serde(default)]
    pub only_if: Vec<String>,
    /// Time limit of `unless` and `only_if`, each.
    #[serde(default = "default_condition_timeout")]
    pub condition_timeout: TimeSpan,
    /// Run it in every run. Nothing then proves what it did: it counts as changed when it succeeded. Goes with
    /// `only_if`, not with the other conditions.
    #[serde(default)]
    pub always: bool,
    /// Working folder; `/` by default.
    #[serde(default)]
    pub cwd: Option<AbsPath>,
    /// Added to the environment. Values may be secret.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Standard input of `argv`; may be secret. Empty by default.
    #[serde(default)]
    pub stdin: Option<Text>,
    /// Exit statuses that mean success.
    #[serde(default = "default_ok_exit")]
    pub ok_exit: Vec<u8>,
    /// Exit statuses that mean "try again later" to the step's `retry`.
    #[serde(default)]
    pub retry_exit: Vec<u8>,
    /// What it may change; everything by default. Naming it spares reading all other facts of the node again.
    #[serde(default)]
    pub touches: Option<CommandTouches>,
}

/// What a command may change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandTouches {
    /// These paths and all below them. `creates` and `removes` need not be named again.
    #[serde(default)]
    pub paths: Vec<AbsPath>,
    /// These systemd units, by full name.
    #[serde(default)]
    pub units: Vec<String>,
    /// Packages of the distribution.
    #[serde(default)]
    pub packages: bool,
    /// Sysctls, modules, boot settings.
    #[serde(default)]
    pub kernel: bool,
    /// Anything.
    #[serde(default)]
    pub everything: bool,
}

fn default_condition_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(10))
}

fn default_ok_exit() -> Vec<u8> {
    vec![0]
}

/// What a condition's program said.
enum Said {
    Yes,
    No(i32),
    /// It is not there, could not be started, or was killed: no answer to the question.
    Nothing(String),
}

impl Command {
    /// One that runs whenever it is asked for, as `always` does.
    pub fn at_once(argv: Vec<String>, stdin: Option<Text>) -> Self {
        Self {
            argv,
            script: None,
            creates: OneOrMany::default(),
            removes: OneOrMany::default(),
            unless: Vec::new(),
            only_if: Vec::new(),
            condition_timeout: default_condition_timeout(),
            always: true,
            cwd: None,
            env: BTreeMap::new(),
            stdin,
            ok_exit: default_ok_exit(),
            retry_exit: Vec::new(),
            touches: None,
        }
    }

    fn condition_fact(&self, argv: &[String]) -> Fact {
        Fact::Exec {
            argv: argv.to_vec(),
            timeout: self.condition_timeout,
            sensitive: false,
        }
    }

    fn ask(&self, argv: &[String], known: &Known<'_>) -> Result<Said, Unreadable> {
        Ok(match known.exec(&self.condition_fact(argv))? {
            None => Said::Nothing("there is no such program".to_owned()),
            Some(result) => match result.exit {
                0 => Said::Yes,
                126 => Said::Nothing("it could not be started (exit status 126)".to_owned()),
                127 => Said::Nothing("a program was not found (exit status 127)".to_owned()),
                exit if exit > 128 => {
                    Said::Nothing(format!("it was ended by signal {}", exit - 128))
                }
                exit => Said::No(exit),
            },
        })
    }

    /// Why it is needed, one sentence for each reason; empty where it is not.
    fn reasons(&self, known: &Known<'_>) -> Result<Vec<String>, Unreadable> {
        let mut reasons = Vec::new();
        for path in &self.creates.0 {
            if known.stat(path)?.is_none() {
                reasons.push(format!("{path} is not there"));
            }
        }
        for path in &self.removes.0 {
            if known.stat(path)?.is_some() {
                reasons.push(format!("{path} is there"));
            }
        }
        if !self.unless.is_empty() {
            let shown = words(&self.unless);
            match self.ask(&self.unless, known)? {
                Said::Yes => {}
                Said::No(exit) => reasons.push(format!("`{shown}` exits with {exit}")),
                // It is run rather than left out: after it, the same question must have an answer.
                Said::Nothing(why) => reasons.push(format!("`{shown}` does not succeed: {why}")),
            }
        }
        if self.always {
            reasons.push("it is run always".to_owned());
        }
        if !self.has_results() && !self.only_if.is_empty() && !self.always {
            reasons.push(format!("`{}` succeeds", words(&self.only_if)));
        }
        Ok(reasons)
    }

    /// Whether it says what is so after it.
    fn has_results(&self) -> bool {
        !self.creates.0.is_empty() || !self.removes.0.is_empty() || !self.unless.is_empty()
    }

    fn diff(&self, reasons: Vec<String>) -> Vec<DiffLine> {
        let mut lines = Vec::new();
        match &self.script {
            None => lines.push(DiffLine::new(format!("run {}", words(&self.argv)))),
            Some(script) if script.is_tainted() => {
                lines.push(DiffLine::new("run a script (not shown: it holds a secret)"));
            }
            Some(script) => {
                lines.push(DiffLine::new("run a script:"));
                lines.extend(diff::added(script.expose()));
            }
        }
        if let Some(cwd) = &self.cwd {
            lines.push(DiffLine::both(format!("in {cwd}")));
        }
        for (name, value) in &self.env {
            let value = if value.is_tainted() {
                "<secret>"
            } else {
                value.expose()
            };
            lines.push(DiffLine::both(format!(
                "with {name}={}",
                diff::shown(value)
            )));
        }
        lines.extend(
            reasons
                .into_iter()
                .map(|reason| DiffLine::both(format!("because {reason}"))),
        );
        lines
    }

    fn program(&self) -> Program {
        let (argv, stdin) = match &self.script {
            None => (self.argv.clone(), self.stdin.clone()),
            Some(script) => {
                // The shell reads the whole group before it runs the first line of it: a program inside cannot swallow
                // the rest of the script from standard input, and a payload that is cut off runs nothing. All on the
                // first line, so that line numbers in the shell's messages are those of the script.
                let text = format!("{{ :; {}\n}} </dev/null\n", script.expose());
                let stdin = if script.is_tainted() {
                    Text::tainted(text)
                } else {
                    Text::plain(text)
                };
                (["sh", "-eu", "-s"].map(str::to_owned).to_vec(), Some(stdin))
            }
        };
        Program {
            argv,
            cwd: self.cwd.clone(),
            env: self
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            stdin,
            ok_exit: self.ok_exit.iter().copied().map(i32::from).collect(),
            retry_exit: self.retry_exit.iter().copied().map(i32::from).collect(),
            purpose: None,
        }
    }
}

/// Words for people: as one would type them.
fn words(argv: &[String]) -> String {
    diff::shown(&quote_all(argv.iter().map(String::as_str)))
}

impl Kind for Command {
    type Drift = ();
    const NAME: &'static str = "command";
    const SUMMARY: &'static str = "A program to run, and what makes it unnecessary.";
    const CLASS: Class = Class::Action;

    fn validate(&self) -> Vec<(&'static str, String)> {
        validate::mistakes(self)
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let paths = self.creates.0.iter().chain(&self.removes.0);
        let stats = paths.map(|path| Fact::Stat { path: path.clone() });
        let programs = [&self.unless, &self.only_if];
        let asked = programs
            .into_iter()
            .filter(|argv| !argv.is_empty())
            .map(|argv| self.condition_fact(argv));
        Want::all(known, stats.chain(asked))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        if !self.only_if.is_empty() {
            match self.ask(&self.only_if, known)? {
                Said::Yes => {}
                Said::No(_) => return Ok(Decision::Unchanged),
                // Taken for "no", a slip of the pen would leave the step out for ever and call that fine.
                Said::Nothing(why) => {
                    return Ok(Decision::Refused(
                        Failure::new(format!("`only_if` gave no answer: {why}"))
                            .evidence(format!("only_if: {}", words(&self.only_if)))
                            .hint("correct `only_if`; to ask whether a program is there: [\"sh\", \"-c\", \"command -v NAME\"]"),
                    ));
                }
            }
        }
        let reasons = self.reasons(known)?;
        Ok(if reasons.is_empty() {
            Decision::Unchanged
        } else {
            Decision::Drift {
                diff: self.diff(reasons),
                drift: (),
            }
        })
    }

    fn apply(&self, _drift: &Self::Drift) -> Vec<Action> {
        vec![Action::Run(self.program())]
    }

    fn touches(&self) -> Touches {
        let Some(touches) = &self.touches else {
            return Touches::everything();
        };
        let paths = touches
            .paths
            .iter()
            .chain(&self.creates.0)
            .chain(&self.removes.0);
        Touches {
            paths: Vec::new(),
            trees: paths.cloned().collect(),
            units: touches.units.clone(),
            packages: touches.packages,
            kernel: touches.kernel,
            k3s: false,
            cluster: false,
            objects: Vec::new(),
            everything: touches.everything,
        }
    }

    fn verifiable(&self) -> bool {
        !self.always
    }
}

#[cfg(test)]
mod tests;
