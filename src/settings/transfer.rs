//! The whole configuration as a document, from which another gateway is built or this one is restored: settings, keys and
//! client tokens.
//!
//! Reading a document is planned before anything is written, and planning it twice changes nothing the second time. Keys and
//! tokens are recognised by their hashes, which only a gateway with the same encryption key can read; a key that comes with
//! its secret needs none.

mod keys;
mod tokens;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Settings;
use crate::{
    config::{Auth, Config},
    db::{DbConnection, QueryResult, all_or_nothing},
    domain::time::Now,
    secrets::Sealer,
};

pub use keys::{DisabledEntry, KeyEntry, KeysStored};
pub use tokens::TokenEntry;

/// What a document says it is.
pub const FORMAT: &str = "gemini-balance settings";
/// Items of a preview that are told one by one; the counts tell of all.
const TOLD: usize = 1000;

/// The configuration of a gateway, for another one or for a later day.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// `gemini-balance settings`.
    pub format: String,
    /// Of the gateway that wrote it.
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub exported_at_ms: i64,
    /// Names the encryption key that the hashes in it were made with, and tells nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashed_with: Option<String>,
    /// Everything that is set, by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// All API keys; without secrets unless they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<KeyEntry>>,
    /// All client tokens: hashes, never the tokens themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<TokenEntry>>,
}

/// What goes into a document beside the settings.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    pub with_secrets: bool,
    pub with_keys: bool,
    pub with_tokens: bool,
}

/// What would become of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Added,
    Changed,
    Unchanged,
    Refused,
}

/// An item of a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Item {
    /// A masked key, or the name of a token.
    pub name: String,
    pub status: Fate,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What would become of all; those that stay as they are, and of very many the last, are not told one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Preview {
    pub added: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub refused: usize,
    pub items: Vec<Item>,
}

impl Preview {
    fn note(&mut self, name: &str, status: Fate, reason: Option<String>) {
        *match status {
            Fate::Added => &mut self.added,
            Fate::Changed => &mut self.changed,
            Fate::Unchanged => &mut self.unchanged,
            Fate::Refused => &mut self.refused,
        } += 1;
        if status != Fate::Unchanged && self.items.len() < TOLD {
            self.items.push(Item { name: name.to_owned(), status, reason });
        }
    }

    /// Why nothing of it can be taken over: the first of those that are refused.
    pub fn refusal(&self) -> Option<String> {
        let first = self.items.iter().find(|item| item.status == Fate::Refused)?;
        let reason = first.reason.as_deref().unwrap_or_default();
        let more = self.refused - 1;
        let others = if more > 0 { format!("; and {more} more are refused") } else { String::new() };
        Some(format!("{} {reason}{others}", first.name))
    }
}

/// What of a document is no setting.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    hashed_with: Option<String>,
    keys: Option<Vec<KeyEntry>>,
    tokens: Option<Vec<TokenEntry>>,
}

/// What would become of keys and tokens; `None` where the document says nothing of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Previews {
    pub keys: Option<Preview>,
    pub tokens: Option<Preview>,
}

impl Settings {
    /// All of it: what is set, and what the database has.
    pub fn export(&self, conn: &mut DbConnection, parts: Parts) -> QueryResult<Document> {
        Document::of(conn, self.document(parts.with_secrets), &self.config.auth, parts, &self.sealer)
    }

    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

impl Document {
    /// A document of these settings, and of what the database has.
    pub fn of(
        conn: &mut DbConnection,
        settings: Map<String, Value>,
        auth: &Auth,
        parts: Parts,
        sealer: &Sealer,
    ) -> QueryResult<Self> {
        let Parts { with_secrets, with_keys, with_tokens } = parts;
        Ok(Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            exported_at_ms: Now::read().unix_ms(),
            hashed_with: Some(name_of(sealer)),
            settings,
            keys: with_keys.then(|| keys::export(conn, sealer, with_secrets)).transpose()?,
            tokens: with_tokens.then(|| tokens::export(conn, sealer, auth)).transpose()?,
        })
    }

    /// Parts it into settings and what else there is.
    pub fn split(self) -> (Map<String, Value>, Holders) {
        let Self { hashed_with, settings, keys, tokens, .. } = self;
        (settings, Holders { hashed_with, keys, tokens })
    }
}

impl Holders {
    pub fn is_empty(&self) -> bool {
        self.keys.is_none() && self.tokens.is_none()
    }

    /// What would become of them, as things are.
    pub fn preview(&self, conn: &mut DbConnection, sealer: &Sealer) -> QueryResult<Previews> {
        let can_compare = self.can_compare(sealer);
        let keys = self.keys.as_ref().map(|entries| keys::plan(conn, sealer, entries, can_compare));
        let tokens = self.tokens.as_ref().map(|entries| tokens::plan(conn, entries, can_compare));
        Ok(Previews {
            keys: keys.transpose()?.map(|plan| plan.preview),
            tokens: tokens.transpose()?.map(|plan| plan.preview),
        })
    }

    /// Takes all of them over. Whatever is refused by now has no part in it.
    pub fn store(&self, conn: &mut DbConnection, sealer: &Sealer, now_ms: i64) -> QueryResult<KeysStored> {
        let can_compare = self.can_compare(sealer);
        all_or_nothing(conn, |conn| {
            if let Some(entries) = &self.tokens {
                let plan = tokens::plan(conn, entries, can_compare)?;
                tokens::store(conn, plan, now_ms)?;
            }
            match &self.keys {
                Some(entries) => {
                    let plan = keys::plan(conn, sealer, entries, can_compare)?;
                    keys::store(conn, sealer, plan, now_ms)
                }
                None => Ok(KeysStored::default()),
            }
        })
    }

    fn can_compare(&self, sealer: &Sealer) -> bool {
        self.hashed_with.as_ref() == Some(&name_of(sealer))
    }
}

/// The keys and tokens of `API_KEYS`, `ALLOWED_TOKENS` and `AUTH_TOKEN`, as the next start would store them.
pub fn store_configured(
    conn: &mut DbConnection,
    config: &Config,
    sealer: &Sealer,
    now_ms: i64,
) -> QueryResult<()> {
    if let Some(configured) = &config.pool.api_keys {
        crate::db::keys::sync_configured(conn, sealer, configured, now_ms)?;
    }
    let Auth { allowed_tokens, auth_token, .. } = &config.auth;
    let auth_token = auth_token.as_ref();
    crate::db::client_tokens::sync_configured_tokens(conn, sealer, allowed_tokens, auth_token, now_ms)?;
    Ok(())
}

fn name_of(sealer: &Sealer) -> String {
    hex(&sealer.fingerprint("the encryption key of a document")[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    let bytes = pairs.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok());
    bytes.collect()
}

/// A label, a tag or a name that can be shown anywhere.
fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 100 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
