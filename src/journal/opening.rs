//! Opening a journal's file: making it, refusing what is not sound, connections set up as they must be.
//!
//! A write-ahead log with `synchronous=FULL`: a commit that returned survives a power cut, and a torn tail is cut off
//! by SQLite's own recovery at the last whole commit. What recovery cannot mend is refused as corrupt; after an unclean
//! end the file is checked as a whole, unless it is so big that this would delay every `resume` (then damage shows
//! where it is read). Not on network file systems: SQLite needs shared memory beside the file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::migrations::{self, MIGRATIONS};
use super::{JournalError, JournalErrorKind, files, trouble};

/// The size of a page, SQLite's own choice.
const PAGE: u64 = 4096;

/// How long to wait for another process (another run's commit takes milliseconds).
const BUSY: Duration = Duration::from_secs(10);

/// Up to this size a file is checked as a whole after an unclean end (tens of milliseconds).
const CHECKED_UP_TO: u64 = 64 << 20;

/// The write-ahead log is cut back to this size when it is started over.
const LOG_LIMIT: i64 = 4 << 20;

/// A connection to read and one to write; the file is made where there is none.
pub(super) fn open(path: &Path) -> Result<(Connection, Connection), JournalError> {
    let (log, found) = look(path)?;
    match found {
        None if log > 0 => return Err(orphaned_log(path)),
        None => create(path)?,
        Some(found) => {
            refuse_strangers(path)?;
            refuse_torn(path, log, found.len())?;
            tighten(path, found.permissions())?;
        }
    }
    // First, because it would refuse a later version in the log without even tidying up.
    let reading = for_reading(path)?;
    let mut conn = for_writing(path)?;
    migrations::migrate(&mut conn, MIGRATIONS)
        .map_err(|e| trouble::of_sqlite(path, "migrate", &e))?;
    if log > 0 {
        check_whole(path, &conn)?;
    }
    Ok((reading, conn))
}

/// A connection to read; `None` where there is no file.
pub(super) fn open_to_read(path: &Path) -> Result<Option<Connection>, JournalError> {
    let (log, Some(found)) = look(path)? else {
        return Ok(None);
    };
    refuse_strangers(path)?;
    refuse_torn(path, log, found.len())?;
    for_reading(path).map(Some)
}

/// How long the log is, and the journal. In this order: a log that is there belongs to a journal that was there.
fn look(path: &Path) -> Result<(u64, Option<fs::Metadata>), JournalError> {
    let log = files::look(&beside(path, "-wal")).map_err(|e| trouble::of_io(path, "open", &e))?;
    let found = files::look(path).map_err(|e| trouble::of_io(path, "open", &e))?;
    Ok((log.map_or(0, |log| log.len()), found))
}

/// SQLite takes the missing end of a last page for zeros. (Beside a log, the page may be written again from that.)
fn refuse_torn(path: &Path, log: u64, len: u64) -> Result<(), JournalError> {
    if log == 0 && !len.is_multiple_of(PAGE) {
        return Err(trouble::corrupt(path, "its last page is cut off"));
    }
    Ok(())
}

/// Makes an empty journal under a name of its own and gives it the right one when it is whole. So a journal that is
/// there but empty was damaged, and two that make one at once agree.
fn create(path: &Path) -> Result<(), JournalError> {
    let (file, new) = files::new_beside(path).map_err(|e| trouble::of_io(path, "make", &e))?;
    drop(file);
    let made = fill_new(path, &new)
        .and_then(|()| files::link_new(&new, path).map_err(|e| trouble::of_io(path, "make", &e)));
    for suffix in ["", "-wal", "-shm", "-journal"] {
        files::discard(&beside(&new, suffix));
    }
    made.map(|_| ())
}

fn fill_new(path: &Path, new: &Path) -> Result<(), JournalError> {
    let fill = || -> rusqlite::Result<()> {
        let mut conn = Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.pragma_update(None, "page_size", PAGE as i64)?;
        conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        migrations::migrate(&mut conn, MIGRATIONS)?;
        // The mode is kept in the file; set last, so that there is no log yet.
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        conn.close().map_err(|(_, e)| e)
    };
    fill().map_err(|e| trouble::of_sqlite(path, "make", &e))
}

/// A connection that may write.
pub(super) fn for_writing(path: &Path) -> Result<Connection, JournalError> {
    let failed = |e: rusqlite::Error| trouble::of_sqlite(path, "open", &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.busy_timeout(BUSY).map_err(failed)?;
    migrations::check(path, &conn)?;
    conn.pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    conn.pragma_update(None, "foreign_keys", true)
        .map_err(failed)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT)
        .map_err(failed)?;
    conn.pragma_update(None, "cell_size_check", true)
        .map_err(failed)?;
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        let why =
            format!("its file system allows no write-ahead log (mode {mode}); use a local disk");
        return Err(trouble::of_io(path, "open", &std::io::Error::other(why)));
    }
    Ok(conn)
}

fn for_reading(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |name: &std::ffi::OsStr, flags| -> Result<Connection, JournalError> {
        let conn = Connection::open_with_flags(name, flags)
            .and_then(|conn| conn.busy_timeout(BUSY).map(|()| conn))
            .map_err(|e| trouble::of_sqlite(path, "open", &e))?;
        migrations::check(path, &conn).map(|()| conn)
    };
    let plain = open(path.as_os_str(), flags);
    // Where nothing can be written and no log is left, the main file alone is the whole journal.
    let alone = plain
        .as_ref()
        .is_err_and(|e| e.kind == JournalErrorKind::Io)
        && matches!(files::look(&beside(path, "-wal")), Ok(log) if log.as_ref().is_none_or(|l| l.len() == 0));
    if alone {
        let uri = migrations::immutable_uri(path);
        return open(&uri, flags | OpenFlags::SQLITE_OPEN_URI).or(plain);
    }
    plain
}

/// Newer and foreign files are refused before anything could touch them. Whatever else SQLite says here is left to the
/// proper opening: beside a writer, one look without a lock may see a file that is being changed.
fn refuse_strangers(path: &Path) -> Result<(), JournalError> {
    match migrations::check_untouched(path) {
        Err(e) if e.kind == JournalErrorKind::Newer => Err(e),
        _ => Ok(()),
    }
}

fn check_whole(path: &Path, conn: &Connection) -> Result<(), JournalError> {
    let size = files::look(path)
        .ok()
        .flatten()
        .map_or(0, |found| found.len());
    if size > CHECKED_UP_TO {
        return Ok(());
    }
    let verdict = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict {
        Ok(ok) if ok == "ok" => Ok(()),
        Ok(damage) => Err(trouble::corrupt(path, &damage)),
        Err(e) => Err(trouble::of_sqlite(path, "check", &e)),
    }
}

/// An older version of the file, or a restored copy, may be readable by others.
fn tighten(path: &Path, found: Permissions) -> Result<(), JournalError> {
    if found.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(|e| trouble::of_io(path, "protect", &e))
}

fn orphaned_log(path: &Path) -> JournalError {
    let log = beside(path, "-wal");
    let what = format!(
        "{} is there, but the journal it belongs to is not",
        log.display()
    );
    trouble::corrupt(path, &what)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
