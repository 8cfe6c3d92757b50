//! `authorized_key`: a public key that opens an account.

mod key;
mod own;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::key::{is_body, key_of};
use super::shared::Presence;
use super::shared::attributes::in_the_way;
use super::shared::diff;
use super::shared::whole::Changes;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Account, Fact, FactError, FileKind};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Ownership};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

const CAP: u64 = 1 << 20;

/// A public key in a user's `~/.ssh/authorized_keys`; or no such key. The folder and the file get the owner and the modes
/// that sshd insists on. Other keys stay, unless `exclusive = true`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKey {
    /// The user, who must exist.
    pub user: String,
    /// The public key, a line as in `id_ed25519.pub`: type, key, comment. What makes it the same key is the key alone.
    pub key: String,
    /// The user's home folder, where it is neither /home/USER nor /root.
    #[serde(default)]
    pub home: Option<AbsPath>,
    /// Options before it, as sshd(8) has them: `no-port-forwarding`, `from="192.168.1.0/24"`.
    #[serde(default)]
    pub options: Vec<String>,
    /// Remove all other keys. With several keys for one user that removes what the other steps added: use one step.
    #[serde(default)]
    pub exclusive: bool,
    /// `"absent"` removes the key.
    #[serde(default)]
    pub state: Presence,
}

/// Where an account's keys are.
struct Paths {
    home: AbsPath,
    folder: AbsPath,
    file: AbsPath,
}

impl Paths {
    fn of(home: &str) -> Option<Self> {
        let home = AbsPath::new(home).ok()?;
        let below = |name: &str| {
            AbsPath::new(&format!("{}/{name}", home.as_str().trim_end_matches('/'))).ok()
        };
        Some(Self {
            folder: below(".ssh")?,
            file: below(".ssh/authorized_keys")?,
            home,
        })
    }

    fn facts(&self) -> [Fact; 4] {
        [
            Fact::Stat {
                path: self.home.clone(),
            },
            Fact::Stat {
                path: self.folder.clone(),
            },
            Fact::Stat {
                path: self.file.clone(),
            },
            self.content(),
        ]
    }

    fn content(&self) -> Fact {
        Fact::Content {
            path: self.file.clone(),
            unless_sha256: None,
            cap: CAP,
            sensitive: false,
        }
    }
}

impl AuthorizedKey {
    fn account_fact(&self) -> Fact {
        Fact::Account {
            name: self.user.clone(),
        }
    }

    /// Where the keys are to be. Not taken from the account: what a step touches has to be known without the machine,
    /// and two steps for one file must know of each other.
    fn paths(&self) -> Option<Paths> {
        match (&self.home, self.user.as_str()) {
            (Some(home), _) => Paths::of(home.as_str()),
            (None, "root") => Paths::of("/root"),
            (None, user) => Paths::of(&format!("/home/{user}")),
        }
    }

    fn line(&self) -> String {
        let key = self.key.trim();
        if self.options.is_empty() {
            key.to_owned()
        } else {
            format!("{} {key}", self.options.join(","))
        }
    }

    /// The file's text as wished.
    fn edit(&self, old: &str) -> String {
        let own = key_of(&self.key);
        let line = self.line();
        let mut new = String::new();
        let mut there = self.state == Presence::Absent;
        for part in old.lines() {
            let found = key_of(part);
            let same = found.is_some() && found == own;
            if same && !there {
                there = true;
                new.push_str(&line);
            } else if same || (self.exclusive && found.is_some()) {
                continue;
            } else {
                new.push_str(part);
            }
            new.push('\n');
        }
        if !there {
            new.push_str(&line);
            new.push('\n');
        }
        new
    }

    fn no_user(&self) -> Failure {
        Failure::new(format!("there is no user {}", self.user)).hint(format!(
            "make it with a `user` step before this one: name = {:?}",
            self.user
        ))
    }

    fn text<'a>(known: &Known<'a>, paths: &Paths) -> Result<Result<&'a str, Failure>, Unreadable> {
        let fact = paths.content();
        let Some(content) = known.content(&fact)? else {
            return Ok(Ok(""));
        };
        let Some(bytes) = content.bytes.as_deref() else {
            return Err(Unreadable {
                target: known.target().clone(),
                fact,
                source: Some(FactError::Failed(
                    "no bytes came with the answer".to_owned(),
                )),
            });
        };
        Ok(std::str::from_utf8(bytes).map_err(|_| {
            Failure::new(format!("{} is no UTF-8 text", paths.file))
                .hint("look at the file; it is not edited")
        }))
    }

    fn ensure(
        &self,
        account: &Account,
        paths: &Paths,
        known: &Known<'_>,
    ) -> Result<Decision<Vec<Action>>, Unreadable> {
        if known.stat(&paths.home)?.is_none() {
            return Ok(Decision::Refused(
                Failure::new(format!(
                    "{}'s home folder {} is not there",
                    self.user, paths.home
                ))
                .hint("make it with a `directory` step before this one"),
            ));
        }
        let mut changes = Changes::default();
        let refused = match self.folder(account, paths, known, &mut changes)? {
            None => self.file(account, paths, known, &mut changes)?,
            failure => failure,
        };
        Ok(match refused {
            Some(failure) => Decision::Refused(failure),
            None => changes.decision(),
        })
    }

    fn folder(
        &self,
        account: &Account,
        paths: &Paths,
        known: &Known<'_>,
        changes: &mut Changes,
    ) -> Result<Option<Failure>, Unreadable> {
        match known.stat(&paths.folder)? {
            Some(stat) if stat.kind != FileKind::Directory => {
                return Ok(Some(in_the_way(&paths.folder, stat, "a folder")));
            }
            // Narrower modes are the user's choice; sshd refuses what others may write.
            Some(stat) if stat.uid == account.uid && stat.mode & 0o022 == 0 => {}
            _ => {
                changes.diff.push(DiffLine::new(format!(
                    "{}, mode 0700, owner {}",
                    paths.folder, self.user
                )));
                changes.actions.push(Action::MakeDirectory {
                    path: paths.folder.clone(),
                    mode: Mode(0o700),
                    owner: owner(account),
                });
            }
        }
        Ok(None)
    }

    fn file(
        &self,
        account: &Account,
        paths: &Paths,
        known: &Known<'_>,
        changes: &mut Changes,
    ) -> Result<Option<Failure>, Unreadable> {
        let stat = known.stat(&paths.file)?;
        if let Some(stat) = stat.filter(|stat| stat.kind != FileKind::File) {
            return Ok(Some(in_the_way(&paths.file, stat, "a file")));
        }
        let old = match Self::text(known, paths)? {
            Ok(old) => old,
            Err(failure) => return Ok(Some(failure)),
        };
        let new = self.edit(old);
        if let Some(failure) = own::refusal(known.login()?, &self.user, old, &new) {
            return Ok(Some(failure));
        }
        let safe = stat.is_some_and(|stat| stat.uid == account.uid && stat.mode & 0o022 == 0);
        if new.lines().ne(old.lines()) || !safe {
            changes.diff.push(DiffLine::both(format!(
                "{}, mode 0600, owner {}",
                paths.file, self.user
            )));
            changes.diff.extend(diff::text(old, &new));
            changes.actions.push(Action::WriteFile {
                path: paths.file.clone(),
                content: Text::plain(new),
                mode: Mode(0o600),
                owner: owner(account),
                backup: false,
            });
        }
        Ok(None)
    }

    fn remove(
        &self,
        paths: &Paths,
        known: &Known<'_>,
    ) -> Result<Decision<Vec<Action>>, Unreadable> {
        let Some(stat) = known.stat(&paths.file)? else {
            return Ok(Decision::Unchanged);
        };
        let old = match Self::text(known, paths)? {
            Ok(old) => old,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        let new = self.edit(old);
        if new.lines().eq(old.lines()) {
            return Ok(Decision::Unchanged);
        }
        if let Some(failure) = own::refusal(known.login()?, &self.user, old, &new) {
            return Ok(Decision::Refused(failure));
        }
        Ok(Decision::Drift {
            diff: diff::text(old, &new),
            drift: vec![Action::WriteFile {
                path: paths.file.clone(),
                content: Text::plain(new),
                mode: Mode(stat.mode),
                owner: Ownership {
                    user: Some(stat.uid.to_string()),
                    group: Some(stat.gid.to_string()),
                },
                backup: false,
            }],
        })
    }
}

fn owner(account: &Account) -> Ownership {
    Ownership {
        user: Some(account.uid.to_string()),
        group: Some(account.gid.to_string()),
    }
}

impl Kind for AuthorizedKey {
    type Drift = Vec<Action>;
    const NAME: &'static str = "authorized_key";
    const SUMMARY: &'static str = "A public key that opens a user's account over SSH.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if !crate::facts::questions::is_account_name(&self.user) || self.user.contains('/') {
            mistakes.push(("user", format!("{:?} is not a login name", self.user)));
        }
        let key = self.key.trim();
        if key.contains("PRIVATE KEY") {
            mistakes.push((
                "key",
                "that is a private key: it stays where it is; the `.pub` file beside it is meant"
                    .to_owned(),
            ));
        } else if key.contains(['\n', '\r', '\0']) {
            mistakes.push(("key", "one line, one key: one step for each".to_owned()));
        } else {
            let first = key.split_whitespace().next().unwrap_or_default();
            match key_of(key) {
                Some((kind, body)) if kind == first && is_body(kind, body) => {}
                Some((kind, _)) if kind != first => {
                    mistakes.push(("key", "options before the key go into `options`".to_owned()));
                }
                _ => mistakes.push((
                    "key",
                    "not a public key as in id_ed25519.pub: a type, the key in base64, perhaps a comment".to_owned(),
                )),
            }
        }
        for option in &self.options {
            let outside: String = option.split('"').step_by(2).collect();
            if option.is_empty()
                || option.contains(['\n', '\r', '\0'])
                || outside.contains([' ', '\t', ','])
            {
                mistakes.push((
                    "options",
                    format!("{option:?} is not one option: one list item for each"),
                ));
            }
        }
        if self.exclusive && self.state == Presence::Absent {
            mistakes.push((
                "exclusive",
                "`exclusive` goes with a key that shall be there: without any nobody could log in"
                    .to_owned(),
            ));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let paths = self.paths().into_iter().flat_map(|paths| paths.facts());
        Want::all(
            known,
            [self.account_fact(), Fact::Login].into_iter().chain(paths),
        )
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let account = match (known.account(&self.user)?, self.state) {
            (Some(account), _) => account,
            (None, Presence::Absent) => return Ok(Decision::Unchanged),
            (None, Presence::Present) => return Ok(Decision::Refused(self.no_user())),
        };
        let paths = self
            .paths()
            .filter(|paths| paths.home.as_str() == account.home.trim_end_matches('/'));
        let Some(paths) = paths else {
            return Ok(Decision::Refused(
                Failure::new(format!("{}'s home folder is {:?}", self.user, account.home))
                    .hint(format!("say so in the step: `home = {:?}`", account.home)),
            ));
        };
        match self.state {
            Presence::Present => self.ensure(account, &paths, known),
            Presence::Absent => self.remove(&paths, known),
        }
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        Touches::trees(self.paths().map(|paths| paths.folder))
    }
}

#[cfg(test)]
mod tests;
