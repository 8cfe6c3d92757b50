//! `hmco-boot secrets get`: one value, byte for byte, to where somebody sent standard output.

use std::io::IsTerminal;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::identity::IdentityArgs;
use super::place::{self, Place, failed};
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Format, JSON_VERSION};
use crate::model::outcome::ExitCode;
use crate::report::json::to_json;
use crate::secrets::store::Mode;

/// Arguments of `secrets get`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The value comes exactly as it was set, without a newline behind it. With --output json, one that is no text is under
`base64` instead of `value`.

Examples:
  hmco-boot secrets get tls/key > key.pem
  hmco-boot secrets get db/password --show")]
pub struct Args {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print it on a terminal, where others may see it and it stays in the scrollback
    #[arg(long)]
    pub show: bool,
}

/// A value as JSON: text, or bytes as base64.
#[derive(Serialize)]
struct Row<'a> {
    v: u32,
    r#type: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Prints it.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let name = place::name(&args.name)?;
    let terminal = std::io::stdout().is_terminal();
    if terminal && !args.show {
        return Err(
            CliError::usage("a secret is not printed on a terminal unasked").hint(
                "send it somewhere (hmco-boot secrets get NAME > FILE, | COMMAND), or add --show",
            ),
        );
    }
    let place = Place::of(context)?;
    let opened = place.open(Mode::Read, who, context)?;
    place::expect(&name, opened.tree.entries())?;
    let value = opened.tree.get(&name).map_err(|failure| failed(&failure))?;
    place::hide(&name, &value, context);
    if context.output.format() == Format::Json {
        let row = Row {
            v: JSON_VERSION,
            r#type: "secret",
            name: name.as_str(),
            value: value.text(),
            base64: (!value.is_text()).then(|| STANDARD.encode(value.expose())),
        };
        let text = to_json(&row).map_err(|error| {
            CliError::failed("cannot write the answer as JSON").caused_by(&error)
        })?;
        let text = Zeroizing::new(format!("{text}\n"));
        context.output.data_secret(text.as_bytes())?;
        return Ok(ExitCode::Done);
    }
    context.output.data_secret(value.expose())?;
    if terminal && value.expose().last() != Some(&b'\n') {
        // Only so that the prompt stands on a line of its own.
        context.output.data("\n")?;
    }
    Ok(ExitCode::Done)
}
