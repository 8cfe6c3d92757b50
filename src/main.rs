//! The `hmco-boot` command: hands the process (arguments, environment, streams) to the library's `cli`, shows the error
//! that comes back, once, and exits with its code.

use std::process::ExitCode;

use hmco_boot::cli::environment::ProcessEnvironment;
use hmco_boot::cli::error::CliError;
use hmco_boot::cli::output::Output;
use hmco_boot::cli::{dispatch, guard, parse};
use hmco_boot::model::outcome;
use hmco_boot::model::redact::Redactor;

fn main() -> ExitCode {
    let redactor = Redactor::default();
    guard::leave_no_dump();
    guard::tame_panics(&redactor);
    let mut output = Output::process(&ProcessEnvironment, &redactor);
    let code = command(&mut output).map_or_else(
        |error| {
            output.report(&error);
            error.number()
        },
        outcome::ExitCode::number,
    );
    ExitCode::from(code)
}

fn command(output: &mut Output) -> Result<outcome::ExitCode, CliError> {
    let Some(cli) = parse(std::env::args_os(), output)? else {
        return Ok(outcome::ExitCode::Done);
    };
    let cwd = std::env::current_dir().map_err(|error| {
        CliError::failed("cannot tell which folder this is")
            .caused_by(&error)
            .hint("it may have been removed: change to another folder")
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed("cannot start the runtime").caused_by(&error))?;
    runtime.block_on(dispatch(cli, &ProcessEnvironment, cwd, output))
}
