//! `link`: a symbolic link.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::Presence;
use super::shared::attributes::in_the_way;
use super::shared::diff::shown;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, FileKind};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::path::AbsPath;

/// A symbolic link; or none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where the link is. Another link there is replaced; a file or folder there is refused. Its folder must exist.
    pub path: AbsPath,
    /// What it leads to, needed unless `state = "absent"`: the link's text, absolute or relative to the link's folder.
    /// It need not exist.
    #[serde(default)]
    pub to: Option<String>,
    /// `"absent"` removes a link, whatever it leads to; a file or folder there is refused.
    #[serde(default)]
    pub state: Presence,
}

impl Kind for Link {
    type Drift = Vec<Action>;
    const NAME: &'static str = "link";
    const SUMMARY: &'static str = "A symbolic link.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut mistake = |key, message: &str| mistakes.push((key, message.to_owned()));
        match self.to.as_deref() {
            None if self.state == Presence::Present => {
                mistake(
                    "to",
                    "a link needs `to`, what it leads to (or `state = \"absent\"`)",
                );
            }
            Some("") => mistake("to", "a link cannot lead to an empty path"),
            Some(to) if to.chars().any(char::is_control) => {
                mistake("to", "the path has a control character");
            }
            Some(to) if to.len() > 4095 => mistake("to", "the path is longer than 4095 bytes"),
            Some(to) if to == self.path.as_str() || to == self.path.file_name() => {
                mistake("to", "the link would lead to itself");
            }
            _ => {}
        }
        if self.path.as_str() == "/" {
            mistake("path", "`/` cannot be a link");
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
        if let Some(stat) = stat.filter(|stat| stat.kind != FileKind::Symlink) {
            return Ok(Decision::Refused(in_the_way(&self.path, stat, "a link")));
        }
        let live = stat.map(|stat| stat.link_target.as_deref().unwrap_or_default());
        let wished = match self.state {
            Presence::Present => self.to.as_deref(),
            Presence::Absent => None,
        };
        if live == wished {
            return Ok(Decision::Unchanged);
        }
        let leads_to = |to: &str| format!("link to {}", shown(to));
        let diff = live
            .map(|to| DiffLine::old(leads_to(to)))
            .into_iter()
            .chain(wished.map(|to| DiffLine::new(leads_to(to))))
            .collect();
        let action = match wished {
            Some(to) => Action::Symlink {
                path: self.path.clone(),
                to: to.to_owned(),
            },
            None => Action::Remove {
                path: self.path.clone(),
                recursive: false,
            },
        };
        Ok(Decision::Drift {
            diff,
            drift: vec![action],
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        Touches::trees([self.path.clone()])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::shared::testing::{
        Machine, drift, file_stat, lines, mistakes, refusal, stat_of, wish,
    };
    use super::*;

    #[test]
    fn a_link_that_leads_there_is_unchanged_and_another_one_is_replaced() {
        let wished = wish::<Link>(json!({ "path": "/usr/local/bin/kubectl", "to": "k3s" }));
        let (diff, actions) = drift(Machine::empty().decide(&wished).1);
        insta::assert_snapshot!(lines(&diff), @"+link to k3s");
        assert!(matches!(&actions[..], [Action::Symlink { to, .. }] if to == "k3s"));
        let other = Machine::with(stat_of(FileKind::Symlink));
        let (diff, _) = drift(other.decide(&wished).1);
        insta::assert_snapshot!(lines(&diff), @r"
        -link to /elsewhere
        +link to k3s
        ");
        let same = wish::<Link>(json!({ "path": "/usr/local/bin/kubectl", "to": "/elsewhere" }));
        assert_eq!(other.decide(&same).1, Decision::Unchanged);
    }

    #[test]
    fn a_link_is_removed_whatever_it_leads_to_and_nothing_else_is() {
        let gone = wish::<Link>(json!({ "path": "/a", "state": "absent", "to": "/elsewhere" }));
        assert_eq!(Machine::empty().decide(&gone).1, Decision::Unchanged);
        let (diff, actions) = drift(Machine::with(stat_of(FileKind::Symlink)).decide(&gone).1);
        insta::assert_snapshot!(lines(&diff), @"-link to /elsewhere");
        assert!(matches!(
            &actions[..],
            [Action::Remove {
                recursive: false,
                ..
            }]
        ));
        insta::assert_snapshot!(refusal(Machine::with(file_stat()).decide(&gone).1), @r#"
        /a is a file, not a link
        hint: remove it first with a `file` step with `state = "absent"`
        "#);
    }

    #[test]
    fn a_folder_in_the_way_is_refused() {
        let wished = wish::<Link>(json!({ "path": "/a", "to": "/b" }));
        insta::assert_snapshot!(refusal(Machine::with(stat_of(FileKind::Directory)).decide(&wished).1), @r#"
        /a is a folder, not a link
        hint: remove it first with a `directory` step with `state = "absent"` and `recursive = true`, if that is meant
        "#);
    }

    #[test]
    fn mistakes_name_their_keys() {
        for (table, expected) in [
            (json!({ "path": "/a" }), "to: a link needs"),
            (
                json!({ "path": "/a", "to": "" }),
                "to: a link cannot lead to an empty path",
            ),
            (
                json!({ "path": "/x/a", "to": "a" }),
                "to: the link would lead to itself",
            ),
            (
                json!({ "path": "/x/a", "to": "/x/a" }),
                "to: the link would lead to itself",
            ),
            (
                json!({ "path": "/x/a", "to": "b\nc" }),
                "to: the path has a control character",
            ),
            (
                json!({ "path": "/", "state": "absent" }),
                "path: `/` cannot be a link",
            ),
        ] {
            let told = mistakes::<Link>(table);
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
