//! Permissions and ownership: what is wished, how it differs from what is there, and which words are no owner.

use crate::facts::fact::{FileKind, FileStat};
use crate::model::action::{Action, Ownership};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::Mode;

/// Wished permissions and ownership; `None` = as they are.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Permissions.
    pub mode: Option<Mode>,
    /// A user's name or number.
    pub owner: Option<&'a str>,
    /// A group's name or number.
    pub group: Option<&'a str>,
}

impl Attributes<'_> {
    /// One line for each that differs from what is there.
    pub fn diff(&self, stat: &FileStat) -> Vec<DiffLine> {
        let mut lines = Vec::new();
        if let Some(mode) = self.mode.filter(|mode| mode.0 != stat.mode) {
            lines.push(DiffLine::both(format!(
                "mode {} -> {mode}",
                Mode(stat.mode)
            )));
        }
        if let Some(owner) = self.owner.filter(|name| !is(name, &stat.user, stat.uid)) {
            lines.push(DiffLine::both(format!("owner {} -> {owner}", stat.user)));
        }
        if let Some(group) = self.group.filter(|name| !is(name, &stat.group, stat.gid)) {
            lines.push(DiffLine::both(format!("group {} -> {group}", stat.group)));
        }
        lines
    }

    /// The change of what is there to what is wished.
    pub fn set(&self, path: &AbsPath, stat: &FileStat) -> Action {
        Action::SetAttributes {
            path: path.clone(),
            // Also where only the owner changes: changing it clears set-id bits.
            mode: Some(self.mode.unwrap_or(Mode(stat.mode))),
            owner: self.ownership(None),
        }
    }

    /// Ownership for something new; what is not wished stays as in `kept`, by number.
    pub fn ownership(&self, kept: Option<&FileStat>) -> Ownership {
        let wished = |name: Option<&str>, number: Option<u32>| {
            name.map(str::to_owned)
                .or_else(|| number.map(|n| n.to_string()))
        };
        Ownership {
            user: wished(self.owner, kept.map(|stat| stat.uid)),
            group: wished(self.group, kept.map(|stat| stat.gid)),
        }
    }

    /// Words for something new: `mode 0644, owner pi`.
    pub fn words(&self) -> String {
        let named = [
            self.mode.map(|mode| format!("mode {mode}")),
            self.owner.map(|owner| format!("owner {owner}")),
            self.group.map(|group| format!("group {group}")),
        ];
        named.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What is wrong with the names.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        [("owner", self.owner), ("group", self.group)]
            .into_iter()
            .filter_map(|(key, name)| Some((key, name?)))
            .filter(|(_, name)| !is_name(name))
            .map(|(key, name)| {
                let hint = if name.contains([':', '.']) {
                    "; user and group are two keys, `owner` and `group`"
                } else {
                    ""
                };
                (
                    key,
                    format!("{name:?} is not a name or number of a user or group{hint}"),
                )
            })
            .collect()
    }
}

fn is(wished: &str, name: &str, number: u32) -> bool {
    wished == name || wished.parse() == Ok(number)
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.$@\\".contains(c);
    // A dot may be part of a name (`first.last`), and `user.group` is what it looks like to an old chown; a number
    // beyond 32 bits is no number of anybody.
    let number = name.bytes().all(|b| b.is_ascii_digit());
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(allowed)
        && (!number || name.parse::<u32>().is_ok())
}

/// Refuses: what is there is in the way, and is not what this kind replaces.
pub fn in_the_way(path: &AbsPath, stat: &FileStat, wanted: &str) -> Failure {
    let (is, hint) = match stat.kind {
        FileKind::File => (
            "a file",
            "remove it first with a `file` step with `state = \"absent\"`",
        ),
        FileKind::Directory => (
            "a folder",
            "remove it first with a `directory` step with `state = \"absent\"` and `recursive = true`, if that is meant",
        ),
        FileKind::Symlink => (
            "a symbolic link",
            "name what it leads to, or remove it with a `link` step with `state = \"absent\"`",
        ),
        FileKind::Special => (
            "a device, socket or FIFO",
            "look at what made it; it is not removed for you",
        ),
    };
    let mut failure = Failure::new(format!("{path} is {is}, not {wanted}")).hint(hint);
    if let Some(target) = &stat.link_target {
        failure = failure.evidence(format!("it leads to {}", super::diff::shown(target)));
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file_stat, lines, path};
    use super::*;

    fn wish<'a>(
        mode: Option<u32>,
        owner: Option<&'a str>,
        group: Option<&'a str>,
    ) -> Attributes<'a> {
        Attributes {
            mode: mode.map(Mode),
            owner,
            group,
        }
    }

    #[test]
    fn an_owner_is_the_same_by_name_and_by_number() {
        let stat = file_stat();
        for same in ["root", "0", "00"] {
            assert!(
                wish(None, Some(same), Some(same)).diff(&stat).is_empty(),
                "{same}"
            );
        }
        insta::assert_snapshot!(lines(&wish(Some(0o600), Some("pi"), Some("1000")).diff(&stat)), @r"
        mode 0644 -> 0600
        owner root -> pi
        group root -> 1000
        ");
    }

    #[test]
    fn a_new_owner_comes_with_the_mode_because_changing_it_clears_set_id_bits() {
        let stat = FileStat {
            mode: 0o4755,
            ..file_stat()
        };
        let Action::SetAttributes { mode, owner, .. } =
            wish(None, Some("pi"), None).set(&path("/a"), &stat)
        else {
            panic!()
        };
        assert_eq!(mode, Some(Mode(0o4755)));
        assert_eq!(owner.user.as_deref(), Some("pi"));
        assert_eq!(owner.group, None);
    }

    #[test]
    fn words_that_are_no_owner_are_mistakes() {
        for good in ["pi", "1000", "www-data", "_apt", "first.last"] {
            assert!(wish(None, Some(good), None).mistakes().is_empty(), "{good}");
        }
        for bad in ["", "pi:pi", "-R", "a b", "a\nb", "99999999999", ":"] {
            assert_eq!(wish(None, None, Some(bad)).mistakes().len(), 1, "{bad:?}");
        }
        let told = &wish(None, Some("pi:pi"), None).mistakes()[0];
        assert!(told.1.contains("two keys"), "{}", told.1);
    }
}
