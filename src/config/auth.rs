//! Who may come in.

use super::reader::Reader;
use crate::secrets::Secret;

/// The tokens of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// The administrator's; `None`: one is made and kept in the data folder.
    pub auth_token: Option<Secret>,
    /// The clients'; without blanks, each once.
    pub allowed_tokens: Vec<Secret>,
}

impl Auth {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut allowed_tokens: Vec<Secret> = Vec::new();
        for token in
            reader.list("ALLOWED_TOKENS", r#"["sk-a-long-random-text"]"#).into_iter().map(Secret::new)
        {
            if !allowed_tokens.contains(&token) {
                allowed_tokens.push(token);
            }
        }
        Self { auth_token: reader.optional_secret("AUTH_TOKEN"), allowed_tokens }
    }
}
