//! Secrets that the gateway makes for itself and keeps in the data folder, readable by its own user alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use rand::{RngExt, distr::Alphanumeric};

use super::{EncryptionKey, Secret};

/// File in the data folder that holds the admin token.
const ADMIN_TOKEN_FILE: &str = "admin_token";
/// Random characters of a made token, after `sk-`: 285 bits.
const TOKEN_CHARS: usize = 48;

/// A secret of the data folder, with what an operator may be told about it.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    pub value: T,
    pub path: PathBuf,
    /// Whether this start made it.
    pub is_new: bool,
}

/// The encryption key in `data_dir/name`; made once, with mode 0600.
///
/// The file holds base64 of 32 bytes. An unreadable or malformed file is an error and never replaced, since
/// everything sealed with the lost key would be lost with it.
pub fn load_or_create_key_file(data_dir: &Path, name: &str) -> io::Result<Kept<EncryptionKey>> {
    let made = || EncryptionKey::random().to_base64();
    let Kept { value, path, is_new } = load_or_create(data_dir, name, made)?;
    let value = EncryptionKey::from_base64(&value).ok_or_else(|| {
        let message = format!(
            "{} does not hold an encryption key (base64 of 32 bytes): restore it from a backup, or set ENCRYPTION_KEY; \
             remove it only if the keys stored with it may be lost",
            path.display()
        );
        io::Error::new(ErrorKind::InvalidData, message)
    })?;
    Ok(Kept { value, path, is_new })
}

/// The encryption key in `data_dir/name`, which is never made here.
pub fn load_key_file(data_dir: &Path, name: &str) -> io::Result<EncryptionKey> {
    let text = fs::read_to_string(data_dir.join(name))?;
    EncryptionKey::from_base64(&text).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The admin token in `data_dir/admin_token`: `sk-` and 48 random characters, made once, with mode 0600.
pub fn load_or_create_admin_token(data_dir: &Path) -> io::Result<Kept<Secret>> {
    let Kept { value, path, is_new } = load_or_create(data_dir, ADMIN_TOKEN_FILE, random_token)?;
    let token = value.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "{} does not hold a token in one line of printable ASCII: write one into it, or remove it to get a new one",
            path.display()
        );
        return Err(io::Error::new(ErrorKind::InvalidData, message));
    }
    Ok(Kept { value: Secret::new(token), path, is_new })
}

fn random_token() -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(TOKEN_CHARS).map(char::from);
    "sk-".chars().chain(random).collect()
}

/// The text of `data_dir/name`, which is written with what `make` gives when there is no such file.
fn load_or_create(data_dir: &Path, name: &str, make: impl FnOnce() -> String) -> io::Result<Kept<String>> {
    let path = data_dir.join(name);
    let explain = |action: &str, error: io::Error| {
        let message = format!(
            "{} cannot be {action} ({error}): give the user that runs the gateway access to it",
            path.display()
        );
        io::Error::new(error.kind(), message)
    };
    fs::create_dir_all(data_dir).map_err(|error| explain("created", error))?;
    match create_private(&path) {
        Ok(file) => {
            let value = make();
            write_or_remove(file, &path, &value).map_err(|error| explain("written", error))?;
            Ok(Kept { value, path, is_new: true })
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let value = fs::read_to_string(&path).map_err(|error| explain("read", error))?;
            Ok(Kept { value, path, is_new: false })
        }
        Err(error) => Err(explain("created", error)),
    }
}

/// A new file that only its owner may read; fails when there already is one (`O_EXCL`).
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Half a secret would stop every later start, so a failed write takes the file away again.
fn write_or_remove(mut file: File, path: &Path, text: &str) -> io::Result<()> {
    let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one worth reporting.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");

        let first = load_or_create_key_file(&data, "encryption.key").unwrap();
        let second = load_or_create_key_file(&data, "encryption.key").unwrap();

        assert!(first.is_new && !second.is_new);
        assert_eq!(first.value, second.value);
        assert_eq!(mode(&first.path), 0o600);
    }

    #[test]
    fn a_malformed_key_file_is_reported_with_its_cure_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encryption.key");
        fs::write(&path, "not a key").unwrap();

        let error = load_or_create_key_file(dir.path(), "encryption.key").unwrap_err().to_string();

        assert!(error.contains("encryption.key") && error.contains("backup"), "{error}");
        assert!(!error.contains("not a key"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn an_unreadable_key_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("encryption.key")).unwrap();

        let error = load_or_create_key_file(dir.path(), "encryption.key").unwrap_err().to_string();

        assert!(error.contains("cannot be read"), "{error}");
    }

    #[test]
    fn an_admin_token_is_random_and_survives_a_restart() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

        let made = load_or_create_admin_token(dir.path()).unwrap();
        let again = load_or_create_admin_token(dir.path()).unwrap();

        assert_eq!(made.value, again.value);
        assert_eq!(made.value.expose().len(), 3 + TOKEN_CHARS);
        assert_eq!(mode(&made.path), 0o600);
        assert_ne!(load_or_create_admin_token(other.path()).unwrap().value, made.value);
    }

    #[test]
    fn an_admin_token_written_by_hand_is_used_and_a_blank_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(ADMIN_TOKEN_FILE), "  my-own-token\n").unwrap();
        assert_eq!(load_or_create_admin_token(dir.path()).unwrap().value.expose(), "my-own-token");

        fs::write(dir.path().join(ADMIN_TOKEN_FILE), "\n").unwrap();
        assert!(load_or_create_admin_token(dir.path()).is_err());
    }
}
