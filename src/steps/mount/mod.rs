//! `mount`: a file system at its place, now and at every boot.

mod live;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::attributes::in_the_way;
use super::shared::fstab;
use super::shared::list::OneOrMany;
use super::shared::{diff, script};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FileKind, Mount as Live};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Ownership};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::Mode;

const APPLY: &str = include_str!("apply.sh");

/// A file system that is mounted, now and (by its line in /etc/fstab) at every boot. It is mounted first and written down
/// after: what cannot be mounted never gets into /etc/fstab, where it would stop the next boot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where: a folder, made where it is missing.
    pub path: AbsPath,
    /// What: a device, better `UUID=...` or `LABEL=...` (`lsblk -f` shows them), `nas:/export`, `tmpfs`. Needed but for
    /// `state = "unmounted"` and `"absent"`.
    #[serde(default)]
    pub source: Option<String>,
    /// Its type: `ext4`, `nfs`, `tmpfs`.
    #[serde(default, rename = "type")]
    pub fs_type: Option<String>,
    /// Options, as mount(8) has them. A disk that may be missing at boot needs `nofail`: without it the boot waits and
    /// ends in the emergency shell.
    #[serde(default)]
    pub options: OneOrMany<String>,
    /// Field 6 of the line: 0 = never checked at boot, 1 = the root file system, 2 = others. By default as it is, 0 for a
    /// new line.
    #[serde(default)]
    pub pass: Option<u8>,
    /// What shall be.
    #[serde(default)]
    pub state: State,
}

/// What shall be of a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum State {
    /// Mounted, and in /etc/fstab.
    #[default]
    Mounted,
    /// Not mounted now; /etc/fstab stays as it is.
    Unmounted,
    /// Neither mounted nor in /etc/fstab. The folder stays.
    Absent,
}

/// What is to be done, part by part.
#[derive(Debug, Default)]
struct Todo {
    diff: Vec<DiffLine>,
    actions: Vec<Action>,
}

impl Todo {
    fn run(&mut self, words: &[&str]) {
        let action = script::run(Mount::NAME, APPLY, words.iter().copied(), &[]);
        self.actions.push(action);
    }
}

impl Mount {
    fn options(&self) -> Vec<String> {
        self.options
            .0
            .iter()
            .flat_map(|option| option.split(','))
            .map(str::to_owned)
            .collect()
    }

    fn option_text(&self) -> String {
        match self.options().join(",") {
            empty if empty.is_empty() => "defaults".to_owned(),
            text => text,
        }
    }

    fn source(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    fn fs_type(&self) -> &str {
        self.fs_type.as_deref().unwrap_or("auto")
    }

    /// Mounting, or mounting anew with other options.
    fn mount(
        &self,
        live: Option<&Live>,
        known: &Known<'_>,
        changed: bool,
        todo: &mut Todo,
    ) -> Result<Option<Failure>, Unreadable> {
        let device = match live::device(self.source()) {
            Some(path) => match known.stat(&path)? {
                Some(stat) => stat.link_target.clone().or(Some(path.to_string())),
                None => return Ok(Some(live::no_device(self.source(), &path))),
            },
            None => None,
        };
        let words = [self.source(), self.path.as_str(), self.fs_type()];
        let options = self.option_text();
        let Some(live) = live else {
            todo.diff.push(DiffLine::new(format!(
                "mount {} ({}, {options})",
                words[0], words[2]
            )));
            todo.run(&["mount", words[0], words[1], words[2], &options]);
            return Ok(None);
        };
        if !live::is_same(
            live,
            self.source(),
            device.as_deref(),
            self.fs_type(),
            &self.options(),
        ) {
            return Ok(Some(
                Failure::new(format!("something else is mounted at {}", self.path))
                    .evidence(format!("{} ({})", live.source, live.fs_type))
                    .evidence(format!("wanted: {} ({})", self.source(), self.fs_type()))
                    .hint("unmount that first (`state = \"unmounted\"` in a step before this one), if it is not needed"),
            ));
        }
        let wished = self.options();
        let differing = live::flags(live, &wished);
        if !differing.is_empty() || changed {
            for flag in differing {
                todo.diff
                    .push(DiffLine::both(format!("mounted without {flag}")));
            }
            todo.diff
                .push(DiffLine::both(format!("mounted anew with {options}")));
            todo.run(&["remount", words[0], words[1], words[2], &options]);
        }
        Ok(None)
    }

    fn folder(&self, known: &Known<'_>, todo: &mut Todo) -> Result<Option<Failure>, Unreadable> {
        match known.stat(&self.path)? {
            None => {
                todo.diff
                    .push(DiffLine::new(format!("folder {}", self.path)));
                todo.actions.push(Action::MakeDirectory {
                    path: self.path.clone(),
                    mode: Mode(0o755),
                    owner: Ownership::default(),
                });
                Ok(None)
            }
            // A bind mount of one file is mounted on a file.
            Some(stat) if stat.kind == FileKind::Directory => Ok(None),
            Some(_) if self.options().iter().any(|option| option.ends_with("bind")) => Ok(None),
            Some(stat) => Ok(Some(in_the_way(&self.path, stat, "a folder"))),
        }
    }

    fn notes(&self, todo: &mut Todo) {
        let options = self.options();
        let tolerant = ["nofail", "noauto"]
            .iter()
            .any(|o| options.iter().any(|own| own == o));
        let of_disk = live::device(self.source()).is_some()
            || self.source().starts_with("/dev/")
            || self.source().contains(":/");
        if self.state == State::Mounted && of_disk && !tolerant && self.path.as_str() != "/" {
            todo.diff.push(DiffLine::both(
                "without `nofail` a boot where this is missing ends in the emergency shell, out of reach",
            ));
        }
    }
}

impl Kind for Mount {
    type Drift = Vec<Action>;
    const NAME: &'static str = "mount";
    const SUMMARY: &'static str = "A file system that is mounted, now and at every boot.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut mistake = |key, message: &str| mistakes.push((key, message.to_owned()));
        let blank = |text: &str| text.is_empty() || text.contains(['\n', '\r', '\0']);
        if self.state == State::Mounted {
            if self.source.is_none() {
                mistake("source", "what is to be mounted?");
            }
            if self.fs_type.is_none() {
                mistake("type", "of which type is it? (`ext4`, `nfs`, `tmpfs` ...)");
            }
        }
        if self.source.as_deref().is_some_and(blank) || self.source().starts_with('-') {
            mistake("source", "a source is one line of text");
        }
        if self.fs_type.as_deref().is_some_and(|text| {
            blank(text) || text.contains([' ', '\t', ',']) || text.starts_with('-')
        }) {
            mistake("type", "a type is one word");
        }
        if self.fs_type.as_deref() == Some("swap") {
            mistake("type", "swap is not mounted: see the kind `swap`");
        }
        if self
            .options
            .0
            .iter()
            .any(|option| blank(option) || option.starts_with('-'))
        {
            mistake("options", "an option is a word: `noatime`, `size=1G`");
        }
        if self.pass.is_some_and(|pass| pass > 2) {
            mistake("pass", "0, 1 or 2");
        }
        if self.path.as_str() == "/" && self.state != State::Mounted {
            mistake("path", "the root file system stays mounted");
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let mut facts = fstab::facts();
        facts.push(Fact::Mounts);
        facts.push(Fact::Stat {
            path: self.path.clone(),
        });
        facts.extend(live::device(self.source()).map(|path| Fact::Stat { path }));
        Want::all(known, facts)
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let mounts: Vec<&Live> = known
            .mounts()?
            .iter()
            .filter(|mount| mount.point == self.path.as_str())
            .collect();
        let text = match fstab::text(known)? {
            Ok(text) => text,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        let new = match self.state {
            State::Unmounted => None,
            _ => match self.fstab(text) {
                Ok(new) => new,
                Err(failure) => return Ok(Decision::Refused(failure)),
            },
        };
        let mut todo = Todo::default();
        if self.state == State::Mounted {
            if mounts.is_empty()
                && let Some(failure) = self.folder(known, &mut todo)?
            {
                return Ok(Decision::Refused(failure));
            }
            if let Some(failure) =
                self.mount(mounts.last().copied(), known, new.is_some(), &mut todo)?
            {
                return Ok(Decision::Refused(failure));
            }
        } else if let Some(top) = mounts.last() {
            todo.diff.push(DiffLine::old(format!(
                "mounted: {} ({})",
                top.source, top.fs_type
            )));
            todo.run(&["unmount", self.path.as_str()]);
        }
        if let Some(new) = new {
            todo.diff.push(DiffLine::both(fstab::PATH));
            todo.diff.extend(diff::text(text, &new));
            todo.actions.extend(fstab::write(known, new)?);
            todo.run(&["reload"]);
        }
        if todo.actions.is_empty() {
            return Ok(Decision::Unchanged);
        }
        self.notes(&mut todo);
        Ok(Decision::Drift {
            diff: todo.diff,
            drift: todo.actions,
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        Touches {
            paths: AbsPath::new(fstab::PATH).into_iter().collect(),
            trees: vec![self.path.clone()],
            ..Touches::default()
        }
    }
}

#[cfg(test)]
mod tests;
