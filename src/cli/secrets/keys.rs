//! `hmco-boot secrets identity`: the public half of this user's keys, for somebody who adds them to the readers.

use serde_json::json;

use super::identity::{IdentityArgs, refused};
use super::prompt::Asking;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::model::outcome::ExitCode;
use crate::secrets::identity::Identities;

/// Arguments of `secrets identity`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Give the key to a reader of the secrets, and read the fingerprint to them by another way (a call), so that both know that
it is yours.

Examples:
  hmco-boot secrets identity
  hmco-boot secrets identity --identity ~/.ssh/id_ed25519")]
pub struct Args {}

/// Shows them.
pub fn run(who: &IdentityArgs, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let mut asking = Asking::new(context.env);
    let found = Identities::find(&who.env(context), None, &mut asking)
        .map_err(|failure| refused(&failure))?;
    if found.found().is_empty() {
        return Err(CliError::failed("there is no identity").hint(
            "hmco-boot secrets init makes one; an SSH key is one too: --identity ~/.ssh/id_ed25519",
        ));
    }
    for one in found.found() {
        let fingerprint = one.public.fingerprint().to_string();
        if context.output.format() == Format::Json {
            let file = one.path.display().to_string();
            let row = json!({ "file": file, "key": one.public.text(), "fingerprint": fingerprint });
            context.output.json("identity", &row)?;
        } else {
            let text = format!(
                "{}\n  key          {}\n  fingerprint  {fingerprint}\n",
                one.path.display(),
                one.public
            );
            context.output.data(&text)?;
        }
    }
    Ok(ExitCode::Done)
}
