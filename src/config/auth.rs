//! Who may come in.

use std::time::Duration;

use super::reader::Reader;
use crate::secrets::{Secret, is_example_token};

/// The tokens of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// The administrator's, never a well-known example; `None`: one is made and kept in the data folder.
    pub auth_token: Option<Secret>,
    /// The clients'; without blanks, each once.
    pub allowed_tokens: Vec<Secret>,
    /// An admin's session ends after this long without a request.
    pub session_expire: Duration,
}

impl Auth {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut allowed_tokens: Vec<Secret> = Vec::new();
        for token in reader.list("ALLOWED_TOKENS").into_iter().map(Secret::new) {
            if !allowed_tokens.contains(&token) {
                allowed_tokens.push(token);
            }
        }
        if allowed_tokens.iter().any(|token| is_example_token(token.expose())) {
            reader.notice(
                "ALLOWED_TOKENS holds a well-known example, so anybody could use this gateway; \
                 replace it by a random text",
            );
        }
        let auth_token = reader.optional_secret("AUTH_TOKEN");
        let session_expire = reader.seconds("ADMIN_SESSION_EXPIRE");
        let Some(example) = auth_token.as_ref().filter(|token| is_example_token(token.expose())) else {
            return Self { auth_token, allowed_tokens, session_expire };
        };
        reader.notice(
            "AUTH_TOKEN is a well-known example and not taken as the admin token, one is made instead; \
             set it to a random text, or leave it out",
        );
        // Clients that use it, as they could with gemini-balance, go on working.
        if !allowed_tokens.contains(example) {
            allowed_tokens.push(example.clone());
        }
        Self { auth_token: None, allowed_tokens, session_expire }
    }
}
