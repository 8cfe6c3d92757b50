//! `mount`: a file system at its place, now and at every boot.

mod live;
mod table;

use live::Wished;
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

/// The file system that stands for another until the first access.
const AUTOFS: &str = "autofs";

const APPLY: &str = include_str!("apply.sh");

/// A file system that is mounted, now and (by its line in /etc/fstab) at every boot. It is mounted first and written down
/// after: what cannot be mounted never gets into /etc/fstab, where it would stop the next boot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where: a folder, made where it is missing. Its real path: none of its folders is a symbolic link.
    pub path: AbsPath,
    /// What: a device, better `UUID=...` or `LABEL=...` (`lsblk -f` shows them), `nas:/export`, `tmpfs`; with the option
    /// `bind` a folder, by its real path. Needed but for
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
    fn run(&mut self, purpose: String, words: &[&str]) {
        let action = script::run(Mount::NAME, purpose, APPLY, words.iter().copied(), &[]);
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

    fn wished<'a>(&'a self, options: &'a [String]) -> Wished<'a> {
        Wished {
            point: &self.path,
            source: self.source(),
            fs_type: self.fs_type(),
            options,
        }
    }

    /// All that must be no symbolic link: the kernel tells mounts by their real paths, so by another one they are not found.
    fn no_links(&self) -> Vec<AbsPath> {
        let options = self.options();
        let bound = self.wished(&options).bound();
        let above = |path: AbsPath| {
            let mut all: Vec<AbsPath> =
                std::iter::successors(Some(path), AbsPath::parent).collect();
            all.retain(|path| path.as_str() != "/");
            all.reverse();
            all
        };
        let bound = bound.filter(|_| self.state == State::Mounted);
        above(self.path.clone())
            .into_iter()
            .chain(bound.into_iter().flat_map(above))
            .collect()
    }

    fn behind_a_link(&self, known: &Known<'_>) -> Result<Option<Failure>, Unreadable> {
        for path in self.no_links() {
            if let Some(stat) = known.stat(&path)?
                && stat.kind == FileKind::Symlink
            {
                let to = diff::shown(stat.link_target.as_deref().unwrap_or("?"));
                return Ok(Some(
                    Failure::new(format!("{path} is a symbolic link to {to}")).hint(
                        "write the real path (`realpath` on the machine tells it): by another one a mount is not found again",
                    ),
                ));
            }
        }
        Ok(None)
    }

    /// All that is mounted there, the last one on top.
    fn at_place<'a>(&self, known: &Known<'a>) -> Result<Vec<&'a Live>, Unreadable> {
        let mounts = known.mounts()?.iter();
        Ok(mounts
            .filter(|mount| mount.point == self.path.as_str())
            .collect())
    }

    /// What is to be done now.
    fn live_part(
        &self,
        known: &Known<'_>,
        changed: bool,
        todo: &mut Todo,
    ) -> Result<Option<Failure>, Unreadable> {
        let mut mounts = self.at_place(known)?;
        if self.state != State::Mounted {
            if let Some(top) = mounts.last() {
                todo.diff
                    .push(DiffLine::old(format!("mounted: {}", live::shown(top))));
                let purpose = format!("unmount {}", self.path);
                todo.run(purpose, &["unmount", self.path.as_str()]);
            }
            return Ok(None);
        }
        // Of systemd, which mounts at the first access.
        let waits = mounts.iter().any(|mount| mount.fs_type == AUTOFS);
        mounts.retain(|mount| mount.fs_type != AUTOFS);
        if mounts.is_empty() {
            if waits && self.options().iter().any(|o| o == "x-systemd.automount") {
                return Ok(None);
            }
            if let Some(failure) = self.folder(known, todo)? {
                return Ok(Some(failure));
            }
        }
        self.mount(mounts.last().copied(), known, changed, todo)
    }

    /// Mounting, or mounting anew with other options.
    fn mount(
        &self,
        live: Option<&Live>,
        known: &Known<'_>,
        changed: bool,
        todo: &mut Todo,
    ) -> Result<Option<Failure>, Unreadable> {
        if let Some(path) = live::device(self.source())
            && known.stat(&path)?.is_none()
        {
            return Ok(Some(live::no_device(self.source(), &path)));
        }
        let words = [self.source(), self.path.as_str(), self.fs_type()];
        let options = self.option_text();
        let Some(live) = live else {
            todo.diff.push(DiffLine::new(format!(
                "mount {} ({}, {options})",
                words[0], words[2]
            )));
            let purpose = format!("mount {} at {}", words[0], words[1]);
            todo.run(purpose, &["mount", words[0], words[1], words[2], &options]);
            return Ok(None);
        };
        let wished = self.options();
        if !self.wished(&wished).is(live, known)? {
            return Ok(Some(
                Failure::new(format!("something else is mounted at {}", self.path))
                    .evidence(live::shown(live))
                    .evidence(format!("wanted: {} ({})", self.source(), self.fs_type()))
                    .hint("unmount that first (`state = \"unmounted\"` in a step before this one), if it is not needed; if it is the same by another name, write that name as `source`"),
            ));
        }
        let differing = live::flags(live, &wished);
        if !differing.is_empty() || changed {
            for flag in differing {
                todo.diff
                    .push(DiffLine::both(format!("mounted without {flag}")));
            }
            todo.diff
                .push(DiffLine::both(format!("mounted anew with {options}")));
            let purpose = format!("mount {} anew with {options}", words[1]);
            todo.run(
                purpose,
                &["remount", words[0], words[1], words[2], &options],
            );
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
        let options = self.options();
        let wished = self.wished(&options);
        let links = wished.link().filter(|_| self.state == State::Mounted);
        let stats = self.no_links().into_iter().chain(links);
        facts.push(Fact::Stat {
            path: self.path.clone(),
        });
        facts.extend(stats.map(|path| Fact::Stat { path }));
        // What is there tells what else is to be read of it; where it could not be read, that is told by `decide`.
        if self.state == State::Mounted
            && known.answer(&Fact::Mounts).is_some()
            && let Ok(mounts) = self.at_place(known)
        {
            let top = mounts.iter().rfind(|mount| mount.fs_type != AUTOFS);
            facts.extend(top.into_iter().flat_map(|live| wished.facts(live)));
        }
        facts.sort();
        facts.dedup();
        Want::all(known, facts)
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        if let Some(failure) = self.behind_a_link(known)? {
            return Ok(Decision::Refused(failure));
        }
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
        if let Some(failure) = self.live_part(known, new.is_some(), &mut todo)? {
            return Ok(Decision::Refused(failure));
        }
        if let Some(new) = new {
            todo.diff.push(DiffLine::both(fstab::PATH));
            todo.diff.extend(diff::text(text, &new));
            todo.actions.extend(fstab::write(known, new)?);
            todo.run("let systemd read /etc/fstab again".to_owned(), &["reload"]);
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
