//! The secrets of one command: which it needs, by name and before anything is opened; their values, opened once and
//! known to the redactor before anything is made of them.

mod lookup;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::Context;
use super::error::{CliError, Kind};
use super::output::Output;
use super::secrets::identity::IdentityArgs;
use super::secrets::place;
use super::secrets::prompt::Asking;
use crate::model::outcome::Failure;
use crate::model::redact::Redactor;
use crate::secrets::name::{self, SecretName};
use crate::secrets::store::FileSecrets;
use crate::secrets::{SecretStore, SecretValue};
use crate::transport::ssh::route::Password;
pub use lookup::{Lookup, STAND_IN};
use source::{Source, none};

/// The secrets of a command.
pub struct Vault {
    source: Option<Source>,
    /// Looked at when the first name is asked for: who uses no secrets pays nothing for them.
    store: OnceLock<Result<Store, Failure>>,
    redactor: Redactor,
    values: BTreeMap<String, SecretValue>,
    /// What is to be said of the store was said.
    warned: bool,
}

/// A store that was found.
enum Store {
    /// In a project's folder.
    Files(FileSecrets),
    /// Another one.
    Given(Arc<dyn SecretStore>),
}

impl Store {
    fn as_seam(&self) -> &dyn SecretStore {
        match self {
            Self::Files(store) => store,
            Self::Given(store) => &**store,
        }
    }
}

impl Vault {
    /// The secrets of the project in `root`.
    pub fn of(root: &Path, identity: &IdentityArgs, context: &Context<'_>) -> Self {
        let source = Source {
            root: root.to_owned(),
            identities: identity.env(context),
            location: place::location(context, root),
            asking: Asking::new(context.env),
        };
        Self {
            source: Some(source),
            store: OnceLock::new(),
            redactor: context.output.redactor().clone(),
            values: BTreeMap::new(),
            warned: false,
        }
    }

    /// Those of a store.
    pub fn with(store: Arc<dyn SecretStore>, redactor: &Redactor) -> Self {
        Self {
            source: None,
            store: OnceLock::from(Ok(Store::Given(store))),
            redactor: redactor.clone(),
            values: BTreeMap::new(),
            warned: false,
        }
    }

    fn store(&self) -> Result<&Store, Failure> {
        let find = || match &self.source {
            Some(source) => source.store().map(Store::Files),
            None => Err(none()),
        };
        self.store.get_or_init(find).as_ref().map_err(Clone::clone)
    }

    /// Whether there is a secret of this name. What to do where there is none.
    pub fn expect(&self, name: &str) -> Result<(), Failure> {
        if self.values.contains_key(name) {
            return Ok(());
        }
        let store = self.store()?.as_seam();
        name.parse::<SecretName>()?;
        let names = store.names();
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(name::unknown(name, names.iter().map(String::as_str)))
    }

    /// Opens those that are not open yet, each once, and makes them known to the redactor. Warns, once, of what makes the
    /// store a danger.
    pub async fn open(
        &mut self,
        names: &BTreeSet<String>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        self.open_quietly(names)
            .await
            .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))?;
        if let Some(Ok(Store::Files(store))) = self.store.get()
            && !self.warned
        {
            for warning in store.warnings() {
                self.warned = true;
                output.warn(&warning, "`hmco-boot secrets check` says more");
            }
        }
        Ok(())
    }

    async fn open_quietly(&mut self, names: &BTreeSet<String>) -> Result<(), Failure> {
        let new = |name: &&String| !self.values.contains_key(*name);
        let names: Vec<String> = names.iter().filter(new).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let opened = self.store()?.as_seam().open(&names).await?;
        let known = opened
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()));
        self.redactor.register_all(known);
        self.values.extend(opened);
        Ok(())
    }

    /// Asks nobody for anything from now on.
    pub fn ask_nobody(&mut self) {
        if let Some(source) = &mut self.source {
            source.asking = Asking::nobody();
        }
    }

    /// Opens all that can be opened, to know what must not be shown: for a command that nobody can tell the secrets of. What
    /// does not open is no failure.
    pub async fn know_all(&mut self) {
        let Ok(store) = self.store() else { return };
        let store = store.as_seam();
        let new = |name: &String| !self.values.contains_key(name);
        let names: Vec<String> = store.names().into_iter().filter(new).collect();
        let mut opened = Vec::new();
        match store.open(&names).await {
            Ok(all) => opened = all,
            // Not everybody reads everything.
            Err(_) => {
                for name in names {
                    opened.extend(store.open(&[name]).await.into_iter().flatten());
                }
            }
        }
        tracing::debug!(opened = opened.len(), "secrets are known, to be hidden");
        let known = opened
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()));
        self.redactor.register_all(known);
    }

    /// A password that is in a secret.
    pub fn password(&self, name: &str) -> Result<Password, Failure> {
        let Some(value) = self.values.get(name) else {
            return Err(Failure::new(format!("the secret `{name}` is not open")));
        };
        match value.text() {
            // A line, as it is typed: an end of line that a file left there is no part of it.
            Some(text) => Ok(Password::new(
                text.trim_end_matches(['\n', '\r']).to_owned(),
            )),
            None => Err(Failure::new(format!("the secret `{name}` is no text"))
                .hint(format!("set it again: `hmco-boot secrets set {name}`"))),
        }
    }
}

/// Refuses an argument that holds the value of a secret: it would be on record, and is in the list of processes already.
pub fn refuse_values<'a>(
    redactor: &Redactor,
    arguments: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), CliError> {
    for (argument, text) in arguments {
        if let Some(name) = redactor.finds(text) {
            return Err(CliError::usage(format!(
                "{argument} holds the value of the secret `{name}`, which would be on record"
            ))
            .hint("name the secret instead: a step's file, `stdin` or `env` takes `{{ secret('NAME') }}`"));
        }
    }
    Ok(())
}
