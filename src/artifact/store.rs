//! The real `Artifacts`: the cache folder, then mirror folders, then the URL. Whatever the source, the bytes are read and
//! held to the pin before anybody gets the file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::download::{Download, Size};
use super::files::{self, Cache, Identity, Lock};
use super::http::{LazyClient, Trouble, failed, refused};
use super::mirror::candidates;
use super::{
    Artifacts, BoxFuture, Content, Progress, Source, VerifiedFile, Watch, mismatch, offline_hint,
};
use crate::model::artifact::Pin;
use crate::model::outcome::Failure;

/// How often a lock that another process holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// How files are fetched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cache folder; made where it is missing.
    pub cache: PathBuf,
    /// Folders that are looked into before the network, in this order.
    pub mirrors: Vec<PathBuf>,
    /// Use the proxies that the environment names (`HTTPS_PROXY` and its like).
    pub proxies: bool,
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a download may stand still. There is no limit on the whole.
    pub stall: Duration,
    /// Tries without any progress before it is given up; 0 counts as 1.
    pub tries: u32,
    /// Before the second try; doubled with each further one.
    pub pause: Duration,
}

impl Settings {
    /// The usual ones, with this cache folder.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            cache,
            mirrors: Vec::new(),
            proxies: true,
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    cache: Cache,
    client: LazyClient,
    /// Files that were hashed in this process and their identity then: 50 nodes do not hash one file 50 times.
    proven: Mutex<HashMap<PathBuf, (Identity, String)>>,
}

/// What a file is.
struct Seen {
    size: u64,
    sha256: String,
}

impl Store {
    /// With these settings. Touches nothing yet.
    pub fn new(settings: Settings) -> Self {
        let cache = Cache::new(settings.cache.clone());
        Self {
            settings,
            cache,
            client: LazyClient::default(),
            proven: Mutex::default(),
        }
    }

    /// Fetches a file of which nothing is known, for a new pin: never from cache or mirror. What it is, is in the result;
    /// whether that is right, is the caller's to find out. At most `cap` bytes.
    pub async fn fetch_new(
        &self,
        url: &str,
        cap: u64,
        watch: Watch<'_>,
    ) -> Result<VerifiedFile, Failure> {
        self.prepare()?;
        let key = files::hex(&Sha256::digest(url.as_bytes()));
        let _lock = self.lock(&key, watch).await?;
        let part = self.cache.part(&key);
        self.download(url, &part, Size::AtMost(cap), watch).await?;
        let seen = self.look(&part).await?;
        let path = self
            .cache
            .keep(&part, &seen.sha256)
            .map_err(|error| self.broken(&error))?;
        self.remember(&path, &seen.sha256);
        Ok(verified(path, seen, Source::Url(url.to_owned())))
    }

    /// A small text: a release's list of checksums. `None` where the server has no such file.
    pub async fn text(&self, url: &str, cap: usize) -> Result<Option<String>, Failure> {
        let client = self.client.get(&self.settings)?;
        let mut tries = 0;
        loop {
            let (failure, after) = match small(&client, url, cap).await {
                Ok(text) => return Ok(text),
                Err(Trouble::Lasting(failure)) => return Err(failure),
                Err(Trouble::Passing { failure, after }) => (failure, after),
            };
            tries += 1;
            if tries >= self.settings.tries {
                return Err(failure.evidence(format!("tried {tries} times")));
            }
            tokio::time::sleep(after.unwrap_or(self.settings.pause)).await;
        }
    }

    fn prepare(&self) -> Result<(), Failure> {
        self.cache.prepare().map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        let folder = self.settings.cache.display();
        Failure::new(format!("the cache folder {folder} cannot be used"))
            .evidence(error.to_string())
            .hint("see that its disk has space and it belongs to you, or name another with XDG_CACHE_HOME")
    }

    async fn lock(&self, key: &str, watch: Watch<'_>) -> Result<Lock, Failure> {
        let mut told = false;
        loop {
            match self.cache.lock(key) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => {
                    if !std::mem::replace(&mut told, true) {
                        watch(Progress::Waiting);
                    }
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    async fn download(
        &self,
        url: &str,
        part: &Path,
        size: Size,
        watch: Watch<'_>,
    ) -> Result<(), Failure> {
        let client = self.client.get(&self.settings)?;
        let download = Download {
            client: &client,
            settings: &self.settings,
            url,
            part,
            size,
            watch,
        };
        download.run().await
    }

    /// Size and sha256 of a file, read now or in this process since it was last changed.
    async fn look(&self, path: &Path) -> Result<Seen, Failure> {
        let before = files::identity(path);
        if let Some((known, sha256)) = self.proven().get(path)
            && Some(*known) == before
        {
            return Ok(Seen {
                size: files::size(path).unwrap_or(0),
                sha256: sha256.clone(),
            });
        }
        let owned = path.to_owned();
        let digest = tokio::task::spawn_blocking(move || files::digest(&owned)).await;
        match digest {
            Ok(Ok((size, sha256))) => Ok(Seen { size, sha256 }),
            Ok(Err(error)) => Err(unreadable(path, &error.to_string())),
            Err(error) => Err(unreadable(path, &error.to_string())),
        }
    }

    fn proven(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Identity, String)>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, path: &Path, sha256: &str) {
        if let Some(identity) = files::identity(path) {
            self.proven()
                .insert(path.to_owned(), (identity, sha256.to_owned()));
        }
    }

    /// A file that claims to be a pin's, held to it.
    async fn prove(&self, pin: &Pin, path: &Path, source: Source) -> Result<VerifiedFile, Failure> {
        let seen = self.look(path).await?;
        if seen.size != pin.size || seen.sha256 != pin.sha256 {
            return Err(mismatch(pin, &source, seen.size, &seen.sha256));
        }
        self.remember(path, &seen.sha256);
        Ok(verified(path.to_owned(), seen, source))
    }

    /// The cached file. One that is not what its name says is put aside.
    async fn cached(&self, pin: &Pin, watch: Watch<'_>) -> Option<VerifiedFile> {
        let path = self.cache.whole(&pin.sha256);
        files::size(&path)?;
        match self.prove(pin, &path, Source::Cache).await {
            Ok(file) => Some(file),
            Err(failure) => {
                let failure = self.put_aside(&path, &pin.sha256, failure);
                watch(Progress::Trouble {
                    failure: &failure,
                    pause: None,
                });
                None
            }
        }
    }

    fn put_aside(&self, path: &Path, name: &str, failure: Failure) -> Failure {
        match self.cache.refuse(path, name) {
            Ok(aside) => failure.evidence(format!("kept aside as {}", aside.display())),
            Err(error) => failure.evidence(format!("it cannot be put aside: {error}")),
        }
    }

    async fn mirrored(
        &self,
        pin: &Pin,
        watch: Watch<'_>,
        wrong: &mut Vec<Failure>,
    ) -> Option<VerifiedFile> {
        for path in self.in_mirrors(pin) {
            match self.prove(pin, &path, Source::Mirror(path.clone())).await {
                Ok(file) => return Some(file),
                Err(failure) => {
                    watch(Progress::Trouble {
                        failure: &failure,
                        pause: None,
                    });
                    wrong.push(failure);
                }
            }
        }
        None
    }

    fn in_mirrors(&self, pin: &Pin) -> Vec<PathBuf> {
        let names = candidates(pin);
        let all = self.settings.mirrors.iter();
        let mirrored = all.flat_map(|folder| names.iter().map(|name| folder.join(name)));
        local(pin)
            .into_iter()
            .chain(mirrored)
            .filter(|path| files::size(path).is_some())
            .collect()
    }

    /// From the URL into the cache, one process at a time.
    async fn downloaded(&self, pin: &Pin, watch: Watch<'_>) -> Result<VerifiedFile, Failure> {
        self.prepare()?;
        let _lock = self.lock(&pin.sha256, watch).await?;
        // Whoever had the lock may have fetched it.
        if let Some(file) = self.cached(pin, watch).await {
            return Ok(file);
        }
        let part = self.cache.part(&pin.sha256);
        let source = Source::Url(pin.url.clone());
        let mut resumed = files::size(&part).is_some();
        loop {
            self.download(&pin.url, &part, Size::Exactly(pin.size), watch)
                .await?;
            match self.prove(pin, &part, source.clone()).await {
                Ok(file) => {
                    let path = self
                        .cache
                        .keep(&part, &pin.sha256)
                        .map_err(|error| self.broken(&error))?;
                    self.remember(&path, &pin.sha256);
                    return Ok(VerifiedFile {
                        content: Content::File(path),
                        ..file
                    });
                }
                // Perhaps the part began as another file, or the power was cut: once from the beginning.
                Err(failure) if std::mem::take(&mut resumed) => {
                    files::forget(&part).map_err(|error| self.broken(&error))?;
                    watch(Progress::Trouble {
                        failure: &failure,
                        pause: Some(Duration::ZERO),
                    });
                }
                Err(failure) => return Err(self.put_aside(&part, &pin.sha256, failure)),
            }
        }
    }

    async fn fetched(&self, pin: &Pin, watch: Watch<'_>) -> Result<VerifiedFile, Failure> {
        if let Some(file) = self.cached(pin, watch).await {
            return Ok(file);
        }
        let mut wrong = Vec::new();
        if let Some(file) = self.mirrored(pin, watch, &mut wrong).await {
            return Ok(file);
        }
        if let Some(path) = local(pin) {
            return Err(wrong.pop().unwrap_or_else(|| {
                Failure::new(format!("{} is not there", path.display())).hint(format!(
                    "it is {}, by its pin: put it back, or pin another",
                    pin.describe()
                ))
            }));
        }
        self.downloaded(pin, watch).await.map_err(|mut failure| {
            for other in wrong {
                failure.evidence.push(other.message);
                failure.evidence.extend(other.evidence);
            }
            let hint = failure.hint.take();
            let offline = offline_hint(pin);
            failure.hint(match hint {
                Some(hint) => format!("{hint}; {offline}"),
                None => offline,
            })
        })
    }
}

impl Artifacts for Store {
    fn fetch<'a>(
        &'a self,
        pin: &'a Pin,
        watch: Watch<'a>,
    ) -> BoxFuture<'a, Result<VerifiedFile, Failure>> {
        Box::pin(self.fetched(pin, watch))
    }

    fn at_hand<'a>(&'a self, pin: &'a Pin) -> BoxFuture<'a, Option<Source>> {
        Box::pin(async move {
            if files::size(&self.cache.whole(&pin.sha256)) == Some(pin.size) {
                return Some(Source::Cache);
            }
            let mut found = self.in_mirrors(pin).into_iter();
            found
                .find(|path| files::size(path) == Some(pin.size))
                .map(Source::Mirror)
        })
    }
}

/// The file of this machine that a pin names by `file://`.
fn local(pin: &Pin) -> Option<PathBuf> {
    pin.url.strip_prefix("file://").map(PathBuf::from)
}

fn verified(path: PathBuf, seen: Seen, source: Source) -> VerifiedFile {
    VerifiedFile {
        content: Content::File(path),
        size: seen.size,
        sha256: seen.sha256,
        source,
    }
}

fn unreadable(path: &Path, error: &str) -> Failure {
    Failure::new(format!("{} cannot be read", path.display()))
        .evidence(error)
        .hint("see that it may be read by you, and that its disk is well")
}

async fn small(client: &reqwest::Client, url: &str, cap: usize) -> Result<Option<String>, Trouble> {
    let request = client
        .get(url)
        .header(reqwest::header::ACCEPT_ENCODING, "identity");
    let mut answer = request.send().await.map_err(|error| failed(url, error))?;
    match answer.status() {
        status if status.is_success() => {}
        reqwest::StatusCode::NOT_FOUND
        | reqwest::StatusCode::GONE
        | reqwest::StatusCode::FORBIDDEN => return Ok(None),
        _ => return Err(refused(url, &answer)),
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(url, error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > cap {
            return Err(Trouble::Lasting(
                Failure::new(format!("{url} is too long for a list of checksums"))
                    .hint("name the right one with `checksums` in hmco-boot.lock"),
            ));
        }
    }
    Ok(String::from_utf8(bytes).ok())
}
