//! The command line: arguments, one file per command, the edge error, and the only place that prints. Everything below
//! hands its words back; what the process sees (environment, working folder, streams) is handed in from here.

pub mod artifacts;
pub mod check;
mod cluster;
pub mod completions;
pub mod environment;
pub mod error;
pub mod exec;
pub mod files;
pub mod graph;
pub mod guard;
pub mod hosts;
pub mod init;
pub mod k3s;
pub mod kubeconfig;
pub mod lab;
pub mod live;
mod locks;
mod make;
pub mod man;
pub mod output;
pub mod paths;
pub mod pins;
pub mod plan;
pub mod planner;
pub mod playbooks;
pub mod project;
pub mod reach;
pub mod resume;
pub mod run;
pub mod runs;
pub mod schema;
pub mod secrets;
pub mod session;
pub mod status;
pub mod trace;
pub mod unlock;
pub mod vault;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::model::outcome::ExitCode;
use crate::model::redact::Redactor;
use crate::report;
use crate::report::commands::Commands;

use environment::Environment;
use error::{CliError, Kind};
use guard::Guarded;
use output::{Format, Output};

/// Bootstrap bare-metal nodes: a resumable graph of steps
///
/// Reads an inventory (which nodes there are) and a playbook (which steps are wanted), compares every node with what is
/// wanted, and changes only what differs. A run that was cut off, by Ctrl-C, a crash or a power cut, is gone on with by
/// `hmco-boot resume`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "hmco-boot",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = EXAMPLES,
    after_long_help = LONG_AFTER
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  hmco-boot init homelab && cd homelab
  hmco-boot plan hello        what would be done
  hmco-boot run hello         do it
  hmco-boot resume            go on after a crash";

const LONG_AFTER: &str = "\
Examples:
  hmco-boot init homelab && cd homelab
  hmco-boot plan hello        what would be done
  hmco-boot run hello         do it
  hmco-boot resume            go on after a crash

Exit codes:
  0    done
  1    a step failed, was blocked, or its state is unknown
  2    wrong arguments, or mistakes in the project's files
  3    a target could not be reached
  4    there is drift (plan --exit-code)
  5    somebody else holds the lock
  130  interrupted
When several hold, the first of 130, 5, 2, 1, 3, 4 counts.

Environment:
  HMCO_BOOT_STATE_DIR   where runs are recorded (see --state-dir)
  HMCO_BOOT_IDENTITY    file with the private key that opens secrets (see --identity)
  HMCO_MIRROR           folders with pinned files (see --mirror), with colons between
  HTTPS_PROXY, NO_PROXY  proxies for what this machine fetches itself
  NO_COLOR              no colour
  CLICOLOR_FORCE        colour even where the output is no terminal";

/// Options that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The inventory; by default the only file in inventory/
    #[arg(short, long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub inventory: Option<PathBuf>,
    /// The project's folder; by default the nearest one, here or above, that has inventory/
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub project: Option<PathBuf>,
    /// How to show things
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = false
    )]
    pub output: Format,
    /// Where runs are recorded, one folder per cluster; by default $XDG_STATE_HOME/hmco-boot
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// A folder to look for pinned files in before the network, by their URL's path, or NAME/VERSION/FILE, or name; may be
    /// repeated
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath, hide_short_help = true)]
    pub mirror: Vec<PathBuf>,
    /// Say more on standard error: -v what is done, -vv why, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Start a project: an inventory and a first playbook
    Init(init::Args),
    /// Report every mistake in the project's files
    Check(check::Args),
    /// Print the JSON schemas of the project's files, for editors
    Schema(schema::Args),
    /// Show the steps of a playbook and what waits for what
    Graph(graph::Args),
    /// Show what a run would do, changing nothing
    Plan(plan::Args),
    /// Bring the targets to what a playbook says
    Run(run::Args),
    /// Run a command on nodes, in parallel and on record
    Exec(exec::Args),
    /// Go on with a run that was cut off
    Resume(resume::Args),
    /// Look at recorded runs
    Runs(runs::Args),
    /// Look after the nodes themselves: host keys, logins, facts
    Hosts(hosts::Args),
    /// Show how the cluster is: nodes, K3s, API, etcd, and what is wrong
    Status(status::Args),
    /// Look after K3s on the nodes
    K3s(k3s::Args),
    /// Write the credentials of the cluster's administrator into a file for kubectl
    Kubeconfig(kubeconfig::Args),
    /// Look at playbooks, those that come with hmco-boot too
    Playbooks(playbooks::Args),
    /// Rehearse on nodes that are made on this machine
    Lab(lab::Args),
    /// Look at what is fetched by URL, and pin what its bytes must be
    Pins(pins::Args),
    /// Keep secrets encrypted in the project, and say who reads them
    Secrets(secrets::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

/// What the process hands to a command.
pub struct Context<'a> {
    /// Environment variables.
    pub env: &'a dyn Environment,
    /// The working folder.
    pub cwd: PathBuf,
    /// Options that every command takes.
    pub globals: Globals,
    /// Where words go.
    pub output: &'a mut Output,
}

impl Context<'_> {
    /// How the reporter of a run is to show it.
    pub fn reporter_options(&self) -> (report::Format, report::Options) {
        let format = match self.output.format() {
            Format::Json => report::Format::Json,
            Format::Tty => report::Format::Tty,
            Format::Plain | Format::Auto => report::Format::Plain,
        };
        let options = report::Options {
            width: usize::from(self.output.width()),
            height: usize::from(self.output.height()),
            colour: self.output.colour_mode(),
            unicode: self.output.unicode(),
            verbose: self.globals.verbose > 0,
            zone: jiff::tz::TimeZone::system(),
            commands: self.output.commands().clone(),
        };
        (format, options)
    }
}

/// Reads the arguments. `None`: they asked for help or the version, which has been printed.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    output: &mut Output,
) -> Result<Option<Cli>, CliError> {
    // Colour is decided by `Output`, once for all: clap renders both ways and is not asked to look at the terminal.
    let command = Cli::command().color(ColorChoice::Never);
    let parsed = command
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let error = match parsed {
        Ok(cli) => return Ok(Some(cli)),
        Err(error) => error,
    };
    let text = |colour: bool| {
        let styled = error.render();
        if colour {
            styled.ansi().to_string()
        } else {
            styled.to_string()
        }
    };
    if error.use_stderr() {
        output.talk(&text(output.error_colour()));
        return Err(CliError::new(Kind::Told, "wrong arguments"));
    }
    output.data(&text(output.colour()))?;
    Ok(None)
}

/// Carries out a command.
pub async fn dispatch(
    cli: Cli,
    env: &dyn Environment,
    cwd: PathBuf,
    output: &mut Output,
) -> Result<ExitCode, CliError> {
    output.set_format(cli.globals.output);
    let globals = &cli.globals;
    output.set_commands(Commands::new(
        globals.inventory.as_deref(),
        globals.project.as_deref(),
        globals.state_dir.as_deref(),
    ));
    trace_to_stderr(
        cli.globals.verbose,
        output.error_colour(),
        output.redactor(),
    );
    let mut context = Context {
        env,
        cwd,
        globals: cli.globals,
        output,
    };
    let context = &mut context;
    secrets::tmpfs::sweep(env);
    if !matches!(cli.command, Command::Init(_)) {
        project::expect_folder(context)?;
    }
    match cli.command {
        Command::Init(args) => init::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Graph(args) => graph::run(&args, context).await,
        Command::Plan(args) => plan::run(&args, context).await,
        Command::Run(args) => run::run(&args, context).await,
        Command::Exec(args) => exec::run(&args, context).await,
        Command::Resume(args) => resume::run(&args, context).await,
        Command::Runs(args) => runs::run(&args, context).await,
        Command::Hosts(args) => hosts::run(&args, context).await,
        Command::Kubeconfig(args) => kubeconfig::run(&args, context).await,
        Command::Playbooks(args) => playbooks::run(&args, context),
        Command::Status(args) => status::run(&args, context).await,
        Command::K3s(args) => k3s::run(&args, context).await,
        Command::Lab(args) => lab::run(&args, context).await,
        Command::Pins(args) => pins::run(&args, context).await,
        Command::Secrets(args) => secrets::run(&args, context).await,
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}

/// Diagnostics of the program itself, for `-v`: never part of what a command says.
fn trace_to_stderr(verbose: u8, colour: bool, redactor: &Redactor) {
    let Some(filter) = trace::filter(verbose) else {
        return;
    };
    if verbose > 2 {
        trace::listen_to_library();
    }
    let redactor = redactor.clone();
    tracing_subscriber::fmt()
        .with_writer(move || Guarded::new(Box::new(std::io::stderr()), &redactor))
        .with_ansi(colour)
        .with_env_filter(filter)
        .with_target(false)
        .try_init()
        // A second subscriber in one process is a test's; the first one stays.
        .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_says_what_it_is() {
        fn walk(command: &clap::Command, bare: &mut Vec<String>) {
            if command.get_about().is_none() {
                bare.push(command.get_name().to_owned());
            }
            for arg in command.get_arguments() {
                if arg.get_help().is_none() && !arg.is_hide_set() {
                    bare.push(format!("{} {}", command.get_name(), arg.get_id()));
                }
            }
            for sub in command.get_subcommands() {
                walk(sub, bare);
            }
        }
        let mut bare = Vec::new();
        walk(&Cli::command(), &mut bare);
        assert!(bare.is_empty(), "without help: {bare:?}");
    }
}
