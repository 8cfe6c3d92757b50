//! From the texts of a manifest step to the objects that are wished. Reading megabytes of YAML takes time and is asked for
//! often, so what came of it is kept for as long as the texts and what the API serves are the same.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{Manifest, Patch, set};
use crate::facts::known::{Known, Unreadable};
use crate::model::kube::adjust::{self, Places};
use crate::model::kube::{Discovery, ObjectKey, discovery, document, patch};
use crate::model::outcome::Failure;
use crate::steps::shared::Presence;
use crate::steps::shared::kube::{Wished, served, unknown_kind};

/// What came of the texts.
#[derive(Debug)]
pub struct Prepared {
    /// The objects.
    pub wished: Vec<Wished>,
}

/// Objects, or why there are none.
pub(super) type Made = Result<Arc<Prepared>, Failure>;

/// What was made last, and of what. No part of the wish.
#[derive(Default)]
pub struct Kept(Mutex<Option<Memory>>);

struct Memory {
    texts: Vec<Arc<str>>,
    served: Arc<Discovery>,
    made: Made,
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Kept {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Kept {}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Manifest {
    /// The objects. The outer error: a fact that could not be read; the inner: mistakes in the texts.
    pub(super) fn prepare(&self, known: &Known<'_>) -> Result<Made, Unreadable> {
        let mut texts = Vec::new();
        for fact in self.sources() {
            match known.kube_manifest(&fact)? {
                Some(text) => texts.push(text.clone()),
                None => {
                    let missing = Failure::new(format!("there is no {}", fact.describe()))
                        .hint("put it below `playbooks/` of the project");
                    return Ok(Err(missing));
                }
            }
        }
        served(known)?;
        let Some(api) = known.kube_discovery()? else {
            return Ok(Err(Failure::new("the Kubernetes API serves nothing")));
        };
        let mut kept = self
            .prepared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = kept.as_ref()
            && Arc::ptr_eq(&memory.served, api)
            && memory.texts.len() == texts.len()
            && memory
                .texts
                .iter()
                .zip(&texts)
                .all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return Ok(memory.made.clone());
        }
        let made = self.make(&texts, api).map(Arc::new);
        *kept = Some(Memory {
            texts,
            served: api.clone(),
            made: made.clone(),
        });
        Ok(made)
    }

    fn make(&self, texts: &[Arc<str>], api: &Discovery) -> Result<Prepared, Failure> {
        let mut objects = self.objects(texts)?;
        let brought = discovery::of_crds(&objects);
        self.patch(&mut objects)?;
        let places = Places {
            namespace: self.namespace.as_deref(),
            instead_of: self.instead_of.as_deref(),
        };
        let mut wished: Vec<Wished> = Vec::new();
        for mut object in objects {
            let Some(namespaced) = adjust::is_namespaced(&object, api, &brought) else {
                // Where not even its kind is there, it is gone.
                if self.state == Presence::Absent {
                    continue;
                }
                return Err(match ObjectKey::of(&object) {
                    Some(key) => unknown_kind(&key, api),
                    None => Failure::new("an object without a name"),
                });
            };
            adjust::adjust(&mut object, namespaced, places);
            if let Some(name) = &self.set {
                set::mark(&mut object, &set::id(name));
            }
            let is_served = ObjectKey::of(&object)
                .is_some_and(|key| api.get(&key.api_version, &key.kind).is_some());
            let Some(mut one) = Wished::new(object, false, is_served) else {
                continue;
            };
            one.late = brought.get(&one.key.api_version, &one.key.kind).is_some();
            if let Some(twin) = wished.iter().find(|other| other.key.is_same(&one.key)) {
                return Err(Failure::new(format!("{} is there twice", twin.key))
                    .hint("take one of the two out of the manifests of this step"));
            }
            wished.push(one);
        }
        if let Some(namespace) = self.made_namespace()
            && !wished.iter().any(|other| other.key.is_same(&namespace.key))
        {
            wished.insert(0, namespace);
        }
        Ok(Prepared { wished })
    }

    /// The namespace that the step only makes: others may need it too, so it is neither changed nor ever deleted with the step.
    fn made_namespace(&self) -> Option<Wished> {
        let makes = self.create_namespace && self.state == Presence::Present;
        let name = self.namespace.as_ref().filter(|_| makes)?;
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let mut namespace = Wished::new(object, false, true)?;
        namespace.only_made = true;
        Some(namespace)
    }

    /// All objects of all texts.
    fn objects(&self, texts: &[Arc<str>]) -> Result<Vec<Value>, Failure> {
        let mut objects = Vec::new();
        for (fact, text) in self.sources().iter().zip(texts) {
            let found = document::parse(text).map_err(|error| {
                Failure::new(format!("{}: {error}", fact.describe()))
                    .hint("correct the file; `kubectl apply --dry-run=client -f FILE` reads it too")
            })?;
            objects.extend(found);
        }
        if let Some(inline) = &self.inline {
            // Its mistakes were told before: see `validate`.
            objects.extend(document::parse(inline.expose()).unwrap_or_default());
        }
        if objects.is_empty() {
            return Err(Failure::new(
                "there is no object in the manifests of this step",
            ));
        }
        Ok(objects)
    }

    /// Patches and images; one that finds nothing is a mistake, not something to be silent about.
    fn patch(&self, objects: &mut [Value]) -> Result<(), Failure> {
        for change in &self.patches {
            let mut found = 0;
            for object in objects.iter_mut().filter(|object| change.is_for(object)) {
                found += 1;
                let set = Value::Object(change.set.clone().into_iter().collect());
                patch::overlay(object, &set);
                for pointer in &change.remove {
                    if remove(object, pointer).is_none() {
                        return Err(Failure::new(format!(
                            "a patch takes `{pointer}` from {} {}, which has nothing there",
                            change.kind, change.name
                        ))
                        .hint("correct the pointer (`/spec/template/spec/containers/0/command`), or take it out of the patch"));
                    }
                }
            }
            if found != 1 {
                let which = format!("{} {}", change.kind, change.name);
                let failure = match found {
                    0 => Failure::new(format!("a patch is for {which}, and there is none")),
                    _ => Failure::new(format!("a patch is for {which}, and there are {found}")),
                };
                return Err(failure.hint("correct `kind`, `name` and `namespace` of the patch"));
            }
        }
        for (from, to) in &self.images {
            let replaced: usize = objects.iter_mut().map(|o| patch::image(o, from, to)).sum();
            if replaced == 0 {
                return Err(Failure::new(format!("no container uses the image {from}"))
                    .hint("write the image's name as in the manifest, without tag or digest"));
            }
        }
        Ok(())
    }
}

impl Patch {
    fn is_for(&self, object: &Value) -> bool {
        ObjectKey::of(object).is_some_and(|key| {
            key.kind == self.kind
                && key.name == self.name
                && self
                    .namespace
                    .as_ref()
                    .is_none_or(|wanted| key.namespace.as_ref() == Some(wanted))
        })
    }
}

/// Takes away what is at a JSON pointer; `None` where nothing is.
fn remove(object: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&key),
        Value::Array(items) => {
            let at = key.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}
