//! What a machine shows beside what is trusted of it: which host keys are new, which are known, which are others. Pure.

use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::report::style::{Ink, Line};
use crate::transport::ssh::known_hosts::same_key;
use crate::transport::ssh::route::HostKeys;

/// One key of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key.
    pub key: PublicKey,
    /// What is to be said of it.
    pub state: State,
    /// known_hosts has it, too.
    pub known: bool,
}

/// What is to be said of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Shown, and pinned.
    Pinned,
    /// Shown, and nothing speaks against it.
    New,
    /// Shown, and another one is trusted.
    Changed,
    /// Shown, and revoked in known_hosts.
    Revoked,
    /// Trusted, and not shown.
    Missing,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::New => "new",
            Self::Changed => "CHANGED",
            Self::Revoked => "REVOKED",
            Self::Missing => "missing",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Self::Pinned => Ink::Plain,
            Self::New => Ink::Good,
            Self::Changed | Self::Revoked => Ink::Bad,
            Self::Missing => Ink::Soft,
        }
    }
}

/// All keys of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// In the order they are shown.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Of what is trusted and what a machine showed. A machine that shows none of the keys that are trusted is another one,
    /// whatever the types are: who stands in between does not have our types by chance.
    pub fn new(trusted: &HostKeys, shown: &[PublicKey]) -> Self {
        let (pinned, known, revoked): (&[PublicKey], &[PublicKey], &[PublicKey]) = match trusted {
            HostKeys::Pinned(keys) => (keys, &[], &[]),
            HostKeys::Known { keys, revoked, .. } => (&[], keys, revoked),
        };
        let has = |keys: &[PublicKey], key: &PublicKey| keys.iter().any(|one| same_key(one, key));
        let all = trusted.keys();
        let another = !all.is_empty() && !shown.iter().any(|key| has(all, key));
        let same_type = |key: &PublicKey| all.iter().any(|one| type_of(one) == type_of(key));
        let state = |key: &PublicKey| {
            if has(revoked, key) {
                State::Revoked
            } else if has(pinned, key) {
                State::Pinned
            } else if has(known, key) {
                State::New
            } else if another || same_type(key) {
                State::Changed
            } else {
                State::New
            }
        };
        let mut rows: Vec<Row> = shown
            .iter()
            .map(|key| Row {
                key: key.clone(),
                state: state(key),
                known: has(known, key),
            })
            .collect();
        rows.extend(all.iter().filter(|key| !has(shown, key)).map(|key| Row {
            key: key.clone(),
            state: State::Missing,
            known: has(known, key),
        }));
        Self { rows }
    }

    /// Whether it shows others than are trusted.
    pub fn is_changed(&self) -> bool {
        self.has(State::Changed) || self.has(State::Revoked)
    }

    /// Whether it shows one that is not pinned yet.
    pub fn has_new(&self) -> bool {
        self.has(State::New) || self.has(State::Changed)
    }

    fn has(&self, state: State) -> bool {
        self.rows.iter().any(|row| row.state == state)
    }

    /// The lines for the inventory: what is pinned and what is new; with `replace`, what the machine shows and nothing else.
    /// A revoked key is never among them.
    pub fn pins(&self, replace: bool) -> Vec<String> {
        let wanted = |row: &&Row| match row.state {
            State::Pinned | State::New => true,
            State::Changed => replace,
            // One that only known_hosts has is not taken over: the machine does not show it.
            State::Missing => !replace && !row.known,
            State::Revoked => false,
        };
        let rows = self.rows.iter().filter(wanted);
        rows.filter_map(|row| line(&row.key)).collect()
    }

    /// For people: a line per key.
    pub fn lines(&self) -> Vec<Line> {
        self.rows
            .iter()
            .map(|row| {
                let mut line = Line::new().plain("  ");
                line.push(row.state.ink(), row.state.as_str());
                line.pad_to(11);
                line.push(
                    Ink::Plain,
                    format!("{:>4} {}", bits(&row.key), print(&row.key)),
                );
                line.push(Ink::Plain, format!(" ({})", type_name(&row.key)));
                let remark = match (row.state, row.known) {
                    (State::New, true) => "  as in known_hosts",
                    (State::Missing, true) => "  in known_hosts, and not shown",
                    (State::Missing, false) => "  pinned, and not shown",
                    (State::Changed, _) => "  not what is trusted",
                    (State::Revoked, _) => "  by known_hosts",
                    _ => "",
                };
                line.push(Ink::Soft, remark);
                line
            })
            .collect()
    }
}

/// `TYPE BASE64`, as in an inventory.
pub fn line(key: &PublicKey) -> Option<String> {
    let text = PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .ok()?;
    Some(text.trim().to_owned())
}

/// `SHA256:...`, as `ssh-keygen -l` prints it.
pub fn print(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn type_of(key: &PublicKey) -> String {
    key.algorithm().to_string()
}

/// The type in `ssh-keygen -l`'s words.
pub fn type_name(key: &PublicKey) -> &'static str {
    match key.algorithm() {
        Algorithm::Ed25519 => "ED25519",
        Algorithm::Ecdsa { .. } => "ECDSA",
        Algorithm::Rsa { .. } => "RSA",
        _ => "other",
    }
}

/// The size that `ssh-keygen -l` prints.
pub fn bits(key: &PublicKey) -> usize {
    use russh::keys::ssh_key::public::KeyData;
    match key.key_data() {
        KeyData::Rsa(key) => key
            .n()
            .as_positive_bytes()
            .map_or(0, |bytes| bytes.len() * 8 - leading_zeros(bytes)),
        KeyData::Ecdsa(key) => match key.curve() {
            russh::keys::EcdsaCurve::NistP256 => 256,
            russh::keys::EcdsaCurve::NistP384 => 384,
            russh::keys::EcdsaCurve::NistP521 => 521,
        },
        _ => 256,
    }
}

fn leading_zeros(bytes: &[u8]) -> usize {
    let first = bytes.first().map_or(0, |byte| byte.leading_zeros());
    usize::try_from(first).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";
    const E: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

    fn keys(lines: &[&str]) -> Vec<PublicKey> {
        lines
            .iter()
            .map(|line| PublicKey::from_openssh(line).unwrap())
            .collect()
    }

    fn pinned(pins: &[&str], shown: &[&str]) -> Comparison {
        Comparison::new(&HostKeys::Pinned(keys(pins)), &keys(shown))
    }

    fn states(comparison: &Comparison) -> Vec<State> {
        comparison.rows.iter().map(|row| row.state).collect()
    }

    #[test]
    fn a_first_look_takes_all_keys() {
        let first = pinned(&[], &[A, E]);
        assert_eq!(states(&first), [State::New, State::New]);
        assert_eq!(first.pins(false), [A, E]);
        assert!(first.has_new() && !first.is_changed());
    }

    #[test]
    fn a_further_type_is_added_and_one_that_is_not_shown_stays() {
        assert_eq!(pinned(&[A], &[A, E]).pins(false), [A, E]);
        let missing = pinned(&[A, E], &[A]);
        assert_eq!(states(&missing), [State::Pinned, State::Missing]);
        assert!(!missing.has_new() && !missing.is_changed());
        assert_eq!(missing.pins(false), [A, E]);
    }

    #[test]
    fn another_key_of_a_type_is_a_change_and_replaces_only_when_told_to() {
        let changed = pinned(&[A, E], &[B, E]);
        assert_eq!(
            states(&changed),
            [State::Changed, State::Pinned, State::Missing]
        );
        assert_eq!(changed.pins(true), [B, E]);
        assert!(!changed.pins(false).contains(&B.to_owned()));
    }

    #[test]
    fn a_machine_that_shows_none_of_the_trusted_keys_is_another_one_whatever_its_types() {
        assert_eq!(states(&pinned(&[A], &[E]))[0], State::Changed);
    }

    #[test]
    fn known_hosts_speaks_for_a_key_or_against_it() {
        let known = HostKeys::Known {
            files: Vec::new(),
            keys: keys(&[A]),
            revoked: keys(&[E]),
        };
        let good = Comparison::new(&known, &keys(&[A]));
        assert!(good.rows[0].known && good.rows[0].state == State::New);
        let bad = Comparison::new(&known, &keys(&[B, E]));
        assert_eq!(states(&bad)[..2], [State::Changed, State::Revoked]);
        assert_eq!(bad.pins(true), [B]);
    }
}
