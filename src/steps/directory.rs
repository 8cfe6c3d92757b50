//! `directory`: a folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::Presence;
use super::shared::attributes::{Attributes, in_the_way};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FileKind, FileStat};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::Mode;

/// A folder with permissions and an owner; or no folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where the folder is. Missing parents are made with mode 0755. A symbolic link there is refused, also one that
    /// leads to a folder: name the folder itself.
    pub path: AbsPath,
    /// Permissions in octal, of this folder only, not of what is in it.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// Owner, a user's name or number. By default it stays as it is; a new folder belongs to who makes it (root).
    #[serde(default)]
    pub owner: Option<String>,
    /// Group, a name or number. By default it stays as it is.
    #[serde(default)]
    pub group: Option<String>,
    /// `"absent"` removes the folder, which needs `recursive = true`; the other keys are then not looked at.
    #[serde(default)]
    pub state: Presence,
    /// With `state = "absent"`: remove it with everything in it (but never what is mounted below it).
    #[serde(default)]
    pub recursive: bool,
}

fn default_mode() -> Mode {
    Mode(0o755)
}

/// Folders that no playbook means to remove with all in them.
const SYSTEM_FOLDERS: [&str; 26] = [
    "/",
    "/bin",
    "/boot",
    "/boot/firmware",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/var",
    "/var/lib",
    "/var/log",
];

impl Directory {
    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            mode: Some(self.mode),
            owner: self.owner.as_deref(),
            group: self.group.as_deref(),
        }
    }

    fn decide_present(&self, stat: Option<&FileStat>) -> Decision<Vec<Action>> {
        let attributes = self.attributes();
        match stat {
            None => Decision::Drift {
                diff: vec![DiffLine::new(format!("new folder, {}", attributes.words()))],
                drift: vec![Action::MakeDirectory {
                    path: self.path.clone(),
                    mode: self.mode,
                    owner: attributes.ownership(None),
                }],
            },
            Some(stat) if stat.kind == FileKind::Directory => {
                let diff = attributes.diff(stat);
                if diff.is_empty() {
                    return Decision::Unchanged;
                }
                Decision::Drift {
                    diff,
                    drift: vec![attributes.set(&self.path, stat)],
                }
            }
            Some(stat) => Decision::Refused(in_the_way(&self.path, stat, "a folder")),
        }
    }

    fn decide_absent(&self, stat: Option<&FileStat>) -> Decision<Vec<Action>> {
        match stat {
            None => Decision::Unchanged,
            Some(stat) if stat.kind != FileKind::Directory => {
                Decision::Refused(in_the_way(&self.path, stat, "a folder"))
            }
            Some(_) if !self.recursive => Decision::Refused(
                Failure::new(format!(
                    "{} would be removed with everything in it",
                    self.path
                ))
                .hint("set `recursive = true` if that is meant"),
            ),
            Some(_) => Decision::Drift {
                diff: vec![DiffLine::old("the folder and everything in it")],
                drift: vec![Action::Remove {
                    path: self.path.clone(),
                    recursive: true,
                }],
            },
        }
    }
}

impl Kind for Directory {
    type Drift = Vec<Action>;
    const NAME: &'static str = "directory";
    const SUMMARY: &'static str = "A folder with permissions and an owner.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = self.attributes().mistakes();
        if self.state == Presence::Present && self.recursive {
            mistakes.push((
                "recursive",
                "`recursive` belongs to `state = \"absent\"`; mode and owner are set on the folder itself only".to_owned(),
            ));
        }
        if self.state == Presence::Absent && SYSTEM_FOLDERS.contains(&self.path.as_str()) {
            mistakes.push((
                "path",
                format!(
                    "{} is part of the operating system and is never removed",
                    self.path
                ),
            ));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(
            known,
            [Fact::Stat {
                path: self.path.clone(),
            }],
        )
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let stat = known.stat(&self.path)?;
        Ok(match self.state {
            Presence::Present => self.decide_present(stat),
            Presence::Absent => self.decide_absent(stat),
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        match self.state {
            Presence::Present => Touches::paths([self.path.clone()]),
            Presence::Absent => Touches::trees([self.path.clone()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::shared::testing::{
        Machine, drift, file_stat, lines, mistakes, path, refusal, stat_of, wish,
    };
    use super::*;

    fn folder() -> FileStat {
        FileStat {
            mode: 0o755,
            ..stat_of(FileKind::Directory)
        }
    }

    #[test]
    fn a_missing_folder_is_made_with_its_mode_and_owner() {
        let wish = wish::<Directory>(json!({ "path": "/srv/app", "mode": "0750", "owner": "pi" }));
        let (diff, actions) = drift(Machine::empty().decide(&wish).1);
        insta::assert_snapshot!(lines(&diff), @"+new folder, mode 0750, owner pi");
        let [
            Action::MakeDirectory {
                path: made,
                mode,
                owner,
            },
        ] = &actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!(
            (made, *mode, owner.user.as_deref(), owner.group.as_deref()),
            (&path("/srv/app"), Mode(0o750), Some("pi"), None)
        );
    }

    #[test]
    fn a_folder_as_wished_is_unchanged_and_other_attributes_are_set_in_place() {
        let wish = wish::<Directory>(json!({ "path": "/srv/app", "group": "0" }));
        assert_eq!(Machine::with(folder()).decide(&wish).1, Decision::Unchanged);
        let sticky = FileStat {
            mode: 0o2755,
            gid: 7,
            group: "lp".to_owned(),
            ..folder()
        };
        let (diff, actions) = drift(Machine::with(sticky).decide(&wish).1);
        insta::assert_snapshot!(lines(&diff), @r"
        mode 2755 -> 0755
        group lp -> 0
        ");
        assert!(matches!(&actions[..], [Action::SetAttributes { .. }]));
    }

    #[test]
    fn a_file_or_a_link_in_the_way_is_refused() {
        let wish = wish::<Directory>(json!({ "path": "/srv/app" }));
        insta::assert_snapshot!(refusal(Machine::with(file_stat()).decide(&wish).1), @r#"
        /srv/app is a file, not a folder
        hint: remove it first with a `file` step with `state = "absent"`
        "#);
        insta::assert_snapshot!(refusal(Machine::with(stat_of(FileKind::Symlink)).decide(&wish).1), @r#"
        /srv/app is a symbolic link, not a folder
          it leads to /elsewhere
        hint: name what it leads to, or remove it with a `link` step with `state = "absent"`
        "#);
    }

    #[test]
    fn a_folder_is_removed_only_when_recursive_says_so() {
        let timid = wish::<Directory>(json!({ "path": "/srv/app", "state": "absent" }));
        let bold =
            wish::<Directory>(json!({ "path": "/srv/app", "state": "absent", "recursive": true }));
        assert_eq!(Machine::empty().decide(&timid).1, Decision::Unchanged);
        insta::assert_snapshot!(refusal(Machine::with(folder()).decide(&timid).1), @r"
        /srv/app would be removed with everything in it
        hint: set `recursive = true` if that is meant
        ");
        let (diff, actions) = drift(Machine::with(folder()).decide(&bold).1);
        insta::assert_snapshot!(lines(&diff), @"-the folder and everything in it");
        assert!(matches!(
            &actions[..],
            [Action::Remove {
                recursive: true,
                ..
            }]
        ));
        assert!(matches!(
            Machine::with(file_stat()).decide(&bold).1,
            Decision::Refused(_)
        ));
    }

    #[test]
    fn mistakes_name_their_keys() {
        insta::assert_snapshot!(mistakes::<Directory>(json!({ "path": "/a", "recursive": true, "owner": "pi:pi" })), @r#"
        owner: "pi:pi" is not a name or number of a user or group; user and group are two keys, `owner` and `group`
        recursive: `recursive` belongs to `state = "absent"`; mode and owner are set on the folder itself only
        "#);
        insta::assert_snapshot!(mistakes::<Directory>(json!({ "path": "/etc/", "state": "absent", "recursive": true })), @"path: /etc is part of the operating system and is never removed");
    }
}
