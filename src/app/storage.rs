//! Opens what outlives the process, and brings it up to the configuration.

use std::{collections::HashMap, sync::mpsc};

use tracing::{info, warn};

use super::StartError;
use crate::{
    actors::{
        registrar,
        supervisor::{PoolKey, purged_before_ms},
    },
    api::health::NO_KEYS,
    balance::owners::Owners,
    config::{self, Config, Loaded},
    db::{Database, DbError, keys, ledgers, resources, settings},
    domain::time::Now,
    secrets::{Sealer, load_or_create_key_file},
    settings::{Restored, Settings},
};

/// Opens the database, and what seals secrets in it.
pub fn open(storage: &config::Storage) -> Result<(Database, Sealer), StartError> {
    let database = Database::open(&storage.database)?;
    let key = match storage.encryption_key.clone() {
        Some(key) => key,
        None => {
            let kept = load_or_create_key_file(&storage.data_dir, "encryption.key");
            kept.map_err(StartError::Secrets)?.value
        }
    };
    Ok((database, Sealer::new(&key)))
}

/// Lays what was set in the dashboard over what was loaded.
pub fn restore_settings(
    loaded: Loaded,
    database: &Database,
    sealer: &Sealer,
) -> Result<Settings, StartError> {
    let rows = database.read_blocking(settings::load_settings)?;
    let restored = Settings::restore(loaded.layers, rows, sealer.clone())?;
    let Restored { settings, notices, set, unset } = restored;
    if !(set.is_empty() && unset.is_empty()) {
        database.write_blocking(|conn| settings::save_settings(conn, &set, &unset))?;
    }
    for notice in notices.iter().filter(|notice| !loaded.notices.contains(notice)) {
        warn!("{notice}");
    }
    Ok(settings)
}

/// Brings the keys up to `API_KEYS`.
pub fn sync_pool(config: &Config, database: &Database, sealer: &Sealer) -> Result<(), StartError> {
    let now = Now::read();
    database.write_blocking(|conn| keys::purge_deleted(conn, purged_before_ms(now)))?;
    if let Some(configured) = &config.pool.api_keys {
        let now_ms = now.unix_ms();
        let synced =
            database.write_blocking(|conn| keys::sync_configured(conn, sealer, configured, now_ms))?;
        info!(
            added = synced.added,
            removed = synced.removed,
            kept = synced.kept,
            "the keys of API_KEYS are stored"
        );
    }
    Ok(())
}

/// Ledgers as JSON, by the names of their projects.
pub fn load_ledgers(database: &Database) -> Result<HashMap<String, String>, DbError> {
    let ledgers = database.read_blocking(ledgers::load_ledgers)?;
    Ok(ledgers.into_iter().map(|stored| (stored.project, stored.ledger)).collect())
}

/// Hands over every key as it is read, so that the pool comes to life meanwhile.
pub fn read_pool(
    database: &Database,
    sealer: &Sealer,
    keys: &mpsc::SyncSender<PoolKey>,
) -> Result<(), DbError> {
    let mut count = 0;
    let unreadable = database.read_blocking(|conn| {
        keys::read_keys(conn, sealer, |key| {
            count += 1;
            // Nobody takes them in a process that ends already.
            let _ = keys.send(key.into());
        })
    })?;
    if !unreadable.is_empty() {
        warn!(
            keys = unreadable.len(),
            "stored keys cannot be opened with this encryption key and stay out of use; restore ENCRYPTION_KEY or the key file"
        );
    }
    if count == 0 {
        warn!("{NO_KEYS}");
    }
    Ok(())
}

/// Who owns what lies at Google, as far as the last run knew.
pub fn load_owners(config: &Config, database: &Database) -> Result<Owners, DbError> {
    let now_ms = Now::read().unix_ms();
    let stored = database.read_blocking(|conn| resources::load_resources(conn, now_ms))?;
    let mut owners = Owners::new(registrar::CAPACITY, config.gemini.isolates_clients);
    registrar::restore(&mut owners, stored, now_ms);
    Ok(owners)
}
