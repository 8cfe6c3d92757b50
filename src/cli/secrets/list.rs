//! `hmco-boot secrets list`: names, ages, readers and uses. It opens nothing and needs no identity, so what it says of
//! readers is what the manifest says; `secrets check` verifies it.

use serde_json::json;

use super::place::{self, Place};
use super::used;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::model::mistake::nearest;
use crate::model::outcome::ExitCode;
use crate::report::style::{Ink, table};
use crate::report::text::{count, some_of};
use crate::secrets::recipients::{Fingerprint, Recipients};
use crate::secrets::store::Entry;

/// Arguments of `secrets list`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
AGE is since the value was set, not since it was last encrypted.

Examples:
  hmco-boot secrets list
  hmco-boot secrets list k3s           names that begin so
  hmco-boot secrets list --unused")]
pub struct Args {
    /// Only names that begin with these segments
    #[arg(value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Only those that neither the inventory nor a playbook uses
    #[arg(long)]
    pub unused: bool,
}

struct Row<'a> {
    entry: &'a Entry,
    age: Option<i64>,
    readers: Vec<String>,
    used: Vec<String>,
}

/// Lists them.
pub fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let place = Place::of(context)?;
    let outline = place.outline()?;
    let recipients = place.recipients()?;
    let uses = used::find(context);
    let today = place::today();
    let wanted = |entry: &&Entry| {
        args.prefix
            .as_ref()
            .is_none_or(|prefix| begins_with(entry.name.as_str(), prefix))
            && !(args.unused && uses.contains_key(entry.name.as_str()))
    };
    let rows: Vec<Row<'_>> = outline
        .entries()
        .iter()
        .filter(wanted)
        .map(|entry| Row {
            entry,
            age: entry
                .set_on
                .and_then(|then| Some(i64::from(today.since(then).ok()?.get_days()))),
            readers: reader_names(&entry.readers, &recipients),
            used: uses.get(entry.name.as_str()).cloned().unwrap_or_default(),
        })
        .collect();
    if context.output.format() == Format::Json {
        for row in &rows {
            let row = json!({
                "name": row.entry.name.as_str(), "file": row.entry.file, "line": row.entry.line,
                "set_on": row.entry.set_on.map(|day| day.to_string()), "age_days": row.age,
                "readers": row.readers, "used": row.used,
            });
            context.output.json("secret", &row)?;
        }
    } else if outline.entries().is_empty() {
        context
            .output
            .talk("no secrets yet: `hmco-boot secrets set NAME` adds the first\n");
    } else {
        show(&rows, context)?;
    }
    missing(&uses, outline.entries(), context);
    Ok(ExitCode::Done)
}

fn begins_with(name: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Readers by the names they have now, in the order of the file; those that are none any more, by their fingerprints.
fn reader_names(readers: &[Fingerprint], recipients: &Recipients) -> Vec<String> {
    let now = recipients.all().iter();
    let now = now.filter(|one| readers.contains(&one.fingerprint()));
    let gone = readers
        .iter()
        .filter(|one| recipients.by_fingerprint(**one).is_none());
    now.map(|one| one.name.clone())
        .chain(gone.map(ToString::to_string))
        .collect()
}

fn show(rows: &[Row<'_>], context: &mut Context<'_>) -> Result<(), CliError> {
    let head = ["SECRET", "AGE", "READERS", "USED"].map(|head| (Ink::Soft, head.to_owned()));
    let mut cells = vec![head];
    for row in rows {
        let age = match row.age {
            None => (Ink::Warn, "not sealed".to_owned()),
            Some(0) => (Ink::Plain, "today".to_owned()),
            Some(days) => (
                Ink::Plain,
                count(usize::try_from(days).unwrap_or(0), "day", "days"),
            ),
        };
        let used = match row.used.as_slice() {
            [] => (Ink::Warn, "nowhere".to_owned()),
            [first] => (Ink::Plain, first.clone()),
            [first, more @ ..] => (Ink::Plain, format!("{first} and {} more", more.len())),
        };
        cells.push([
            (Ink::Strong, row.entry.name.to_string()),
            age,
            (Ink::Plain, row.readers.join(", ")),
            used,
        ]);
    }
    context.output.lines(&table(&cells))
}

/// What is used and not there stops a run: say it where somebody looks.
fn missing(uses: &used::Uses, entries: &[Entry], context: &mut Context<'_>) {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for (name, places) in uses {
        // A shipped playbook that nobody runs misses nothing.
        let own = places.iter().any(|place| !place.starts_with("shipped:"));
        if !own || names.contains(&name.as_str()) {
            continue;
        }
        let what = format!(
            "{} uses the secret {name}, which is not there",
            some_of(places, 2)
        );
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("hmco-boot secrets set {name}"),
        };
        context.output.warn(&what, &hint);
    }
}
