//! `hmco-boot secrets rotate`: every value encrypted anew for those who read now, all or nothing; and what that does not
//! do: whoever could read a value may still know it.

use std::collections::BTreeMap;

use serde_json::json;

use super::identity::IdentityArgs;
use super::place::{self, Place, failed};
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::model::outcome::ExitCode;
use crate::report::text::{and_list, count};
use crate::secrets::approved::Approved;
use crate::secrets::rekey::{self, RekeyPlan};
use crate::secrets::store::Mode;

/// Arguments of `secrets rotate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Encrypts with fresh keys, for the readers in secrets/recipients.toml. It is done for all values or for none, also when the
machine goes down in the middle. The values themselves stay: change those that a removed reader could read at their source
(make a new token, a new password), then `hmco-boot secrets set` them.

Examples:
  hmco-boot secrets rotate --dry-run
  hmco-boot secrets rotate")]
pub struct Args {
    /// Only say who would read what
    #[arg(long)]
    pub dry_run: bool,
}

/// Rotates.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let place = Place::of(context)?;
    let mode = if args.dry_run {
        Mode::Read
    } else {
        Mode::Write
    };
    let (inspection, mut approved) = place.inspect(mode, who, context)?;
    let recipients = inspection.recipients().clone();
    let plan = rekey::plan(&inspection, &recipients).map_err(|failure| failed(&failure))?;
    let losing = lost(&plan, &approved);
    if args.dry_run {
        tell(&plan, &losing, true, context)?;
        return Ok(ExitCode::Done);
    }
    place::approve(recipients.all(), &mut approved, &place, context)?;
    let done = rekey::carry_out(inspection, &plan, &approved, &|_, _| {});
    let tree = done.map_err(|failure| failed(&failure))?;
    tell(&plan, &losing, false, context)?;
    if context.output.format() != Format::Json {
        let values = count(plan.values.len(), "value", "values");
        let readers = count(tree.recipients().all().len(), "reader", "readers");
        context
            .output
            .talk(&format!("{values} encrypted anew, for {readers}\n"));
    }
    warn(&losing, context);
    Ok(ExitCode::Done)
}

/// Who gains and who loses what.
fn tell(
    plan: &RekeyPlan,
    losing: &ByReader,
    dry: bool,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    if context.output.format() == Format::Json {
        let values: Vec<_> = plan
            .values
            .iter()
            .map(|value| json!({ "name": value.name, "gains": value.gains, "loses": value.loses, "keeps": value.keeps }))
            .collect();
        let row = json!({ "dry_run": dry, "values": values, "lost": losing });
        return context.output.json("secrets_rotate", &row);
    }
    let will = if dry { " would" } else { "" };
    let mut text = String::new();
    for (verb, of) in [("gain", gained(plan)), ("lose", losing.clone())] {
        for (reader, names) in of {
            let ending = if dry { "" } else { "s" };
            text.push_str(&format!(
                "{reader}{will} {verb}{ending} {}:\n",
                count(names.len(), "value", "values")
            ));
            for name in names {
                text.push_str(&format!("  {name}\n"));
            }
        }
    }
    if text.is_empty() {
        text = format!(
            "nobody{will} gain{0} or lose{0} anything\n",
            if dry { "" } else { "s" }
        );
    }
    context.output.data(&text)
}

type ByReader = BTreeMap<String, Vec<String>>;

fn gained(plan: &RekeyPlan) -> ByReader {
    let mut by = ByReader::new();
    for value in &plan.values {
        for reader in &value.gains {
            by.entry(reader.clone())
                .or_default()
                .push(value.name.to_string());
        }
    }
    by
}

/// Who loses what. One who is no reader any more is in the plan by the fingerprint alone; this machine may know the name.
fn lost(plan: &RekeyPlan, approved: &Approved) -> ByReader {
    let mut by = ByReader::new();
    for value in &plan.values {
        for reader in &value.loses {
            let name = match approved.name_of(reader) {
                // The name is still there, with another key.
                Some(name) if plan.recipients.find(name).is_some() => {
                    format!("{name}'s former key")
                }
                Some(name) => name.to_owned(),
                None => reader.clone(),
            };
            by.entry(name).or_default().push(value.name.to_string());
        }
    }
    by
}

/// A new key does not take back what somebody has read.
fn warn(lost: &ByReader, context: &mut Context<'_>) {
    if lost.is_empty() {
        return;
    }
    let readers: Vec<String> = lost.keys().map(|reader| format!("`{reader}`")).collect();
    let mut names: Vec<&str> = lost.values().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    context.output.warn(
        &format!(
            "{} could read these until now, and may have kept them (git's history still holds what they can open):\n{}",
            and_list(&readers),
            names.join("\n")
        ),
        "change each of them where it is used (a new token, a new password), then: hmco-boot secrets set NAME",
    );
}
