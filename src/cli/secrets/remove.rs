//! `hmco-boot secrets remove`: values that nothing uses any more.

use serde_json::json;

use super::identity::IdentityArgs;
use super::place::{self, Place, failed};
use super::used;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::model::outcome::ExitCode;
use crate::secrets::name::SecretName;
use crate::secrets::store::{Change, Mode};

/// Arguments of `secrets remove`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
What was committed stays in git's history, encrypted to those who could read it then.

Examples:
  hmco-boot secrets remove dns/old-key")]
pub struct Args {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Also those that are used by the inventory or a playbook
    #[arg(long)]
    pub force: bool,
}

/// Removes them.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let names: Vec<SecretName> = args
        .names
        .iter()
        .map(|name| place::name(name))
        .collect::<Result<_, _>>()?;
    let place = Place::of(context)?;
    let uses = used::find(context);
    let mut opened = place.open(Mode::Write, who, context)?;
    for name in &names {
        place::expect(name, opened.tree.entries())?;
        if let (Some(places), false) = (uses.get(name.as_str()), args.force) {
            return Err(
                CliError::usage(format!("{name} is used: {}", places.join(", ")))
                    .hint("change these first, or add --force: runs that use it are then refused"),
            );
        }
    }
    let change = names
        .iter()
        .fold(Change::new(), |change, name| change.remove(name.clone()));
    let all: Vec<_> = opened.tree.recipients().all().to_vec();
    place::approve(&all, &mut opened.approved, &place, context)?;
    opened
        .tree
        .commit(change, &opened.approved, place::today())
        .map_err(|failure| failed(&failure))?;
    if context.output.format() == Format::Json {
        let names: Vec<&str> = names.iter().map(SecretName::as_str).collect();
        context
            .output
            .json("secrets_removed", &json!({ "names": names }))?;
    } else {
        for name in &names {
            context.output.talk(&format!("removed {name}\n"));
        }
    }
    Ok(ExitCode::Done)
}
