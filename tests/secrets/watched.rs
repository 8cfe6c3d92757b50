//! The disk with every operation on it counted, recorded and judged; and pictures of folders.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hmco_boot::secrets::files::{Disk, Files, Held};

/// An operation that changes something on the disk.
#[derive(Clone, Debug)]
pub enum Op {
    MakeFolder(PathBuf, u32),
    Write(PathBuf, Vec<u8>, u32),
    SyncFile(PathBuf),
    SyncFolder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveFolder(PathBuf),
}

impl Op {
    pub fn apply(&self, files: &Disk) -> io::Result<()> {
        match self {
            Self::MakeFolder(path, mode) => files.make_folder(path, *mode),
            Self::Write(path, bytes, mode) => files.write(path, bytes, *mode),
            Self::SyncFile(path) => files.sync_file(path),
            Self::SyncFolder(path) => files.sync_folder(path),
            Self::Rename(from, to) => files.rename(from, to),
            Self::Remove(path) => files.remove(path),
            Self::RemoveFolder(path) => files.remove_folder(path),
        }
    }
}

/// What happens to an operation.
type Judge = dyn Fn(usize, &Op) -> io::Result<()> + Send + Sync;

/// The disk, with every change of it counted, written down, and put before a judge.
pub struct Watched {
    pub count: AtomicUsize,
    pub ops: Mutex<Vec<Op>>,
    judge: Box<Judge>,
}

impl Watched {
    pub fn new(judge: impl Fn(usize, &Op) -> io::Result<()> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            ops: Mutex::new(Vec::new()),
            judge: Box::new(judge),
        })
    }

    fn op(&self, op: Op) -> io::Result<()> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        (self.judge)(number, &op)?;
        op.apply(&Disk)?;
        self.ops.lock().unwrap().push(op);
        Ok(())
    }
}

impl Files for Watched {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Disk.read(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Disk.list(folder)
    }
    fn make_folder(&self, folder: &Path, mode: u32) -> io::Result<()> {
        self.op(Op::MakeFolder(folder.to_owned(), mode))
    }
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.op(Op::Write(path.to_owned(), bytes.to_owned(), mode))
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.op(Op::SyncFile(path.to_owned()))
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.op(Op::SyncFolder(folder.to_owned()))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.op(Op::Rename(from.to_owned(), to.to_owned()))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.op(Op::Remove(path.to_owned()))
    }
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.op(Op::RemoveFolder(folder.to_owned()))
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Held>> {
        Disk.lock(path)
    }
    fn real_path(&self, path: &Path) -> PathBuf {
        Disk.real_path(path)
    }
}

/// All files below a folder, by path.
pub type Picture = BTreeMap<PathBuf, Vec<u8>>;

pub fn picture(folder: &Path) -> Picture {
    let mut found = Picture::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(picture(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Makes the folder just this.
pub fn restore(folder: &Path, picture: &Picture) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    for (path, bytes) in picture {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
