//! `file`: a regular file with a content.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::attributes::{Attributes, in_the_way};
use super::shared::digest::sha256;
use super::shared::place::is_sensitive;
use super::shared::{Presence, diff, written, yes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FileKind, FileStat};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

/// A regular file with a content, permissions and an owner; or no file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where the file is. A symbolic link there is replaced by the file, not followed. Its folder must exist.
    pub path: AbsPath,
    /// The whole content, needed unless `state = "absent"`. May hold a secret: then no difference is ever shown.
    #[serde(default)]
    pub content: Option<Text>,
    /// Permissions in octal; `"0644"` by default, `"0600"` where the content holds a secret.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Owner, a user's name or number. By default it stays as it is; a new file belongs to who makes it (root).
    #[serde(default)]
    pub owner: Option<String>,
    /// Group, a name or number. By default it stays as it is.
    #[serde(default)]
    pub group: Option<String>,
    /// `"absent"` removes a file or link; the other keys are then not looked at.
    #[serde(default)]
    pub state: Presence,
    /// `false`: only make it where nothing is, and never overwrite a content that is there; `mode`, `owner` and `group`
    /// that are written here still hold.
    #[serde(default = "yes")]
    pub replace: bool,
    /// Keep the former file beside it as `NAME.hmco-boot-old` when the content is replaced.
    #[serde(default)]
    pub backup: bool,
}

impl File {
    /// The wished content; empty where none is wished, which only `state = "absent"` allows.
    fn text(&self) -> &str {
        self.content.as_ref().map_or("", Text::expose)
    }

    /// Whether the wish holds a secret.
    fn is_tainted(&self) -> bool {
        self.content.as_ref().is_some_and(Text::is_tainted)
    }

    /// Whether neither the old nor the new content may be shown.
    fn is_hidden(&self) -> bool {
        self.is_tainted() || is_sensitive(&self.path)
    }

    fn mode(&self) -> Mode {
        self.mode
            .unwrap_or(Mode(if self.is_tainted() { 0o600 } else { 0o644 }))
    }

    fn attributes(&self, mode: Option<Mode>) -> Attributes<'_> {
        Attributes {
            mode,
            owner: self.owner.as_deref(),
            group: self.group.as_deref(),
        }
    }

    fn stat_fact(&self) -> Fact {
        Fact::Stat {
            path: self.path.clone(),
        }
    }

    fn digest_fact(&self) -> Fact {
        Fact::Digest {
            path: self.path.clone(),
            uncached: self.is_hidden(),
        }
    }

    /// The old content, wanted for nothing but a difference to show.
    fn content_fact(&self) -> Fact {
        Fact::Content {
            path: self.path.clone(),
            unless_sha256: Some(sha256(self.text().as_bytes())),
            cap: diff::SHOWN_BYTES,
            sensitive: self.is_hidden(),
        }
    }

    /// Whether both contents are small enough, and nothing forbids to show them.
    fn is_shown(&self, stat: &FileStat) -> bool {
        !self.is_hidden()
            && stat.kind == FileKind::File
            && stat.size <= diff::SHOWN_BYTES
            && self.text().len() as u64 <= diff::SHOWN_BYTES
    }

    fn write(&self, kept: Option<&FileStat>) -> Action {
        let mode = self.mode();
        Action::WriteFile {
            path: self.path.clone(),
            content: self.content.clone().unwrap_or_default(),
            mode,
            owner: self.attributes(Some(mode)).ownership(kept),
            backup: self.backup && kept.is_some(),
            replaces: None,
        }
    }

    fn decide_absent(&self, stat: Option<&FileStat>) -> Decision<Vec<Action>> {
        let line = match stat {
            None => return Decision::Unchanged,
            Some(stat) => match (stat.kind, &stat.link_target) {
                (FileKind::File, _) => format!("the file ({} bytes)", stat.size),
                (FileKind::Symlink, to) => {
                    format!("link to {}", diff::shown(to.as_deref().unwrap_or_default()))
                }
                _ => return Decision::Refused(in_the_way(&self.path, stat, "a file")),
            },
        };
        Decision::Drift {
            diff: vec![DiffLine::old(line)],
            drift: vec![Action::Remove {
                path: self.path.clone(),
                recursive: false,
            }],
        }
    }

    /// Where nothing, or a link, is at the path.
    fn decide_new(&self, link: Option<&str>) -> Decision<Vec<Action>> {
        let words = self.attributes(Some(self.mode())).words();
        let mut lines: Vec<_> = link
            .map(|to| DiffLine::old(format!("link to {}", diff::shown(to))))
            .into_iter()
            .collect();
        lines.push(DiffLine::new(format!("new file, {words}")));
        if self.is_hidden() {
            lines.push(DiffLine::both("content not shown: it may hold a secret"));
        } else {
            lines.extend(diff::added(self.text()));
        }
        Decision::Drift {
            diff: lines,
            drift: vec![self.write(None)],
        }
    }

    /// Where a regular file is at the path.
    fn decide_existing(
        &self,
        stat: &FileStat,
        known: &Known<'_>,
    ) -> Result<Decision<Vec<Action>>, Unreadable> {
        let same = !self.replace
            || known.digest(&self.digest_fact())? == Some(&sha256(self.text().as_bytes()));
        // A file that is only made, never replaced, is somebody else's: only what is written down holds.
        let mode = if self.replace {
            Some(self.mode())
        } else {
            self.mode
        };
        let attributes = self.attributes(mode);
        let mut lines = attributes.diff(stat);
        if same && lines.is_empty() {
            return Ok(Decision::Unchanged);
        }
        if same {
            return Ok(Decision::Drift {
                diff: lines,
                drift: vec![attributes.set(&self.path, stat)],
            });
        }
        if stat.links > 1 {
            lines.push(DiffLine::both(format!(
                "the file has {} names (hard links); only this one gets the new content",
                stat.links
            )));
        }
        lines.extend(self.content_diff(stat, known));
        Ok(Decision::Drift {
            diff: lines,
            drift: vec![self.write(Some(stat))],
        })
    }

    fn content_diff(&self, stat: &FileStat, known: &Known<'_>) -> Vec<DiffLine> {
        if self.is_hidden() {
            return vec![DiffLine::both(
                "content differs (not shown: it may hold a secret)",
            )];
        }
        // That the old content could not be read (too large, just changed) must not stop what replaces it.
        let old = known
            .content(&self.content_fact())
            .ok()
            .flatten()
            .and_then(|content| content.bytes.as_deref())
            .filter(|_| self.is_shown(stat));
        diff::content(old, self.text())
    }
}

impl Kind for File {
    type Drift = Vec<Action>;
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "A file with a content, permissions and an owner.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = self.attributes(self.mode).mistakes();
        if self.state == Presence::Present && self.content.is_none() {
            mistakes.push((
                "content",
                "a file needs its `content` (\"\" for an empty one), or `state = \"absent\"`"
                    .to_owned(),
            ));
        }
        if self.path.as_str() == "/" {
            mistakes.push(("path", "`/` is a folder".to_owned()));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let compares = self.state == Presence::Present && self.replace;
        let first = [Some(self.stat_fact()), compares.then(|| self.digest_fact())];
        let want = Want::all(known, first.into_iter().flatten());
        if want != Want::Done || !compares {
            return want;
        }
        // Only to show a difference: not where there is none, or where it would not be shown.
        let differs = known
            .digest(&self.digest_fact())
            .is_ok_and(|live| live.is_some_and(|live| live != sha256(self.text().as_bytes())));
        let shown = known
            .stat(&self.path)
            .is_ok_and(|stat| stat.is_some_and(|stat| self.is_shown(stat)));
        Want::all(known, (differs && shown).then(|| self.content_fact()))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let stat = known.stat(&self.path)?;
        if self.state == Presence::Absent {
            return Ok(self.decide_absent(stat));
        }
        let Some(stat) = stat else {
            return Ok(self.decide_new(None));
        };
        match stat.kind {
            FileKind::File => self.decide_existing(stat, known),
            FileKind::Symlink if !self.replace => Ok(Decision::Unchanged),
            FileKind::Symlink => {
                Ok(self.decide_new(Some(stat.link_target.as_deref().unwrap_or_default())))
            }
            FileKind::Directory | FileKind::Special => {
                Ok(Decision::Refused(in_the_way(&self.path, stat, "a file")))
            }
        }
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        written(&self.path, self.backup)
    }
}

#[cfg(test)]
mod tests;
