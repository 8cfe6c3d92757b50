//! One file over HTTP into a part file: goes on where an earlier download broke off (Range with If-Range), tries again
//! after errors that may pass, and never takes more bytes than it may. Says nothing of whether they are the right ones.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, Response, StatusCode};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::http::{Trouble, failed, refused};
use super::store::Settings;
use super::{Progress, Watch, files};
use crate::model::outcome::Failure;

/// Bytes that are written at once.
const WRITE: usize = 256 * 1024;

/// What is known of a file's size before it is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    /// Just so many bytes.
    Exactly(u64),
    /// Nothing, but no more than this.
    AtMost(u64),
}

/// A download.
pub(super) struct Download<'a> {
    pub client: &'a Client,
    pub settings: &'a Settings,
    pub url: &'a str,
    pub part: &'a Path,
    pub size: Size,
    pub watch: Watch<'a>,
}

impl Download<'_> {
    /// Fetches until the part is complete. A part that is there is gone on with.
    pub async fn run(&self) -> Result<(), Failure> {
        let mut tries = 0;
        let mut furthest = files::size(self.part).unwrap_or(0);
        loop {
            let (failure, after) = match self.once().await {
                Ok(()) => return Ok(()),
                Err(Trouble::Lasting(failure)) => return Err(failure),
                Err(Trouble::Passing { failure, after }) => (failure, after),
            };
            // As long as it gets further than ever before, it goes on.
            let have = files::size(self.part).unwrap_or(0);
            if have > furthest {
                (furthest, tries) = (have, 0);
            }
            tries += 1;
            if tries >= self.settings.tries {
                return Err(failure.evidence(format!("tried {tries} times")));
            }
            let pause = after.unwrap_or_else(|| self.pause(tries));
            (self.watch)(Progress::Trouble {
                failure: &failure,
                pause: Some(pause),
            });
            tokio::time::sleep(pause).await;
        }
    }

    /// Doubled with each try.
    fn pause(&self, tries: u32) -> Duration {
        self.settings.pause * 2_u32.saturating_pow(tries.saturating_sub(1)).min(32)
    }

    fn total(&self) -> Option<u64> {
        match self.size {
            Size::Exactly(size) => Some(size),
            Size::AtMost(_) => None,
        }
    }

    async fn once(&self) -> Result<(), Trouble> {
        let have = self.resumable();
        if have > 0 && self.total() == Some(have) {
            return Ok(());
        }
        let mut request = self
            .client
            .get(self.url)
            .header(ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
            if let Some(validator) = self.validator() {
                request = request.header(IF_RANGE, validator);
            }
        }
        let answer = request
            .send()
            .await
            .map_err(|error| failed(self.url, error))?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT
                if have > 0 && starts_at(answer.headers()) == Some(have) =>
            {
                self.take(answer, have).await
            }
            StatusCode::OK => self.take(answer, 0).await,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                self.start_over()?;
                Err(Trouble::passing(Failure::new(format!(
                    "{} does not go on where the download broke off",
                    self.url
                ))))
            }
            _ => Err(refused(self.url, &answer)),
        }
    }

    /// How many bytes can be gone on with: none where nothing tells that they are of the same file.
    fn resumable(&self) -> u64 {
        let have = files::size(self.part).unwrap_or(0);
        let same_url =
            files::origin(self.part).is_some_and(|text| text.lines().next() == Some(self.url));
        match self.size {
            Size::Exactly(size) if same_url && have <= size => have,
            Size::AtMost(_) if same_url && self.validator().is_some() => have,
            _ => 0,
        }
    }

    /// What the server called this very content.
    fn validator(&self) -> Option<String> {
        let text = files::origin(self.part)?;
        let line = text.lines().nth(1)?;
        Some(line.to_owned()).filter(|line| !line.is_empty())
    }

    fn start_over(&self) -> Result<(), Trouble> {
        files::forget(self.part).map_err(|error| self.cannot_write(&error))
    }

    /// Takes the bytes of an answer that begins at `from`.
    async fn take(&self, mut answer: Response, from: u64) -> Result<(), Trouble> {
        let total = answer.content_length().map(|length| from + length);
        self.check_size(total)?;
        if from == 0 {
            let origin = format!("{}\n{}\n", self.url, validator_of(answer.headers()));
            files::set_origin(self.part, &origin).map_err(|error| self.cannot_write(&error))?;
        }
        let total = total.or_else(|| self.total());
        (self.watch)(Progress::Began {
            url: self.url,
            have: from,
            total,
        });
        let mut file = self.open(from).await?;
        let mut have = from;
        let ended = loop {
            match answer.chunk().await {
                Ok(None) => break Ok(()),
                Err(error) => break Err(failed(self.url, error)),
                Ok(Some(bytes)) => {
                    have += bytes.len() as u64;
                    self.check_size(Some(have))
                        .or_else(|trouble| match self.size {
                            // Not all is here yet.
                            Size::Exactly(size) if have < size => Ok(()),
                            _ => Err(trouble),
                        })?;
                    let written = file.write_all(&bytes).await;
                    written.map_err(|error| self.cannot_write(&error))?;
                    (self.watch)(Progress::Got { have, total });
                }
            }
        };
        // What came before it broke off is kept.
        let flushed = file.flush().await;
        flushed.map_err(|error| self.cannot_write(&error))?;
        ended?;
        match self.total() {
            Some(size) if have < size => Err(Trouble::passing(Failure::new(format!(
                "the download of {} ended after {have} of {size} bytes",
                self.url
            )))),
            _ => Ok(()),
        }
    }

    async fn open(&self, from: u64) -> Result<BufWriter<File>, Trouble> {
        let opened = OpenOptions::new()
            .create(true)
            .write(true)
            .append(from > 0)
            .truncate(from == 0)
            .open(self.part)
            .await;
        match opened {
            Ok(file) => Ok(BufWriter::with_capacity(WRITE, file)),
            Err(error) => Err(self.cannot_write(&error)),
        }
    }

    fn check_size(&self, total: Option<u64>) -> Result<(), Trouble> {
        let (wrong, wanted) = match (self.size, total) {
            (Size::Exactly(size), Some(total)) if total != size => {
                (total, format!("pinned: {size} bytes"))
            }
            (Size::AtMost(cap), Some(total)) if total > cap => {
                (total, format!("taken: at most {cap} bytes"))
            }
            _ => return Ok(()),
        };
        Err(Trouble::Lasting(
            Failure::new(format!("{} is not as large as it should be", self.url))
                .evidence(wanted)
                .evidence(format!("offered: {wrong} bytes"))
                .hint("see that the URL in hmco-boot.lock is that of the pinned version; if the release was changed rightly, run `hmco-boot pins update`"),
        ))
    }

    fn cannot_write(&self, error: &std::io::Error) -> Trouble {
        Trouble::Lasting(
            Failure::new(format!("{} cannot be written", self.part.display()))
                .evidence(error.to_string())
                .hint("see that the disk has space and the cache folder belongs to you, or name another with XDG_CACHE_HOME"),
        )
    }
}

/// Where the bytes of a partial answer begin (`bytes 100-199/200`).
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let text = text(headers, CONTENT_RANGE)?;
    let (start, _) = text.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

/// A strong validator; empty where there is none.
fn validator_of(headers: &HeaderMap) -> &str {
    let tag = text(headers, ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(headers, LAST_MODIFIED))
        .unwrap_or_default()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
