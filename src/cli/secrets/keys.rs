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
    let found =
        Identities::public(&who.env(context), &mut asking).map_err(|failure| refused(&failure))?;
    if found.is_empty() {
        return Err(CliError::failed("there is no identity").hint(
            "hmco-boot secrets init makes one; an SSH key is one too: --identity ~/.ssh/id_ed25519",
        ));
    }
    for (path, public) in found {
        let (file, fingerprint) = (path.display(), public.fingerprint());
        if context.output.format() == Format::Json {
            let row = json!({
                "file": file.to_string(), "key": public.text(), "fingerprint": fingerprint.to_string()
            });
            context.output.json("identity", &row)?;
        } else {
            context.output.data(&format!(
                "{file}\n  key          {public}\n  fingerprint  {fingerprint}\n"
            ))?;
        }
    }
    Ok(ExitCode::Done)
}
