//! `artifact`: a pinned file, or one out of a pinned archive, in its place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::attributes::{Attributes, in_the_way};
use super::shared::{Presence, written};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FileKind, FileStat};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::artifact::{ArtifactRef, Fetch, Member, Pin, PinBook, PinProblem};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::{Bytes, Mode};

/// A file that `hmco-boot.lock` pins: fetched, held to size and sha256, put in its place; or no file. What it must be is
/// known from the pins, so a node that has it downloads nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The artifact's name in hmco-boot.lock. Of its files, the one for the node's userland is taken (`os.arch`: a 64-bit
    /// kernel may carry a 32-bit userland).
    pub name: ArtifactRef,
    /// Where the file shall be. A symbolic link there is replaced by the file, not followed. Its folder must exist.
    pub path: AbsPath,
    /// The file to take out of a `.tar.gz`: its path in there, or the end of it. `hmco-boot pins update` pins it, too.
    #[serde(default)]
    pub member: Option<String>,
    /// Permissions in octal; `"0755"` by default.
    #[serde(default = "program_mode")]
    pub mode: Mode,
    /// Owner, a user's name or number. By default it stays as it is; a new file belongs to who makes it (root).
    #[serde(default)]
    pub owner: Option<String>,
    /// Group, a name or number. By default it stays as it is.
    #[serde(default)]
    pub group: Option<String>,
    /// Who fetches it: the `"node"` itself (with curl or wget), or the `"controller"`, which then sends it. By default as
    /// the pin says.
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// `"absent"` removes a file or link; the other keys are then not looked at.
    #[serde(default)]
    pub state: Presence,
}

fn program_mode() -> Mode {
    Mode(0o755)
}

impl Artifact {
    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            mode: Some(self.mode),
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
            uncached: false,
        }
    }

    /// The pin for an architecture, and the file in it.
    fn wanted(&self, arch: &str) -> Result<(&Pin, Option<&Member>), Failure> {
        let name = self.name.name();
        let Some(artifact) = self.name.found() else {
            return Err(
                Failure::new(format!("the pins of `{name}` were not looked up"))
                    .hint("this is a mistake in hmco-boot: please report it"),
            );
        };
        let pin = artifact.pin(arch).ok_or_else(|| {
            Failure::new(format!("`{name}` is not pinned for {arch}, the node's userland"))
                .evidence(format!("pinned for: {}", artifact.arches()))
                .hint(format!(
                    "add an `[[artifact]]` with `arch = \"{arch}\"` to hmco-boot.lock and run `hmco-boot pins update {name}`, or leave the node out of the step"
                ))
        })?;
        match &self.member {
            None => Ok((pin, None)),
            Some(member) => match pin.members.get(member) {
                Some(found) => Ok((pin, Some(found))),
                None => Err(Failure::new(format!(
                    "`{member}` of {} is not pinned",
                    pin.describe()
                ))
                .hint(update(name))),
            },
        }
    }

    fn describe(&self, pin: &Pin, member: Option<&Member>) -> String {
        let (of, size) = match member {
            None => (String::new(), pin.size),
            Some(member) => (format!("{} of ", member.path), member.size),
        };
        format!("{of}{}, {}", pin.describe(), Bytes(size))
    }

    fn place(&self, pin: &Pin, member: Option<&Member>, kept: Option<&FileStat>) -> Action {
        let mut pin = pin.clone();
        pin.fetch = self.fetch.unwrap_or(pin.fetch);
        // The job needs this one only, which it is told beside.
        pin.members.clear();
        Action::Place {
            pin: Box::new(pin),
            member: member.cloned(),
            path: self.path.clone(),
            mode: self.mode,
            owner: self.attributes().ownership(kept),
        }
    }

    fn decide_absent(&self, stat: Option<&FileStat>) -> Decision<Vec<Action>> {
        match stat {
            None => Decision::Unchanged,
            Some(stat) if matches!(stat.kind, FileKind::File | FileKind::Symlink) => {
                Decision::Drift {
                    diff: vec![DiffLine::old(self.path.as_str())],
                    drift: vec![Action::Remove {
                        path: self.path.clone(),
                        recursive: false,
                    }],
                }
            }
            Some(stat) => Decision::Refused(in_the_way(&self.path, stat, "a file")),
        }
    }

    fn decide_new(&self, pin: &Pin, member: Option<&Member>) -> Decision<Vec<Action>> {
        let mut new = format!(
            "{}, {}",
            self.describe(pin, member),
            self.attributes().words()
        );
        if new.ends_with(", ") {
            new.truncate(new.len() - 2);
        }
        Decision::Drift {
            diff: vec![DiffLine::new(new)],
            drift: vec![self.place(pin, member, None)],
        }
    }

    fn decide_existing(
        &self,
        stat: &FileStat,
        live: Option<&str>,
        (pin, member): (&Pin, Option<&Member>),
    ) -> Decision<Vec<Action>> {
        let wished = member.map_or(pin.sha256.as_str(), |member| &member.sha256);
        let attributes = self.attributes();
        let mut diff = attributes.diff(stat);
        if live == Some(wished) {
            if diff.is_empty() {
                return Decision::Unchanged;
            }
            return Decision::Drift {
                diff,
                drift: vec![attributes.set(&self.path, stat)],
            };
        }
        let old = live.map_or("gone".to_owned(), |live| format!("sha256 {}", short(live)));
        diff.insert(0, DiffLine::old(format!("{old}, {}", Bytes(stat.size))));
        let new = format!("sha256 {}, {}", short(wished), self.describe(pin, member));
        diff.insert(1, DiffLine::new(new));
        Decision::Drift {
            diff,
            drift: vec![self.place(pin, member, Some(stat))],
        }
    }
}

/// The beginning of a digest: enough to tell two files apart by eye.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn update(name: &str) -> String {
    format!("run `hmco-boot pins update {name}`: it pins the members that playbooks name")
}

impl Kind for Artifact {
    type Drift = Vec<Action>;
    const NAME: &'static str = "artifact";
    const SUMMARY: &'static str = "A pinned file from a URL, or one out of a pinned archive.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = self.attributes().mistakes();
        if self.path.as_str() == "/" {
            mistakes.push(("path", "`/` is a folder".to_owned()));
        }
        if let Some(member) = &self.member
            && !is_member(member)
        {
            mistakes.push((
                "member",
                format!("{member:?} is not a file's path in an archive, or the end of one"),
            ));
        }
        mistakes
    }

    fn pins(&mut self, book: &PinBook) -> Vec<(&'static str, PinProblem)> {
        if self.state == Presence::Absent {
            return Vec::new();
        }
        if let Err(problem) = self.name.resolve(book) {
            return vec![("name", problem)];
        }
        let (Some(artifact), Some(member)) = (self.name.found(), &self.member) else {
            return Vec::new();
        };
        let lacks = |pin: &&Pin| !pin.members.contains_key(member);
        let open: Vec<String> = artifact
            .pins
            .iter()
            .filter(lacks)
            .map(Pin::describe)
            .collect();
        if open.is_empty() {
            return Vec::new();
        }
        let problem = PinProblem {
            code: "open-pin",
            message: format!("`{member}` is not pinned in {}", open.join(", ")),
            hint: update(self.name.name()),
        };
        vec![("member", problem)]
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let present = self.state == Presence::Present;
        let wanted = [
            Some(self.stat_fact()),
            present.then(|| self.digest_fact()),
            present.then_some(Fact::Os),
        ];
        Want::all(known, wanted.into_iter().flatten())
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let stat = known.stat(&self.path)?;
        if self.state == Presence::Absent {
            return Ok(self.decide_absent(stat));
        }
        let arch = known.os()?.map_or("", |os| os.arch.as_str());
        let (pin, member) = match self.wanted(arch) {
            Ok(wanted) => wanted,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        let Some(stat) = stat else {
            return Ok(self.decide_new(pin, member));
        };
        match stat.kind {
            FileKind::File => {
                let live = known.digest(&self.digest_fact())?;
                Ok(self.decide_existing(stat, live, (pin, member)))
            }
            FileKind::Symlink => Ok(self.decide_new(pin, member)),
            FileKind::Directory | FileKind::Special => {
                Ok(Decision::Refused(in_the_way(&self.path, stat, "a file")))
            }
        }
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        written(&self.path, false)
    }
}

fn is_member(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['/', '-'])
        && !text.ends_with('/')
        && !text.contains(['*', '?', '[', '\\'])
        && !text.chars().any(char::is_control)
        && text.split('/').all(|part| !part.is_empty() && part != "..")
}

#[cfg(test)]
mod tests;
