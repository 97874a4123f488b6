//! What must hold before a database file is used; a file that fails is left byte for byte as it was.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use diesel::{
    Connection, QueryResult, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_query,
    sql_types::Text,
};

use super::{DbConnection, DbError, migrate};

/// First bytes of every SQLite database. Source: <https://www.sqlite.org/fileformat2.html>, section 1.3.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Size in bytes of the header.
const HEADER_BYTES: usize = 100;
/// Above this size in bytes the pages are not checked at every start, which would read the whole file.
const QUICK_CHECK_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Makes folder and file where missing, and refuses what could not be used.
pub(super) fn before_use(path: &Path) -> Result<(), DbError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|error| unusable_folder(folder, &error.to_string()))?;
    check_folder(folder)?;
    match create_private(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(open_error(path, &error.to_string())),
    }
    let size_bytes = check_file(path)?;
    // SQLite takes an empty file for a new database. One with a rollback journal was cut off in the middle of a
    // change, which SQLite undoes by itself when it opens the file; until then nothing can be said about it.
    if size_bytes == 0 || is_filled(&beside(path, "-journal")) {
        return Ok(());
    }
    check_content(path, size_bytes)
}

/// SQLite keeps its log beside the database, so the folder must be writable too.
///
/// Root may write where no permission bit allows it; the bits are looked at as well, since they are what the
/// operator meant.
fn check_folder(folder: &Path) -> Result<(), DbError> {
    let metadata = fs::metadata(folder).map_err(|error| unusable_folder(folder, &error.to_string()))?;
    if metadata.permissions().readonly() {
        return Err(unusable_folder(folder, "it is read-only"));
    }
    let probe = folder.join(format!(".write-test-{}", std::process::id()));
    File::create(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| unusable_folder(folder, &error.to_string()))
}

/// Size in bytes of an ordinary file that may be written and looks like a database, or is empty.
fn check_file(path: &Path) -> Result<u64, DbError> {
    let metadata = fs::metadata(path).map_err(|error| open_error(path, &error.to_string()))?;
    if !metadata.is_file() {
        return Err(open_error(path, "it is not a file"));
    }
    if metadata.permissions().readonly() {
        return Err(DbError::ReadOnly { path: path.to_owned() });
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            DbError::ReadOnly { path: path.to_owned() }
        }
        _ => open_error(path, &error.to_string()),
    })?;
    if metadata.len() == 0 {
        return Ok(0);
    }
    let mut header = Vec::new();
    file.take(HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .map_err(|error| open_error(path, &error.to_string()))?;
    if !header.starts_with(MAGIC) {
        return Err(DbError::NotADatabase { path: path.to_owned() });
    }
    match header.first_chunk() {
        Some(header) if !is_cut_short(path, header, metadata.len()) => Ok(metadata.len()),
        _ => Err(corrupted(path, "it is cut short")),
    }
}

/// Whether the file has fewer bytes than its header says; SQLite itself overlooks some of these.
///
/// The size in the header holds only while the two counters agree, and not beside a log that was not carried over.
/// Source: <https://www.sqlite.org/fileformat2.html>, section 1.3.7.
fn is_cut_short(path: &Path, header: &[u8; HEADER_BYTES], size_bytes: u64) -> bool {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        // 65,536 does not fit into the field.
        1 => 65_536,
        size => u64::from(size),
    };
    let (change_counter, valid_for) = (number(24), number(92));
    change_counter == valid_for
        && !is_filled(&beside(path, "-wal"))
        && !is_filled(&beside(path, "-journal"))
        && size_bytes < u64::from(number(28)) * page_bytes
}

/// Looks inside through a connection that cannot write.
fn check_content(path: &Path, size_bytes: u64) -> Result<(), DbError> {
    let shared_memory = beside(path, "-shm");
    let had_shared_memory = shared_memory.exists();
    let result = inspect(path, size_bytes);
    if result.is_err() && !had_shared_memory {
        // Made by SQLite to read a log that a crash left behind; it may well not be there.
        let _ = fs::remove_file(shared_memory);
    }
    result
}

/// A connection that cannot write, to a database that another process may be using.
pub(super) fn open_beside(path: &Path) -> Result<DbConnection, DbError> {
    let mut header = Vec::new();
    let file = File::open(path).map_err(|error| open_error(path, &error.to_string()))?;
    file.take(HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .map_err(|error| open_error(path, &error.to_string()))?;
    if !header.starts_with(MAGIC) {
        return Err(DbError::NotADatabase { path: path.to_owned() });
    }
    // Whoever has the database open has a log too, be it empty.
    let url = read_only_url(path, beside(path, "-wal").exists())?;
    let mut conn = DbConnection::establish(&url).map_err(|error| open_error(path, &error.to_string()))?;
    check_versions(&mut conn, path).map(|()| conn)
}

fn inspect(path: &Path, size_bytes: u64) -> Result<(), DbError> {
    let url = read_only_url(path, is_filled(&beside(path, "-wal")))?;
    let mut conn = DbConnection::establish(&url).map_err(|error| open_error(path, &error.to_string()))?;
    if size_bytes <= QUICK_CHECK_MAX_BYTES {
        let verdict = quick_check(&mut conn).map_err(|error| unreadable(path, &error))?;
        if verdict != "ok" {
            return Err(corrupted(path, verdict.lines().last().unwrap_or("quick_check failed")));
        }
    }
    check_versions(&mut conn, path)
}

fn check_versions(conn: &mut DbConnection, path: &Path) -> Result<(), DbError> {
    let versions = schema_versions(conn).map_err(|error| unreadable(path, &error))?;
    match versions.into_iter().find(|version| !migrate::knows(version)) {
        Some(version) => Err(DbError::NewerSchema { path: path.to_owned(), version }),
        None => Ok(()),
    }
}

fn unreadable(path: &Path, error: &diesel::result::Error) -> DbError {
    let detail = error.to_string();
    if detail.contains("locked") { open_error(path, &detail) } else { corrupted(path, &detail) }
}

/// A URL that opens the file without ever writing to it or beside it.
///
/// `immutable` keeps SQLite from making `-wal` and `-shm` files, but makes it blind to a log with changes that are
/// not yet in the database, and to whoever writes meanwhile, so it is left out where `has_log`. Source: <https://www.sqlite.org/uri.html>.
fn read_only_url(path: &Path, has_log: bool) -> Result<String, DbError> {
    let text = path.to_str().ok_or_else(|| open_error(path, "its path is not valid UTF-8"))?;
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let immutable = if has_log { "" } else { "&immutable=1" };
    Ok(format!("file:{escaped}?mode=ro{immutable}"))
}

#[derive(QueryableByName)]
struct Verdict {
    #[diesel(sql_type = Text)]
    quick_check: String,
}

/// `ok`, or the first thing that is wrong. Source: <https://www.sqlite.org/pragma.html#pragma_quick_check>.
fn quick_check(conn: &mut DbConnection) -> QueryResult<String> {
    conn.batch_execute("PRAGMA busy_timeout = 5000")?;
    sql_query("PRAGMA quick_check(1)").get_result(conn).map(|Verdict { quick_check }| quick_check)
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Names of the migrations that were applied; none in a database that is not ours yet.
fn schema_versions(conn: &mut DbConnection) -> QueryResult<Vec<String>> {
    let tables: Vec<Version> = sql_query(
        "SELECT name AS version FROM sqlite_schema WHERE type = 'table' AND name = '__diesel_schema_migrations'",
    )
    .load(conn)?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Version> =
        sql_query("SELECT version FROM __diesel_schema_migrations ORDER BY version DESC").load(conn)?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// A new, empty file for its owner alone; SQLite gives the same mode to the files beside it.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

fn unusable_folder(path: &Path, reason: &str) -> DbError {
    DbError::Folder { path: path.to_owned(), reason: reason.to_owned() }
}

fn open_error(path: &Path, detail: &str) -> DbError {
    DbError::Open { path: path.to_owned(), detail: detail.to_owned() }
}

fn corrupted(path: &Path, detail: &str) -> DbError {
    DbError::Corrupted { path: path.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;
    use crate::db::Database;

    /// A folder with a database of ours in it, filled and closed.
    fn closed_database() -> (PathBuf, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db ? with # and 100% odd letters");
        let database = Database::open(&path).unwrap();
        database
            .write_blocking(|conn| {
                conn.batch_execute(
                    "INSERT INTO counters WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                     SELECT 'a rather long name for a counter ' || i, i FROM n",
                )
            })
            .unwrap();
        (path, dir)
    }

    /// Names and contents of everything in the folder.
    fn snapshot(dir: &TempDir) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    /// Opening fails and nothing in the folder changes.
    fn refused(path: &Path, dir: &TempDir) -> DbError {
        let before = snapshot(dir);
        let error = Database::open(path).err().expect("the file is refused");
        assert!(snapshot(dir) == before, "the folder was changed: {error}");
        error
    }

    #[test]
    fn a_new_database_is_private_and_so_are_the_files_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/folder/db");

        let _open = Database::open(&path).unwrap();

        for file in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
    }

    #[test]
    fn a_sound_database_opens_again_and_an_empty_file_counts_as_new() {
        let (path, dir) = closed_database();
        Database::open(&path).unwrap();

        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        Database::open(&empty).unwrap();
    }

    #[test]
    fn tables_of_another_program_stay_beside_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("default_db");
        DbConnection::establish(path.to_str().unwrap())
            .unwrap()
            .batch_execute("CREATE TABLE t_settings (id INTEGER); INSERT INTO t_settings VALUES (7)")
            .unwrap();

        let database = Database::open(&path).unwrap();

        let changed = database.write_blocking(|conn| sql_query("UPDATE t_settings SET id = 8").execute(conn));
        assert_eq!(changed.unwrap(), 1);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["hello", "a text that is longer than the header of a database would be"] {
            let path = dir.path().join("db");
            fs::write(&path, content).unwrap();

            assert!(matches!(refused(&path, &dir), DbError::NotADatabase { .. }));
        }
    }

    #[test]
    fn a_truncated_database_is_refused_untouched() {
        let (path, dir) = closed_database();
        let whole = fs::read(&path).unwrap();
        for length in [20, 100, 4096, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();

            let error = refused(&path, &dir);

            assert!(matches!(error, DbError::Corrupted { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn a_database_with_overwritten_pages_is_refused_untouched() {
        let (path, dir) = closed_database();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8192].fill(0xa5);
        fs::write(&path, &bytes).unwrap();

        let error = refused(&path, &dir);

        assert!(matches!(error, DbError::Corrupted { .. }), "{error}");
        assert!(error.to_string().contains("backup"), "{error}");
    }

    #[test]
    fn damage_is_found_beside_an_unfinished_log_and_that_log_is_kept() {
        let (path, dir) = closed_database();
        let (main, log) = crash_with_log(&path);
        let mut damaged = main;
        let middle = damaged.len() / 2;
        damaged[middle..middle + 8192].fill(0xa5);
        fs::write(&path, &damaged).unwrap();
        fs::write(beside(&path, "-wal"), &log).unwrap();

        assert!(matches!(refused(&path, &dir), DbError::Corrupted { .. }));
    }

    #[test]
    fn what_a_crash_left_in_the_log_is_recovered() {
        let (path, _dir) = closed_database();
        let (main, log) = crash_with_log(&path);
        fs::write(&path, main).unwrap();
        fs::write(beside(&path, "-wal"), log).unwrap();

        let database = Database::open(&path).unwrap();

        let deleted = database
            .write_blocking(|conn| sql_query("DELETE FROM counters WHERE name = 'logged'").execute(conn));
        assert_eq!(deleted.unwrap(), 1);
    }

    /// Database and log as they are on disk after a write that was not yet carried over.
    fn crash_with_log(path: &Path) -> (Vec<u8>, Vec<u8>) {
        let database = Database::open(path).unwrap();
        database
            .write_blocking(|conn| sql_query("INSERT INTO counters VALUES ('logged', 1)").execute(conn))
            .unwrap();
        (fs::read(path).unwrap(), fs::read(beside(path, "-wal")).unwrap())
    }

    #[test]
    fn a_schema_from_the_future_is_refused_untouched_and_named() {
        let (path, dir) = closed_database();
        DbConnection::establish(path.to_str().unwrap())
            .unwrap()
            .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')")
            .unwrap();

        let error = refused(&path, &dir);

        assert!(matches!(error, DbError::NewerSchema { .. }));
        assert!(error.to_string().contains("20991231000000"), "{error}");
    }

    #[test]
    fn a_read_only_file_is_refused_even_for_root() {
        let (path, dir) = closed_database();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();

        assert!(matches!(refused(&path, &dir), DbError::ReadOnly { .. }));
    }

    #[test]
    fn a_read_only_folder_is_refused_even_for_root() {
        let (path, dir) = closed_database();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();

        let error = refused(&path, &dir);

        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(error, DbError::Folder { .. }));
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();

        assert!(matches!(Database::open(dir.path()), Err(DbError::Open { .. })));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();

        let error = Database::open(&dir.path().join("file/db")).err().unwrap();

        assert!(error.to_string().contains("DATA_DIR"), "{error}");
    }
}
