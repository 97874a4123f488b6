//! `API_KEYS` that change while the gateway runs.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{KeySync, StoredKey, all_or_nothing, load_keys, sync_configured};
use crate::{
    db::DbConnection,
    domain::{
        key::{KeyAbout, KeyId},
        placement::{KeyPlacement, PlacedKey},
    },
    secrets::Sealer,
};

/// What whoever has the keys in use must hear of.
#[derive(Debug, Default)]
pub struct KeysFollowed {
    pub added: Vec<StoredKey>,
    pub placed: Vec<(KeyId, KeyPlacement, KeyAbout)>,
    pub gone: Vec<KeyId>,
    pub sync: KeySync,
}

/// [`sync_configured`], with what has become of the keys.
pub fn follow_configured(
    conn: &mut DbConnection,
    sealer: &Sealer,
    configured: &[PlacedKey],
    now_ms: i64,
) -> QueryResult<KeysFollowed> {
    all_or_nothing(conn, |conn| {
        let before = load_keys(conn, sealer)?.keys;
        let sync = sync_configured(conn, sealer, configured, now_ms)?;
        let mut before: HashMap<KeyId, StoredKey> = before.into_iter().map(|key| (key.id, key)).collect();
        let mut followed = KeysFollowed { sync, ..KeysFollowed::default() };
        for key in load_keys(conn, sealer)?.keys {
            match before.remove(&key.id) {
                None => followed.added.push(key),
                Some(old) if old.placement != key.placement || old.about != key.about => {
                    followed.placed.push((key.id, key.placement, key.about));
                }
                Some(_) => {}
            }
        }
        followed.gone = before.into_keys().collect();
        Ok(followed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            keys::{delete_keys, insert_keys},
            test_database,
        },
        domain::key::ApiKey,
        secrets::EncryptionKey,
    };

    fn placed(text: &str, words: &str) -> PlacedKey {
        let placement = KeyPlacement::parse(words).unwrap();
        PlacedKey { placement, ..ApiKey::parse(text).unwrap().into() }
    }

    #[test]
    fn what_became_of_each_key_is_told() {
        let (database, _dir) = test_database();
        let sealer = Sealer::new(&EncryptionKey::parse("correct horse battery").unwrap());
        let (a, b, c) = (placed("a", ""), placed("b", ""), placed("c", ""));
        let follow = |conn: &mut DbConnection, keys: &[PlacedKey]| {
            let mut told = follow_configured(conn, &sealer, keys, 5).unwrap();
            told.gone.sort();
            let ids = |keys: &[StoredKey]| keys.iter().map(|key| key.id.0).collect::<Vec<_>>();
            let gone: Vec<_> = told.gone.iter().map(|key| key.0).collect();
            (ids(&told.added), told.placed.iter().map(|(key, ..)| key.0).collect::<Vec<_>>(), gone)
        };
        database
            .write_blocking(|conn| {
                assert_eq!(follow(conn, &[a.clone(), b.clone()]), (vec![1, 2], vec![], vec![]));
                insert_keys(conn, &sealer, &[placed("mine", "")], (None, &[]), 5)?;
                let other = placed("b", "weight=3");
                assert_eq!(follow(conn, &[other.clone(), c.clone()]), (vec![4], vec![2], vec![1]));
                // Deleted in the dashboard: away until the list has been without it.
                delete_keys(conn, &[KeyId(4)], 5)?;
                assert_eq!(follow(conn, &[other.clone(), c.clone()]), (vec![], vec![], vec![]));
                assert_eq!(follow(conn, std::slice::from_ref(&other)), (vec![], vec![], vec![]));
                assert_eq!(follow(conn, &[other, c]), (vec![5], vec![], vec![]));
                Ok(())
            })
            .unwrap();
    }
}
