//! Who may come in, as the configuration says.

use tracing::{info, warn};

use super::StartError;
use crate::{
    actors::registrar::ClientMarks,
    api::{
        admin::{
            jobs::Jobs,
            session::{Attempts, Sessions},
        },
        gateway::AdminDoor,
        health::NO_TOKENS,
    },
    config::{Auth, Storage},
    domain::client::TokenId,
    secrets::{Sealer, TokenSet, load_or_create_admin_token, named_tokens},
};

/// The administrators' way in: by the token that is set, else by the one that is kept in the data folder.
pub fn admin_door(auth: &Auth, storage: &Storage) -> Result<AdminDoor, StartError> {
    Ok(AdminDoor {
        tokens: admin_tokens(auth, storage)?,
        sessions: Sessions::new(auth.session_expire),
        attempts: Attempts::default(),
        jobs: Jobs::default(),
    })
}

fn admin_tokens(auth: &Auth, storage: &Storage) -> Result<TokenSet, StartError> {
    let token = match auth.auth_token.clone() {
        Some(token) => token,
        None => {
            let kept = load_or_create_admin_token(&storage.data_dir).map_err(StartError::Secrets)?;
            if kept.is_new {
                info!("AUTH_TOKEN is not set, so an admin token was made; it is in {}", kept.path.display());
            }
            kept.value
        }
    };
    Ok(TokenSet::new([(TokenId::new("auth"), token)]))
}

/// Who may use the gateway. A set admin token opens the client API as well, as users of gemini-balance expect.
pub fn client_tokens(auth: &Auth) -> TokenSet {
    let tokens = TokenSet::configured(&auth.allowed_tokens, auth.auth_token.as_ref());
    if tokens.is_empty() {
        warn!("{NO_TOKENS}");
    }
    tokens
}

pub fn client_marks(auth: &Auth, sealer: &Sealer) -> ClientMarks {
    let tokens = named_tokens(&auth.allowed_tokens, auth.auth_token.as_ref());
    let hex = |mark: [u8; 32]| mark[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    ClientMarks::new(tokens.map(|(client, token)| (client, hex(sealer.fingerprint(token.expose())))))
}
