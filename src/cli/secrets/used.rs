//! Where secrets are used: `{ secret = "a/b" }`, `{{ secret('a/b') }}` and `become_password` in the inventory and the
//! playbooks, by their literal names.

use std::collections::BTreeMap;

use crate::cli::{Context, project};
use crate::config::project::{Loaded, Options};
use crate::config::syntax;
use crate::model::template::secrets_named;
use crate::model::value::{Data, Span, Value};

/// Names of secrets, each with the places (`FILE:LINE`) that use it.
pub type Uses = BTreeMap<String, Vec<String>>;

/// Where the project uses secrets. A file that cannot be read in part counts as far as it can.
pub fn find(context: &Context<'_>) -> Uses {
    let options = Options {
        inventory_optional: true,
        ..Options::default()
    };
    of(&project::read(context, &options))
}

fn of(loaded: &Loaded) -> Uses {
    let mut uses = Uses::new();
    for (id, source) in loaded.sources.iter() {
        let root = syntax::parse(id, source.text()).root;
        let mut named = secrets_named(&root);
        passwords(&root, &mut named);
        for (name, span) in named {
            let place = source.place(span.start as usize);
            let place = format!("{}:{}", source.name(), place.line);
            let places = uses.entry(name).or_default();
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    uses
}

/// Every `become_password`: it is the name of a secret by itself.
fn passwords(value: &Value, named: &mut Vec<(String, Span)>) {
    match &value.data {
        Data::List(items) => items.iter().for_each(|item| passwords(item, named)),
        Data::Table(entries) => {
            for (key, item) in entries {
                match &item.data {
                    Data::String(name) if key.name == "become_password" => {
                        named.push((name.clone(), item.span));
                    }
                    _ => passwords(item, named),
                }
            }
        }
        _ => {}
    }
}
