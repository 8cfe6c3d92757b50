//! `hmco-boot secrets exec`: one command with secrets in its environment, or in files in memory whose paths are in its
//! environment. They are in nobody's arguments, and gone with the command.

use std::ffi::OsString;
use std::io;

use super::child;
use super::identity::IdentityArgs;
use super::place::{self, Place, failed};
use super::tmpfs::Folder;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::model::outcome::ExitCode;
use crate::secrets::SecretValue;
use crate::secrets::name::SecretName;
use crate::secrets::store::Mode;

/// Arguments of `secrets exec`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The exit status is the command's own. An environment can be read by its owner and root as long as the command lives, and
is handed to whatever the command starts; a file cannot be seen by others either, and is not handed on.

Examples:
  hmco-boot secrets exec --env CF_API_TOKEN=dns/api-token -- ./update-dns
  hmco-boot secrets exec --file KUBECONFIG=k3s/kubeconfig -- kubectl get nodes
  hmco-boot secrets exec --env PGPASSWORD=db/password -- sh -c 'psql -c \"select 1\"'")]
pub struct Args {
    /// Set a variable to a secret; may be repeated
    #[arg(long, value_name = "VARIABLE=NAME", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// Put a secret into a file, and set a variable to its path; may be repeated
    #[arg(long, value_name = "VARIABLE=NAME", value_parser = pair)]
    pub file: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (variable, name) = text
        .split_once('=')
        .ok_or("write VARIABLE=NAME, as in TOKEN=k3s/token")?;
    let mut bytes = variable.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("{variable:?} cannot name a variable"));
    }
    Ok((variable.to_owned(), name.to_owned()))
}

/// Runs it.
pub async fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    if args.env.is_empty() && args.file.is_empty() {
        return Err(CliError::usage("no secret is named")
            .hint("name one: --env VARIABLE=NAME or --file VARIABLE=NAME"));
    }
    let asked: Vec<&(String, String)> = args.env.iter().chain(&args.file).collect();
    for (at, (variable, _)) in asked.iter().enumerate() {
        if asked.iter().take(at).any(|(other, _)| other == variable) {
            return Err(
                CliError::usage(format!("{variable} is set twice")).hint("set each variable once")
            );
        }
    }
    let values = values(&asked, who, context)?;
    let (in_env, in_files) = values.split_at(args.env.len().min(values.len()));
    let mut env = Vec::new();
    for ((variable, name), value) in args.env.iter().zip(in_env) {
        env.push((variable.clone(), as_variable(name, value)?));
    }
    let folder = if in_files.is_empty() {
        None
    } else {
        Some(Folder::new(context.env).map_err(|failure| failed(&failure))?)
    };
    for ((variable, _), value) in args.file.iter().zip(in_files) {
        let written = folder
            .as_ref()
            .map(|folder| folder.write(variable, value.expose()));
        match written {
            Some(Ok(path)) => env.push((variable.clone(), path.into_os_string())),
            Some(Err(error)) => {
                return Err(CliError::failed("cannot write the file in memory")
                    .caused_by(&error)
                    .hint("see whether memory is full"));
            }
            None => {}
        }
    }
    let (program, rest) = match args.command.split_first() {
        Some((program, rest)) => (program.to_string_lossy().into_owned(), rest),
        None => return Err(CliError::usage("there is no command").hint("write it behind `--`")),
    };
    let Some(folder) = folder else {
        return Err(not_started(
            &program,
            &child::become_it(&program, rest, &env),
        ));
    };
    let ended = child::attend(&program, rest, &env).await;
    drop(folder);
    let ended = ended.map_err(|error| not_started(&program, &error))?;
    match child::number(ended.status) {
        0 => Ok(ExitCode::Done),
        number => Err(CliError::passed(number)),
    }
}

fn not_started(program: &str, error: &io::Error) -> CliError {
    CliError::usage(format!("cannot start {program}"))
        .caused_by(error)
        .hint("see whether it is installed and may be run")
}

fn as_variable(name: &str, value: &SecretValue) -> Result<OsString, CliError> {
    use std::os::unix::ffi::OsStringExt as _;
    if value.expose().contains(&0) {
        return Err(
            CliError::usage(format!("{name} holds a zero byte, which no variable can"))
                .hint(format!("hand it over in a file: --file VARIABLE={name}")),
        );
    }
    Ok(OsString::from_vec(value.expose().to_vec()))
}

fn values(
    asked: &[&(String, String)],
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<Vec<SecretValue>, CliError> {
    let names: Vec<SecretName> = asked
        .iter()
        .map(|(_, name)| place::name(name))
        .collect::<Result<_, _>>()?;
    let place = Place::of(context)?;
    let opened = place.open(Mode::Read, who, context)?;
    for name in &names {
        place::expect(name, opened.tree.entries())?;
    }
    let values = opened.tree.get_many(&names).into_iter();
    let values: Vec<SecretValue> = values
        .collect::<Result<_, _>>()
        .map_err(|failure| failed(&failure))?;
    for (name, value) in names.iter().zip(&values) {
        place::hide(name, value, context);
    }
    Ok(values)
}
