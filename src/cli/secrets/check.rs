//! `hmco-boot secrets check`: opens everything, verifies headers, manifest and seal against what this machine has seen; and
//! after a merge by git, shows what came in and seals it again.

use serde_json::json;

use super::identity::IdentityArgs;
use super::place::{self, Place, described, failed};
use super::used;
use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::model::mistake::nearest;
use crate::model::outcome::{ExitCode, Failure};
use crate::report::text::{count, some_of};
use crate::secrets::store::{Coming, Incoming, Inspection, Mode};
use crate::secrets::verify::Finding;

/// Arguments of `secrets check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Exits with 1 where something is wrong. After `git merge` the seal belongs to neither side: --accept-merge shows what came
in, verifies that every value opens and bears its own name, asks, and seals.

Examples:
  hmco-boot secrets check
  hmco-boot secrets check --identity /media/stick/recovery.txt
  hmco-boot secrets check --accept-merge")]
pub struct Args {
    /// Show what came in since the last seal, and seal it
    #[arg(long)]
    pub accept_merge: bool,
    /// Seal without asking
    #[arg(short, long, requires = "accept_merge")]
    pub yes: bool,
}

/// Checks.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let place = Place::of(context)?;
    let mode = if args.accept_merge {
        Mode::Write
    } else {
        Mode::Read
    };
    let (inspection, mut approved) = place.inspect(mode, who, context)?;
    if args.accept_merge {
        return accept(args, inspection, &mut approved, &place, context);
    }
    let closed = inspection.open_all();
    let wrong: Vec<&Failure> = inspection
        .findings()
        .iter()
        .map(|one| &one.failure)
        .chain(&closed)
        .collect();
    let warnings = warnings(&inspection, &approved, &place, context)?;
    let outline = place.outline()?;
    let values = outline.entries().len();
    if context.output.format() == Format::Json {
        let findings: Vec<_> = inspection.findings().iter().map(finding_json).collect();
        let closed: Vec<_> = closed.iter().map(failure_json).collect();
        let own = warnings.iter().map(|(what, _)| what);
        let warnings: Vec<_> = inspection.warnings().iter().chain(own).collect();
        let row = json!({ "values": values, "ok": wrong.is_empty(), "findings": findings, "closed": closed, "warnings": warnings });
        context.output.json("secrets_check", &row)?;
        return Ok(if wrong.is_empty() {
            ExitCode::Done
        } else {
            ExitCode::Failed
        });
    }
    for failure in &wrong {
        context
            .output
            .report(&CliError::from_failure(Kind::Failed, failure));
    }
    place::remark(inspection.warnings(), context);
    for (what, hint) in &warnings {
        context.output.warn(what, hint);
    }
    if !wrong.is_empty() {
        return Ok(ExitCode::Failed);
    }
    let readers = count(inspection.recipients().all().len(), "reader", "readers");
    let values = count(values, "value opens and is", "values open and are");
    context
        .output
        .data(&format!("{values} as sealed; {readers}\n"))?;
    Ok(ExitCode::Done)
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "what": format!("{:?}", finding.what), "name": finding.name, "file": finding.file, "line": finding.line,
        "message": finding.failure.message, "hint": finding.failure.hint,
    })
}

fn failure_json(failure: &Failure) -> serde_json::Value {
    json!({ "message": failure.message, "evidence": failure.evidence, "hint": failure.hint })
}

/// What works, and should be known: what to do with it.
fn warnings(
    inspection: &Inspection,
    approved: &crate::secrets::approved::Approved,
    place: &Place,
    context: &Context<'_>,
) -> Result<Vec<(String, String)>, CliError> {
    let recipients = inspection.recipients();
    let mut warnings = Vec::new();
    if recipients.all().len() > 1 && !recipients.all().iter().any(|reader| reader.recovery) {
        warnings.push((
            "no recovery key reads the secrets".to_owned(),
            "make one (age-keygen), and add it with `recovery = true` in secrets/recipients.toml"
                .to_owned(),
        ));
    }
    for reader in approved.missing(recipients.all()) {
        warnings.push((
            format!("not approved on this machine: {}", described(reader)),
            format!(
                "compare with its owner, then: hmco-boot secrets recipients approve {}",
                reader.name
            ),
        ));
    }
    let outline = place.outline()?;
    let names: Vec<&str> = outline
        .entries()
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    for (name, places) in used::find(context) {
        let own = places.iter().any(|place| !place.starts_with("shipped:"));
        if own && !names.contains(&name.as_str()) {
            let near = nearest(&name, names.iter().copied());
            let hint = near.map_or(format!("hmco-boot secrets set {name}"), |near| {
                format!("did you mean `{near}`?")
            });
            warnings.push((
                format!(
                    "{} uses the secret {name}, which is not there",
                    some_of(&places, 2)
                ),
                hint,
            ));
        }
    }
    Ok(warnings)
}

fn accept(
    args: &Args,
    inspection: Inspection,
    approved: &mut crate::secrets::approved::Approved,
    place: &Place,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    if inspection.findings().is_empty() {
        context
            .output
            .talk("everything is as sealed: there is nothing to accept\n");
        return Ok(ExitCode::Done);
    }
    if let Some(finding) = inspection
        .findings()
        .iter()
        .find(|finding| !finding.what.is_acceptable())
    {
        return Err(failed(&finding.failure));
    }
    let changes = inspection.changes();
    if context.output.format() == Format::Json {
        let rows: Vec<_> = changes
            .iter()
            .map(
                |one| json!({ "name": one.name, "change": word(one.change), "proven": one.proven }),
            )
            .collect();
        context
            .output
            .json("secrets_incoming", &json!({ "changes": rows }))?;
    } else {
        show(&changes, &inspection, context)?;
    }
    if !args.yes {
        let question = "Seal this as the secrets of this project?";
        if !context.output.interactive() {
            return Err(CliError::usage("nobody said that what came in is right")
                .hint("look at it, then: hmco-boot secrets check --accept-merge --yes"));
        }
        if !context.output.confirm(question) {
            return Err(CliError::failed("nothing was sealed")
                .hint("take back what you do not want with git"));
        }
    }
    let readers = inspection.recipients().all().to_vec();
    place::approve(&readers, approved, place, context)?;
    let tree = inspection
        .accept(approved, place::today())
        .map_err(|failure| failed(&failure))?;
    if context.output.format() != Format::Json {
        let values = count(tree.entries().len(), "value", "values");
        context.output.talk(&format!("sealed {values}\n"));
    }
    Ok(ExitCode::Done)
}

fn word(change: Coming) -> &'static str {
    match change {
        Coming::Added => "added",
        Coming::Removed => "removed",
        Coming::Changed => "changed",
        Coming::Older => "older",
    }
}

fn show(
    changes: &[Incoming],
    inspection: &Inspection,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let mut text = String::new();
    for one in changes {
        let by = if one.proven {
            ""
        } else {
            "  (nothing proves that a reader of this store wrote it)"
        };
        text.push_str(&format!("{:8} {}{by}\n", word(one.change), one.name));
    }
    if changes.is_empty() {
        text.push_str("no value came in, went or changed\n");
    }
    context.output.data(&text)?;
    for finding in inspection
        .findings()
        .iter()
        .filter(|finding| finding.name.is_none())
    {
        context
            .output
            .talk(&format!("{}\n", finding.failure.message));
    }
    Ok(())
}
