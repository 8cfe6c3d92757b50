//! The `Artifacts` seam: from a pin to a file whose bytes are proven. Two implementations: [`store`] (cache, mirror
//! folders, HTTP) and [`memory`]. Nobody gets a file here that was not held to size and sha256 in this process.
//!
//! Not here: what is pinned (`config::pins`), how a file comes to a node (`transport`).

pub mod checksums;
mod download;
mod files;
mod http;
pub mod member;
#[doc(hidden)]
pub mod memory;
mod mirror;
pub mod store;

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Cursor, Read, Seek};
use std::path::PathBuf;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::time::Duration;

use crate::model::artifact::Pin;
use crate::model::outcome::Failure;

/// A boxed future, so that the seam's trait can be used as an object.
pub type BoxFuture<'a, T> = Pinned<Box<dyn Future<Output = T> + Send + 'a>>;

/// Hears how fetching goes on. Must not block.
pub type Watch<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// Where files of pins come from.
pub trait Artifacts: fmt::Debug + Send + Sync {
    /// The file of a pin. Its size and sha256 are those of the pin, or this is an error that names both digests and
    /// where the wrong file came from.
    fn fetch<'a>(
        &'a self,
        pin: &'a Pin,
        watch: Watch<'a>,
    ) -> BoxFuture<'a, Result<VerifiedFile, Failure>>;

    /// Where the file could be had from without the network, by name and size alone: nothing is read.
    fn at_hand<'a>(&'a self, pin: &'a Pin) -> BoxFuture<'a, Option<Source>>;
}

/// A file that is what its pin says.
#[derive(Clone, Debug)]
pub struct VerifiedFile {
    content: Content,
    /// Bytes.
    pub size: u64,
    /// sha256 in 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// Where it came from.
    pub source: Source,
}

#[derive(Clone, Debug)]
enum Content {
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

/// What a reader of a verified file can do.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl VerifiedFile {
    /// Opens it at its beginning. Reading blocks.
    pub fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(match &self.content {
            Content::File(path) => Box::new(open(path)?),
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
        })
    }

    /// Its path, where it is a file of this machine.
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.content {
            Content::File(path) => Some(path),
            Content::Bytes(_) => None,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "reading the file is what it is for"
)]
fn open(path: &std::path::Path) -> io::Result<File> {
    File::open(path)
}

/// Where a file came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The cache of this machine.
    Cache,
    /// A file in a mirror folder.
    Mirror(PathBuf),
    /// This URL.
    Url(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache => f.write_str("the cache"),
            Self::Mirror(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// What happens while a file is fetched.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// Another process fetches the same file; it is waited for.
    Waiting,
    /// A download begins, or goes on.
    Began {
        /// From here.
        url: &'a str,
        /// Bytes that are here already.
        have: u64,
        /// Bytes there are in all, where that is known.
        total: Option<u64>,
    },
    /// Bytes came.
    Got {
        /// Bytes that are here.
        have: u64,
        /// Bytes there are in all, where that is known.
        total: Option<u64>,
    },
    /// A source failed; another, or the same after a pause, is tried.
    Trouble {
        /// Why.
        failure: &'a Failure,
        /// How long until it is tried again, where it is the same.
        pause: Option<Duration>,
    },
}

/// What to do where nothing gives the file.
fn offline_hint(pin: &Pin) -> String {
    format!(
        "or put the file into a folder as {} and name that with --mirror DIR",
        pin.file_name()
    )
}

/// A file is not what its pin says.
fn mismatch(pin: &Pin, source: &Source, size: u64, sha256: &str) -> Failure {
    let what = format!("{} from {source} is not the pinned file", pin.describe());
    let failure = Failure::new(what)
        .evidence(format!("pinned: sha256 {}, {} bytes", pin.sha256, pin.size))
        .evidence(format!("got:    sha256 {sha256}, {size} bytes"));
    failure.hint(format!(
        "find out why they differ before anything else: a damaged or replaced file, or a release that was changed; only if it was changed rightly, run `hmco-boot pins update {}`",
        pin.name
    ))
}
