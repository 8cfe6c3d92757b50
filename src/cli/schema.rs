//! `hmco-boot schema`: the JSON schemas of the files a user writes, for editors, and of what `status` prints.

use super::Context;
use super::error::CliError;
use crate::config::schema;
use crate::model::outcome::ExitCode;
use crate::steps::registry::kinds;

/// Arguments of `schema`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hmco-boot schema inventory > inventory.schema.json
  hmco-boot schema playbook > playbook.schema.json")]
pub struct Args {
    /// Which file's; by default one object with both files
    #[arg(value_enum)]
    pub file: Option<File>,
}

/// A file that a user writes, or an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum File {
    /// inventory/*.toml
    Inventory,
    /// playbooks/**/*.toml
    Playbook,
    /// What `status --output json` prints
    Status,
}

/// Prints the schema.
pub fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let schema = match args.file {
        Some(File::Inventory) => schema::inventory(),
        Some(File::Playbook) => schema::playbook(kinds()),
        Some(File::Status) => schemars::schema_for!(crate::k3s::status::Status).to_value(),
        None => schema::schema(),
    };
    context.output.data(&format!("{schema:#}\n"))?;
    Ok(ExitCode::Done)
}
