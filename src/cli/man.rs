//! `hmco-boot man`: the manual pages, made from the same types that parse the arguments.

#![expect(
    clippy::disallowed_methods,
    reason = "writes the pages to the folder that --dir names"
)]

use std::path::PathBuf;

use clap::CommandFactory;

use super::error::CliError;
use super::{Cli, Context};
use crate::model::outcome::ExitCode;

/// Arguments of `man`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hmco-boot man | man -l -
  hmco-boot man --dir /usr/local/share/man/man1")]
pub struct Args {
    /// Write one page per command into this folder instead
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Prints the main page, or writes all of them.
pub fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    if let Some(dir) = &args.dir {
        let dir = context.cwd.join(dir);
        std::fs::create_dir_all(&dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
            .map_err(|error| {
                CliError::failed(format!(
                    "cannot write the manual pages to {}",
                    dir.display()
                ))
                .caused_by(&error)
                .hint("name a folder you may write to")
            })?;
        return Ok(ExitCode::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| CliError::failed("cannot make the manual page").caused_by(&error))?;
    context.output.data(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::Done)
}
