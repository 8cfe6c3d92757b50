//! `[[step]]`: its own keys, and the one table that is its kind.

use super::{Lowering, gate, listed, only, type_name};
use crate::config::check::holds_template;
use crate::config::raw;
use crate::model::id::{KindName, StepId};
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::{Across, Body, Need, Policy, Retry, Step};
use crate::model::selector::Selector;
use crate::model::shape::{self, STEP_KEYS};
use crate::model::template::secrets_named;
use crate::model::units::TimeSpan;
use crate::model::value::{Data, Key, Span, Value};
use crate::steps::registry::KindInfo;

/// The kind that uses another playbook; not in the registry, for it has no wish of its own.
const PLAYBOOK: &str = "playbook";

/// Keys of a step that [`raw::Step`] does not have.
const BY_HAND: [&str; 3] = ["needs", "each", "gate"];

/// Reads one step. `None` where it has no usable id or no kind, so that it cannot be spoken of.
pub(super) fn step(low: &mut Lowering<'_>, table: &Value) -> Option<Step> {
    let entries = low.table(table, "a step");
    if !matches!(table.data, Data::Table(_)) {
        return None;
    }
    let own = only(table, |key| {
        STEP_KEYS.contains(&key.name.as_str()) && !BY_HAND.contains(&key.name.as_str())
    });
    let raw = low.decode::<raw::Step>(&own);
    let id = id(low, table);
    let body = kind_of(low, table, entries).and_then(|(key, body)| body_of(low, key, body));
    let needs = table.get("needs").map(|value| needs(low, value));
    let each = table.get("each").and_then(|value| each(low, value));
    let gate = table.get("gate").and_then(|value| gate::gate(low, value));
    let raw = raw.unwrap_or_default();
    let on = table.get("on").and_then(|value| selector(low, value));
    if let Some(body) = &body {
        needs_targets(low, table, body);
        policies(low, table, body);
        serial_of_kind(low, table, body, raw.serial.map(u32::from));
    }
    let (id, span) = id?;
    Some(Step {
        id,
        span,
        title: raw.title,
        on,
        needs,
        when: table
            .get("when")
            .and_then(|value| Some((value.as_str()?.to_owned(), value.span))),
        each,
        policy: Policy {
            serial: raw.serial.map(u32::from),
            retry: raw.retry.map(retry),
            timeout: positive(low, table, "timeout", raw.timeout),
            gate,
        },
        body: body?,
    })
}

fn id(low: &mut Lowering<'_>, table: &Value) -> Option<(StepId, Span)> {
    let value = table.get("id")?;
    let text = value.as_str()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = text.bytes().next().is_some_and(plain)
        && text.len() <= 63
        && text.bytes().all(|b| plain(b) || b"._-".contains(&b));
    if !good {
        low.error(
            "bad-name",
            value.span,
            format!("{text:?} cannot be the id of a step"),
            "use up to 63 lowercase letters, digits, `.`, `_` and `-`, and start with a letter or digit",
        );
    }
    Some((StepId::new(text), value.span))
}

fn selector(low: &mut Lowering<'_>, value: &Value) -> Option<(Selector, Span)> {
    let text = value.as_str()?;
    match Selector::parse(text) {
        Ok(selector) => Some((selector, value.span)),
        Err(error) => {
            let span = low.sources.inside_string(value.span, error.at);
            let mut mistake = Mistake::error("bad-selector", span, error.message);
            mistake.hint = error.hint;
            low.mistakes.push(mistake);
            None
        }
    }
}

/// `on` is required where a kind works on machines: nothing is changed on a machine that was not named.
fn needs_targets(low: &mut Lowering<'_>, table: &Value, body: &Body) {
    let Body::Kind { kind, span, .. } = body else {
        return;
    };
    let machine = low
        .kinds
        .iter()
        .any(|info| info.name == kind.as_str() && info.scope != crate::steps::Scope::Cluster);
    if machine && table.get("on").is_none() {
        low.error(
            "missing-on",
            *span,
            format!("a `{kind}` step must say where, with `on`"),
            "add `on = \"all\"`, a node's name, or another selector above the kind's table",
        );
    }
}

/// A playbook step has no policies of its own: taken and then ignored, they would be a promise that nobody keeps.
fn policies(low: &mut Lowering<'_>, table: &Value, body: &Body) {
    let Body::Playbook { .. } = body else { return };
    for (key, _) in table.entries() {
        let name = key.name.as_str();
        if matches!(name, "serial" | "retry" | "timeout" | "gate") {
            low.error(
                "policy-of-playbook",
                key.span,
                format!("`{name}` is for one step, not for a whole playbook"),
                format!("write `{name}` at the steps of that playbook that need it"),
            );
        }
    }
}

/// What a kind says about how many at once is for the safety of what it works on: a playbook may say less, not more.
fn serial_of_kind(low: &mut Lowering<'_>, table: &Value, body: &Body, serial: Option<u32>) {
    let (Body::Kind { kind, .. }, Some(serial), Some(value)) = (body, serial, table.get("serial"))
    else {
        return;
    };
    let info = low.kinds.iter().find(|info| info.name == kind.as_str());
    let Some(most) = info
        .and_then(|info| info.serial)
        .filter(|most| serial > *most)
    else {
        return;
    };
    low.error(
        "loosened-policy",
        value.span,
        format!("`{kind}` steps go on {most} at once at most, and this says {serial}"),
        format!("write `serial = {most}`, or leave it out: it is so by itself"),
    );
}

/// The one key of a step that is not the step's own: its kind.
fn kind_of<'v>(
    low: &mut Lowering<'_>,
    table: &'v Value,
    entries: &'v [(Key, Value)],
) -> Option<(&'v Key, &'v Value)> {
    let mut kinds: Vec<(&Key, &Value)> = Vec::new();
    let mut unknown = 0;
    for (key, value) in entries {
        let name = key.name.as_str();
        if name == PLAYBOOK || low.kinds.iter().any(|kind| kind.name == name) {
            kinds.push((key, value));
        } else if !STEP_KEYS.contains(&name) {
            unknown += 1;
            let mistake = unknown_in_step(low.kinds, key, value);
            low.mistakes.push(mistake);
        }
    }
    let mut kinds = kinds.into_iter();
    match (kinds.next(), kinds.next()) {
        (Some((first, _)), Some((second, _))) => {
            low.mistakes.push(
                Mistake::error(
                    "two-kinds",
                    second.span,
                    format!("the step is both `{}` and `{}`", first.name, second.name),
                )
                .label("the second kind")
                .related(first.span, "the first kind")
                .hint("a step has exactly one kind: make it two steps"),
            );
            None
        }
        (Some(kind), None) => Some(kind),
        (None, _) => {
            if unknown == 0 {
                low.error(
                    "no-kind",
                    table.span,
                    "the step does nothing: it has no kind",
                    format!(
                        "add one of these tables: {}",
                        listed(&kind_tables(low.kinds))
                    ),
                );
            }
            None
        }
    }
}

fn kind_tables(kinds: &[KindInfo]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = kinds.iter().map(|kind| kind.name).collect();
    names.push(PLAYBOOK);
    names.sort_unstable();
    names
}

fn unknown_in_step(kinds: &[KindInfo], key: &Key, value: &Value) -> Mistake {
    let kinds = kind_tables(kinds);
    let is_table = matches!(value.data, Data::Table(_));
    let (code, message) = if is_table {
        (
            "unknown-kind",
            format!("there is no step kind `{}`", key.name),
        )
    } else {
        ("unknown-key", format!("a step has no key `{}`", key.name))
    };
    let all = kinds.iter().filter(|_| is_table).chain(STEP_KEYS.iter());
    let hint = match nearest(&key.name, all.copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if is_table => format!("the kinds are: {}", listed(&kinds)),
        None => format!(
            "a step has {}; what its kind takes goes into the kind's table",
            listed(&STEP_KEYS)
        ),
    };
    Mistake::error(code, key.span, message).hint(hint)
}

fn body_of(low: &mut Lowering<'_>, key: &Key, table: &Value) -> Option<Body> {
    if key.name == PLAYBOOK {
        return use_playbook(low, table);
    }
    let kind = low.kinds.iter().find(|kind| kind.name == key.name)?;
    check_kind(low, kind, table, &format!("step.{}", kind.name));
    Some(Body::Kind {
        kind: KindName::new(kind.name),
        span: key.span,
        table: table.clone(),
    })
}

/// Checks a kind's table as far as that is possible before its templates are rendered.
pub(super) fn check_kind(low: &mut Lowering<'_>, kind: &KindInfo, table: &Value, named: &str) {
    let schema = low
        .schemas
        .entry(kind.name)
        .or_insert_with(|| (kind.schema)());
    let mut found = shape::check_body(table, schema, named);
    if found.is_empty() && !holds_template(table) && secrets_named(table).is_empty() {
        found = (kind.decode)(table).err().unwrap_or_default();
    }
    low.mistakes.extend(found);
}

fn use_playbook(low: &mut Lowering<'_>, table: &Value) -> Option<Body> {
    let mistakes = shape::check_body(
        table,
        &shape::schema_of::<raw::UsePlaybook>(),
        "step.playbook",
    );
    if !mistakes.is_empty() {
        low.mistakes.extend(mistakes);
        return None;
    }
    let path = table.get("path")?;
    Some(Body::Playbook {
        path: path.as_str()?.to_owned(),
        span: path.span,
        vars: super::inventory::vars(low, table),
    })
}

fn needs(low: &mut Lowering<'_>, value: &Value) -> Vec<Need> {
    let Data::List(items) = &value.data else {
        low.error(
            "wrong-type",
            value.span,
            format!("`needs` must be a list, not {}", type_name(&value.data)),
            "write `needs = [\"a\"]`; `needs = []` means the start of the playbook",
        );
        return Vec::new();
    };
    items.iter().filter_map(|item| need(low, item)).collect()
}

fn need(low: &mut Lowering<'_>, item: &Value) -> Option<Need> {
    match &item.data {
        Data::String(step) => Some(Need {
            step: StepId::new(step),
            span: item.span,
            across: Across::Same,
            tolerate: 0,
        }),
        Data::Table(_) => {
            let raw = low.decode::<raw::Need>(item)?;
            if raw.across == Some(raw::Across::First) && raw.tolerate > 0 {
                low.error(
                    "invalid-value",
                    item.get("tolerate").map_or(item.span, |at| at.span),
                    "`tolerate` counts targets, and `across = \"first\"` waits for one only"
                        .to_owned(),
                    "leave `tolerate` out, or wait for all: `across = \"all\"`",
                );
            }
            Some(Need {
                step: StepId::new(raw.step),
                span: item.get("step").map_or(item.span, |step| step.span),
                across: match raw.across {
                    None => Across::Same,
                    Some(raw::Across::All) => Across::All,
                    Some(raw::Across::First) => Across::First,
                },
                tolerate: raw.tolerate,
            })
        }
        other => {
            low.error(
                "wrong-type",
                item.span,
                format!(
                    "an entry of `needs` must be a string or a table, not {}",
                    type_name(other)
                ),
                "write the step's id, or `{ step = \"a\", across = \"all\" }`",
            );
            None
        }
    }
}

fn each(low: &mut Lowering<'_>, value: &Value) -> Option<Value> {
    match &value.data {
        Data::List(_) => Some(value.clone()),
        Data::String(_) if holds_template(value) => Some(value.clone()),
        other => {
            let found = type_name(other);
            low.error(
                "wrong-type",
                value.span,
                format!("`each` must be a list, or a template that gives one, not {found}"),
                "write `each = [\"a\", \"b\"]` or `each = \"{{ pools }}\"`",
            );
            None
        }
    }
}

fn retry(raw: raw::Retry) -> Retry {
    let seconds = |n| TimeSpan(std::time::Duration::from_secs(n));
    let delay = raw.delay.unwrap_or(seconds(2));
    Retry {
        attempts: u32::from(raw.attempts),
        delay,
        max_delay: raw.max_delay.unwrap_or(seconds(60)).max(delay),
    }
}

/// A duration that must not be zero.
pub(super) fn positive(
    low: &mut Lowering<'_>,
    table: &Value,
    key: &str,
    span: Option<TimeSpan>,
) -> Option<TimeSpan> {
    if span.is_some_and(|span| span.0.is_zero()) {
        let place = table.get(key).map_or(table.span, |value| value.span);
        low.error(
            "invalid-value",
            place,
            format!("`{key}` must be longer than nothing"),
            format!("write a duration such as `30s`, or remove `{key}` for the default"),
        );
        return None;
    }
    span
}
