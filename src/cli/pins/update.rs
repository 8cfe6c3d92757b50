//! `hmco-boot pins update`: the only way a digest comes into hmco-boot.lock. Each is computed from the file itself, held
//! to the release's own list of checksums where there is one, shown, and agreed to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::error::{CliError, Kind};
use super::super::files;
use super::super::output::{Format, Output};
use super::super::{Context, artifacts, project};
use super::look::{Change, look};
use super::used::uses;
use crate::config::pins::{self, Artifact};
use crate::config::project::{Loaded, Options, Project};
use crate::model::mistake::{Mistake, Severity, nearest};
use crate::model::outcome::ExitCode;
use crate::model::units::Bytes;
use crate::model::value::FileId;
use crate::report::style::{Ink, Line};

/// Arguments of `pins update`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Downloads each file, computes its sha256, holds it to the release's own list of checksums (sha256sum-ARCH.txt, \
FILE.sha256, SHA256SUMS, checksums.txt, or `checksums` of the pin), shows what would change, asks, and writes \
hmco-boot.lock.

Examples:
  hmco-boot pins update                   what has no digest yet
  hmco-boot pins update k3s               look at it again
  hmco-boot pins update k3s --version v1.33.6+k3s1")]
pub struct Args {
    /// The artifact; by default all that lack a digest
    pub name: Option<String>,
    /// Pin this version instead: it replaces the old one in the URLs
    #[arg(long, requires = "name")]
    pub version: Option<String>,
    /// Also pin this file of the archive (those that playbooks name are pinned in any case)
    #[arg(long, requires = "name", value_name = "PATH")]
    pub member: Vec<String>,
    /// Write without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// Updates.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let options = Options {
        inventory_optional: true,
        ..Options::default()
    };
    let loaded = project::read(context, &options);
    let read = loaded.as_far_as_read();
    let (path, text) = lock_file(&loaded, context)?;
    let wanted = wanted(args, read)?;
    if wanted.is_empty() {
        context
            .output
            .talk("everything is pinned; name an artifact to look at it again\n");
        return Ok(ExitCode::Done);
    }
    let store = artifacts::store(context)?;
    let uses = uses(read);
    let mut changes = Vec::new();
    for old in wanted {
        let mut members: BTreeSet<String> = old.members.keys().cloned().collect();
        members.extend(args.member.iter().cloned());
        members.extend(
            uses.get(&old.name)
                .into_iter()
                .flat_map(|used| used.members.clone()),
        );
        let change = look(
            &store,
            old,
            args.version.as_deref(),
            &members,
            context.output,
        )
        .await;
        changes.push(change.map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?);
    }
    show(&changes, context.output)?;
    let changed: Vec<&Change> = changes
        .iter()
        .filter(|change| change.old != change.new)
        .collect();
    if changed.is_empty() {
        context.output.talk("hmco-boot.lock says so already\n");
        return Ok(ExitCode::Done);
    }
    if !args.yes && !context.output.interactive() {
        return Err(CliError::usage("nothing was written")
            .hint("look at what is above, then run it again with --yes"));
    }
    if !args.yes && !context.output.confirm("Write this into hmco-boot.lock?") {
        context.output.talk("nothing was written\n");
        return Ok(ExitCode::Interrupted);
    }
    write(&path, &text, &changed)?;
    context
        .output
        .talk("hmco-boot.lock is written: commit it\n");
    Ok(ExitCode::Done)
}

/// The lock file, whose mistakes are told before anything is downloaded.
fn lock_file(loaded: &Loaded, context: &Context<'_>) -> Result<(PathBuf, String), CliError> {
    let root = loaded.as_far_as_read().root.as_ref();
    let path = root.map(|root| root.join(pins::FILE));
    let Some(path) = path.filter(|path| path.is_file()) else {
        return Err(no_lock_file());
    };
    let text = lock_text(&path)?;
    let (_, mistakes) = pins::read(FileId(0), &text);
    let wrong = |mistake: &Mistake| mistake.severity == Severity::Error;
    if mistakes.iter().any(wrong) {
        let drawn = project::draw(context, &loaded.sources, &loaded.mistakes);
        return Err(CliError::usage("hmco-boot.lock has mistakes").below(drawn));
    }
    Ok((path, text))
}

fn no_lock_file() -> CliError {
    CliError::usage("the project has no hmco-boot.lock").hint(
        "make one with what is to be fetched: `[[artifact]]` with `name`, `version`, `arch` and `url`",
    )
}

fn lock_text(path: &Path) -> Result<String, CliError> {
    files::read(path)
        .map_err(|error| CliError::failed("cannot read hmco-boot.lock").caused_by(&error))
}

/// The rows to look at.
fn wanted<'a>(args: &Args, project: &'a Project) -> Result<Vec<&'a Artifact>, CliError> {
    let rows = &project.pins.artifacts;
    let Some(name) = &args.name else {
        let uses = uses(project);
        let open = |row: &&Artifact| {
            let members = uses.get(&row.name).map(|used| &used.members);
            let lacks = |member: &String| !row.members.contains_key(member);
            row.pin().is_none() || members.is_some_and(|members| members.iter().any(lacks))
        };
        return Ok(rows.iter().filter(open).collect());
    };
    let found: Vec<&Artifact> = rows.iter().filter(|row| row.name == *name).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let error = CliError::usage(format!("there is no artifact `{name}` in hmco-boot.lock"));
    Err(
        match nearest(name, rows.iter().map(|row| row.name.as_str())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("hmco-boot pins list shows those there are"),
        },
    )
}

fn show(changes: &[Change], output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        for change in changes {
            let value = json!({
                "old": change.old,
                "new": change.new,
                "changed": change.old != change.new,
                "checked_against": change.listed,
            });
            output.json("pin-update", &value)?;
        }
        return Ok(());
    }
    let mut lines = Vec::new();
    for Change { old, new, listed } in changes {
        let name = format!("{} ({})", new.name, new.arch);
        lines.push(Line::of(Ink::Strong, name));
        let size = |row: &Artifact| {
            row.size
                .map_or("none".to_owned(), |size| Bytes(size).to_string())
        };
        let digest = |row: &Artifact| row.sha256.clone().unwrap_or_else(|| "none".to_owned());
        let mut field = |what: &str, old: String, new: String| {
            lines.push(match old == new {
                true => Line::of(Ink::Soft, format!("  {what:<8} {new}")),
                false => Line::of(Ink::Plain, format!("  {what:<8} {old} -> {new}")),
            });
        };
        field("version", old.version.clone(), new.version.clone());
        field("url", old.url.clone(), new.url.clone());
        field("sha256", digest(old), digest(new));
        field("size", size(old), size(new));
        for (name, member) in &new.members {
            let before = old
                .members
                .get(name)
                .map_or("none", |member| &member.sha256);
            field(name, before.to_owned(), member.sha256.clone());
        }
        lines.push(match listed {
            Some(url) => Line::of(Ink::Good, format!("  checked  {url}")),
            None => Line::of(
                Ink::Warn,
                "  unchecked: the release has no list of checksums that was found; this digest is only what was downloaded now",
            ),
        });
        if old.version == new.version && old.sha256.is_some() && old.sha256 != new.sha256 {
            lines.push(Line::of(
                Ink::Bad,
                "  the same version has another digest than before: find out why before you agree",
            ));
        }
    }
    output.lines(&lines)
}

/// Writes the rows into the file as it is now, whole or not at all.
fn write(path: &Path, before: &str, changes: &[&Change]) -> Result<(), CliError> {
    let now = lock_text(path)?;
    if now != before {
        return Err(
            CliError::failed("hmco-boot.lock was changed meanwhile; nothing was written")
                .hint("run it again"),
        );
    }
    let mut text = now;
    for change in changes {
        text = pins::set(&text, &change.new).map_err(|error| {
            CliError::failed("hmco-boot.lock cannot be edited").caused_by(&error)
        })?;
    }
    let (_, mistakes) = pins::read(FileId(0), &text);
    if let Some(mistake) = mistakes.first() {
        return Err(
            CliError::failed("what would be written is not right; nothing was")
                .hint(mistake.message.clone()),
        );
    }
    files::replace_if_same(path, before, &text)
        .map_err(|error| CliError::failed("cannot write hmco-boot.lock").caused_by(&error))
}
