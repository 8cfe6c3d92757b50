//! Files of archives: fetched once, kept, and asked for again only where a file of that name can change.

#![expect(
    clippy::disallowed_methods,
    reason = "the cache is a folder; what changes is asked for again after a while"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};

use crate::model::outcome::causes;

/// How long a file that can change is taken to be the newest.
const FRESH: Duration = Duration::from_secs(30);

/// What is known of a file beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Meta {
    /// `Last-Modified` as the mirror said it.
    pub modified: Option<String>,
    /// `ETag` as the mirror said it.
    pub etag: Option<String>,
}

/// A file at hand.
#[derive(Debug)]
pub struct Held {
    /// Its bytes.
    pub path: PathBuf,
    /// What the mirror said of it.
    pub meta: Meta,
}

/// There is no such file, or it cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Status to answer.
    pub status: u16,
    /// Why.
    pub why: String,
}

/// The cache, and what may be fetched into it.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    routes: Vec<(String, String)>,
    client: reqwest::Client,
    /// For each file: taken by whoever fetches it; holds when it was last known to be the newest.
    files: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

impl Cache {
    /// In a folder.
    pub fn new(folder: PathBuf, routes: Vec<(String, String)>, client: reqwest::Client) -> Self {
        Self {
            folder,
            routes,
            client,
            files: Mutex::default(),
        }
    }

    /// The file of a URL, fetched where it is not at hand.
    ///
    /// # Errors
    /// Where the URL is of no archive that is served, or the mirror does not have it or does not answer.
    pub async fn get(&self, url: &str) -> Result<Held, Missing> {
        let place = locate(url, &self.routes).ok_or_else(|| Missing {
            status: 403,
            why: "lab nodes have no uplink: only Debian's archives are served here".to_owned(),
        })?;
        let lock = {
            let mut files = self
                .files
                .lock()
                .unwrap_or_else(|broken| broken.into_inner());
            Arc::clone(files.entry(place.below.clone()).or_default())
        };
        // Others that want the same file wait here until it is fetched.
        let mut checked = lock.lock().await;
        let path = self.folder.join(&place.below);
        let held = read_meta(&path);
        let fresh = checked.is_some_and(|at| at.elapsed() < FRESH);
        if let Some(meta) = &held
            && (place.immutable || fresh)
        {
            return Ok(Held {
                path,
                meta: meta.clone(),
            });
        }
        let answer = self.fetch(&place.upstream, &path, held.as_ref()).await;
        match (answer, held) {
            (Ok(meta), _) => {
                *checked = Some(Instant::now());
                Ok(Held { path, meta })
            }
            // A mirror that does not answer is no reason to have nothing: what was the newest then still fits together.
            (Err(missing), Some(meta)) if missing.status == 502 => Ok(Held { path, meta }),
            (Err(missing), _) => Err(missing),
        }
    }

    async fn fetch(&self, url: &str, path: &Path, held: Option<&Meta>) -> Result<Meta, Missing> {
        let mut request = self.client.get(url);
        if let Some(meta) = held {
            if let Some(etag) = &meta.etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            if let Some(modified) = &meta.modified {
                request = request.header(IF_MODIFIED_SINCE, modified);
            }
        }
        let bad = |why: String| Missing { status: 502, why };
        let answer = request
            .send()
            .await
            .map_err(|error| bad(causes(&error.without_url())))?;
        let status = answer.status();
        if let (StatusCode::NOT_MODIFIED, Some(meta)) = (status, held) {
            return Ok(meta.clone());
        }
        if !status.is_success() {
            let gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
            return Err(Missing {
                status: if gone { 404 } else { 502 },
                why: format!("the mirror said {status}"),
            });
        }
        let meta = Meta {
            modified: text(answer.headers(), &LAST_MODIFIED),
            etag: text(answer.headers(), &ETAG),
        };
        let mut new = New::beside(path).map_err(|error| bad(error.to_string()))?;
        let mut answer = answer;
        loop {
            // A body that is shorter than was said is an error of this call.
            let part = answer.chunk().await;
            match part.map_err(|error| bad(causes(&error.without_url())))? {
                Some(bytes) => new
                    .file
                    .write_all(&bytes)
                    .map_err(|error| bad(error.to_string()))?,
                None => break,
            }
        }
        new.keep(path, &meta)
            .map_err(|error| bad(error.to_string()))?;
        Ok(meta)
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A file that is being fetched; gone again unless it is kept.
struct New {
    file: fs::File,
    path: PathBuf,
}

impl New {
    fn beside(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Labs share the cache: two servers may fetch one file at once.
        let path = with_ending(path, &format!("new-{}", std::process::id()));
        Ok(Self {
            file: fs::File::create(&path)?,
            path,
        })
    }

    /// The bytes first: what has a description is whole.
    fn keep(self, path: &Path, meta: &Meta) -> io::Result<()> {
        self.file.sync_data()?;
        let text = serde_json::to_vec(meta)?;
        let description = with_ending(path, "meta");
        let new = with_ending(&self.path, "meta");
        // A description of other bytes would let a node believe that it has these.
        match fs::remove_file(&description) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&self.path, path)?;
        fs::write(&new, text)?;
        fs::rename(&new, &description)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // Where it was kept, it has another name by now.
        fs::remove_file(&self.path).ok();
    }
}

fn read_meta(path: &Path) -> Option<Meta> {
    if !path.is_file() {
        return None;
    }
    serde_json::from_slice(&fs::read(with_ending(path, "meta")).ok()?).ok()
}

/// Names of packages have no `@`, so no file of an archive ends like this.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}@{ending}"))
}

/// Where a URL's file is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Located {
    /// Path below the cache.
    below: String,
    /// Where it is fetched.
    upstream: String,
    /// A file of this name never changes.
    immutable: bool,
}

fn locate(url: &str, routes: &[(String, String)]) -> Option<Located> {
    let url = url.replacen(":80/", "/", 1);
    let (from, to, rest) = routes.iter().find_map(|(from, to)| {
        let rest = url.strip_prefix(from.as_str())?.strip_prefix('/')?;
        Some((from, to, rest))
    })?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~:%=,".contains(c);
    let good = |part: &str| {
        !part.is_empty()
            && part.len() < 200
            && part.chars().all(plain)
            && part.chars().any(|c| c != '.')
            && !part.to_ascii_lowercase().contains("%2f")
            && !part.to_ascii_lowercase().contains("%2e")
    };
    if !rest.split('/').all(good) {
        return None;
    }
    let below = from.strip_prefix("http://").unwrap_or(from);
    Some(Located {
        below: format!("{below}/{rest}"),
        upstream: format!("{to}/{rest}"),
        immutable: rest.starts_with("pool/") || rest.contains("/by-hash/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str) -> Option<Located> {
        let routes = [(
            "http://deb.debian.org/debian".to_owned(),
            "https://m/deb".to_owned(),
        )];
        locate(url, &routes)
    }

    #[test]
    fn only_files_of_the_archives_are_served() {
        let file =
            found("http://deb.debian.org:80/debian/pool/main/j/jq/jq_1.6-2.1%2bdeb.deb").unwrap();
        assert_eq!(
            file.below,
            "deb.debian.org/debian/pool/main/j/jq/jq_1.6-2.1%2bdeb.deb"
        );
        assert_eq!(
            file.upstream,
            "https://m/deb/pool/main/j/jq/jq_1.6-2.1%2bdeb.deb"
        );
        assert!(file.immutable);
        assert!(
            !found("http://deb.debian.org/debian/dists/bookworm/InRelease")
                .unwrap()
                .immutable
        );
        for bad in [
            "http://deb.debian.org/debian",
            "http://deb.debian.org/debian/",
            "http://deb.debian.org/debianx/a",
            "http://deb.debian.org/debian/../etc/passwd",
            "http://deb.debian.org/debian/%2e%2e/x",
            "http://deb.debian.org/debian/a%2Fb",
            "http://deb.debian.org/debian/pool/a@meta",
            "http://deb.debian.org/debian/a?b",
            "http://example.org/debian/a",
            "ftp://deb.debian.org/debian/a",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_without_its_description_is_not_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.deb");
        let mut new = New::beside(&path).unwrap();
        new.file.write_all(b"x").unwrap();
        drop(new);
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 0);
        let meta = Meta {
            modified: Some("then".into()),
            etag: None,
        };
        New::beside(&path).unwrap().keep(&path, &meta).unwrap();
        assert_eq!(read_meta(&path), Some(meta));
        fs::remove_file(with_ending(&path, "meta")).unwrap();
        assert_eq!(read_meta(&path), None);
    }
}
