//! What a template sees: the scope's values, handed out piece by piece so that a secret is opened only where it is used,
//! and so that its use is noticed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, State, Value as Jinja};
use serde_json::Value as Json;

use crate::model::sensitive::TAINT_KEY;

use super::Scope;

/// The secrets opened so far, and what the template at hand did with them.
#[derive(Default)]
pub(super) struct Vault {
    state: Mutex<VaultState>,
}

#[derive(Default)]
struct VaultState {
    known: BTreeMap<String, String>,
    wanted: Option<String>,
    used: bool,
}

impl Vault {
    fn state(&self) -> MutexGuard<'_, VaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what the template before did.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.used = false;
        state.wanted = None;
    }

    pub(super) fn known(&self, name: &str) -> Option<String> {
        self.state().known.get(name).cloned()
    }

    pub(super) fn learn(&self, name: &str, value: &str) {
        self.state().known.insert(name.to_owned(), value.to_owned());
    }

    /// A secret that was asked for and is not known.
    pub(super) fn wanted(&self) -> Option<String> {
        self.state().wanted.clone()
    }

    /// Whether the template has seen a secret.
    pub(super) fn was_used(&self) -> bool {
        self.state().used
    }

    /// Whether it has seen one or asked for one.
    pub(super) fn was_asked(&self) -> bool {
        let state = self.state();
        state.used || state.wanted.is_some()
    }

    fn open(&self, name: &str) -> Jinja {
        let mut state = self.state();
        match state.known.get(name).cloned() {
            Some(value) => {
                state.used = true;
                Jinja::from(value)
            }
            None => {
                state.wanted.get_or_insert_with(|| name.to_owned());
                Jinja::from(Error::new(
                    ErrorKind::InvalidOperation,
                    "a secret is not open yet",
                ))
            }
        }
    }

    fn taint(&self) {
        self.state().used = true;
    }
}

/// The marks that a secret has inside JSON.
pub(super) enum Marked<'j> {
    /// Its name: `{"secret": "a/b"}`.
    Named(&'j str),
    /// An opened one: what `Value::to_json` makes of tainted text.
    Opened(&'j str),
}

pub(super) fn marked(json: &Json) -> Option<Marked<'_>> {
    let table = json.as_object().filter(|table| table.len() == 1)?;
    if let Some(text) = table.get(TAINT_KEY) {
        return Some(Marked::Opened(text.as_str()?));
    }
    Some(Marked::Named(table.get("secret")?.as_str()?))
}

/// A list or table of the scope: the value of a name, and the way from there. Handing out a part of a list of 1,000 nodes
/// copies nothing.
pub(super) struct Wrapped {
    name: Arc<Json>,
    way: Vec<Part>,
    vault: Arc<Vault>,
}

#[derive(Clone)]
enum Part {
    Item(usize),
    Key(Arc<str>),
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<value>")
    }
}

impl Wrapped {
    pub(super) fn json(&self) -> &Json {
        // Every part was found when the way was made; a value never changes.
        self.way.iter().fold(&*self.name, |json, part| {
            let inner = match part {
                Part::Item(at) => json.get(at),
                Part::Key(key) => json.get(&**key),
            };
            inner.unwrap_or(&Json::Null)
        })
    }
}

fn wrap(json: &Json, vault: &Arc<Vault>, place: impl FnOnce() -> (Arc<Json>, Vec<Part>)) -> Jinja {
    match json {
        Json::Null => Jinja::from(()),
        Json::Bool(b) => Jinja::from(*b),
        Json::Number(n) => n
            .as_i64()
            .map_or_else(|| Jinja::from(n.as_f64().unwrap_or(f64::NAN)), Jinja::from),
        Json::String(text) => Jinja::from(text.as_str()),
        Json::Array(_) | Json::Object(_) => match marked(json) {
            Some(Marked::Named(name)) => vault.open(name),
            Some(Marked::Opened(text)) => {
                vault.taint();
                Jinja::from(text)
            }
            None => {
                let (name, way) = place();
                Jinja::from_object(Wrapped {
                    name,
                    way,
                    vault: Arc::clone(vault),
                })
            }
        },
    }
}

impl Object for Wrapped {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.json() {
            Json::Array(_) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let (inner, part) = match self.json() {
            Json::Array(items) => {
                let at = key.as_usize()?;
                (items.get(at)?, Part::Item(at))
            }
            Json::Object(entries) => {
                let name = key.as_str()?;
                (entries.get(name)?, Part::Key(name.into()))
            }
            _ => return None,
        };
        Some(wrap(inner, &self.vault, || {
            let mut way = self.way.clone();
            way.push(part);
            (Arc::clone(&self.name), way)
        }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.json() {
            Json::Array(items) => Enumerator::Seq(items.len()),
            Json::Object(entries) => {
                let keys: Vec<Jinja> = entries
                    .keys()
                    .map(|key| Jinja::from(key.as_str()))
                    .collect();
                Enumerator::Iter(Box::new(keys.into_iter()))
            }
            _ => Enumerator::Empty,
        }
    }
}

/// The names a template can look up.
#[derive(Clone)]
pub(super) struct Root {
    inner: Arc<RootObject>,
}

struct RootObject {
    scope: Scope,
    vault: Arc<Vault>,
}

impl fmt::Debug for RootObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<scope>")
    }
}

impl Root {
    pub(super) fn new(scope: &Scope, vault: &Arc<Vault>) -> Self {
        Self {
            inner: Arc::new(RootObject {
                scope: scope.clone(),
                vault: Arc::clone(vault),
            }),
        }
    }

    pub(super) fn context(&self) -> Jinja {
        Jinja::from_dyn_object(Arc::clone(&self.inner))
    }
}

impl Object for RootObject {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let name = key.as_str()?;
        match self.scope.shared(name) {
            Some(json) => Some(wrap(json, &self.vault, || (Arc::clone(json), Vec::new()))),
            None if name == "secret" => Some(Jinja::from_object(SecretFunction {
                vault: Arc::clone(&self.vault),
            })),
            None => None,
        }
    }
}

/// `secret('a/b')`.
struct SecretFunction {
    vault: Arc<Vault>,
}

impl fmt::Debug for SecretFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret()")
    }
}

impl Object for SecretFunction {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Jinja]) -> Result<Jinja, Error> {
        match args {
            [name] if name.as_str().is_some() => {
                Ok(self.vault.open(name.as_str().unwrap_or_default()))
            }
            _ => Err(Error::new(
                ErrorKind::InvalidOperation,
                "secret() takes one name, as in `secret(\"folder/name\")`",
            )),
        }
    }
}
