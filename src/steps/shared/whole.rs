//! A file that a kind owns as a whole: compared and written by the `file` kind.

use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;
use crate::steps::file::File;
use crate::steps::{Decision, Kind, Want};

use super::Presence;

/// What a kind found to do, put together from its parts.
#[derive(Debug, Default)]
pub struct Changes {
    /// For people.
    pub diff: Vec<DiffLine>,
    /// In order.
    pub actions: Vec<Action>,
}

impl Changes {
    /// Takes a part's drift in, under a heading; a refusal is given back.
    pub fn take(
        &mut self,
        heading: impl Into<String>,
        decision: Decision<Vec<Action>>,
    ) -> Result<(), Failure> {
        match decision {
            Decision::Unchanged => Ok(()),
            Decision::Drift { diff, drift } => {
                self.diff.push(DiffLine::both(heading));
                self.diff.extend(diff);
                self.actions.extend(drift);
                Ok(())
            }
            Decision::Refused(failure) | Decision::Unknown(failure) => Err(failure),
        }
    }

    /// The decision: drift where there is anything to do.
    pub fn decision(self) -> Decision<Vec<Action>> {
        if self.actions.is_empty() {
            Decision::Unchanged
        } else {
            Decision::Drift {
                diff: self.diff,
                drift: self.actions,
            }
        }
    }
}

/// A text file of root, mode 0644.
pub fn file(path: &AbsPath, content: impl Into<String>) -> File {
    File {
        path: path.clone(),
        content: Some(Text::plain(content)),
        mode: Some(Mode(0o644)),
        // Made by root it is root's.
        owner: None,
        group: None,
        state: Presence::Present,
        replace: true,
        backup: false,
    }
}

/// No such file.
pub fn no_file(path: &AbsPath) -> File {
    File {
        content: None,
        mode: None,
        state: Presence::Absent,
        ..file(path, "")
    }
}

/// The facts of several wishes in one.
pub fn join(wants: impl IntoIterator<Item = Want>) -> Want {
    let mut all = Vec::new();
    for want in wants {
        if let Want::More(more) = want {
            all.extend(more);
        }
    }
    if all.is_empty() {
        Want::Done
    } else {
        Want::More(all)
    }
}

/// Looks at a file and takes what differs in.
pub fn compare(
    changes: &mut Changes,
    file: &File,
    known: &Known<'_>,
) -> Result<Option<Failure>, Unreadable> {
    let decision = Kind::decide(file, known)?;
    Ok(changes.take(file.path.as_str(), decision).err())
}
