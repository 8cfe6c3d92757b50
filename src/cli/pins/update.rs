//! `hmco-boot pins update`: the only way a digest comes into hmco-boot.lock. Each is computed from the file itself, held
//! to the release's own list of checksums where there is one, shown, and agreed to.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::super::error::{CliError, Kind};
use super::super::files;
use super::super::output::{Format, Output};
use super::super::{Context, artifacts, project};
use super::used::uses;
use crate::artifact::store::Store;
use crate::artifact::{Progress, VerifiedFile, checksums, member};
use crate::config::pins::{self, Artifact};
use crate::config::project::{Options, Project};
use crate::model::mistake::{Severity, nearest};
use crate::model::outcome::{ExitCode, Failure};
use crate::model::units::Bytes;
use crate::model::value::FileId;
use crate::report::style::{Ink, Line};

/// No artifact is larger: what goes on for ever is no release.
const LARGEST: u64 = 16 << 30;

/// No list of checksums is longer.
const LONGEST_LIST: usize = 4 << 20;

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

/// A row before and after.
struct Change {
    old: Artifact,
    new: Artifact,
    /// The list that has the digest; `None` = the release has none that was found.
    listed: Option<String>,
}

/// Updates.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let options = Options {
        inventory_optional: true,
        ..Options::default()
    };
    let loaded = project::read(context, &options);
    let read = loaded.as_far_as_read();
    let path = read.root.as_ref().map(|root| root.join(pins::FILE));
    let Some(path) = path.filter(|path| path.is_file()) else {
        return Err(no_lock_file());
    };
    let text = lock_text(&path)?;
    let (_, mistakes) = pins::read(FileId(0), &text);
    if mistakes
        .iter()
        .any(|mistake| mistake.severity == Severity::Error)
    {
        let drawn = project::draw(context, &loaded.sources, &loaded.mistakes);
        return Err(CliError::usage("hmco-boot.lock has mistakes").below(drawn));
    }
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
    if !args.yes {
        if !context.output.interactive() {
            return Err(CliError::usage("nothing was written")
                .hint("look at what is above, then run it again with --yes"));
        }
        if !context.output.confirm("Write this into hmco-boot.lock?") {
            context.output.talk("nothing was written\n");
            return Ok(ExitCode::Interrupted);
        }
    }
    write(&path, &text, &changed)?;
    context
        .output
        .talk("hmco-boot.lock is written: commit it\n");
    Ok(ExitCode::Done)
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

/// What a row has to say now.
async fn look(
    store: &Store,
    old: &Artifact,
    version: Option<&str>,
    members: &BTreeSet<String>,
    output: &mut Output,
) -> Result<Change, Failure> {
    let mut new = match version {
        Some(version) => of_version(old, version)?,
        None => old.clone(),
    };
    let secure = new.url.starts_with("https://") || pins::is_loopback(&new.url);
    let file = {
        let talk = Mutex::new(output);
        let watch = narrator(&new, &talk);
        store.fetch_new(&new.url, LARGEST, &watch).await?
    };
    let listed = check(store, &new, &file).await?;
    let proven = secure
        || listed
            .as_ref()
            .is_some_and(|list| list.starts_with("https://"));
    if !proven {
        return Err(Failure::new(format!(
            "{} came over a connection that anybody can change",
            new.url
        ))
        .evidence(format!("sha256 {}", file.sha256))
        .hint("use an https:// URL, or one for its list of checksums (`checksums`)"));
    }
    new.members.retain(|name, _| members.contains(name));
    for name in members {
        let (file, wanted) = (file.clone(), name.clone());
        let found = tokio::task::spawn_blocking(move || member::find(&file, &wanted)).await;
        let found = found.map_err(|error| Failure::new(error.to_string()))?;
        new.members.insert(name.clone(), found?);
    }
    new.sha256 = Some(file.sha256);
    new.size = Some(file.size);
    Ok(Change {
        old: old.clone(),
        new,
        listed,
    })
}

/// The row with another version in it and in its URLs.
fn of_version(old: &Artifact, version: &str) -> Result<Artifact, Failure> {
    let mut new = old.clone();
    version.clone_into(&mut new.version);
    if old.version == version {
        return Ok(new);
    }
    new.url = swap(&old.url, &old.version, version).ok_or_else(|| {
        Failure::new(format!("the URL of {} ({}) does not have its version {} in it", old.name, old.arch, old.version))
            .evidence(old.url.clone())
            .hint("change `version` and `url` in hmco-boot.lock by hand, then run `hmco-boot pins update` without --version")
    })?;
    new.checksums = old
        .checksums
        .as_ref()
        .map(|list| swap(list, &old.version, version).unwrap_or_else(|| list.clone()));
    Ok(new)
}

/// A text with one version in place of another, also without its `v`, and with `+` as `%2B`; `None` where it is not there.
fn swap(text: &str, old: &str, new: &str) -> Option<String> {
    let encoded = |version: &str| version.replace('+', "%2B");
    let bare = |version: &str| version.strip_prefix('v').unwrap_or(version).to_owned();
    let mut changed = text.to_owned();
    for (old, new) in [
        (old.to_owned(), new.to_owned()),
        (encoded(old), encoded(new)),
        (bare(old), bare(new)),
        (encoded(&bare(old)), encoded(&bare(new))),
    ] {
        // Whole versions only: 1.2 is not in 1.20.
        let at = |at: usize| changed.as_bytes().get(at).copied();
        let fits = |(start, _): (usize, &str)| {
            let before = start.checked_sub(1).and_then(at);
            let after = at(start + old.len());
            !before.is_some_and(|b| b.is_ascii_digit() || b == b'.')
                && !after.is_some_and(|b| b.is_ascii_digit())
        };
        if !old.is_empty() && changed.match_indices(&old).any(fits) && !changed.contains(&new) {
            changed = changed.replace(&old, &new);
        }
    }
    (changed != text).then_some(changed)
}

/// Holds a file to the release's own list. The list's URL; `None` where there is none.
async fn check(
    store: &Store,
    row: &Artifact,
    file: &VerifiedFile,
) -> Result<Option<String>, Failure> {
    if row.checksums.as_deref() == Some("none") {
        return Ok(None);
    }
    let named = row.checksums.as_deref();
    let mut without = Vec::new();
    for url in checksums::urls(&row.url, &row.version, row.arch, named) {
        let Some(text) = store.text(&url, LONGEST_LIST).await? else {
            continue;
        };
        match checksums::listed(&text, &row.url) {
            Ok(digest) if digest == file.sha256 => return Ok(Some(url)),
            Ok(digest) => {
                return Err(Failure::new(format!("{} is not what its release says", row.url))
                    .evidence(format!("got:    sha256 {}, {} bytes", file.sha256, file.size))
                    .evidence(format!("listed: sha256 {digest}, in {url}"))
                    .hint("do not use it: it was damaged on the way, or replaced; try from another network, and ask those who made the release"));
            }
            Err(what) => without.push(format!("{url}: {what}")),
        }
    }
    let hint = "name the right list with `checksums` in hmco-boot.lock (a URL, or a path beside the file's), or `checksums = \"none\"` if the release has none";
    match (without.is_empty(), named) {
        (true, None) => Ok(None),
        (true, Some(named)) => {
            Err(Failure::new(format!("there is no list of checksums at {named}")).hint(hint))
        }
        (false, _) => {
            let what = format!(
                "the release's list of checksums does not vouch for {}",
                row.url
            );
            let failure = without
                .into_iter()
                .fold(Failure::new(what), Failure::evidence);
            Err(failure.hint(hint))
        }
    }
}

/// Says how a download goes on, every tenth of the way.
fn narrator<'a>(
    row: &'a Artifact,
    output: &'a Mutex<&mut Output>,
) -> impl Fn(Progress<'_>) + Send + Sync + 'a {
    let tenth = AtomicU64::new(0);
    move |progress| {
        let say = |text: &str| {
            if let Ok(mut output) = output.lock() {
                output.talk(&format!("{} ({}): {text}\n", row.name, row.arch));
            }
        };
        match progress {
            Progress::Waiting => say("another process fetches it"),
            Progress::Began { url, have: 0, .. } => say(&format!("fetching {url}")),
            Progress::Began { have, .. } => say(&format!("going on at {}", Bytes(have))),
            Progress::Trouble { failure, .. } => say(&format!("{}; trying again", failure.message)),
            Progress::Got { have, total } => {
                let part = total.and_then(|total| have.saturating_mul(10).checked_div(total));
                if let (Some(part), Some(total)) = (part, total)
                    && tenth.swap(part, Ordering::Relaxed) != part
                {
                    say(&format!("{} of {}", Bytes(have), Bytes(total)));
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::swap;

    #[test]
    fn a_version_is_swapped_in_all_its_spellings_and_only_whole() {
        let url = "https://example.org/v1.2.3%2Bk3s1/tool-1.2.3+k3s1.tar.gz";
        assert_eq!(
            swap(url, "v1.2.3+k3s1", "v1.10.0+k3s2").unwrap(),
            "https://example.org/v1.10.0%2Bk3s2/tool-1.10.0+k3s2.tar.gz"
        );
        assert_eq!(swap("https://example.org/1.20/x", "v1.2", "v1.3"), None);
        assert_eq!(swap("https://example.org/x", "v1.2", "v1.3"), None);
        assert_eq!(
            swap("https://e.org/v1.2/x", "v1.2", "v1.2.1").unwrap(),
            "https://e.org/v1.2.1/x"
        );
    }
}
