//! From settings to rows and back.

use serde_json::Value;

use super::Override;
use crate::{config::registry::Setting, db::settings::StoredSetting, secrets::Sealer};

/// Why a row is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it cannot be opened with this encryption key")]
    Sealed,
    #[error("it is not JSON")]
    Json,
}

/// What a secret's value is sealed for, so that one cannot take the place of another.
fn context(name: &str) -> String {
    format!("setting {name}")
}

pub(super) fn to_row(setting: &Setting, set: &Override, sealer: &Sealer) -> StoredSetting {
    let json = set.value.to_string();
    let sealed = setting.is_secret.then(|| sealer.seal(json.as_bytes(), &context(setting.name)));
    StoredSetting {
        name: setting.name.to_owned(),
        value: (!setting.is_secret).then_some(json),
        sealed,
        covers: set.covers.clone(),
        changed_at_ms: set.changed_at_ms,
    }
}

pub(super) fn from_row(row: StoredSetting, sealer: &Sealer) -> Result<Override, Unreadable> {
    let opened = row.sealed.map(|sealed| sealer.open(&sealed, &context(&row.name)));
    let json = match opened.transpose().map_err(|_| Unreadable::Sealed)? {
        Some(opened) => opened,
        None => row.value.unwrap_or_default().into_bytes(),
    };
    let value = serde_json::from_slice(&json).map_err(|_| Unreadable::Json)?;
    Ok(Override { value, changed_at_ms: row.changed_at_ms, covers: row.covers })
}

/// By which a value is recognised later; says nothing of it without the encryption key.
pub(super) fn fingerprint(name: &str, value: &Value, sealer: &Sealer) -> Vec<u8> {
    sealer.fingerprint(&format!("setting {name}={value}")).to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::registry, secrets::EncryptionKey};

    fn stored(name: &str, value: Value) -> (StoredSetting, Sealer) {
        let sealer = Sealer::new(&EncryptionKey::random());
        let set = Override { value, changed_at_ms: 5, covers: Some(vec![9]) };
        (to_row(registry::find(name).unwrap(), &set, &sealer), sealer)
    }

    #[test]
    fn a_value_comes_back_as_it_was_and_a_secret_is_sealed() {
        for (name, value) in [("MAX_FAILURES", json!(7)), ("CUSTOM_HEADERS", json!({"x-auth": "hunter2"}))] {
            let (row, sealer) = stored(name, value.clone());

            assert_eq!(row.value.is_none(), name == "CUSTOM_HEADERS");
            assert!(!format!("{row:?}").contains("hunter2"));
            let back = from_row(row, &sealer).unwrap();
            assert_eq!((back.value, back.changed_at_ms, back.covers), (value, 5, Some(vec![9])));
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_says_why() {
        let (row, _) = stored("CUSTOM_HEADERS", json!({}));
        let (other, sealer) = stored("MAX_FAILURES", json!(1));
        let broken = StoredSetting { value: Some("{".to_owned()), ..other.clone() };
        let empty = StoredSetting { value: None, ..other };

        assert_eq!(from_row(row, &sealer).err(), Some(Unreadable::Sealed));
        assert_eq!(from_row(broken, &sealer).err(), Some(Unreadable::Json));
        assert_eq!(from_row(empty, &sealer).err(), Some(Unreadable::Json));
    }
}
