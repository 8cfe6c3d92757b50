//! `boot_cmdline`: what a Raspberry Pi's firmware tells the kernel at the next boot.

mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::attributes::in_the_way;
use super::shared::{CMDLINE_MARK, diff, yes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Boot, Fact, FactValue, FileKind, FileStat};
use crate::facts::known::{Known, Unreadable};
use crate::facts::questions::CMDLINE_FILES;
use crate::model::action::{Action, Ownership};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

/// The kernel takes 2,048 bytes on arm64 and amd64 (COMMAND_LINE_SIZE); the firmware adds its own.
const CAP: u64 = 16 * 1024;

/// Words of the one line that a Raspberry Pi's firmware hands to the kernel (`cmdline.txt`). All other words, their order
/// and the single line stay. It takes effect at the next boot: a `reboot` step after it restarts where that is needed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BootCmdline {
    /// Words that are there afterwards: `"cgroup_enable=memory"`. One with `=` takes the place of another value of the
    /// same key, but for keys that may stand there several times (`console`, `cgroup_enable`, `cgroup_disable` and a few
    /// more).
    #[serde(default)]
    pub add: Vec<String>,
    /// Words that are gone afterwards: `"quiet"`, `"console=serial0,115200"`; with nothing after `=` every word of that
    /// key: `"splash="`.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Further keys of which several may stand side by side.
    #[serde(default)]
    pub several: Vec<String>,
    /// The file. By default /boot/firmware/cmdline.txt, or /boot/cmdline.txt where only that is there.
    #[serde(default)]
    pub path: Option<AbsPath>,
    /// Keep the former file beside it as `cmdline.txt.hmco-boot-old`: it can be put back with a card reader.
    #[serde(default = "yes")]
    pub backup: bool,
}

impl BootCmdline {
    fn candidates(&self) -> Vec<AbsPath> {
        match &self.path {
            Some(path) => vec![path.clone()],
            None => CMDLINE_FILES
                .iter()
                .filter_map(|path| AbsPath::new(path).ok())
                .collect(),
        }
    }

    fn content_fact(path: &AbsPath) -> Fact {
        Fact::Content {
            path: path.clone(),
            unless_sha256: None,
            cap: CAP,
            sensitive: false,
        }
    }

    fn nowhere(&self) -> Failure {
        let places: Vec<String> = self.candidates().iter().map(ToString::to_string).collect();
        Failure::new(format!("there is no {}", places.join(" and no "))).hint(
            "on a Raspberry Pi: see that its boot partition is mounted (/boot/firmware in /etc/fstab). A machine that boots \
             by GRUB (a Proxmox guest) has GRUB_CMDLINE_LINUX in /etc/default/grub and `update-grub`: use a `line` and a \
             `command` step there, and `when = \"facts.boot.cmdline_file is not none\"` for this one",
        )
    }

    fn edit(
        &self,
        path: &AbsPath,
        stat: &FileStat,
        bytes: &[u8],
        boot: &Boot,
    ) -> Decision<Vec<Action>> {
        let Ok(old) = std::str::from_utf8(bytes) else {
            return Decision::Refused(
                Failure::new(format!("{path} is no UTF-8 text"))
                    .hint("look at the file; it is not edited"),
            );
        };
        let line = match single_line(path, old) {
            Ok(line) => line,
            Err(failure) => return Decision::Refused(failure),
        };
        let Some(new) = words::edit(line, &self.add, &self.remove, &self.several) else {
            return Decision::Unchanged;
        };
        let text = old.replacen(line, &new, 1);
        let mut lines = diff::text(old, &text);
        lines.push(DiffLine::both("takes effect after a reboot"));
        // First: where the rest fails, this step is done again, and not the other way round.
        let mut actions = match words::still_runs(line, &new, &boot.cmdline) {
            true => mark(),
            false => Vec::new(),
        };
        actions.push(Action::WriteFile {
            path: path.clone(),
            content: Text::plain(text),
            // FAT has neither: these are what its mount shows, so that nothing is asked of it.
            mode: Mode(stat.mode),
            owner: Ownership {
                user: Some(stat.uid.to_string()),
                group: Some(stat.gid.to_string()),
            },
            backup: self.backup,
        });
        Decision::Drift {
            diff: lines,
            drift: actions,
        }
    }
}

/// Tells the kind `reboot` that this boot has words which the next one shall not have.
fn mark() -> Vec<Action> {
    let Ok(path) = AbsPath::new(CMDLINE_MARK) else {
        return Vec::new();
    };
    let folder = path.parent().map(|path| Action::MakeDirectory {
        path,
        mode: Mode(0o755),
        owner: Ownership::default(),
    });
    let file = Action::WriteFile {
        path,
        content: Text::plain("words were removed or replaced\n"),
        mode: Mode(0o644),
        owner: Ownership::default(),
        backup: false,
    };
    folder.into_iter().chain([file]).collect()
}

/// The one line, without blanks around.
fn single_line<'a>(path: &AbsPath, text: &'a str) -> Result<&'a str, Failure> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if text.contains("DO NOT EDIT THIS FILE") {
        return Err(
            Failure::new(format!("{path} only says that the file has moved"))
                .evidence(diff::shown(text.lines().last().unwrap_or_default()))
                .hint("see that the boot partition is mounted (/boot/firmware), or name the file in `path`"),
        );
    }
    let Some(line) = lines.next() else {
        return Err(Failure::new(format!(
            "{path} is empty: the machine would not find its root file system"
        ))
        .hint(
            "put its line back (`cat /proc/cmdline` shows the running one), then run this again",
        ));
    };
    if lines.next().is_some() {
        return Err(Failure::new(format!(
            "{path} has more than one line; the kernel sees only the first"
        ))
        .hint("join the lines by hand, with blanks between"));
    }
    Ok(line)
}

impl Kind for BootCmdline {
    type Drift = Vec<Action>;
    const NAME: &'static str = "boot_cmdline";
    const SUMMARY: &'static str =
        "Words of a Raspberry Pi's kernel command line, for the next boot.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.add.is_empty() && self.remove.is_empty() {
            mistakes.push(("add", "which words? (`add`, `remove` or both)".to_owned()));
        }
        for (key, list) in [("add", &self.add), ("remove", &self.remove)] {
            for word in list.iter().filter(|word| !words::is_word(word)) {
                mistakes.push((
                    key,
                    format!("{word:?} is not one word of a command line: one list item for each"),
                ));
            }
        }
        if self
            .add
            .iter()
            .any(|word| words::is_removed(word, &self.remove))
        {
            mistakes.push((
                "remove",
                "a word cannot be both there and gone afterwards".to_owned(),
            ));
        }
        if self.path.as_ref().is_some_and(|path| path.as_str() == "/") {
            mistakes.push(("path", "`/` is a folder".to_owned()));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let facts = self.candidates().into_iter().flat_map(|path| {
            let content = Self::content_fact(&path);
            [Fact::Stat { path }, content]
        });
        Want::all(known, facts.chain([Fact::Boot]))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        for path in self.candidates() {
            let Some(stat) = known.stat(&path)? else {
                continue;
            };
            if stat.kind != FileKind::File {
                return Ok(Decision::Refused(in_the_way(&path, stat, "a file")));
            }
            let content = known.content(&Self::content_fact(&path))?;
            let bytes = content.and_then(|content| content.bytes.as_deref());
            let boot = match known.value(&Fact::Boot)? {
                Some(FactValue::Boot(boot)) => boot,
                _ => return Err(known.odd_answer(&Fact::Boot)),
            };
            return Ok(self.edit(&path, stat, bytes.unwrap_or_default(), boot));
        }
        Ok(Decision::Refused(self.nowhere()))
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        let mut touches = Touches::paths(self.candidates());
        let kept: Vec<AbsPath> = touches
            .paths
            .iter()
            .filter_map(|path| AbsPath::new(&format!("{path}.hmco-boot-old")).ok())
            .collect();
        touches.paths.extend(kept);
        // What the kind `reboot` looks at.
        touches.paths.extend(AbsPath::new(CMDLINE_MARK).ok());
        touches
    }
}

#[cfg(test)]
mod tests;
