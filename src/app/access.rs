//! Who may come in, as the configuration says.

use std::{io, sync::Arc};

use tracing::{info, warn};

use super::StartError;
use crate::{
    actors::{cluster::News, tokens::TokenStore},
    api::{
        admin::{
            events::Listeners,
            idempotency::Replies,
            jobs::Jobs,
            session::{AdminTokens, Attempts, Sessions},
        },
        gateway::AdminDoor,
        health::NO_TOKENS,
    },
    config::{Auth, Storage},
    db::{
        Database, DbError,
        client_tokens::{load_tokens, sync_configured_tokens},
    },
    domain::time::Now,
    secrets::{Sealer, TokenSet, load_or_create_admin_token},
};

/// How the administrator gets in.
pub fn admin_door(auth: &Auth, storage: &Storage, sealer: &Sealer) -> Result<AdminDoor, StartError> {
    Ok(AdminDoor {
        tokens: AdminTokens::new(admin_tokens(auth, storage, sealer).map_err(StartError::Secrets)?),
        sessions: Sessions::new(auth.session_expire),
        attempts: Attempts::default(),
        jobs: Jobs::default(),
        replies: Replies::default(),
        key_edits: tokio::sync::Mutex::default(),
        listeners: Listeners::default(),
        started_at_ms: Now::read().unix_ms(),
    })
}

/// The administrator's token: the one that is set, else the one that is kept in the data folder.
pub fn admin_tokens(auth: &Auth, storage: &Storage, sealer: &Sealer) -> io::Result<TokenSet> {
    let token = match auth.auth_token.clone() {
        Some(token) => token,
        None => {
            let kept = load_or_create_admin_token(&storage.data_dir)?;
            if kept.is_new {
                info!("AUTH_TOKEN is not set, so an admin token was made; it is in {}", kept.path.display());
            }
            kept.value
        }
    };
    Ok(TokenSet::new(sealer, [token]))
}

/// Who may use the gateway: those of the configuration, and those that were made. A set admin token opens the client API
/// as well, as users of gemini-balance expect.
/// With `news`, other nodes hear of their use.
pub fn client_tokens(
    auth: &Auth,
    sealer: &Sealer,
    database: &Database,
    news: Option<Arc<News>>,
) -> Result<TokenStore, DbError> {
    let now = Now::read();
    let (configured, rows) = database.write_blocking(|conn| {
        let (allowed, auth) = (&auth.allowed_tokens, auth.auth_token.as_ref());
        let configured = sync_configured_tokens(conn, sealer, allowed, auth, now.unix_ms())?;
        Ok((configured, load_tokens(conn)?))
    })?;
    let store = TokenStore::new(database.clone(), rows, configured, news, now);
    if store.table().holders().is_empty() {
        warn!("{NO_TOKENS}");
    }
    Ok(store)
}
