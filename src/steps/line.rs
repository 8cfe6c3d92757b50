//! `line`: one line of a text file that something else owns.

mod edit;

use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::edit::{Edit, Edited, Place};
use super::shared::attributes::in_the_way;
use super::shared::place::is_sensitive;
use super::shared::{Presence, diff, replaces, written};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FactError, FileKind, FileStat};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Ownership, Replaces};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

/// A line in a text file that something else owns; or no such line. The rest of the file, its line ends, mode and
/// owner stay. Where the whole file is yours, use `file`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The file: UTF-8, at most 1 MiB. A symbolic link there is refused: name the file it leads to.
    pub path: AbsPath,
    /// The line, without its line end; needed unless `state = "absent"` has a `match`. May hold a secret: then no
    /// difference is ever shown.
    #[serde(default)]
    pub line: Option<Text>,
    /// A regular expression for the line as it is before (and after): the matching line is replaced by `line`; without
    /// a match `line` is added. It must match `line` too. More than one match is refused unless `all = true`.
    #[serde(default, rename = "match")]
    pub pattern: Option<String>,
    /// Replace every line that `match` matches.
    #[serde(default)]
    pub all: bool,
    /// `"absent"` removes every line that equals `line` or that `match` matches.
    #[serde(default)]
    pub state: Presence,
    /// Where to add the line: after the last line that this regular expression matches. At the end of the file by
    /// default. A line that is there already is not moved.
    #[serde(default)]
    pub after: Option<String>,
    /// Where to add the line: before the first line that this regular expression matches.
    #[serde(default)]
    pub before: Option<String>,
    /// Make the file where it is missing; otherwise a missing file is refused.
    #[serde(default)]
    pub create: bool,
    /// Permissions of a file that `create` makes, in octal; `"0644"` by default, `"0600"` where the line holds a
    /// secret. A file that exists keeps its own.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Keep the former file beside it as `NAME.hmco-boot-old`.
    #[serde(default)]
    pub backup: bool,
}

/// Largest file that is edited.
const MAX_BYTES: u64 = 1024 * 1024;

impl Line {
    fn is_tainted(&self) -> bool {
        self.line.as_ref().is_some_and(Text::is_tainted)
    }

    /// Whether neither the line nor the file may be shown.
    fn is_hidden(&self) -> bool {
        self.is_tainted() || is_sensitive(&self.path)
    }

    fn stat_fact(&self) -> Fact {
        Fact::Stat {
            path: self.path.clone(),
        }
    }

    fn content_fact(&self) -> Fact {
        Fact::Content {
            path: self.path.clone(),
            unless_sha256: None,
            cap: MAX_BYTES,
            sensitive: self.is_hidden(),
        }
    }

    fn edit(&self) -> Result<Edit<'_>, regex_lite::Error> {
        let regex = |pattern: &Option<String>| pattern.as_deref().map(Regex::new).transpose();
        Ok(Edit {
            line: self.line.as_ref().map(Text::expose),
            pattern: regex(&self.pattern)?,
            all: self.all,
            place: match (regex(&self.after)?, regex(&self.before)?) {
                (Some(after), _) => Place::After(after),
                (None, Some(before)) => Place::Before(before),
                (None, None) => Place::End,
            },
        })
    }

    /// The file's text, or why it cannot be edited.
    fn text<'a>(
        &self,
        stat: &FileStat,
        known: &Known<'a>,
    ) -> Result<Result<&'a str, Failure>, Unreadable> {
        if stat.kind != FileKind::File {
            return Ok(Err(in_the_way(&self.path, stat, "a file")));
        }
        if stat.size > MAX_BYTES {
            return Ok(Err(Failure::new(format!(
                "{} has {} bytes; lines are edited in files up to 1 MiB",
                self.path, stat.size
            ))
            .hint("write the whole file with a `file` step")));
        }
        let fact = self.content_fact();
        let unreadable = |source| Unreadable {
            target: known.target().clone(),
            fact: fact.clone(),
            source: Some(source),
        };
        let bytes = known
            .content(&fact)?
            .ok_or_else(|| unreadable(FactError::NotFound))?
            .bytes
            .as_deref()
            .ok_or_else(|| {
                unreadable(FactError::Failed(
                    "no bytes came with the answer".to_owned(),
                ))
            })?;
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(Failure::new(format!("{} is no UTF-8 text", self.path))
                .hint("lines are edited in UTF-8 text only: write the whole file with a `file` step, or use `command`")),
        })
    }

    /// Drift from one text to another.
    fn write(
        &self,
        old: &str,
        new: String,
        stat: Option<&FileStat>,
        replaces: Option<Replaces>,
    ) -> Decision<Vec<Action>> {
        let mut lines = Vec::new();
        let default = Mode(if self.is_tainted() { 0o600 } else { 0o644 });
        let mode = stat.map_or(self.mode.unwrap_or(default), |stat| Mode(stat.mode));
        if stat.is_none() {
            lines.push(DiffLine::new(format!("new file, mode {mode}")));
        }
        if self.is_hidden() {
            lines.push(DiffLine::both(
                "the line differs (not shown: it may hold a secret)",
            ));
        } else if stat.is_none() {
            lines.extend(diff::added(&new));
        } else {
            lines.extend(diff::text(old, &new));
        }
        let action = Action::WriteFile {
            path: self.path.clone(),
            content: if self.is_hidden() {
                Text::tainted(new)
            } else {
                Text::plain(new)
            },
            mode,
            owner: Ownership {
                user: stat.map(|stat| stat.uid.to_string()),
                group: stat.map(|stat| stat.gid.to_string()),
            },
            backup: self.backup && stat.is_some(),
            replaces,
        };
        Decision::Drift {
            diff: lines,
            drift: vec![action],
        }
    }

    /// Where there is no file.
    fn decide_missing(&self) -> Decision<Vec<Action>> {
        match &self.line {
            Some(line) if self.state == Presence::Present && self.create => {
                let new = format!("{}\n", line.expose());
                self.write("", new, None, Some(Replaces::Absent))
            }
            _ if self.state == Presence::Absent => Decision::Unchanged,
            _ => Decision::Refused(
                Failure::new(format!("there is no file {}", self.path))
                    .hint("set `create = true` to make it"),
            ),
        }
    }

    fn pattern_mistakes(&self) -> Vec<(&'static str, String)> {
        let patterns = [
            ("match", &self.pattern),
            ("after", &self.after),
            ("before", &self.before),
        ];
        let mut mistakes = Vec::new();
        for (key, pattern) in patterns {
            let Some(pattern) = pattern else { continue };
            match Regex::new(pattern) {
                _ if pattern.is_empty() => {
                    mistakes.push((key, "an empty pattern matches every line".to_owned()));
                }
                Err(error) => {
                    mistakes.push((
                        key,
                        format!("{pattern:?} is not a regular expression: {error}"),
                    ));
                }
                Ok(regex) if key == "match" && self.state == Presence::Present => {
                    let line = self.line.as_ref().map_or("", Text::expose);
                    if !line.is_empty() && !regex.is_match(line) {
                        mistakes.push((
                            key,
                            "`match` must match `line` too: otherwise a later run would not find its own line again \
                             and add another"
                                .to_owned(),
                        ));
                    }
                }
                Ok(_) => {}
            }
        }
        mistakes
    }
}

impl Kind for Line {
    type Drift = Vec<Action>;
    const NAME: &'static str = "line";
    const SUMMARY: &'static str = "A line in a text file that something else owns.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = self.pattern_mistakes();
        let mut mistake = |key, message: &str| mistakes.push((key, message.to_owned()));
        let line = self.line.as_ref().map(Text::expose);
        match self.state {
            Presence::Present if line.is_none() => {
                mistake(
                    "line",
                    "which line? (`line`, or `state = \"absent\"` with `match`)",
                );
            }
            Presence::Absent if line.is_none() && self.pattern.is_none() => {
                mistake("line", "which lines shall go? (`line`, `match`, or both)");
            }
            _ => {}
        }
        match line {
            Some("") => mistake("line", "the line is empty"),
            Some(line) if line.contains(['\n', '\r', '\0']) => mistake(
                "line",
                "a line holds no line break or NUL: use one step for each line, or `file` for a whole file",
            ),
            _ => {}
        }
        if self.all && self.pattern.is_none() {
            mistake("all", "`all` belongs to `match`");
        }
        if self.after.is_some() && self.before.is_some() {
            mistake(
                "before",
                "a line has one place: `after` or `before`, not both",
            );
        }
        if self.mode.is_some() && !self.create {
            mistake(
                "mode",
                "`mode` is for a file that `create = true` makes; a file that exists keeps its own",
            );
        }
        if self.path.as_str() == "/" {
            mistake("path", "`/` is a folder");
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, [self.stat_fact(), self.content_fact()])
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let Some(stat) = known.stat(&self.path)? else {
            return Ok(self.decide_missing());
        };
        let text = match self.text(stat, known)? {
            Ok(text) => text,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        let edited = match (self.edit(), self.state) {
            (Ok(edit), Presence::Present) => edit.ensure(text),
            (Ok(edit), Presence::Absent) => edit.remove(text),
            // `validate` has refused it; a wish that came another way is not guessed at.
            (Err(error), _) => Edited::Refused(Failure::new(format!(
                "a pattern is no regular expression: {error}"
            ))),
        };
        Ok(match edited {
            Edited::Same => Decision::Unchanged,
            Edited::Text(new) => {
                let content = known.content(&self.content_fact())?;
                self.write(text, new, Some(stat), replaces(Some(stat), content))
            }
            Edited::Refused(failure) => Decision::Refused(Failure {
                message: format!("{}: {}", self.path, failure.message),
                ..failure
            }),
        })
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
