//! Client tokens at rest: hashes with names and terms, and what was used of their limits.

use std::collections::HashSet;

use diesel::prelude::*;

use super::{
    DbConnection, all_or_nothing, counters,
    schema::{client_tokens, resources, responses},
};
use crate::{
    domain::client::TokenId,
    secrets::{Sealer, Secret, shown_prefix},
};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = client_tokens, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct StoredToken {
    pub id: String,
    pub name: String,
    pub fingerprint: Vec<u8>,
    pub prefix: String,
    pub origin: String,
    pub enabled: bool,
    pub created_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub last_used_at_ms: Option<i64>,
    pub old_fingerprint: Option<Vec<u8>>,
    pub old_valid_until_ms: Option<i64>,
    /// JSON, opaque here.
    pub terms: String,
    pub note: String,
    /// JSON of the last checkpoint; opaque here.
    pub usage: Option<String>,
}

/// `origin` of tokens that come from the configuration and leave with it.
pub const CONFIGURED: &str = "config";
/// `origin` of tokens that were made in the dashboard or on the command line.
pub const MADE: &str = "admin";
/// Counts the changes that other processes have made.
const CHANGES: &str = "client_token_changes";
/// `AUTH_TOKEN`, whatever it is at the moment.
const AUTH: &str = "auth";

/// What is to be kept of a token's use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUsage {
    pub id: String,
    pub last_used_at_ms: Option<i64>,
    /// JSON; `None` leaves what is stored.
    pub usage: Option<String>,
}

/// All tokens, the oldest first.
pub fn load_tokens(conn: &mut DbConnection) -> QueryResult<Vec<StoredToken>> {
    client_tokens::table.order((client_tokens::created_at_ms, client_tokens::id)).load(conn)
}

/// Fails if the token or its id exists.
pub fn insert_token(conn: &mut DbConnection, token: &StoredToken) -> QueryResult<()> {
    diesel::insert_into(client_tokens::table).values(token).execute(conn)?;
    Ok(())
}

/// Stores everything of a token but its use. Answers whether there is one.
pub fn update_token(conn: &mut DbConnection, token: &StoredToken) -> QueryResult<bool> {
    use client_tokens::dsl;
    let updated = diesel::update(client_tokens::table.find(&token.id))
        .set((
            dsl::name.eq(&token.name),
            dsl::fingerprint.eq(&token.fingerprint),
            dsl::prefix.eq(&token.prefix),
            dsl::enabled.eq(token.enabled),
            dsl::expires_at_ms.eq(token.expires_at_ms),
            dsl::old_fingerprint.eq(&token.old_fingerprint),
            dsl::old_valid_until_ms.eq(token.old_valid_until_ms),
            dsl::terms.eq(&token.terms),
            dsl::note.eq(&token.note),
        ))
        .execute(conn)?;
    Ok(updated > 0)
}

/// Answers whether there was one.
pub fn delete_token(conn: &mut DbConnection, id: &str) -> QueryResult<bool> {
    Ok(diesel::delete(client_tokens::table.find(id)).execute(conn)? > 0)
}

/// Tells a gateway that runs over the same database that another process has changed a token.
pub fn note_change(conn: &mut DbConnection) -> QueryResult<()> {
    all_or_nothing(conn, |conn| counters::reserve(conn, CHANGES, 1).map(|_| ()))
}

/// How often other processes have changed a token.
pub fn count_changes(conn: &mut DbConnection) -> QueryResult<i64> {
    counters::count(conn, CHANGES)
}

/// Stores checkpoints, all or none; tokens that are gone meanwhile are passed over.
pub fn save_usage(conn: &mut DbConnection, used: &[TokenUsage]) -> QueryResult<()> {
    conn.immediate_transaction(|conn| {
        for TokenUsage { id, last_used_at_ms, usage } in used {
            let row = client_tokens::table.find(id);
            diesel::update(row).set(client_tokens::last_used_at_ms.eq(last_used_at_ms)).execute(conn)?;
            if let Some(usage) = usage {
                diesel::update(row).set(client_tokens::usage.eq(usage)).execute(conn)?;
            }
        }
        Ok(())
    })
}

/// Brings the table up to the configuration, and answers the ids of the tokens in it.
///
/// A token of `ALLOWED_TOKENS` keeps its id (`allowed-1`, `allowed-2`, …) for good, wherever it stands in the list, so
/// that nobody inherits what another token had. `AUTH_TOKEN` is `auth`, even when it has changed. Of two equal tokens
/// the first keeps its name.
pub fn sync_configured_tokens(
    conn: &mut DbConnection,
    sealer: &Sealer,
    allowed: &[Secret],
    auth: Option<&Secret>,
    now_ms: i64,
) -> QueryResult<HashSet<TokenId>> {
    let auth = auth.filter(|auth| !allowed.contains(auth));
    all_or_nothing(conn, |conn| {
        let mut ids = HashSet::new();
        if let Some(auth) = auth {
            ids.insert(match find_id(conn, sealer, auth)? {
                Some(id) => id,
                None => replace_auth(conn, sealer, auth, now_ms)?,
            });
        }
        for token in allowed {
            ids.insert(match find_id(conn, sealer, token)? {
                // It was `AUTH_TOKEN` once and is somebody else's now.
                Some(id) if id == AUTH => {
                    diesel::delete(client_tokens::table.find(AUTH)).execute(conn)?;
                    add_allowed(conn, sealer, token, now_ms)?
                }
                Some(id) => id,
                None => add_allowed(conn, sealer, token, now_ms)?,
            });
        }
        Ok(ids.into_iter().map(TokenId::new).collect())
    })
}

fn find_id(conn: &mut DbConnection, sealer: &Sealer, token: &Secret) -> QueryResult<Option<String>> {
    let print = sealer.token_fingerprint(token.expose());
    let found = client_tokens::table.filter(client_tokens::fingerprint.eq(&print[..]));
    found.select(client_tokens::id).first(conn).optional()
}

fn replace_auth(
    conn: &mut DbConnection,
    sealer: &Sealer,
    token: &Secret,
    now_ms: i64,
) -> QueryResult<String> {
    let print = sealer.token_fingerprint(token.expose());
    let changed = diesel::update(client_tokens::table.find(AUTH))
        .set((
            client_tokens::fingerprint.eq(&print[..]),
            client_tokens::prefix.eq(shown_prefix(token.expose())),
        ))
        .execute(conn)?;
    if changed == 0 {
        insert_token(conn, &configured(AUTH.to_owned(), "AUTH_TOKEN", sealer, token, now_ms))?;
    }
    take_over(conn, sealer, token, AUTH)?;
    Ok(AUTH.to_owned())
}

fn add_allowed(conn: &mut DbConnection, sealer: &Sealer, token: &Secret, now_ms: i64) -> QueryResult<String> {
    let id = format!("allowed-{}", counters::reserve(conn, "allowed_tokens", 1)?);
    insert_token(conn, &configured(id.clone(), &id, sealer, token, now_ms))?;
    take_over(conn, sealer, token, &id)?;
    Ok(id)
}

fn configured(id: String, name: &str, sealer: &Sealer, token: &Secret, now_ms: i64) -> StoredToken {
    StoredToken {
        id,
        name: name.to_owned(),
        fingerprint: sealer.token_fingerprint(token.expose()).to_vec(),
        prefix: shown_prefix(token.expose()),
        origin: CONFIGURED.to_owned(),
        enabled: true,
        created_at_ms: now_ms,
        expires_at_ms: None,
        last_used_at_ms: None,
        old_fingerprint: None,
        old_valid_until_ms: None,
        terms: "{}".to_owned(),
        note: String::new(),
        usage: None,
    }
}

/// What older versions wrote down under a fingerprint of the token belongs to its id from now on.
fn take_over(conn: &mut DbConnection, sealer: &Sealer, token: &Secret, id: &str) -> QueryResult<()> {
    let half = |print: [u8; 32]| print[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (of_resources, of_responses) =
        (half(sealer.fingerprint(token.expose())), half(sealer.token_fingerprint(token.expose())));
    diesel::update(resources::table.filter(resources::client.eq(of_resources)))
        .set(resources::client.eq(id))
        .execute(conn)?;
    diesel::update(responses::table.filter(responses::owner.eq(of_responses)))
        .set(responses::owner.eq(id))
        .execute(conn)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{resources::StoredResource, test_database},
        secrets::EncryptionKey,
    };

    fn sealer() -> Sealer {
        Sealer::new(&EncryptionKey::parse("correct horse battery").unwrap())
    }

    fn sync(conn: &mut DbConnection, allowed: &[&str], auth: Option<&str>) -> Vec<String> {
        let allowed: Vec<_> = allowed.iter().map(|token| Secret::new(*token)).collect();
        let ids =
            sync_configured_tokens(conn, &sealer(), &allowed, auth.map(Secret::new).as_ref(), 5).unwrap();
        let mut ids: Vec<_> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn a_configured_token_keeps_its_id_wherever_it_stands() {
        let (database, _dir) = test_database();
        database
            .write_blocking(|conn| {
                assert_eq!(sync(conn, &["a", "b"], Some("c")), ["allowed-1", "allowed-2", "auth"]);
                assert_eq!(sync(conn, &["b"], Some("c")), ["allowed-2", "auth"]);
                assert_eq!(sync(conn, &["d", "b", "a"], None), ["allowed-1", "allowed-2", "allowed-3"]);
                assert_eq!(load_tokens(conn)?.len(), 4);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_admin_token_is_auth_and_never_passes_its_name_on() {
        let (database, _dir) = test_database();
        database
            .write_blocking(|conn| {
                assert_eq!(sync(conn, &["a"], Some("a")), ["allowed-1"], "the first keeps its name");
                assert_eq!(sync(conn, &["a"], Some("x")), ["allowed-1", "auth"]);
                assert_eq!(sync(conn, &["a"], Some("y")), ["allowed-1", "auth"]);
                assert_eq!(sync(conn, &["y"], None), ["allowed-2"], "it is a client's now");
                assert_eq!(sync(conn, &[], Some("a")), ["allowed-1"]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_older_versions_knew_by_fingerprints_goes_on_by_id() {
        let (database, _dir) = test_database();
        let mark = sealer().fingerprint("a")[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let row = StoredResource { name: "files/x".into(), key_id: 1, client: mark, expires_at_ms: 99 };
        database
            .write_blocking(|conn| {
                super::super::resources::save_resources(conn, &[row], &[])?;
                sync(conn, &["a"], None);
                assert_eq!(super::super::resources::load_resources(conn, 1)?[0].client, "allowed-1");
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn tokens_are_changed_used_and_deleted() {
        let (database, _dir) = test_database();
        database
            .write_blocking(|conn| {
                let mut token = configured("tk".into(), "name", &sealer(), &Secret::new("sk-x"), 7);
                insert_token(conn, &token)?;
                assert!(insert_token(conn, &StoredToken { id: "other".into(), ..token.clone() }).is_err());
                token.note = "a note".into();
                assert!(update_token(conn, &token)?);
                let used = TokenUsage { id: "tk".into(), last_used_at_ms: Some(9), usage: Some("{}".into()) };
                save_usage(
                    conn,
                    &[used, TokenUsage { id: "gone".into(), last_used_at_ms: None, usage: None }],
                )?;

                let stored = load_tokens(conn)?;
                assert_eq!((&*stored[0].note, stored[0].last_used_at_ms), ("a note", Some(9)));
                assert_eq!(stored[0].usage.as_deref(), Some("{}"));
                assert!(delete_token(conn, "tk")? && !delete_token(conn, "tk")?);
                Ok(())
            })
            .unwrap();
    }
}
