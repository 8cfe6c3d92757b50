//! `hmco-boot secrets scan`: secrets in plain text, before they are committed. Says where and what sort, never what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::git::{self, Git, Piece};
use super::identity::{IdentityArgs, refused};
use super::place::{Place, failed};
use super::prompt::Asking;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::cli::{Context, files, project};
use crate::model::outcome::ExitCode;
use crate::report::style::{Ink, Line};
use crate::report::text::count;
use crate::secrets::identity::Identities;
use crate::secrets::name::SecretName;
use crate::secrets::scan::{self, Finding, Known, MARKER};
use crate::secrets::store::{Mode, Tree};

/// Arguments of `secrets scan`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Looks for private keys, kubeconfigs, tokens of K3s, clouds and Git hosts, lines that give a password a value that looks
random, and the store's own values (also in base64) where an identity opens it without a passphrase. Files that git ignores
are not looked at. A line with the words `hmco-boot: not a secret` is left alone.

Exits with 1 where something is found.

Examples:
  hmco-boot secrets scan
  hmco-boot secrets scan --staged            only what `git commit` would take
  hmco-boot secrets scan --install-hook      before every commit from now on")]
pub struct Args {
    /// Only these files and folders; by default the whole project
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Only git's index
    #[arg(long)]
    pub staged: bool,
    /// Make a pre-commit hook of git that scans the index
    #[arg(long, conflicts_with_all = ["staged", "paths"])]
    pub install_hook: bool,
}

const HOOK: &str = "#!/bin/sh\n# Made by `hmco-boot secrets scan --install-hook`.\nexec hmco-boot secrets scan --staged\n";

/// Scans.
pub fn run(
    args: &Args,
    who: &IdentityArgs,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let root = project::root(context).unwrap_or_else(|| context.cwd.clone());
    if args.install_hook {
        return install(&root, context);
    }
    let known = known(who, context);
    let folder = if args.paths.is_empty() {
        root
    } else {
        context.cwd.clone()
    };
    let pieces = pieces(args, &folder)?;
    let mut found = Vec::new();
    let mut looked = 0;
    for piece in pieces {
        match &piece.bytes {
            Ok(bytes) => {
                looked += 1;
                let findings = scan::scan(&piece.path, bytes, &known);
                found.extend(
                    findings
                        .into_iter()
                        .map(|finding| (piece.path.clone(), piece.staged, finding)),
                );
            }
            Err(why) => context.output.warn(
                &format!("{} was not looked at: {why}", piece.path),
                "see yourself what is in it",
            ),
        }
    }
    found.sort();
    // What is staged as it lies there is one place.
    found.dedup_by(|later, earlier| later.0 == earlier.0 && later.2 == earlier.2);
    show(&found, looked, context)?;
    Ok(if found.is_empty() {
        ExitCode::Done
    } else {
        ExitCode::Failed
    })
}

type Found = (String, bool, Finding);

fn show(found: &[Found], looked: usize, context: &mut Context<'_>) -> Result<(), CliError> {
    if context.output.format() == Format::Json {
        for (path, staged, finding) in found {
            let row = json!({
                "path": path, "line": finding.line, "staged": staged, "kind": finding.kind.word(), "what": finding.kind.words(),
            });
            context.output.json("plaintext", &row)?;
        }
        return context.output.json(
            "secrets_scan",
            &json!({ "looked": looked, "found": found.len() }),
        );
    }
    for (path, staged, finding) in found {
        let line = Line::of(Ink::Strong, format!("{path}:{}", finding.line))
            .plain(format!("  {}", finding.kind.words()));
        let line = if *staged {
            line.with(Ink::Soft, "  (in git's index)")
        } else {
            line
        };
        context.output.lines(&[line])?;
    }
    let looked = count(looked, "file", "files");
    if found.is_empty() {
        context
            .output
            .talk(&format!("no secret in plain text in {looked}\n"));
        return Ok(());
    }
    context.output.warn(
        &format!("{} in {looked}", count(found.len(), "secret in plain text", "secrets in plain text")),
        &format!(
            "move each into the store (hmco-boot secrets set NAME) and out of git (git rm --cached FILE); one that was ever pushed \
             is known: change it at its source. A line that is none may say so: `{MARKER}`"
        ),
    );
    Ok(())
}

/// What there is to look at.
fn pieces(args: &Args, folder: &Path) -> Result<Vec<Piece>, CliError> {
    let Some(repository) = Git::of(folder) else {
        if args.staged {
            return Err(CliError::usage("there is no git repository here")
                .hint("scan the files: hmco-boot secrets scan"));
        }
        let mut names = Vec::new();
        let below = if args.paths.is_empty() {
            vec![PathBuf::new()]
        } else {
            args.paths.clone()
        };
        below
            .iter()
            .for_each(|path| git::walk(folder, path, &mut names));
        names.sort();
        return Ok(names
            .iter()
            .filter_map(|path| git::read(folder, path))
            .collect());
    };
    let staged = repository
        .staged(&args.paths)
        .map_err(|failure| failed(&failure))?;
    if args.staged {
        return Ok(staged);
    }
    let files = repository
        .files(&args.paths)
        .map_err(|failure| failed(&failure))?;
    let mut pieces: Vec<Piece> = files
        .iter()
        .filter_map(|path| git::read(folder, path))
        .collect();
    let mut differs = Vec::new();
    {
        let there: BTreeMap<&str, &Piece> = pieces
            .iter()
            .map(|piece| (piece.path.as_str(), piece))
            .collect();
        for one in staged {
            if there
                .get(one.path.as_str())
                .is_none_or(|other| other.bytes != one.bytes)
            {
                differs.push(one);
            }
        }
    }
    pieces.extend(differs);
    Ok(pieces)
}

/// The values of the store, where they can be had without asking anybody: a scan also runs in a hook.
fn known(who: &IdentityArgs, context: &mut Context<'_>) -> Known {
    match opened(who, context) {
        Ok(None) => Known::none(),
        Ok(Some(known)) => {
            if !known.short().is_empty() {
                let names = known.short().join(", ");
                context.output.warn(
                    &format!("too short to be looked for: {names}"),
                    "set longer values",
                );
            }
            known
        }
        Err(error) => {
            context.output.report(&error);
            context.output.warn(
                "the values of the store were not looked for",
                "what has the shape of a secret is found all the same",
            );
            Known::none()
        }
    }
}

fn opened(who: &IdentityArgs, context: &Context<'_>) -> Result<Option<Known>, CliError> {
    let has_store = project::root(context).is_some_and(|root| {
        root.join(super::place::FOLDER)
            .join(crate::secrets::manifest::FILE)
            .exists()
    });
    if !has_store {
        return Ok(None);
    }
    let place = Place::of(context)?;
    let readers = place.recipients()?;
    let identities = Identities::find(&who.env(context), Some(&readers), &mut Asking::nobody());
    let identities = identities.map_err(|failure| refused(&failure))?;
    identities
        .require(&readers)
        .map_err(|failure| refused(&failure))?;
    let tree = Tree::open(&place.location, Arc::new(identities), Mode::Read)
        .map_err(|failure| failed(&failure))?;
    let names: Vec<SecretName> = tree
        .entries()
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    let values: Vec<_> = names
        .iter()
        .zip(tree.get_many(&names))
        .filter_map(|(name, value)| Some((name, value.ok()?)))
        .collect();
    Ok(Some(Known::new(
        values.iter().map(|(name, value)| (name.as_str(), value)),
    )))
}

fn install(root: &Path, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let repository = Git::of(root).ok_or_else(|| {
        CliError::usage("there is no git repository here").hint("make one with `git init`")
    })?;
    let path = repository.hook().map_err(|failure| failed(&failure))?;
    match files::read(&path) {
        Ok(text) if text.contains("hmco-boot secrets scan") => {
            context
                .output
                .talk(&format!("{} scans already\n", path.display()));
            return Ok(ExitCode::Done);
        }
        Ok(_) => {
            return Err(
                CliError::usage(format!("there is a hook already: {}", path.display()))
                    .hint("add this line to it: hmco-boot secrets scan --staged || exit 1"),
            );
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(CliError::failed(format!("cannot read {}", path.display()))
                .caused_by(&error)
                .hint("see what it is; it is left as it is"));
        }
    }
    git::write_hook(&path, HOOK).map_err(|error| {
        CliError::failed(format!("cannot make {}", path.display()))
            .caused_by(&error)
            .hint("see whether this user may write there")
    })?;
    context.output.talk(&format!(
        "made {}: every commit is scanned first\n",
        path.display()
    ));
    Ok(ExitCode::Done)
}
