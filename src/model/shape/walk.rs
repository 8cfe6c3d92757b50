//! The walk over a value and its schema. Knows the part of JSON Schema that schemars makes of our types: `type`,
//! `properties`, `required`, `additionalProperties`, `items`, `prefixItems`, `$ref`, `enum`, `const`, `oneOf`, `anyOf`,
//! bounds; and the mark `x-text` of [`crate::model::sensitive::Text`]. A keyword it does not know constrains nothing
//! here; the decoding that follows still does.

use schemars::Schema;
use serde_json::{Map, Value as Json};

use crate::model::mistake::{Mistake, nearest};
use crate::model::template;
use crate::model::units::TimeSpan;
use crate::model::value::{Data, Key, Span, Value};

use super::schema::{
    HOPS, accepts_text, fits, fixed_words, flatten, list, resolve, rest_schema, tags, types,
};
use super::words;

/// How far a value has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Templates are not rendered yet.
    Draft,
    /// All is as it will be decoded.
    Final,
}

/// One walk.
pub(super) struct Walk<'s> {
    root: &'s Json,
    stage: Stage,
    slip: &'s dyn Fn(&str) -> Option<String>,
    /// The mistakes so far, in the order of the value.
    pub(super) found: Vec<Mistake>,
}

impl<'s> Walk<'s> {
    pub(super) fn new(
        schema: &'s Schema,
        stage: Stage,
        slip: &'s dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            root: schema.as_value(),
            stage,
            slip,
            found: Vec::new(),
        }
    }

    /// Walks the whole value; only here a classic slip is looked for.
    pub(super) fn top(&mut self, value: &Value) {
        self.value(value, self.root, None);
        let slip = self.slip;
        for mistake in &mut self.found {
            if mistake.code == "unknown-key"
                && let Some((key, _)) = value
                    .entries()
                    .iter()
                    .find(|(key, _)| Some(key.span) == mistake.span)
                && let Some(hint) = slip(&key.name)
            {
                mistake.hint = Some(hint);
            }
        }
    }

    fn value(&mut self, value: &Value, schema: &'s Json, name: Option<&str>) {
        let schema = resolve(self.root, schema);
        let draft = self.stage == Stage::Draft;
        if matches!(value.data, Data::Tainted(_))
            || draft && template::secret_table(value).is_some()
        {
            if !accepts_text(self.root, schema, HOPS) {
                self.secret_here(value.span, name);
            }
            return;
        }
        if draft && value.as_str().is_some_and(template::is_template) {
            return self.template(value, schema, name);
        }
        if let Data::Float(n) = value.data
            && !n.is_finite()
        {
            self.found.push(
                Mistake::error("wrong-type", value.span, "a number must be finite")
                    .hint("write a number with digits"),
            );
            return;
        }
        let Some(rules) = schema.as_object() else {
            return self.free(value, name);
        };
        for part in list(rules, "allOf") {
            self.value(value, part, name);
        }
        if let Some(alternatives) = rules.get("oneOf").or_else(|| rules.get("anyOf")) {
            return self.alternatives(value, alternatives, name);
        }
        if let Some(words) = fixed_words(schema) {
            return self.word(value, &words, name);
        }
        let types = types(schema);
        if types.is_empty() {
            return self.free(value, name);
        }
        if !types.iter().any(|kind| fits(kind, &value.data)) {
            self.wrong_type(value, &types, name);
            self.second_thoughts(value, &[schema]);
            return;
        }
        match &value.data {
            Data::Table(entries) => self.table(value, entries, rules),
            Data::List(items) => self.list(value, items, rules, name),
            _ => self.bounds(value, rules),
        }
    }

    /// A template may become anything; but one that names a secret taints, and one with text around it stays text.
    fn template(&mut self, value: &Value, schema: &'s Json, name: Option<&str>) {
        if !template::secrets_named(value).is_empty() && !accepts_text(self.root, schema, HOPS) {
            return self.secret_here(value.span, name);
        }
        let types = types(schema);
        let lone = value
            .as_str()
            .is_some_and(|text| template::lone_expression(text).is_some());
        if !lone && !types.is_empty() && !types.contains(&"string") {
            self.wrong_type(value, &types, name);
            if let Some(mistake) = self.found.last_mut() {
                mistake.hint = Some(
                    "only a template alone, `\"{{ ... }}\"`, gives something else than text"
                        .to_owned(),
                );
            }
        }
    }

    /// A value that may be anything, but no secret: where nothing is known of a place, nothing keeps a secret there.
    fn free(&mut self, value: &Value, name: Option<&str>) {
        match &value.data {
            Data::List(items) => items
                .iter()
                .for_each(|item| self.value(item, &Json::Bool(true), name)),
            Data::Table(entries) => entries
                .iter()
                .for_each(|(key, item)| self.value(item, &Json::Bool(true), Some(&key.name))),
            _ => {}
        }
    }

    fn table(&mut self, value: &Value, entries: &[(Key, Value)], rules: &'s Map<String, Json>) {
        let properties = rules.get("properties").and_then(Json::as_object);
        let rest = rest_schema(rules);
        let known: Vec<&str> = properties
            .into_iter()
            .flat_map(|p| p.keys().map(String::as_str))
            .collect();
        let mut guessed = Vec::new();
        for (key, item) in entries {
            let own = properties.and_then(|properties| properties.get(&key.name));
            match own.or(rest) {
                Some(schema) => self.value(item, schema, Some(&key.name)),
                None => guessed.extend(self.unknown_key(key, &known, value)),
            }
        }
        for name in list(rules, "required").iter().filter_map(Json::as_str) {
            // An unknown key that was probably meant to be this one is one mistake, not two.
            if value.get(name).is_none() && !guessed.contains(&name) {
                let schema = properties.and_then(|p| p.get(name));
                self.missing_key(value.span, name, schema);
            }
        }
    }

    fn unknown_key<'k>(&mut self, key: &Key, known: &[&'k str], table: &Value) -> Option<&'k str> {
        let open = known
            .iter()
            .copied()
            .filter(|name| table.get(name).is_none());
        let guess = nearest(&key.name, open);
        let hint = match guess {
            Some(name) => format!("did you mean `{name}`?"),
            None if known.is_empty() => "this table takes no keys".to_owned(),
            None => format!("known keys: {}", words::names(known, "and")),
        };
        self.found.push(
            Mistake::error(
                "unknown-key",
                key.span,
                format!("unknown key `{}`", key.name),
            )
            .label("not a key of this table")
            .hint(hint),
        );
        guess
    }

    fn missing_key(&mut self, span: Span, name: &str, schema: Option<&'s Json>) {
        let about = schema.and_then(|s| {
            words::description(s).or_else(|| words::description(resolve(self.root, s)))
        });
        let hint = match about {
            Some(about) => format!("add `{name} = ...`: {about}"),
            None => format!("add `{name} = ...`"),
        };
        self.found.push(
            Mistake::error("missing-key", span, format!("`{name}` is missing"))
                .label(format!("has no `{name}`"))
                .hint(hint),
        );
    }

    fn list(
        &mut self,
        value: &Value,
        items: &[Value],
        rules: &'s Map<String, Json>,
        name: Option<&str>,
    ) {
        let first = list(rules, "prefixItems");
        let rest = rules.get("items");
        for (n, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(n).or(rest) {
                self.value(item, schema, name);
            } else {
                self.free(item, name);
            }
        }
        let count = items.len() as u64;
        let bound = |key: &str| rules.get(key).and_then(Json::as_u64);
        let words = match (bound("minItems"), bound("maxItems")) {
            (Some(1), None) if count == 0 => "expected at least one item, found none".to_owned(),
            (Some(min), _) if count < min => {
                format!("expected at least {min} items, found {count}")
            }
            (_, Some(max)) if count > max => format!("expected at most {max} items, found {count}"),
            _ => return,
        };
        self.found
            .push(Mistake::error("wrong-value", value.span, words));
    }

    fn word(&mut self, value: &Value, allowed: &[&str], name: Option<&str>) {
        let Some(text) = value.as_str() else {
            return self.wrong_type(value, &["string"], name);
        };
        if allowed.contains(&text) {
            return;
        }
        let hint = match nearest(text, allowed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", words::names(allowed, "or")),
        };
        self.found.push(
            Mistake::error(
                "unknown-word",
                value.span,
                format!("{text:?} is not one of {}", words::names(allowed, "and")),
            )
            .hint(hint),
        );
    }

    fn wrong_type(&mut self, value: &Value, types: &[&str], name: Option<&str>) {
        let wanted = words::wanted(types);
        let mut mistake = Mistake::error(
            "wrong-type",
            value.span,
            format!("expected {wanted}, found {}", words::found(&value.data)),
        );
        if let Some(name) = name {
            mistake = mistake.label(format!("`{name}` takes {wanted}"));
        }
        mistake.hint = words::cure(types, &value.data);
        self.found.push(mistake);
    }

    /// A number where a duration is wanted is most likely one of seconds: in quotes alone it would be refused again.
    fn second_thoughts(&mut self, value: &Value, schemas: &[&Json]) {
        let Data::Integer(number) = &value.data else {
            return;
        };
        if schemas.iter().any(|schema| is_duration(schema))
            && let Some(mistake) = self.found.last_mut()
        {
            mistake.hint = Some(format!(
                "write it with its unit, in quotes: `\"{number}s\"`"
            ));
        }
    }

    fn secret_here(&mut self, span: Span, name: Option<&str>) {
        let place = name.map_or_else(|| "this place".to_owned(), |name| format!("`{name}`"));
        self.found.push(
            Mistake::error("secret-here", span, "a secret may not be used here")
                .label(format!("{place} is shown in plans and process lists"))
                .hint(
                    "secrets go only into places that are never shown: a file's content, environment values, \
                     standard input",
                ),
        );
    }

    fn alternatives(&mut self, value: &Value, alternatives: &'s Json, name: Option<&str>) {
        let all: Vec<&'s Json> = flatten(self.root, alternatives, HOPS);
        if let [one] = all.as_slice() {
            return self.value(value, one, name);
        }
        let words: Vec<&str> = all
            .iter()
            .filter_map(|s| fixed_words(s))
            .flatten()
            .collect();
        let open_text = all
            .iter()
            .any(|s| fixed_words(s).is_none() && types(s).contains(&"string"));
        if !words.is_empty() && !open_text {
            let only_words = all.iter().all(|s| fixed_words(s).is_some());
            if only_words || value.as_str().is_some() {
                return self.word(value, &words, name);
            }
        }
        let fitting: Vec<&'s Json> = all
            .iter()
            .copied()
            .filter(|s| {
                let types = types(s);
                types.is_empty() || types.iter().any(|kind| fits(kind, &value.data))
            })
            .collect();
        if fitting.is_empty() {
            let mut kinds: Vec<&str> = all.iter().flat_map(|s| types(s)).collect();
            kinds.dedup();
            self.wrong_type(value, &kinds, name);
            return self.second_thoughts(value, &all);
        }
        if let Data::Table(entries) = &value.data
            && let Some(tags) = tags(&fitting)
        {
            return self.tagged(value, entries, &tags);
        }
        self.best_of(value, &fitting, name);
    }

    /// An externally tagged enum: a table whose one key says which variant it is.
    fn tagged(&mut self, value: &Value, entries: &[(Key, Value)], tags: &[(&'s str, &'s Json)]) {
        let known: Vec<&str> = tags.iter().map(|(tag, _)| *tag).collect();
        let mut seen = 0;
        for (key, item) in entries {
            match tags.iter().find(|(tag, _)| *tag == key.name) {
                Some((_, schema)) => {
                    seen += 1;
                    self.value(item, schema, Some(&key.name));
                }
                None => {
                    seen += 1;
                    self.unknown_key(key, &known, value);
                }
            }
        }
        if seen != 1 {
            self.found.push(
                Mistake::error(
                    "wrong-value",
                    value.span,
                    format!("expected exactly one key, found {seen}"),
                )
                .hint(format!("write one of {}", words::names(&known, "or"))),
            );
        }
    }

    /// Any alternative that holds will do; else the one that came closest speaks.
    fn best_of(&mut self, value: &Value, fitting: &[&'s Json], name: Option<&str>) {
        let mut best: Option<Vec<Mistake>> = None;
        for schema in fitting {
            let mut trial = Walk {
                found: Vec::new(),
                ..*self
            };
            trial.value(value, schema, name);
            if best.as_ref().is_none_or(|b| trial.found.len() < b.len()) {
                best = Some(trial.found);
            }
        }
        self.found.extend(best.unwrap_or_default());
    }
}

/// Whether a schema is that of [`TimeSpan`].
fn is_duration(schema: &Json) -> bool {
    let examples = schema.get("examples").and_then(Json::as_array);
    examples.is_some_and(|examples| examples.iter().any(|e| e == TimeSpan::EXAMPLE))
}
