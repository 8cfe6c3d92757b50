//! What commands ask git: which files there are, what the index holds, where hooks belong, whether a file would be committed.

#![expect(
    clippy::disallowed_methods,
    reason = "starts git, and reads files that git names"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::outcome::Failure;

/// Bigger files are no source; they are said to have been left out.
pub const LIMIT: u64 = 16 << 20;

/// Something to look at: where it is, and its bytes, or why it cannot be looked at.
pub struct Piece {
    /// The path, as a user would type it from the folder.
    pub path: String,
    /// It is what would be committed.
    pub staged: bool,
    /// Its bytes.
    pub bytes: Result<Vec<u8>, String>,
}

/// The repository around a folder.
pub struct Git {
    folder: PathBuf,
}

impl Git {
    /// The repository of a folder; `None` where there is none, or no git.
    pub fn of(folder: &Path) -> Option<Self> {
        let git = Self {
            folder: folder.to_path_buf(),
        };
        let inside = git.ask(&["rev-parse", "--is-inside-work-tree"]).ok()?;
        (inside.trim_ascii() == b"true").then_some(git)
    }

    /// Whether a file would be committed by whoever commits all: it is in a working tree, and not ignored. Where git cannot
    /// tell, it is not said to be.
    pub fn would_commit(file: &Path) -> bool {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
            return false;
        };
        let name = Path::new(".").join(name);
        Self::of(folder).is_some_and(|git| git.files(&[name]).is_ok_and(|files| !files.is_empty()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&self.folder)
            .args(args)
            .stdin(Stdio::null());
        command
    }

    fn ask(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        let failed = |what: String| {
            Failure::new(format!(
                "git {} did not work",
                args.first().copied().unwrap_or_default()
            ))
            .evidence(what)
            .hint("see what `git status` says here")
        };
        let output = self
            .command(args)
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ))
        }
    }

    /// Files of the working tree below these paths: those that git knows, and new ones that it does not ignore.
    pub fn files(&self, below: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
        let mut args = vec![
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
        ];
        let below: Vec<&str> = below.iter().filter_map(|path| path.to_str()).collect();
        args.extend(below);
        let names = self.ask(&args)?;
        let names = names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        // One in a merge's conflict is listed for each side; git tells each name once from 2.31 on only.
        let names: BTreeSet<PathBuf> = names
            .map(|name| PathBuf::from(OsStr::from_bytes(name)))
            .collect();
        Ok(names.into_iter().collect())
    }

    /// What the index holds below these paths, where it is not what the working tree holds anyway.
    pub fn staged(&self, below: &[PathBuf]) -> Result<Vec<Piece>, Failure> {
        let mut args = vec!["ls-files", "-z", "--stage", "--"];
        args.extend(below.iter().filter_map(|path| path.to_str()));
        let listed = self.ask(&args)?;
        let mut blobs = BTreeMap::new();
        for entry in listed
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
        {
            let entry = String::from_utf8_lossy(entry);
            // MODE HASH STAGE\tPATH
            let Some((about, path)) = entry.split_once('\t') else {
                continue;
            };
            let mut about = about.split(' ');
            if let (Some(mode), Some(hash)) = (about.next(), about.next())
                && mode.starts_with("100")
            {
                blobs.insert(path.to_owned(), hash.to_owned());
            }
        }
        self.blobs(&blobs)
    }

    /// Many blobs by one process.
    fn blobs(&self, blobs: &BTreeMap<String, String>) -> Result<Vec<Piece>, Failure> {
        let failed = |error: io::Error| {
            Failure::new("git cat-file did not work")
                .evidence(error.to_string())
                .hint("see what `git fsck` says")
        };
        let mut child = self
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let asked: String = blobs.values().map(|hash| format!("{hash}\n")).collect();
        // From another thread: git answers while it is asked, and both pipes are finite.
        let answers = std::thread::scope(|scope| {
            let asking = scope.spawn(move || stdin.write_all(asked.as_bytes()));
            let mut reader = BufReader::new(stdout);
            let pieces: io::Result<Vec<Piece>> =
                blobs.keys().map(|path| answer(path, &mut reader)).collect();
            drop(reader);
            match asking.join() {
                Ok(Err(error)) if pieces.is_ok() => Err(error),
                _ => pieces,
            }
        });
        child.wait().map_err(failed)?;
        answers.map_err(failed)
    }

    /// Where this repository's `pre-commit` hook belongs.
    pub fn hook(&self) -> Result<PathBuf, Failure> {
        let path = self.ask(&["rev-parse", "--git-path", "hooks/pre-commit"])?;
        let path = PathBuf::from(OsStr::from_bytes(path.trim_ascii_end()));
        Ok(self.folder.join(path))
    }
}

/// One answer of `git cat-file --batch`: `HASH blob SIZE`, the bytes, a newline.
fn answer(path: &str, reader: &mut impl BufRead) -> io::Result<Piece> {
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let size: Option<u64> = head
        .trim_end()
        .rsplit_once(' ')
        .and_then(|(_, size)| size.parse().ok());
    let piece = |bytes| Piece {
        path: path.to_owned(),
        staged: true,
        bytes,
    };
    let Some(size) = size else {
        return Ok(piece(Err("git does not have it".to_owned())));
    };
    let mut bytes = Vec::new();
    let whole = size <= LIMIT;
    if whole {
        reader.take(size).read_to_end(&mut bytes)?;
    } else {
        io::copy(&mut reader.take(size), &mut io::sink())?;
    }
    let mut newline = [0];
    reader.read_exact(&mut newline)?;
    Ok(piece(if whole { Ok(bytes) } else { Err(too_big()) }))
}

fn too_big() -> String {
    format!("it is bigger than {} MiB", LIMIT >> 20)
}

/// A file of the working tree. A symbolic link is what it says, not what it leads to.
pub fn read(folder: &Path, path: &Path) -> Option<Piece> {
    let full = folder.join(path);
    let about = fs::symlink_metadata(&full).ok()?;
    if !about.is_file() {
        return None;
    }
    let bytes = if about.len() > LIMIT {
        Err(too_big())
    } else {
        fs::read(&full).map_err(|error| error.to_string())
    };
    Some(Piece {
        path: path.display().to_string(),
        staged: false,
        bytes,
    })
}

/// All files below a folder that is in no repository; what begins with a dot and what is only built is left out.
pub fn walk(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder.join(below)) else {
        found.push(below.to_path_buf());
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let skipped = ["target", "node_modules", ".git"]
            .iter()
            .any(|skipped| name == *skipped);
        let path = below.join(&name);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !skipped => walk(folder, &path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

/// Makes a hook that is not there yet.
pub fn write_hook(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    crate::cli::files::write_new(path, text.as_bytes())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
