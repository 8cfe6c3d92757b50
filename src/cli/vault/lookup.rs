//! What templates are answered that ask for secrets while a plan is made.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::Vault;
use crate::model::outcome::Failure;
use crate::secrets::name::SecretName;

/// What a secret that is not open yet is while names are collected.
pub(super) const CLOSED: &str = "0";

/// How the stand-in of a secret begins that is not there and may be made; its name follows.
pub const STAND_IN: &str = "not-made-yet:";

/// Answers for secrets while a plan is made, and keeps in mind which were asked for.
pub struct Lookup<'v> {
    vault: &'v Vault,
    /// What is not open has a value all the same.
    closed: bool,
    unmade: Unmade<'v>,
    missing: RefCell<BTreeSet<String>>,
}

/// What secrets have a stand-in that are not in the store.
#[derive(Clone, Copy)]
enum Unmade<'v> {
    None,
    All,
    These(&'v BTreeSet<String>),
}

impl<'v> Lookup<'v> {
    /// Names are looked at, and every secret has a value that means nothing.
    pub fn closed(vault: &'v Vault) -> Self {
        Self {
            vault,
            closed: true,
            unmade: Unmade::None,
            missing: RefCell::default(),
        }
    }

    /// Every secret that is not there has a stand-in.
    pub fn with_stand_ins(self) -> Self {
        Self {
            unmade: Unmade::All,
            ..self
        }
    }

    /// These have one, because a run makes them.
    pub fn with_unmade(self, names: &'v BTreeSet<String>) -> Self {
        Self {
            unmade: Unmade::These(names),
            ..self
        }
    }

    fn stand_in(&self, name: &str) -> Option<String> {
        let may_be = match self.unmade {
            Unmade::None => false,
            Unmade::All => name.parse::<SecretName>().is_ok() && self.vault.store().is_ok(),
            Unmade::These(names) => names.contains(name),
        };
        may_be.then(|| format!("{STAND_IN}{name}"))
    }

    /// With the values that are open.
    pub fn open(vault: &'v Vault) -> Self {
        Self {
            closed: false,
            ..Self::closed(vault)
        }
    }

    /// The value of a secret, or the hint to show.
    pub fn get(&self, name: &str) -> Result<String, String> {
        if let Err(failure) = self.vault.expect(name) {
            return self.stand_in(name).ok_or_else(|| words(&failure));
        }
        match self.vault.values.get(name) {
            Some(value) if !self.closed => match value.text() {
                Some(text) => Ok(text.to_owned()),
                None => Err(format!(
                    "it is binary, and templates are text: keep it as base64 (`base64 FILE | hmco-boot secrets set {name}`) and decode it where it is used"
                )),
            },
            known => {
                if known.is_none() {
                    self.missing.borrow_mut().insert(name.to_owned());
                }
                Ok(CLOSED.to_owned())
            }
        }
    }

    /// Those that were asked for and are not open.
    pub fn missing(self) -> BTreeSet<String> {
        self.missing.into_inner()
    }
}

/// What a mistake says below its own words: the hint says more than the message.
fn words(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => hint.clone(),
        None => failure.message.clone(),
    }
}
