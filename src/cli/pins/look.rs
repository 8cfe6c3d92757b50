//! What the file of a pin is now: downloaded, and held to the release's own list of checksums.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::output::Output;
use crate::artifact::store::Store;
use crate::artifact::{Progress, VerifiedFile, checksums, member};
use crate::config::pins::{self, Artifact};
use crate::model::outcome::Failure;
use crate::model::units::Bytes;

/// No artifact is larger: what goes on for ever is no release.
const LARGEST: u64 = 16 << 30;

/// No list of checksums is longer.
const LONGEST_LIST: usize = 4 << 20;

/// A row before and after.
pub(super) struct Change {
    /// As it is.
    pub old: Artifact,
    /// As it would be.
    pub new: Artifact,
    /// The list that has the digest; `None` = the release has none that was found.
    pub listed: Option<String>,
}

/// What a row has to say now.
pub(super) async fn look(
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
