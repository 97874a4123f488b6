//! Client tokens of a document.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Fate, Preview, from_hex, hex, is_text};
use crate::{
    config::Auth,
    db::{
        DbConnection, QueryResult,
        client_tokens::{CONFIGURED, MADE, StoredToken, insert_token, load_tokens, update_token},
    },
    domain::{terms::Terms, time::Now},
    secrets::Sealer,
};

const LONGEST_NOTE: usize = 2000;

/// A client token with its limits. What it may do it may do wherever its hash is known; the token itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenEntry {
    #[serde(default)]
    pub id: String,
    pub name: String,
    /// Its first letters.
    #[serde(default)]
    pub prefix: String,
    /// By which a gateway with the same encryption key recognises it.
    pub hash: String,
    /// Of the token that it has replaced and that is good for a while longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ReplacedToken>,
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    #[serde(default)]
    pub note: String,
    /// Limits, models, networks and tiers.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub terms: Value,
}

/// A token that was rotated, in its time of grace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplacedToken {
    pub hash: String,
    pub valid_until_ms: i64,
}

fn yes() -> bool {
    true
}

/// The print of a replaced token, and until when it is good.
type Grace = (Vec<u8>, i64);

/// An entry in words that are known to fit.
struct Read {
    print: Vec<u8>,
    grace: Option<Grace>,
    terms: Terms,
}

/// What is to be written.
pub(super) struct Plan {
    pub preview: Preview,
    added: Vec<StoredToken>,
    changed: Vec<StoredToken>,
}

/// All that may come in; the admin token goes with the settings.
pub(super) fn export(conn: &mut DbConnection, sealer: &Sealer, auth: &Auth) -> QueryResult<Vec<TokenEntry>> {
    let print = |token: &crate::secrets::Secret| sealer.token_fingerprint(token.expose()).to_vec();
    let allowed: HashSet<Vec<u8>> = auth.allowed_tokens.iter().map(print).collect();
    let holds = |row: &StoredToken| row.origin != CONFIGURED || allowed.contains(&row.fingerprint);
    let now_ms = Now::read().unix_ms();
    let entry = |row: StoredToken| TokenEntry {
        hash: hex(&row.fingerprint),
        replaces: still_good(&row, now_ms)
            .map(|(print, valid_until_ms)| ReplacedToken { hash: hex(&print), valid_until_ms }),
        id: row.id,
        name: row.name,
        prefix: row.prefix,
        enabled: row.enabled,
        expires_at_ms: row.expires_at_ms,
        note: row.note,
        terms: serde_json::from_str(&row.terms).unwrap_or_default(),
    };
    Ok(load_tokens(conn)?.into_iter().filter(holds).map(entry).collect())
}

pub(super) fn plan(conn: &mut DbConnection, entries: &[TokenEntry], can_compare: bool) -> QueryResult<Plan> {
    let (rows, now_ms) = (load_tokens(conn)?, Now::read().unix_ms());
    let mut ids: HashSet<String> = rows.iter().map(|row| row.id.clone()).collect();
    let mut present: HashMap<Vec<u8>, StoredToken> =
        rows.into_iter().map(|row| (row.fingerprint.clone(), row)).collect();
    let mut plan = Plan { preview: Preview::default(), added: Vec::new(), changed: Vec::new() };
    let mut seen = HashSet::new();
    for entry in entries {
        let read = entry.read(can_compare, now_ms).and_then(|read| {
            let is_first = seen.insert(read.print.clone());
            is_first.then_some(read).ok_or_else(|| "stands there twice".to_owned())
        });
        let Read { print, grace, terms } = match read {
            Ok(read) => read,
            Err(reason) => {
                plan.preview.note(&entry.name, Fate::Refused, Some(reason));
                continue;
            }
        };
        // A token that was rotated elsewhere is known here as the one that it has replaced.
        let known = present.remove(&print);
        let known = known.or_else(|| grace.as_ref().and_then(|(replaced, _)| present.remove(replaced)));
        let row = |row: StoredToken| {
            let mut row = entry.row(StoredToken { fingerprint: print.clone(), ..row }, &terms);
            if let Some((replaced, until_ms)) = &grace {
                (row.old_fingerprint, row.old_valid_until_ms) = (Some(replaced.clone()), Some(*until_ms));
            }
            row
        };
        match known {
            Some(known)
                if known.fingerprint == print
                    && (grace.is_none() || still_good(&known, now_ms) == grace)
                    && entry.holds(&known, &terms) =>
            {
                plan.preview.note(&entry.name, Fate::Unchanged, None);
            }
            Some(known) => {
                plan.preview.note(&entry.name, Fate::Changed, None);
                plan.changed.push(row(known));
            }
            None => {
                plan.preview.note(&entry.name, Fate::Added, None);
                let id = Some(&entry.id).filter(|id| id.starts_with("tk-") && ids.insert((*id).clone()));
                let id = id.cloned().unwrap_or_else(new_id);
                plan.added.push(row(new_row(id, &entry.prefix)));
            }
        }
    }
    Ok(plan)
}

pub(super) fn store(conn: &mut DbConnection, plan: Plan, now_ms: i64) -> QueryResult<()> {
    for row in plan.changed {
        update_token(conn, &row)?;
    }
    for row in plan.added {
        insert_token(conn, &StoredToken { created_at_ms: now_ms, ..row })?;
    }
    Ok(())
}

impl TokenEntry {
    /// What is written of it, or why it cannot be taken over.
    fn read(&self, can_compare: bool, now_ms: i64) -> Result<Read, String> {
        if !can_compare {
            return Err("has a hash that was made under another ENCRYPTION_KEY".to_owned());
        }
        let print = |hash: &str| {
            let print = from_hex(hash).filter(|print| print.len() == 32);
            print.ok_or_else(|| "has no hash that can be read".to_owned())
        };
        let replaces = self.replaces.as_ref().filter(|replaced| replaced.valid_until_ms > now_ms);
        let grace =
            replaces.map(|replaced| Ok::<_, String>((print(&replaced.hash)?, replaced.valid_until_ms)));
        let (print, grace) = (print(&self.hash)?, grace.transpose()?);
        if !is_text(&self.name) || self.note.chars().count() > LONGEST_NOTE {
            return Err("has a name or a note that is blank, too long or not printable".to_owned());
        }
        let terms = if self.terms.is_null() { Ok(Terms::default()) } else { Terms::deserialize(&self.terms) };
        let terms = terms.map_err(|problem| format!("has terms that cannot be read: {problem}"))?;
        Ok(Read { print, grace, terms })
    }

    fn holds(&self, row: &StoredToken, terms: &Terms) -> bool {
        self.name == row.name
            && self.enabled == row.enabled
            && self.expires_at_ms == row.expires_at_ms
            && self.note == row.note
            && serde_json::from_str::<Terms>(&row.terms).is_ok_and(|known| known == *terms)
    }

    fn row(&self, row: StoredToken, terms: &Terms) -> StoredToken {
        StoredToken {
            name: self.name.clone(),
            enabled: self.enabled,
            expires_at_ms: self.expires_at_ms,
            note: self.note.clone(),
            terms: serde_json::to_string(terms).expect("terms are plain JSON"),
            ..row
        }
    }
}

fn new_id() -> String {
    format!("tk-{}", &Uuid::new_v4().simple().to_string()[..16])
}

/// The print of the token that this one has replaced, and until when it is good, if it still is.
fn still_good(row: &StoredToken, now_ms: i64) -> Option<Grace> {
    let until_ms = row.old_valid_until_ms.filter(|until_ms| *until_ms > now_ms)?;
    Some((row.old_fingerprint.clone()?, until_ms))
}

fn new_row(id: String, prefix: &str) -> StoredToken {
    StoredToken {
        id,
        name: String::new(),
        fingerprint: Vec::new(),
        prefix: prefix.chars().filter(|c| !c.is_control()).take(20).collect(),
        origin: MADE.to_owned(),
        enabled: true,
        created_at_ms: 0,
        expires_at_ms: None,
        last_used_at_ms: None,
        old_fingerprint: None,
        old_valid_until_ms: None,
        terms: String::new(),
        note: String::new(),
        usage: None,
    }
}
