//! What can go wrong with the database, each with the file and the cure.

use std::path::PathBuf;

/// Failures of storage. The first group stops the start and leaves the file as it was.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("the folder {} cannot be used ({reason}): create it and let the gateway's user write to it, or set DATA_DIR to another one", path.display())]
    Folder { path: PathBuf, reason: String },
    #[error("{} is read-only: let the gateway's user write to it, or set DATA_DIR or SQLITE_DATABASE to another place", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} is not an SQLite database: move it away to start with an empty one, or set SQLITE_DATABASE to another name", path.display())]
    NotADatabase { path: PathBuf },
    #[error("the database {} is damaged ({detail}): restore it from a backup, or move it away to start with an empty one", path.display())]
    Corrupted { path: PathBuf, detail: String },
    #[error("the database {} has schema {version}, which is newer than this version of the gateway knows: run the newer version, or restore the backup made before the upgrade", path.display())]
    NewerSchema { path: PathBuf, version: String },
    #[error("the database {} cannot be opened: {detail}", path.display())]
    Open { path: PathBuf, detail: String },
    #[error("the schema of {} cannot be brought up to date: {detail}", path.display())]
    Migrate { path: PathBuf, detail: String },

    #[error("no database connection became free in time: {0}")]
    Pool(#[from] r2d2::Error),
    #[error("the database refused: {0}")]
    Query(#[from] diesel::result::Error),
    #[error("the database task ended before its time: {0}")]
    Task(#[from] tokio::task::JoinError),
}
