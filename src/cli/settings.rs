//! `settings`: what is set, and where. Reads the database beside a gateway that may be running; only an import changes
//! anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use serde_json::Value;

use super::MISCONFIGURED;
use crate::{
    config::{ConfigErrors, Loaded, Storage},
    db::{
        Database, DbError, all_or_nothing,
        client_tokens::note_change as note_token_change,
        read_beside,
        settings::{load_settings, save_settings},
    },
    domain::time::Now,
    secrets::{EncryptionKey, Sealer, load_key_file, load_or_create_key_file},
    settings::{
        Changed, InvalidSettings, Settings,
        transfer::{Document, FORMAT, Parts, Preview, Previews, store_configured},
        view::SettingView,
    },
};

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Write the whole configuration to standard output, as JSON: settings, API keys, client tokens (as hashes).
    Export {
        /// With API keys, tokens of the settings, headers and proxies in the clear.
        #[arg(long)]
        secrets: bool,
    },
    /// Take over an exported configuration, all of it or nothing. A gateway that runs must be started again to see settings
    /// and keys.
    Import {
        file: PathBuf,
        /// Only tell what would change.
        #[arg(long)]
        dry_run: bool,
    },
}

pub fn run(action: Option<Action>, loaded: Loaded) -> ExitCode {
    let done = match action {
        None => return list(loaded),
        Some(Action::Export { secrets }) => export(loaded, secrets),
        Some(Action::Import { file, dry_run }) => import(loaded, &file, dry_run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(MISCONFIGURED)
        }
    }
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Invalid(#[from] InvalidSettings),
    #[error("{path}: {problem}")]
    File { path: String, problem: String },
    #[error("{0}")]
    Refused(String),
    #[error("there is no encryption key; set ENCRYPTION_KEY, or start the gateway once")]
    NoKey,
}

fn export(loaded: Loaded, with_secrets: bool) -> Result<(), TransferError> {
    let path = loaded.config.storage.database.clone();
    if encryption_key(&loaded.config.storage).is_none() {
        return Err(TransferError::NoKey);
    }
    let settings = beside(loaded)?;
    let parts = Parts { with_secrets, with_keys: true, with_tokens: true };
    let document = read_beside(&path, |conn| settings.export(conn, parts))?;
    println!("{}", serde_json::to_string_pretty(&document).expect("a document is plain JSON"));
    Ok(())
}

fn import(loaded: Loaded, file: &Path, dry_run: bool) -> Result<(), TransferError> {
    let told = |problem: String| TransferError::File { path: file.display().to_string(), problem };
    let text = fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
    let document: Document = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
    if document.format != FORMAT {
        return Err(told(format!("has no format \"{FORMAT}\"")));
    }
    let storage = loaded.config.storage.clone();
    let key = match encryption_key(&storage) {
        Some(key) => key,
        None if dry_run => EncryptionKey::random(),
        None => {
            load_or_create_key_file(&storage.data_dir, "encryption.key")
                .map_err(|error| told(error.to_string()))?
                .value
        }
    };
    let sealer = Sealer::new(&key);
    let database = Database::open(&storage.database)?;
    let rows = database.read_blocking(load_settings)?;
    let settings = Settings::restore(loaded.layers, rows, sealer.clone())?.settings;
    let (wanted, holders) = document.split();
    let (changes, ignored) = settings.differences(wanted.into_iter().collect());
    let change = settings.plan(&changes)?;
    let previews = database.read_blocking(|conn| holders.preview(conn, &sealer))?;
    tell(&change.changed, &ignored, &previews);
    let refusal = [&previews.keys, &previews.tokens].into_iter().flatten().find_map(Preview::refusal);
    if let Some(refusal) = refusal {
        return Err(TransferError::Refused(refusal));
    }
    if dry_run {
        return Ok(());
    }
    let now_ms = Now::read().unix_ms();
    database.write_blocking(|conn| {
        all_or_nothing(conn, |conn| {
            save_settings(conn, &change.set, &change.unset)?;
            store_configured(conn, change.config(), &sealer, now_ms)?;
            holders.store(conn, &sealer, now_ms)?;
            note_token_change(conn)
        })
    })?;
    Ok(())
}

fn tell(changed: &[Changed], ignored: &[String], previews: &Previews) {
    let shown = |value: &Value| if value.is_null() { "***".to_owned() } else { value.to_string() };
    for Changed { name, from, to } in changed {
        println!("{name}: {} -> {}", shown(from), shown(to));
    }
    for name in ignored {
        println!("{name}: left out, as the environment and the files alone can set it");
    }
    for (part, preview) in [("keys", &previews.keys), ("tokens", &previews.tokens)] {
        if let Some(Preview { added, changed, unchanged, refused, .. }) = preview {
            println!("{part}: {added} added, {changed} changed, {unchanged} unchanged, {refused} refused");
        }
    }
}

fn list(loaded: Loaded) -> ExitCode {
    match beside(loaded) {
        Ok(settings) => {
            for setting in settings.view().items {
                println!("{}", line(&setting));
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(MISCONFIGURED)
        }
    }
}

/// The settings as a gateway over this database has them, or would have them at its next start.
pub fn beside(loaded: Loaded) -> Result<Settings, ConfigErrors> {
    let storage = &loaded.config.storage;
    let sealer = Sealer::new(&encryption_key(storage).unwrap_or_else(EncryptionKey::random));
    // Without a database nothing was set in a dashboard.
    let rows = read_beside(&storage.database, load_settings).unwrap_or_default();
    Ok(Settings::restore(loaded.layers, rows, sealer)?.settings)
}

/// Without it keys show their ids only, and stored secrets count as not set.
pub fn encryption_key(storage: &Storage) -> Option<EncryptionKey> {
    let kept = || -> io::Result<EncryptionKey> { load_key_file(&storage.data_dir, "encryption.key") };
    storage.encryption_key.clone().or_else(|| kept().ok())
}

fn line(setting: &SettingView) -> String {
    let SettingView { name, value, is_set, origin, .. } = setting;
    let value = match value {
        Value::Null if *is_set => "***".to_owned(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{name}={value}  # {origin}")
}
