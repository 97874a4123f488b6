//! `settings`: what is set, and where. Reads the database beside a gateway that may be running, and changes nothing.

use std::{io, process::ExitCode};

use serde_json::Value;

use super::MISCONFIGURED;
use crate::{
    config::{ConfigErrors, Loaded, Storage},
    db::{read_beside, settings::load_settings},
    secrets::{EncryptionKey, Sealer, load_key_file},
    settings::{Settings, view::SettingView},
};

pub fn run(loaded: Loaded) -> ExitCode {
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
