use serde_json::json;

use super::*;
use crate::{
    db::{
        client_tokens::{MADE, StoredToken, delete_token, insert_token, load_tokens},
        keys::{insert_keys, load_keys, steer_keys},
        test_database,
    },
    domain::{
        key::{ApiKey, DisabledUntil, KeyId, Steering},
        placement::{KeyPlacement, PlacedKey},
    },
    secrets::{EncryptionKey, Secret, shown_prefix},
};

/// A time that is not over while the tests run.
const LATER_MS: i64 = 4_000_000_000_000;
const ALL: Parts = Parts { with_secrets: true, with_keys: true, with_tokens: true };

fn sealer(passphrase: &str) -> Sealer {
    Sealer::new(&EncryptionKey::parse(passphrase).unwrap())
}

fn auth(allowed: &[&str]) -> Auth {
    let allowed_tokens = allowed.iter().map(|token| Secret::new(*token)).collect();
    Auth { auth_token: None, allowed_tokens, session_expire: std::time::Duration::from_secs(60) }
}

fn token(sealer: &Sealer, text: &str) -> StoredToken {
    StoredToken {
        id: "tk-1".to_owned(),
        name: "Research".to_owned(),
        fingerprint: sealer.token_fingerprint(text).to_vec(),
        prefix: shown_prefix(text),
        origin: MADE.to_owned(),
        enabled: true,
        created_at_ms: 1,
        expires_at_ms: Some(99),
        last_used_at_ms: None,
        old_fingerprint: None,
        old_valid_until_ms: None,
        terms: r#"{"rate_limits":{"requests_per_day":7}}"#.to_owned(),
        note: "a note".to_owned(),
        usage: None,
    }
}

/// A gateway with two keys, one of them disabled, and a token.
fn fill(conn: &mut DbConnection, sealer: &Sealer) {
    let placement = KeyPlacement::parse("project=alpha tier=free weight=2 models=gemini-2.5-*").unwrap();
    let first = PlacedKey { key: ApiKey::parse("AIzaSy-first-0001").unwrap(), placement };
    let second: PlacedKey = ApiKey::parse("AIzaSy-second-002").unwrap().into();
    insert_keys(conn, sealer, &[first, second], (Some("mine"), &["a".to_owned()]), 5).unwrap();
    let disabled = DisabledUntil { until_ms: Some(LATER_MS) };
    steer_keys(conn, &[KeyId(2)], Steering::Disable(disabled), 6).unwrap();
    insert_token(conn, &token(sealer, "sk-of-research")).unwrap();
}

fn document(conn: &mut DbConnection, sealer: &Sealer, parts: Parts) -> Document {
    let document = Document::of(conn, Map::new(), &auth(&[]), parts, sealer).unwrap();
    serde_json::from_value(json!(document)).unwrap()
}

#[test]
fn another_gateway_becomes_the_same_and_the_second_time_nothing_happens() {
    let ((from, _dir), (to, _other)) = (test_database(), test_database());
    let sealer = sealer("correct horse battery");
    let exported = from.write_blocking(|conn| {
        fill(conn, &sealer);
        Ok(document(conn, &sealer, ALL))
    });
    let (_, holders) = exported.unwrap().split();
    to.write_blocking(|conn| {
        let told = holders.preview(conn, &sealer)?;
        let (keys, tokens) = (told.keys.unwrap(), told.tokens.unwrap());
        assert_eq!((keys.added, keys.items.len(), tokens.added, keys.refused), (2, 2, 1, 0));
        assert!(load_keys(conn, &sealer)?.keys.is_empty());

        let stored = holders.store(conn, &sealer, 9)?;

        assert_eq!((stored.added.len(), stored.placed.len(), stored.steered.len()), (2, 0, 0));
        let again = document(conn, &sealer, ALL);
        let (_, same) = again.split();
        assert_eq!(json!(same.keys), json!(holders.keys));
        let terms = |holders: &Holders| {
            let tokens = holders.tokens.iter().flatten();
            let read = |token: &TokenEntry| {
                serde_json::from_value::<crate::domain::terms::Terms>(token.terms.clone())
            };
            tokens.map(|token| (token.hash.clone(), read(token).unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(terms(&same), terms(&holders));
        let told = holders.preview(conn, &sealer)?;
        let counts =
            |preview: Option<Preview>| preview.map(|it| (it.added, it.changed, it.unchanged)).unwrap();
        assert_eq!((counts(told.keys), counts(told.tokens)), ((0, 0, 2), (0, 0, 1)));
        let stored = holders.store(conn, &sealer, 10)?;
        assert_eq!((stored.added.len(), stored.placed.len(), stored.steered.len()), (0, 0, 0));
        assert_eq!(load_tokens(conn)?.len(), 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_rotated_token_takes_its_grace_along_and_is_known_by_the_one_that_it_has_replaced() {
    let ((from, _dir), (to, _other)) = (test_database(), test_database());
    let sealer = sealer("correct horse battery");
    let print = |text: &str| sealer.token_fingerprint(text).to_vec();
    let rotated = |until_ms| StoredToken {
        old_fingerprint: Some(print("sk-old")),
        old_valid_until_ms: Some(until_ms),
        ..token(&sealer, "sk-new")
    };
    let exported = |until_ms| {
        from.write_blocking(|conn| {
            delete_token(conn, "tk-1")?;
            insert_token(conn, &rotated(until_ms))?;
            Ok(document(conn, &sealer, ALL).split().1)
        })
        .unwrap()
    };
    let over = exported(5).tokens.unwrap().remove(0);
    assert_eq!(over.replaces, None);
    let holders = exported(LATER_MS);

    to.write_blocking(|conn| {
        let stored = |conn: &mut DbConnection| -> QueryResult<_> {
            let rows = load_tokens(conn)?;
            let print = |row: StoredToken| (row.fingerprint, row.old_fingerprint, row.old_valid_until_ms);
            Ok(rows.into_iter().map(print).collect::<Vec<_>>())
        };
        let both = vec![(print("sk-new"), Some(print("sk-old")), Some(LATER_MS))];
        // It is new here.
        holders.store(conn, &sealer, 9)?;
        assert_eq!(stored(conn)?, both);
        assert_eq!(holders.preview(conn, &sealer)?.tokens.unwrap().unchanged, 1);
        // It was there before it was rotated.
        delete_token(conn, "tk-1")?;
        insert_token(conn, &token(&sealer, "sk-old"))?;
        assert_eq!(holders.preview(conn, &sealer)?.tokens.unwrap().changed, 1);
        holders.store(conn, &sealer, 10)?;
        assert_eq!(stored(conn)?, both);
        assert_eq!(holders.preview(conn, &sealer)?.tokens.unwrap().unchanged, 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_was_changed_since_is_put_back() {
    let (database, _dir) = test_database();
    let sealer = sealer("correct horse battery");
    let parts = Parts { with_secrets: false, ..ALL };
    database
        .write_blocking(|conn| {
            fill(conn, &sealer);
            let exported = document(conn, &sealer, parts);
            assert!(!json!(exported).to_string().contains("second"), "no secret");
            let (_, mut holders) = exported.split();
            let keys = holders.keys.as_mut().unwrap();
            keys[0].weight = 9;
            keys[1].disabled = None;
            holders.tokens.as_mut().unwrap()[0].terms = json!({"rate_limits": {"requests_per_day": 8}});

            let stored = holders.store(conn, &sealer, 9)?;

            assert_eq!((stored.added.len(), stored.placed[0].1.weight), (0, 9));
            assert_eq!(stored.steered, [(KeyId(2), Steering::Enable)]);
            assert_eq!(load_keys(conn, &sealer)?.keys[1].switches.disabled, None);
            assert!(load_tokens(conn)?[0].terms.contains(r#""requests_per_day":8"#));
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_cannot_be_taken_over_is_refused_with_the_reason() {
    let ((from, _dir), (to, _other)) = (test_database(), test_database());
    let (one, other) = (sealer("correct horse battery"), sealer("quite another passphrase"));
    let exported = from.write_blocking(|conn| {
        fill(conn, &one);
        Ok(document(conn, &one, Parts { with_secrets: false, ..ALL }))
    });
    let (_, holders) = exported.unwrap().split();
    let refusals = |holders: &Holders, sealer: &Sealer| {
        let told = to.write_blocking(|conn| holders.preview(conn, sealer)).unwrap();
        [told.keys.unwrap(), told.tokens.unwrap()].map(|preview| preview.refusal())
    };

    let [keys, tokens] = refusals(&holders, &one);
    let masked = ApiKey::parse("AIzaSy-first-0001").unwrap().masked();
    let expected =
        format!("{masked} is not here, and the document does not hold its secret; and 1 more are refused");
    assert_eq!((keys, tokens), (Some(expected), None));
    let [keys, tokens] = refusals(&holders, &other);
    assert!(keys.unwrap().contains("has no secret, and was exported under another ENCRYPTION_KEY"));
    assert_eq!(tokens.unwrap(), "Research has a hash that was made under another ENCRYPTION_KEY");
    let mut odd = holders.clone();
    odd.keys.as_mut().unwrap().truncate(1);
    odd.keys.as_mut().unwrap()[0].weight = 0;
    odd.tokens.as_mut().unwrap()[0].terms = json!({"rate_limits": {"requests_per_week": 1}});
    let [keys, tokens] = refusals(&odd, &one);
    assert!(keys.unwrap().contains("weight"));
    assert!(tokens.unwrap().contains("requests_per_week"));
}

#[test]
fn tokens_of_a_list_become_ones_of_their_own_elsewhere() {
    let ((from, _dir), (to, _other)) = (test_database(), test_database());
    let sealer = sealer("correct horse battery");
    let auth = auth(&["sk-listed"]);
    let exported = from.write_blocking(|conn| {
        let sync = crate::db::client_tokens::sync_configured_tokens;
        sync(
            conn,
            &sealer,
            &[Secret::new("sk-gone"), Secret::new("sk-listed")],
            Some(&Secret::new("sk-admin")),
            5,
        )?;
        Document::of(conn, Map::new(), &auth, ALL, &sealer)
    });
    let (_, holders) = exported.unwrap().split();
    let ids: Vec<_> = holders.tokens.iter().flatten().map(|token| token.id.as_str()).collect();
    assert_eq!(ids, ["allowed-2"], "neither those that hold no more nor the admin's");

    to.write_blocking(|conn| {
        holders.store(conn, &sealer, 9)?;
        let rows = load_tokens(conn)?;
        assert!(rows[0].id.starts_with("tk-") && rows[0].origin == MADE, "{rows:?}");
        Ok(())
    })
    .unwrap();
}
