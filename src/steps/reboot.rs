//! `reboot`: restarts a machine that needs it, and proves afterwards that it no longer does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::diff::shown;
use super::shared::list::OneOrMany;
use super::shared::{CMDLINE_MARK, yes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Boot, Fact, FactValue};
use crate::facts::known::{Known, Unreadable};
use crate::facts::questions::CMDLINE_FILES;
use crate::model::action::{Action, Program};
use crate::model::event::DiffLine;
use crate::model::path::AbsPath;

/// A command line is one line.
const CMDLINE_BYTES: u64 = 64 * 1024;

/// Restarts the machine if there is a reason, and awaits its new boot. Every reason named here must be gone afterwards,
/// or the step has failed. There is no "always": it would restart the machine in every run, and nothing could prove
/// what that was good for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reboot {
    /// The distribution asks for it: `/run/reboot-required`, or on a Raspberry Pi a kernel newer than the running one.
    #[serde(default = "yes")]
    pub required: bool,
    /// A word of `cmdline.txt` is not on the kernel's command line, or a `boot_cmdline` step has removed or replaced one
    /// that still is.
    #[serde(default = "yes")]
    pub cmdline: bool,
    /// Something is at one of these paths. A restart must take it away, so they are below `/run` (or `/tmp`).
    #[serde(default)]
    pub files: OneOrMany<AbsPath>,
    /// What to tell people who are logged in, before it goes down.
    #[serde(default)]
    pub message: Option<String>,
}

impl Reboot {
    fn cmdline_facts() -> Vec<Fact> {
        CMDLINE_FILES
            .iter()
            .filter_map(|path| AbsPath::new(path).ok())
            .map(|path| Fact::Content {
                path,
                unless_sha256: None,
                cap: CMDLINE_BYTES,
                sensitive: false,
            })
            .collect()
    }

    /// One sentence for each reason.
    fn reasons(&self, known: &Known<'_>) -> Result<Vec<String>, Unreadable> {
        let boot = match known.value(&Fact::Boot)? {
            Some(FactValue::Boot(boot)) => boot,
            _ => return Err(known.odd_answer(&Fact::Boot)),
        };
        let mut reasons = Vec::new();
        if self.required && boot.reboot_required {
            reasons.push(match boot.reboot_packages.as_slice() {
                [] => "the distribution asks for it".to_owned(),
                packages => format!("the distribution asks for it: {}", packages.join(", ")),
            });
        }
        if self.cmdline {
            let missing = missing_words(boot, known)?;
            if !missing.is_empty() {
                reasons.push(format!(
                    "not on the kernel's command line yet: {}",
                    missing.join(" ")
                ));
            }
            if let Some(path) = mark()
                && known.stat(&path)?.is_some()
            {
                reasons.push(
                    "still on the kernel's command line: words that were removed or replaced"
                        .to_owned(),
                );
            }
        }
        for path in &self.files.0 {
            if known.stat(path)?.is_some() {
                reasons.push(format!("{path} is there"));
            }
        }
        Ok(reasons)
    }
}

/// Where `boot_cmdline` tells that it took words off.
fn mark() -> Option<AbsPath> {
    AbsPath::new(CMDLINE_MARK).ok()
}

/// Words of the next boot's command line that this boot's lacks.
fn missing_words(boot: &Boot, known: &Known<'_>) -> Result<Vec<String>, Unreadable> {
    let Some(file) = &boot.cmdline_file else {
        return Ok(Vec::new());
    };
    let fact = Reboot::cmdline_facts()
        .into_iter()
        .find(|fact| fact.path().is_some_and(|path| path.as_str() == file));
    let Some(content) = fact.map(|fact| known.content(&fact)).transpose()?.flatten() else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(content.bytes.as_deref().unwrap_or_default());
    let now: Vec<&str> = boot.cmdline.split_whitespace().collect();
    // The firmware reads one line: the one that `boot_cmdline` edits.
    let mut lines = text.lines().map(str::trim);
    let next = lines.find(|line| !line.is_empty()).unwrap_or_default();
    Ok(next
        .split_whitespace()
        .filter(|word| !now.contains(word) && !is_rewritten(word))
        .map(shown)
        .collect())
}

/// The firmware of a Raspberry Pi puts the real device in place of `serial0` and `serial1`.
fn is_rewritten(word: &str) -> bool {
    word.starts_with("console=serial") || word.starts_with("kgdboc=serial")
}

impl Kind for Reboot {
    type Drift = ();
    const NAME: &'static str = "reboot";
    const SUMMARY: &'static str = "Restarts a machine that needs it.";
    const CLASS: Class = Class::Action;
    const DISRUPTIVE: bool = true;
    const NODES_ONLY: bool = true;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if !self.required && !self.cmdline && self.files.0.is_empty() {
            found.push((
                "required",
                "no reason is left: a restart without one would come back in every run".to_owned(),
            ));
        }
        let passes = |path: &AbsPath| {
            ["/run/", "/var/run/", "/tmp/"]
                .iter()
                .any(|folder| path.as_str().starts_with(folder))
        };
        for path in self.files.0.iter().filter(|path| !passes(path)) {
            found.push((
                "files",
                format!("{path} would still be there after a restart: use a path below /run"),
            ));
        }
        if self
            .message
            .as_ref()
            .is_some_and(|text| text.contains('\0'))
        {
            found.push(("message", "a message cannot hold a NUL".to_owned()));
        }
        found
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let mut facts = vec![Fact::Boot];
        if self.cmdline {
            facts.extend(Self::cmdline_facts());
            facts.extend(mark().map(|path| Fact::Stat { path }));
        }
        let files = self.files.0.iter().cloned();
        facts.extend(files.map(|path| Fact::Stat { path }));
        Want::all(known, facts)
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let reasons = self.reasons(known)?;
        if reasons.is_empty() {
            return Ok(Decision::Unchanged);
        }
        let mut diff = vec![DiffLine::new("restart the machine")];
        let because = |reason| DiffLine::both(format!("because {reason}"));
        diff.extend(reasons.into_iter().map(because));
        Ok(Decision::Drift { diff, drift: () })
    }

    fn apply(&self, _drift: &Self::Drift) -> Vec<Action> {
        let tell = self.message.as_ref().map(|message| {
            // Nobody may be there to hear it, and `wall` neither.
            let script = "if command -v wall >/dev/null; then wall -- \"$1\"; fi; exit 0";
            let argv = ["sh", "-c", script, "sh", message.as_str()];
            Action::Run(Program {
                argv: argv.map(str::to_owned).to_vec(),
                cwd: None,
                env: Vec::new(),
                stdin: None,
                ok_exit: vec![0],
                retry_exit: Vec::new(),
                purpose: Some("tell people who are logged in".to_owned()),
            })
        });
        tell.into_iter().chain([Action::Reboot]).collect()
    }

    fn touches(&self) -> Touches {
        Touches::everything()
    }
}

#[cfg(test)]
mod tests;
