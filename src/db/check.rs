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
/// Size in bytes of the header, and so of the smallest database that is not empty.
const HEADER_BYTES: u64 = 100;
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
    let mut file =
        OpenOptions::new().read(true).write(true).open(path).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                DbError::ReadOnly { path: path.to_owned() }
            }
            _ => open_error(path, &error.to_string()),
        })?;
    if metadata.len() == 0 {
        return Ok(0);
    }
    let mut magic = [0; MAGIC.len()];
    let is_database = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
    if !is_database {
        return Err(DbError::NotADatabase { path: path.to_owned() });
    }
    if metadata.len() < HEADER_BYTES {
        return Err(corrupted(path, "it ends within its header"));
    }
    Ok(metadata.len())
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

fn inspect(path: &Path, size_bytes: u64) -> Result<(), DbError> {
    let mut conn = DbConnection::establish(&read_only_url(path)?)
        .map_err(|error| open_error(path, &error.to_string()))?;
    let unreadable = |error: diesel::result::Error| {
        let detail = error.to_string();
        if detail.contains("locked") { open_error(path, &detail) } else { corrupted(path, &detail) }
    };
    if size_bytes <= QUICK_CHECK_MAX_BYTES {
        let verdict = quick_check(&mut conn).map_err(unreadable)?;
        if verdict != "ok" {
            return Err(corrupted(path, verdict.lines().last().unwrap_or("quick_check failed")));
        }
    }
    let versions = schema_versions(&mut conn).map_err(unreadable)?;
    match versions.into_iter().find(|version| !migrate::knows(version)) {
        Some(version) => Err(DbError::NewerSchema { path: path.to_owned(), version }),
        None => Ok(()),
    }
}

/// A URL that opens the file without ever writing to it or beside it.
///
/// `immutable` keeps SQLite from making `-wal` and `-shm` files, but makes it blind to a log with changes that are
/// not yet in the database, so it is left out where there is one. Source: <https://www.sqlite.org/uri.html>.
fn read_only_url(path: &Path) -> Result<String, DbError> {
    let text = path.to_str().ok_or_else(|| open_error(path, "its path is not valid UTF-8"))?;
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let immutable = if is_filled(&beside(path, "-wal")) { "" } else { "&immutable=1" };
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
