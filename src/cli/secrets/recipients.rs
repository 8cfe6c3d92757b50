//! `hmco-boot secrets recipients`: who reads the secrets. Adding or removing somebody changes the list; `secrets rotate`
//! makes it true for the values that are there.

mod list;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::identity::{IdentityArgs, refused};
use super::place::{self, Opened, Place, described, failed};
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::cli::{Context, files};
use crate::model::outcome::ExitCode;
use crate::report::text::{count, some_of};
use crate::secrets::recipients::{Fingerprint, Recipient, RecipientKey, Recipients, is_name};
use crate::secrets::store::{Change, Entry, Mode};

/// Arguments of `secrets recipients`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `secrets recipients`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List who reads the secrets
    List,
    /// Add a reader, by a public key
    Add(Add),
    /// Remove a reader
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Approve keys that came with git, after comparing the fingerprints
    Approve(Approve),
}

/// Arguments of `secrets recipients add`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The owner of the key shows it, and its fingerprint, with `hmco-boot secrets identity`.

Examples:
  hmco-boot secrets recipients add bert age1... --group ops
  hmco-boot secrets recipients add ci --key-file ci.pub --fingerprint 0123456789abcdef
  hmco-boot secrets recipients add bert age1... --replace      he lost the other one")]
pub struct Add {
    /// The reader's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The public key: age1..., ssh-ed25519 AAAA..., ssh-rsa AAAA...
    #[arg(value_name = "KEY", num_args = 1.., required_unless_present = "key_file")]
    pub key: Vec<String>,
    /// Take the key from a file, as ~/.ssh/id_ed25519.pub
    #[arg(long, value_name = "FILE", conflicts_with = "key", value_hint = clap::ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// A group it belongs to; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// In place of the key that this reader has: it was lost, or may be known to others
    #[arg(long, conflicts_with = "group")]
    pub replace: bool,
    /// The fingerprint that the owner named: answers the question
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
}

/// Arguments of `secrets recipients approve`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
An approval is remembered on this machine, outside of the project. Without it nothing is encrypted to a key.

Examples:
  hmco-boot secrets recipients approve bert
  hmco-boot secrets recipients approve bert --fingerprint 0123456789abcdef")]
pub struct Approve {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// The fingerprint that the owner named: answers the question
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
}

/// Carries out one of them.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let place = Place::of(context)?;
    match &args.command {
        Command::List => list::run(&place, context),
        Command::Add(args) => add(args, &place, who, context),
        Command::Remove { name } => remove(name, &place, who, context),
        Command::Approve(args) => approve(args, &place, context),
    }
}

fn may_read(reader: &Recipient, entry: &Entry, recipients: &Recipients) -> bool {
    recipients
        .readers_of(&entry.name)
        .iter()
        .any(|one| one.name == reader.name)
}

fn add(
    args: &Add,
    place: &Place,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let reader = reader(args, context)?;
    let Opened {
        mut tree,
        mut approved,
    } = place.open(Mode::Write, who, context)?;
    let before = tree.recipients();
    let recipients = list_with(&reader, args.replace, before)?;
    let old = before.find(&reader.name).map(Recipient::fingerprint);
    agreed(&reader, args.fingerprint.as_deref(), context)?;
    approved.approve(&reader);
    place::approve(recipients.all(), &mut approved, place, context)?;
    let change = Change::new().recipients(recipients.clone());
    tree.commit(change, &approved, place::today())
        .map_err(|failure| failed(&failure))?;
    old.into_iter().for_each(|old| approved.withdraw(old));
    place.save(&approved)?;
    let waiting = tree
        .entries()
        .iter()
        .filter(|entry| may_read(&reader, entry, &recipients))
        .count();
    if context.output.format() == Format::Json {
        let fingerprint = reader.fingerprint().to_string();
        let row =
            json!({ "name": reader.name, "fingerprint": fingerprint, "values_to_rotate": waiting });
        context.output.json("recipient_added", &row)?;
        return Ok(ExitCode::Done);
    }
    context
        .output
        .talk(&format!("added {}\n", described(&reader)));
    if waiting > 0 {
        context.output.talk(&format!(
            "It reads what is set from now on; {} from before, after `hmco-boot secrets rotate`.\n",
            count(waiting, "value", "values")
        ));
    }
    Ok(ExitCode::Done)
}

/// The list with a new reader, or with a new key for one.
fn list_with(
    reader: &Recipient,
    replace: bool,
    before: &Recipients,
) -> Result<Recipients, CliError> {
    let taken = before
        .all()
        .iter()
        .find(|one| one.key == reader.key || (one.name == reader.name && !replace));
    if let Some(other) = taken {
        return Err(CliError::usage(format!(
            "there is a reader like this already: {}",
            described(other)
        ))
        .hint("choose another name; or give the reader this key in place of its own: --replace"));
    }
    let after = if replace {
        before.with_key(reader)
    } else {
        before.with(reader)
    };
    after.map_err(|failure| refused(&failure))
}

/// The reader that the arguments describe.
fn reader(args: &Add, context: &Context<'_>) -> Result<Recipient, CliError> {
    if !is_name(&args.name) {
        return Err(
            CliError::usage(format!("{:?} cannot name a reader", args.name))
                .hint("use letters, digits and ._@-"),
        );
    }
    Ok(Recipient {
        name: args.name.clone(),
        key: key(args, context)?,
        since: place::today().to_string(),
        groups: args.group.clone(),
        recovery: false,
    })
}

fn key(args: &Add, context: &Context<'_>) -> Result<RecipientKey, CliError> {
    let text = match &args.key_file {
        None => args.key.join(" "),
        Some(path) => files::read(&context.cwd.join(path)).map_err(|error| {
            CliError::usage(format!("cannot read {}", path.display()))
                .caused_by(&error)
                .hint("name the file with the public key, as ~/.ssh/id_ed25519.pub")
        })?,
    };
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().unwrap_or("");
    if lines.next().is_some() && args.key_file.is_some() {
        return Err(CliError::usage("there is more than one line in this file")
            .hint("add one key at a time"));
    }
    line.parse().map_err(|failure| refused(&failure))
}

/// Asks whether a key is its owner's; a fingerprint on the command line answers.
fn agreed(
    reader: &Recipient,
    given: Option<&str>,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    if let Some(given) = given {
        let given: Fingerprint = given.parse().map_err(|failure| refused(&failure))?;
        if given == reader.fingerprint() {
            return Ok(());
        }
        return Err(CliError::usage(format!(
            "this key has the fingerprint {}, not {given}",
            reader.fingerprint()
        ))
        .hint("somebody may have exchanged it: ask its owner for the key by another way"));
    }
    if !context.output.interactive() {
        return Err(CliError::usage(format!(
            "nobody said that this key is the right one: {}",
            described(reader)
        ))
        .hint("compare the fingerprint with its owner, then add --fingerprint FINGERPRINT"));
    }
    context.output.talk(&format!("{}\n", described(reader)));
    if context.output.confirm(&format!(
        "Did the owner of `{}` name this fingerprint?",
        reader.name
    )) {
        return Ok(());
    }
    Err(CliError::failed("nothing was changed")
        .hint("compare the fingerprint with its owner first"))
}

fn remove(
    name: &str,
    place: &Place,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let Opened {
        mut tree,
        mut approved,
    } = place.open(Mode::Write, who, context)?;
    let reader = tree
        .recipients()
        .expect(name)
        .map_err(|failure| refused(&failure))?
        .clone();
    let recipients = tree
        .recipients()
        .without(name)
        .map_err(|failure| refused(&failure))?;
    place::approve(recipients.all(), &mut approved, place, context)?;
    let change = Change::new().recipients(recipients.clone());
    tree.commit(change, &approved, place::today())
        .map_err(|failure| failed(&failure))?;
    approved.withdraw(reader.fingerprint());
    place.save(&approved)?;
    let read: Vec<String> = tree
        .entries()
        .iter()
        .filter(|entry| entry.readers.contains(&reader.fingerprint()))
        .map(|entry| entry.name.to_string())
        .collect();
    if context.output.format() == Format::Json {
        context.output.json(
            "recipient_removed",
            &json!({ "name": name, "could_read": read }),
        )?;
        return Ok(ExitCode::Done);
    }
    context
        .output
        .talk(&format!("removed {}\n", described(&reader)));
    if !read.is_empty() {
        context.output.warn(
            &format!("`{name}` still reads {}: {}", count(read.len(), "value", "values"), some_of(&read, 5)),
            "hmco-boot secrets rotate encrypts them anew, and says which must be changed where they are used",
        );
    }
    if recipients.all().iter().any(|one| one.recovery) {
        return Ok(ExitCode::Done);
    }
    context.output.warn(
        "no recovery key reads the secrets: whoever loses their identity loses them",
        "make one (age-keygen), and add it with `recovery = true` in secrets/recipients.toml",
    );
    Ok(ExitCode::Done)
}

fn approve(args: &Approve, place: &Place, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let recipients = place.recipients()?;
    let mut approved = place.approved()?;
    if args.fingerprint.is_some() && args.names.len() > 1 {
        return Err(
            CliError::usage("one fingerprint is not that of several keys")
                .hint("approve them one by one"),
        );
    }
    for name in &args.names {
        let reader = recipients
            .expect(name)
            .map_err(|failure| refused(&failure))?;
        if approved.is_approved(reader.fingerprint()) {
            context
                .output
                .talk(&format!("{name} is approved already\n"));
            continue;
        }
        agreed(reader, args.fingerprint.as_deref(), context)?;
        approved.approve(reader);
        context
            .output
            .talk(&format!("approved {}\n", described(reader)));
    }
    place.save(&approved)?;
    Ok(ExitCode::Done)
}
