//! `hmco-boot secrets edit`: the values of one file in an editor, as TOML, in memory only. Only what changed is encrypted
//! anew; an editor that fails, a text that is no TOML, or no change: nothing is written.

mod text;

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::json;
use zeroize::Zeroizing;

use super::child;
use super::identity::IdentityArgs;
use super::place::{self, Opened, Place, failed};
use super::{set::SHORT, tmpfs};
use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::model::outcome::ExitCode;
use crate::model::shell::quote;
use crate::secrets::SecretValue;
use crate::secrets::name::SecretName;
use crate::secrets::store::{Change, Mode, Tree};

/// Arguments of `secrets edit`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The editor is $VISUAL, else $EDITOR, else vi. The text is in a folder in memory (tmpfs) that only you can open; where there
is none, nothing is written. An editor's own backups, histories and registers are its own matter: for vi, `:set viminfo=`
keeps nothing. Values that are no text are { base64 = \"...\" }.

Examples:
  hmco-boot secrets edit k3s
  EDITOR='code --wait' hmco-boot secrets edit k3s")]
pub struct Args {
    /// The file below secrets/, with or without .toml; one that is not there yet begins empty; may be left out where there
    /// is only one
    #[arg(value_name = "FILE")]
    pub file: Option<String>,
}

type Values = BTreeMap<SecretName, SecretValue>;

/// Edits them.
pub async fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let place = Place::of(context)?;
    let mut opened = place.open(Mode::Write, who, context)?;
    let file = chosen(args, &opened.tree)?;
    let before = values(&file, &opened.tree)?;
    before
        .iter()
        .for_each(|(name, value)| place::hide(name, value, context));
    let folder = tmpfs::Folder::new(context.env).map_err(|failure| failed(&failure))?;
    let name = format!("{file}.toml");
    let mut shown = text::written(&file, &before);
    let after = loop {
        let edited = edit(&folder, &name, &shown, context).await?;
        if edited == shown {
            return unchanged(context);
        }
        match text::read(&file, &edited) {
            Ok(values) => {
                values
                    .iter()
                    .for_each(|(name, value)| place::hide(name, value, context));
                break values;
            }
            Err(mistakes) => {
                let error = CliError::usage(format!(
                    "{name} cannot be taken as it is: nothing was changed"
                ))
                .hint(mistakes.join("\n"));
                if !context.output.interactive() {
                    return Err(error);
                }
                context.output.report(&error);
                if !context.output.confirm("Edit it again?") {
                    return Err(CliError::failed("nothing was changed")
                        .hint("begin again: hmco-boot secrets edit"));
                }
                shown = edited;
            }
        }
    };
    drop(folder);
    let changes = Changes::between(&before, after);
    if changes.is_empty() {
        return unchanged(context);
    }
    changes.carry_out(&mut opened, &place, context)
}

fn unchanged(context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    if context.output.format() == Format::Json {
        let none: [&str; 0] = [];
        context.output.json(
            "secrets_edited",
            &json!({ "set": none, "replaced": none, "removed": none }),
        )?;
    } else {
        context.output.talk("nothing was changed\n");
    }
    Ok(ExitCode::Done)
}

/// The file to edit.
fn chosen(args: &Args, tree: &Tree) -> Result<String, CliError> {
    let mut files: Vec<&str> = tree
        .entries()
        .iter()
        .map(|entry| entry.name.file())
        .collect();
    files.dedup();
    let Some(typed) = &args.file else {
        return match files.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(CliError::usage("there are no secrets yet")
                .hint("name a file to begin: hmco-boot secrets edit k3s")),
            more => Err(
                CliError::usage("there are several files of secrets").hint(format!(
                    "name one: hmco-boot secrets edit {}",
                    more.join("|")
                )),
            ),
        };
    };
    let file = typed
        .rsplit_once('/')
        .map_or(typed.as_str(), |(_, file)| file);
    let file = file.strip_suffix(".toml").unwrap_or(file);
    // A file is what a name begins with.
    place::name(&format!("{file}/x"))?;
    Ok(file.to_owned())
}

fn values(file: &str, tree: &Tree) -> Result<Values, CliError> {
    let names: Vec<SecretName> = tree
        .entries()
        .iter()
        .filter(|entry| entry.name.file() == file)
        .map(|entry| entry.name.clone())
        .collect();
    let opened = tree.get_many(&names);
    let values = names
        .into_iter()
        .zip(opened)
        .map(|(name, value)| Ok((name, value?)));
    values
        .collect::<Result<_, _>>()
        .map_err(|failure| failed(&failure))
}

/// Has a text edited.
async fn edit(
    folder: &tmpfs::Folder,
    name: &str,
    shown: &Zeroizing<String>,
    context: &mut Context<'_>,
) -> Result<Zeroizing<String>, CliError> {
    let lost = |error: std::io::Error| {
        CliError::failed("the text in memory is gone: nothing was changed")
            .caused_by(&error)
            .hint("try again")
    };
    let path = folder.write(name, shown.as_bytes()).map_err(lost)?;
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| {
        let value = context.env.var(name)?.into_string().ok()?;
        (!value.trim().is_empty()).then_some(value)
    });
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let args: [OsString; 4] = [
        "-c".into(),
        in_shell(&editor).into(),
        "editor".into(),
        path.into(),
    ];
    let ended = child::attend("sh", &args, &[]).await.map_err(|error| {
        CliError::failed("the editor cannot be started: nothing was changed")
            .caused_by(&error)
            .hint("set EDITOR to one that is installed")
    })?;
    if ended.told_to_end {
        return Err(CliError::new(
            Kind::Interrupted,
            "told to end: nothing was changed",
        ));
    }
    if !ended.status.success() {
        return Err(CliError::failed(format!(
            "the editor {} ended with status {}: nothing was changed",
            quote(&editor),
            child::number(ended.status)
        ))
        .hint("set EDITOR to one that works, or end it without an error"));
    }
    let bytes = folder.read(name).map_err(lost)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        CliError::usage("the text is not UTF-8: nothing was changed")
            .hint("write binary values as { base64 = \"...\" }")
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The line that starts an editor: through a shell, as everybody does (`code --wait` is a valid $EDITOR); one of plain
/// words takes the shell's place, so that what we pass on reaches it.
fn in_shell(editor: &str) -> String {
    let plain = |one: char| one.is_ascii_alphanumeric() || "_./ -+".contains(one);
    let exec = if editor.chars().all(plain) {
        "exec "
    } else {
        ""
    };
    format!("{exec}{editor} \"$@\"")
}

/// What an edit means.
struct Changes {
    set: Values,
    new: Vec<SecretName>,
    removed: Vec<SecretName>,
}

impl Changes {
    fn between(before: &Values, after: Values) -> Self {
        let removed = before
            .keys()
            .filter(|name| !after.contains_key(name))
            .cloned()
            .collect();
        let changed = |name: &SecretName, value: &SecretValue| {
            before
                .get(name)
                .is_none_or(|old| old.expose() != value.expose())
        };
        let set: Values = after
            .into_iter()
            .filter(|(name, value)| changed(name, value))
            .collect();
        let new = set
            .keys()
            .filter(|name| !before.contains_key(name))
            .cloned()
            .collect();
        Self { set, new, removed }
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    fn carry_out(
        self,
        opened: &mut Opened,
        place: &Place,
        context: &mut Context<'_>,
    ) -> Result<ExitCode, CliError> {
        let Self { set, new, removed } = self;
        let recipients = opened.tree.recipients();
        let readers = set.keys().flat_map(|name| recipients.readers_of(name));
        let readers: Vec<_> = readers.cloned().collect();
        place::approve(&readers, &mut opened.approved, place, context)?;
        let set_names: Vec<SecretName> = set.keys().cloned().collect();
        let short: Vec<SecretName> = set
            .iter()
            .filter(|(_, value)| {
                value
                    .text()
                    .map_or(value.len(), |text| text.chars().count())
                    < SHORT
            })
            .map(|(name, _)| name.clone())
            .collect();
        let change = removed
            .iter()
            .fold(Change::new(), |change, name| change.remove(name.clone()));
        let change = set
            .into_iter()
            .fold(change, |change, (name, value)| change.set(name, value));
        let done = opened.tree.commit(change, &opened.approved, place::today());
        done.map_err(|failure| failed(&failure))?;
        let replaced: Vec<SecretName> = set_names
            .into_iter()
            .filter(|name| !new.contains(name))
            .collect();
        if context.output.format() == Format::Json {
            let row = json!({ "set": new, "replaced": replaced, "removed": removed });
            context.output.json("secrets_edited", &row)?;
        } else {
            for (verb, names) in [
                ("set", &new),
                ("replaced", &replaced),
                ("removed", &removed),
            ] {
                for name in names {
                    context.output.talk(&format!("{verb} {name}\n"));
                }
            }
        }
        for name in short {
            context.output.warn(
                &format!("{name} has fewer than {SHORT} characters: it can be guessed, and is not hidden everywhere in outputs"),
                &format!("set a longer one: hmco-boot secrets set {name} --generate"),
            );
        }
        Ok(ExitCode::Done)
    }
}
