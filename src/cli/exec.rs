//! `hmco-boot exec`: a command on many nodes at once, through the engine: recorded, locked, as a job that outlives its
//! connection. What it prints is shown node by node.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::json;

use super::Context;
use super::error::CliError;
use super::output::{Format, Output};
use super::reach::BecomeArgs;
use super::run::{How, Ready};
use super::session::{self, Session};
use super::vault;
use crate::engine::runner::{Ended, Observer};
use crate::engine::scheduler::Scheduler;
use crate::facts::fact::FactValue;
use crate::model::event::{Event, Record, RunArguments};
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::{PairId, Target};
use crate::model::inventory::Inventory;
use crate::model::outcome::{ExitCode, Failure, Outcome};
use crate::model::sensitive::Text;
use crate::model::shell::quote_all;
use crate::model::units::TimeSpan;
use crate::plan::Plan;
use crate::plan::adhoc::Adhoc;
use crate::report::lines::stopping_words;
use crate::report::style::{Ink, Line};
use crate::report::text::{self, count};

/// Most bytes of standard input.
const STDIN_CAP: u64 = 16 << 20;

/// Letters of a command in lists of runs.
const LABEL: usize = 60;

/// Arguments of `exec`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The command is run as it is given, without a shell, by root (see `become`), under the locks that `run` takes, as a job that \
goes on where a connection is lost. It is on record: never put a secret among its arguments.

Examples:
  hmco-boot exec all --read-only -- uptime -p
  hmco-boot exec 'role:agent & !pi5-04' -- systemctl restart chrony
  hmco-boot exec pi5-02 -- sh -c 'journalctl -b -p err | tail'
  hmco-boot exec all --serial 1 -- apt-get -y upgrade")]
pub struct Args {
    /// Where: node names, globs, role:, group:, controller, &, |, !
    #[arg(value_name = "SELECTOR")]
    pub selector: String,
    /// It changes nothing: no locks, no job, also while a run goes on; what it prints is not recorded
    #[arg(long)]
    pub read_only: bool,
    /// Limit on each node
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub timeout: TimeSpan,
    /// So many nodes at once, in the inventory's order; one that fails stops those after it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub serial: Option<u32>,
    /// Give our standard input to the command on every node; it is not recorded
    #[arg(long, conflicts_with_all = ["read_only", "become_pass_stdin"])]
    pub stdin: bool,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    one_word(&args.command)?;
    let adhoc = Adhoc {
        argv: args.command.clone(),
        stdin: args.stdin.then(standard_input).transpose()?,
        timeout: args.timeout,
        serial: args.serial,
        read_only: args.read_only,
    };
    let words = quote_all(args.command.iter().map(String::as_str));
    let label = format!("exec {}", text::fit(&words, LABEL, false));
    let arguments = RunArguments {
        limit: Some(args.selector.clone()),
        exec: Some(args.command.clone()),
        ..RunArguments::default()
    };
    let plan = |inventory: &Inventory, fingerprinter: &Fingerprinter| {
        plan(&adhoc, &args.selector, inventory, fingerprinter)
    };
    let mut session =
        Session::without_playbook(context, &args.become_root, label.clone(), arguments, plan)?;
    let how = How {
        command: label,
        become_root: args.become_root.clone(),
        ..How::default()
    };
    let ready = Ready::new(&mut session, how, context).await?;
    let words = args
        .command
        .iter()
        .map(|word| ("the command", word.as_str()));
    vault::refuse_values(context.output.redactor(), words)?;
    let mut shown = Shown::new(&session.plan, context.output, args.read_only);
    let (ended, held) = ready.run(&session, &mut shown).await;
    let Shown { failed, locked, .. } = shown;
    let ended = held.finish(ended, &session, context)?;
    failed.map_or(Ok(()), Err)?;
    if args.read_only {
        tell_answers(&adhoc, &session.plan, &ended.scheduler, context.output)?;
    }
    summary(&session.plan, &ended, locked, context);
    Ok(ended.exit)
}

fn plan(
    adhoc: &Adhoc,
    selector: &str,
    inventory: &Inventory,
    fingerprinter: &Fingerprinter,
) -> Result<Plan, CliError> {
    let parsed = session::selector("SELECTOR", selector)?;
    let targets = parsed.targets(inventory).map_err(|error| {
        let wrong = CliError::usage(format!("{selector}: {}", error.message));
        match error.hint {
            Some(hint) => wrong.hint(hint),
            None => wrong,
        }
    })?;
    if targets.contains(&Target::Cluster) {
        return Err(
            CliError::usage(format!("{selector}: the cluster is no machine"))
                .hint("name nodes or `controller`; for the cluster there is `kubectl`"),
        );
    }
    if targets.is_empty() {
        let what = format!("{selector} selects nothing in {}", inventory.file);
        return Err(CliError::usage(what).hint("name nodes, roles or groups of the inventory"));
    }
    Ok(adhoc.plan(targets, fingerprinter))
}

/// A whole command line in one word is a slip: no shell will take it apart.
fn one_word(argv: &[String]) -> Result<(), CliError> {
    let [word] = argv else { return Ok(()) };
    let shell = |c: char| "|&;<>()$`*?\"'".contains(c);
    if !word.contains(shell) && (word.starts_with('/') || !word.contains(char::is_whitespace)) {
        return Ok(());
    }
    let quoted = quote_all([word.as_str()]);
    Err(
        CliError::usage(format!("{quoted} is one word, and no shell takes it apart")).hint(
            format!("give the words one by one, or run a shell: `-- sh -c {quoted}`"),
        ),
    )
}

fn standard_input() -> Result<Text, CliError> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(STDIN_CAP + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::failed("standard input cannot be read").caused_by(&error))?;
    if bytes.len() as u64 > STDIN_CAP {
        return Err(CliError::usage("standard input has more than 16 MiB")
            .hint("bring large files to nodes with a step `file` or `artifact`"));
    }
    String::from_utf8(bytes).map(Text::tainted).map_err(|_| {
        CliError::usage("standard input is not UTF-8 text").hint("encode it, as with `base64`")
    })
}

fn time(text: &str) -> Result<TimeSpan, String> {
    match TimeSpan::parse(text) {
        Ok(time) if !time.0.is_zero() => Ok(time),
        Ok(_) => Err("it must be longer than nothing".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Shows what each node said, as soon as it has ended there.
struct Shown<'o> {
    output: &'o mut Output,
    targets: Vec<Target>,
    said: BTreeMap<PairId, String>,
    /// What nodes say comes later, and otherwise.
    later: bool,
    /// Somebody else holds a lock: what did not start was interrupted by nobody.
    locked: bool,
    failed: Option<CliError>,
}

impl<'o> Shown<'o> {
    fn new(plan: &Plan, output: &'o mut Output, read_only: bool) -> Self {
        Self {
            output,
            targets: plan.pairs.iter().map(|pair| pair.target.clone()).collect(),
            said: BTreeMap::new(),
            later: read_only,
            locked: false,
            failed: None,
        }
    }

    fn ended(&mut self, pair: PairId, outcome: &Outcome) {
        let text = self.said.remove(&pair).unwrap_or_default();
        // A check's words wait for what it read; where there was nothing to read, there is nothing to wait for.
        if self.later && (outcome.satisfies() || matches!(outcome, Outcome::Failed(_))) {
            return;
        }
        let Some(target) = self.targets.get(pair.index()) else {
            return;
        };
        let said = Said {
            stdout: &text,
            stderr: None,
        };
        if let Err(error) = tell(self.output, target, outcome, self.locked, &said) {
            self.failed.get_or_insert(error);
        }
    }
}

impl Observer for Shown<'_> {
    fn record(&mut self, record: &Record) {
        match &record.event {
            Event::StepOutput { pair, text } => self.said.entry(*pair).or_default().push_str(text),
            Event::StepFinished { pair, outcome, .. } => self.ended(*pair, outcome),
            Event::CancelRequested { level } => {
                let words = stopping_words(*level, false);
                self.output.talk(&format!("stopping: {words}\n"));
            }
            Event::LockRefused { failure } => {
                self.locked = true;
                self.output.warn(
                    &failure.message,
                    failure.hint.as_deref().unwrap_or_default(),
                );
            }
            Event::Warning { failure } => {
                self.output.warn(
                    &failure.message,
                    failure.hint.as_deref().unwrap_or_default(),
                );
            }
            Event::LeftoverJob {
                target,
                job,
                waiting: true,
            } => {
                self.output.talk(&format!(
                    "{target}: job {job} of an earlier run still runs; it is awaited\n"
                ));
            }
            _ => {}
        }
    }

    fn tick(&mut self, _: i64) {}
}

/// What the nodes answered to a command that only reads.
fn tell_answers(
    adhoc: &Adhoc,
    plan: &Plan,
    scheduler: &Scheduler,
    output: &mut Output,
) -> Result<(), CliError> {
    let fact = adhoc.fact();
    for pair in &plan.pairs {
        let Some(outcome) = scheduler.outcome(pair.id) else {
            continue;
        };
        if !(outcome.satisfies() || matches!(outcome, Outcome::Failed(_))) {
            continue;
        }
        let answer = scheduler.facts().get(&pair.target, &fact);
        let (stdout, stderr) = match answer {
            Some(Ok(FactValue::Exec(result))) => (
                String::from_utf8_lossy(&result.stdout).into_owned(),
                String::from_utf8_lossy(&result.stderr).into_owned(),
            ),
            _ => Default::default(),
        };
        let said = Said {
            stdout: &stdout,
            stderr: Some(&stderr),
        };
        tell(output, &pair.target, outcome, false, &said)?;
    }
    Ok(())
}

/// What a command said.
struct Said<'s> {
    stdout: &'s str,
    /// Where it came on a stream of its own.
    stderr: Option<&'s str>,
}

/// How it ended, in a word.
fn word(outcome: &Outcome, locked: bool) -> &'static str {
    match outcome {
        Outcome::Interrupted(_) if locked => "locked",
        other => other.word(),
    }
}

/// How it ended on a node, and what it said there.
fn tell(
    output: &mut Output,
    target: &Target,
    outcome: &Outcome,
    locked: bool,
    said: &Said<'_>,
) -> Result<(), CliError> {
    let exit = match outcome {
        Outcome::Changed | Outcome::Unchanged => Some(0),
        other => other.failure().and_then(Failure::exit_status),
    };
    if output.format() == Format::Json {
        let mut value = json!({
            "target": target,
            "outcome": word(outcome, locked),
            "exit": exit,
            "failure": outcome.failure(),
            "output": said.stdout,
        });
        // What is recorded comes in one stream: an empty `stderr` would say that nothing was complained of.
        if let (Some(stderr), Some(keys)) = (said.stderr, value.as_object_mut()) {
            keys.insert("stderr".to_owned(), stderr.into());
        }
        return output.json("exec", &value);
    }
    let (ink, word) = match (exit, outcome) {
        (Some(0), _) => (Ink::Good, String::new()),
        (Some(status), _) => (Ink::Bad, format!(": exit status {status}")),
        (None, Outcome::Interrupted(why)) => {
            (Ink::Warn, format!(": {}: {why}", word(outcome, locked)))
        }
        (None, other) => {
            let why = other.failure().map(|failure| failure.message.as_str());
            (
                Ink::Bad,
                format!(
                    ": {}: {}",
                    other.word(),
                    why.unwrap_or("an earlier node failed")
                ),
            )
        }
    };
    let mut lines = vec![Line::of(Ink::Strong, format!("== {target}")).with(ink, word)];
    for text in [said.stdout, said.stderr.unwrap_or_default()] {
        lines.extend(text.lines().map(|line| Line::new().plain(line)));
    }
    if exit.is_none()
        && let Some(failure) = outcome.failure()
    {
        let commands = output.commands();
        let hint = failure.hint.iter();
        let hint = hint.map(|hint| format!("hint: {}", commands.complete(hint)));
        let below = failure.evidence.iter().cloned().chain(hint);
        lines.extend(below.map(|line| Line::new().plain("   ").with(Ink::Soft, line)));
    }
    output.lines(&lines)
}

fn summary(plan: &Plan, ended: &Ended, locked: bool, context: &mut Context<'_>) {
    if context.output.format() == Format::Json {
        return;
    }
    let outcomes = plan
        .pairs
        .iter()
        .filter_map(|pair| ended.scheduler.outcome(pair.id));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes {
        let word = match outcome {
            Outcome::Changed | Outcome::Unchanged => "ok",
            other => word(other, locked),
        };
        *counts.entry(word).or_default() += 1;
    }
    let ok = counts.remove("ok").unwrap_or(0);
    let mut words = vec![format!(
        "{} of {}",
        ok,
        count(plan.pairs.len(), "target", "targets")
    )];
    words.extend(counts.iter().map(|(word, n)| format!("{n} {word}")));
    context
        .output
        .talk(&format!("ok on {}\n", words.join(", ")));
}
