//! The journal's tables, by schema version, and whether a file may be opened. Steps are only ever added; the version is
//! in SQLite's `user_version`, and `application_id` says that it is a journal at all.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{JournalError, trouble};

/// `hmcB`, in the file's header (`file` and the like show it).
pub(super) const APPLICATION_ID: i64 = 0x686d_6342;

/// Each brings a journal from the version of its index to the next.
pub(super) const MIGRATIONS: &[&str] = &[V1];

const V1: &str = "
    -- `n` orders runs by when they began to be recorded; wall clocks may go back.
    CREATE TABLE run (
        n       INTEGER PRIMARY KEY AUTOINCREMENT,
        id      TEXT NOT NULL UNIQUE,
        resumes TEXT
    ) STRICT;
    CREATE INDEX run_resumes ON run (resumes) WHERE resumes IS NOT NULL;
    -- `version` is the writer's version of events, `body` the event as JSON.
    CREATE TABLE event (
        run     INTEGER NOT NULL REFERENCES run (n) ON DELETE CASCADE,
        seq     INTEGER NOT NULL,
        at_ms   INTEGER NOT NULL,
        version INTEGER NOT NULL,
        body    TEXT NOT NULL,
        UNIQUE (run, seq)
    ) STRICT;
";

/// The version of the tables that this hmco-boot writes.
pub(super) fn current() -> i64 {
    MIGRATIONS.len() as i64
}

/// Refuses what is no journal and what a later version wrote, without touching the file or its neighbours: SQLite reads
/// the main file alone, takes no lock and writes nothing. (Not by reading the header with `std::fs`: closing such a
/// handle would drop the POSIX locks that another connection of this process holds on the file.)
pub(super) fn check_untouched(path: &Path) -> Result<(), JournalError> {
    let failed = |error: &rusqlite::Error| trouble::of_sqlite(path, "read", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(immutable_uri(path), flags).map_err(|e| failed(&e))?;
    check(path, &conn)
}

/// The same on an open connection, which sees what is in the write-ahead log as well.
pub(super) fn check(path: &Path, conn: &Connection) -> Result<(), JournalError> {
    let pragma = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|e| trouble::of_sqlite(path, "read", &e))
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION_ID {
        let what = format!("its application id is {application:#x}, not {APPLICATION_ID:#x}");
        return Err(trouble::corrupt(path, &what));
    }
    if version < 1 {
        return Err(trouble::corrupt(path, "it has no schema version"));
    }
    if version > current() {
        return Err(trouble::newer(path, "schema", version, current()));
    }
    Ok(())
}

/// Brings the tables to the last of `steps`, all or nothing.
pub(super) fn migrate(conn: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    if done >= steps.len() {
        return Ok(());
    }
    for step in steps.iter().skip(done) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", steps.len() as i64)?;
    tx.commit()
}

/// A URI under which SQLite takes the file as unchangeable.
pub(super) fn immutable_uri(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").as_bytes()),
            plain => uri.push(*plain),
        }
    }
    uri.extend(b"?immutable=1");
    std::ffi::OsString::from_vec(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(conn: &Connection, table: &str) -> i64 {
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap()
    }

    #[test]
    fn a_later_step_is_applied_to_an_old_journal_and_keeps_its_rows() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        conn.execute("INSERT INTO run (id) VALUES ('a')", [])
            .unwrap();
        let mut later = MIGRATIONS.to_vec();
        later.push("CREATE TABLE more (x INTEGER) STRICT;");
        migrate(&mut conn, &later).unwrap();
        assert_eq!((count(&conn, "run"), count(&conn, "more")), (1, 0));
        migrate(&mut conn, &later).unwrap();
        assert!(
            check(Path::new("j"), &conn).is_err(),
            "now newer than this version"
        );
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_version_whole() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let mut later = MIGRATIONS.to_vec();
        later.push("CREATE TABLE more (x INTEGER) STRICT; CREATE TABLE run (x INTEGER);");
        assert!(migrate(&mut conn, &later).is_err());
        check(Path::new("j"), &conn).unwrap();
        assert!(conn.prepare("SELECT * FROM more").is_err());
    }

    #[test]
    fn paths_with_special_characters_stay_paths_in_a_uri() {
        assert_eq!(
            immutable_uri(Path::new("/a b/100%?#.db")),
            "file:/a b/100%25%3f%23.db?immutable=1"
        );
    }
}
