//! `user`: an account of a machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{Presence, script};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Account, Fact};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

const APPLY: &str = include_str!("apply.sh");

/// A user account; or no such account. A new one has a locked password: it is entered by a key (`authorized_key`) or by
/// root. Keys that are left out stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Number. By default a new user gets the next free one.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Groups it is a member of, which must exist. Others that it is in stay.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Login shell. A new user gets /bin/bash where that is there, else /bin/sh; a system user /usr/sbin/nologin.
    #[serde(default)]
    pub shell: Option<AbsPath>,
    /// Home folder. A new user's is made (not a system user's), by default /home/NAME. Where an existing user's is
    /// changed, nothing is moved.
    #[serde(default)]
    pub home: Option<AbsPath>,
    /// A new user is one of the system: low number, no home folder, no login.
    #[serde(default)]
    pub system: bool,
    /// `"absent"` removes the account. Its home folder stays unless `remove_home = true`.
    #[serde(default)]
    pub state: Presence,
    /// With `state = "absent"`: its home folder and mail too.
    #[serde(default)]
    pub remove_home: bool,
}

/// Arguments of the script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change(Vec<String>);

impl User {
    fn make(&self) -> Change {
        let mut words = vec!["add".to_owned(), self.name.clone()];
        if self.system {
            words.push("--system".to_owned());
        } else {
            words.extend(["--create-home", "--user-group"].map(str::to_owned));
        }
        words.extend(self.options(&self.groups));
        Change(words)
    }

    /// Options that useradd and usermod have in common.
    fn options(&self, groups: &[String]) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if let Some(uid) = self.uid {
            option("--uid", uid.to_string());
        }
        if let Some(shell) = &self.shell {
            option("--shell", shell.to_string());
        }
        if let Some(home) = &self.home {
            option("--home", home.to_string());
        }
        if !groups.is_empty() {
            option("--groups", groups.join(","));
        }
        words
    }

    fn words(&self) -> String {
        let mut words = vec![format!(
            "new {}user {}",
            if self.system { "system " } else { "" },
            self.name
        )];
        words.extend(self.uid.map(|uid| format!("uid {uid}")));
        words.extend(self.shell.as_ref().map(|shell| format!("shell {shell}")));
        words.extend(self.home.as_ref().map(|home| format!("home {home}")));
        if !self.groups.is_empty() {
            words.push(format!("groups {}", self.groups.join(", ")));
        }
        words.push("password locked".to_owned());
        words.join(", ")
    }

    fn compare(&self, account: &Account) -> Decision<Change> {
        let mut diff = Vec::new();
        let mut changed = Self {
            uid: None,
            shell: None,
            home: None,
            ..self.clone()
        };
        if let Some(uid) = self.uid.filter(|uid| *uid != account.uid) {
            return Decision::Refused(
                Failure::new(format!(
                    "{} has the number {}, not {uid}; changing it would leave its files to nobody",
                    self.name, account.uid
                ))
                .hint(format!("take `uid` out, or change it by hand: `usermod -u {uid} {}` and `chown` of its files", self.name)),
            );
        }
        if let Some(shell) = self
            .shell
            .as_ref()
            .filter(|shell| shell.as_str() != account.shell)
        {
            diff.push(DiffLine::both(format!(
                "shell {} -> {shell}",
                account.shell
            )));
            changed.shell = Some(shell.clone());
        }
        let same_home = |home: &&AbsPath| home.as_str() == account.home.trim_end_matches('/');
        if let Some(home) = self.home.as_ref().filter(|home| !same_home(home)) {
            diff.push(DiffLine::both(format!("home {} -> {home}", account.home)));
            changed.home = Some(home.clone());
        }
        let missing: Vec<String> = self
            .groups
            .iter()
            .filter(|group| !account.groups.contains(group))
            .cloned()
            .collect();
        if !missing.is_empty() {
            diff.push(DiffLine::new(format!("groups {}", missing.join(", "))));
        }
        if diff.is_empty() {
            return Decision::Unchanged;
        }
        let mut words = vec!["change".to_owned(), self.name.clone()];
        words.extend(changed.options(&missing));
        Decision::Drift {
            diff,
            drift: Change(words),
        }
    }

    fn remove(&self, account: &Account) -> Decision<Change> {
        let mut diff = vec![DiffLine::old(format!(
            "user {} (uid {})",
            self.name, account.uid
        ))];
        if self.remove_home {
            diff.push(DiffLine::old(format!(
                "{} with all that is in it",
                account.home
            )));
        }
        let keep = if self.remove_home {
            "remove-home"
        } else {
            "keep-home"
        };
        Decision::Drift {
            diff,
            drift: Change(vec![
                "remove".to_owned(),
                self.name.clone(),
                keep.to_owned(),
            ]),
        }
    }
}

impl Kind for User {
    type Drift = Change;
    const NAME: &'static str = "user";
    const SUMMARY: &'static str = "A user account with its groups; its password is locked.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        for (key, name) in [("name", &self.name)]
            .into_iter()
            .chain(self.groups.iter().map(|group| ("groups", group)))
        {
            if !is_name(name) {
                mistakes.push((
                    key,
                    format!("{name:?} is not a name (a lowercase letter or `_`, then those, digits and `-`; at most 32)"),
                ));
            }
        }
        if self.name == "root" || self.uid == Some(0) {
            mistakes.push(("name", "root is left alone".to_owned()));
        }
        for (key, path) in [("shell", &self.shell), ("home", &self.home)] {
            if path.as_ref().is_some_and(|path| {
                path.as_str().contains(':') || path.as_str() == "/" && key == "shell"
            }) {
                mistakes.push((key, "a path in /etc/passwd has no `:`".to_owned()));
            }
        }
        if self.state == Presence::Absent
            && (self.uid.is_some()
                || !self.groups.is_empty()
                || self.shell.is_some()
                || self.home.is_some())
        {
            mistakes.push((
                "state",
                "an account that shall not be there needs its `name` only".to_owned(),
            ));
        }
        if self.remove_home && self.state == Presence::Present {
            mistakes.push((
                "remove_home",
                "`remove_home` goes with `state = \"absent\"`".to_owned(),
            ));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(
            known,
            [Fact::Account {
                name: self.name.clone(),
            }],
        )
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        Ok(match (known.account(&self.name)?, self.state) {
            (None, Presence::Absent) => Decision::Unchanged,
            (None, Presence::Present) => Decision::Drift {
                diff: vec![DiffLine::new(self.words())],
                drift: self.make(),
            },
            (Some(account), _) if account.uid == 0 => Decision::Refused(
                Failure::new(format!("{} is root under another name (uid 0)", self.name))
                    .hint("root is left alone: take this step out"),
            ),
            (Some(account), Presence::Absent) => self.remove(account),
            (Some(account), Presence::Present) => self.compare(account),
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        let words = drift.0.iter().map(String::as_str);
        let verb = drift.0.first().map_or("change", String::as_str);
        let purpose = format!("{verb} the user {}", self.name);
        vec![script::run(Self::NAME, purpose, APPLY, words, &[])]
    }

    fn touches(&self) -> Touches {
        let files = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];
        let default = AbsPath::new(&format!("/home/{}", self.name)).ok();
        Touches {
            paths: files
                .iter()
                .filter_map(|path| AbsPath::new(path).ok())
                .collect(),
            trees: self.home.clone().or(default).into_iter().collect(),
            ..Touches::default()
        }
    }
}

/// As useradd(8) recommends: what every tool takes for a name.
fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

#[cfg(test)]
mod tests;
