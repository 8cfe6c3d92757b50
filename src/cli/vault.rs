//! The secrets of one command: which it needs, by name and before anything is opened; their values, opened once and
//! known to the redactor before anything is made of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Context;
use super::error::{CliError, Kind};
use super::files;
use super::output::Output;
use super::secrets::identity::IdentityArgs;
use super::secrets::place;
use super::secrets::prompt::Asking;
use crate::model::outcome::Failure;
use crate::model::redact::Redactor;
use crate::secrets::identity::{Identities, IdentityEnv};
use crate::secrets::name::{self, SecretName};
use crate::secrets::recipients::{self, Recipients};
use crate::secrets::store::{FileSecrets, Location};
use crate::secrets::{SecretStore, SecretValue};
use crate::transport::ssh::route::Password;

/// What a secret that is not open yet is while names are collected.
const CLOSED: &str = "0";

/// How the stand-in of a secret begins that is not there and may be made; its name follows.
pub const STAND_IN: &str = "not-made-yet:";

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

/// Where a store comes from.
struct Source {
    root: PathBuf,
    identities: IdentityEnv,
    location: Result<Location, CliError>,
    asking: Asking,
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

impl Source {
    fn store(&self) -> Result<FileSecrets, Failure> {
        if !self.root.join(place::FOLDER).is_dir() {
            return Err(none());
        }
        let location = match &self.location {
            Ok(location) => location.clone(),
            Err(error) => return Err(Failure::new(error.render(false).trim().to_owned())),
        };
        let (tree, environment) = (location.tree.clone(), self.identities.clone());
        let asking = Mutex::new(self.asking.clone());
        FileSecrets::new(location, move || {
            let readers = readers(&tree)?;
            let mut asking = asking.lock().unwrap_or_else(PoisonError::into_inner);
            let found = Identities::find(&environment, readers.as_ref(), &mut *asking)?;
            Ok(Arc::new(found))
        })
    }
}

fn none() -> Failure {
    Failure::new("this project has no secrets").hint(
        "this project has no store of secrets: `hmco-boot secrets init` makes one, `hmco-boot secrets set` fills it",
    )
}

/// Who reads the secrets of a tree; `None` where that is not said.
fn readers(tree: &Path) -> Result<Option<Recipients>, Failure> {
    let path = tree.join(recipients::FILE);
    match files::read(&path) {
        Ok(text) => Recipients::parse(&text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(
            Failure::new(format!("cannot read {}: {error}", path.display()))
                .hint("see who owns it, and what its mode is"),
        ),
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::secrets::Opening;
    use crate::secrets::memory::MemorySecrets;

    /// Counts what is opened.
    struct Counting {
        inner: MemorySecrets,
        opened: AtomicUsize,
    }

    impl SecretStore for Counting {
        fn names(&self) -> Vec<String> {
            self.inner.names()
        }

        fn open<'a>(&'a self, names: &'a [String]) -> Opening<'a> {
            self.opened.fetch_add(names.len(), Ordering::Relaxed);
            self.inner.open(names)
        }
    }

    fn vault() -> (Vault, Arc<Counting>, Redactor) {
        let values = (0..50).map(|n| (format!("app/key-{n}"), format!("value-of-key-{n}")));
        let binary = (
            "app/binary".to_owned(),
            SecretValue::new(vec![0xff, 0, 1, 2, 3, 4, 5, 6]),
        );
        let values = values.map(|(name, value)| (name, SecretValue::new(value.into_bytes())));
        let store = Arc::new(Counting {
            inner: MemorySecrets::with_values(values.chain([binary])),
            opened: AtomicUsize::new(0),
        });
        let redactor = Redactor::default();
        (Vault::with(store.clone(), &redactor), store, redactor)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_checked_and_collected_without_opening_anything() {
        let (vault, store, _) = vault();
        let lookup = Lookup::closed(&vault);
        assert_eq!(lookup.get("app/key-1").unwrap(), CLOSED);
        assert_eq!(lookup.get("app/key-2").unwrap(), CLOSED);
        assert!(lookup.get("app/kye-1").unwrap_err().contains("app/key-1"));
        assert!(lookup.get("no-name").is_err());
        assert_eq!(lookup.missing(), names(&["app/key-1", "app/key-2"]));
        assert_eq!(store.opened.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_needed_is_opened_once_and_known_to_the_redactor() {
        let (mut vault, store, redactor) = vault();
        for asked in [["app/key-1", "app/key-2"], ["app/key-2", "app/key-3"]] {
            vault.open_quietly(&names(&asked)).await.unwrap();
        }
        assert_eq!(store.opened.load(Ordering::Relaxed), 3);
        let lookup = Lookup::open(&vault);
        assert_eq!(lookup.get("app/key-1").unwrap(), "value-of-key-1");
        assert_eq!(lookup.get("app/key-9").unwrap(), CLOSED);
        assert_eq!(lookup.missing(), names(&["app/key-9"]));
        assert_eq!(redactor.text("value-of-key-3."), "<secret app/key-3>.");
        assert_eq!(redactor.text("value-of-key-9."), "value-of-key-9.");
        let refused = refuse_values(&redactor, [("--var a", "x=value-of-key-1")]).unwrap_err();
        assert!(refused.render(false).contains("`app/key-1`"), "{refused:?}");
    }

    #[tokio::test]
    async fn what_may_be_shown_by_a_command_that_nobody_knows_is_known_to_the_redactor() {
        let (mut vault, _, redactor) = vault();
        vault.know_all().await;
        assert_eq!(redactor.text("value-of-key-9."), "<secret app/key-9>.");
    }

    #[tokio::test]
    async fn a_binary_value_is_refused_in_a_template_with_what_to_do() {
        let (mut vault, ..) = vault();
        vault.open_quietly(&names(&["app/binary"])).await.unwrap();
        let hint = Lookup::open(&vault).get("app/binary").unwrap_err();
        assert!(hint.contains("base64"), "{hint}");
    }
}
