//! Where things are kept.

use std::path::{Path, PathBuf};

use super::reader::Reader;
use crate::secrets::EncryptionKey;

/// Folder, database, and the key that protects what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    pub data_dir: PathBuf,
    /// The SQLite file.
    pub database: PathBuf,
    /// `None`: one is made and kept in the data folder.
    pub encryption_key: Option<EncryptionKey>,
}

impl Storage {
    /// Relative paths start at `dir`.
    pub(super) fn read(reader: &mut Reader, dir: &Path) -> Self {
        let data_dir = dir.join(reader.text("DATA_DIR"));
        let url = reader.optional_text("DATABASE_URL");
        check_kind(reader, url.is_some());
        let file = sqlite_file(reader);
        let database = match url {
            Some(url) => database_of_url(reader, &url).map(|path| dir.join(path)).unwrap_or_default(),
            None => data_dir.join(file),
        };
        Self { data_dir, database, encryption_key: encryption_key(reader) }
    }
}

/// `DATABASE_TYPE` counts only without `DATABASE_URL`, which says it better.
fn check_kind(reader: &mut Reader, has_url: bool) {
    let kind = reader.text("DATABASE_TYPE").to_ascii_lowercase();
    if kind != "sqlite" && !has_url {
        let problem = match &*kind {
            "mysql" | "mariadb" | "postgres" | "postgresql" => {
                "this build has SQLite only; with sqlite the gateway starts with an empty log and the keys of API_KEYS"
            }
            _ => "is not a kind of database",
        };
        reader.report("DATABASE_TYPE", problem);
    }
}

fn sqlite_file(reader: &mut Reader) -> String {
    let name = reader.text("SQLITE_DATABASE");
    let path = Path::new(&name);
    if path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
        let problem = "is not the name of a file in the data folder (for another place set DATABASE_URL)";
        reader.report("SQLITE_DATABASE", problem);
    }
    name
}

/// The path of `sqlite://path`; a relative path has two slashes before it, an absolute one three.
///
/// The URL itself is never repeated, as those of other databases hold passwords.
fn database_of_url<'a>(reader: &mut Reader, url: &'a str) -> Option<&'a str> {
    const NAME: &str = "DATABASE_URL";
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    if scheme != "sqlite" {
        let problem = match &*scheme {
            "mysql" | "mariadb" | "postgres" | "postgresql" => {
                "names a database that this build does not have, only SQLite"
            }
            _ => "does not start with sqlite://",
        };
        reader.report(NAME, problem);
        return None;
    }
    let path = url["sqlite:".len()..].strip_prefix("//").unwrap_or(&url["sqlite:".len()..]);
    if path.is_empty() || path.ends_with('/') || path.contains('?') || path == ":memory:" {
        reader.report(NAME, "does not name a file");
        return None;
    }
    Some(path)
}

fn encryption_key(reader: &mut Reader) -> Option<EncryptionKey> {
    let text = reader.optional_text("ENCRYPTION_KEY")?;
    EncryptionKey::parse(&text).map_err(|problem| reader.report("ENCRYPTION_KEY", problem.to_string())).ok()
}
