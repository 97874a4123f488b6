//! A request in a list.

use std::{borrow::Cow, collections::HashMap};

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    actors::supervisor::{KeyLabel, MaskKeys},
    api::{error::ApiError, gateway::Gateway},
    db::request_logs::RequestLog,
    domain::key::KeyId,
};

/// A request without its attempts. Keys go by id and mask.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestRow {
    /// The `x-request-id` of the answer.
    pub id: String,
    pub started_at_ms: i64,
    pub duration_ms: i64,
    /// To the first byte of content; `null` when none was sent.
    pub first_byte_ms: Option<i64>,
    #[schema(value_type = String)]
    pub dialect: Cow<'static, str>,
    #[schema(value_type = String)]
    pub endpoint: Cow<'static, str>,
    pub model: String,
    pub stream: bool,
    /// What the client got.
    pub status: i32,
    /// One word for what went wrong; `null` when nothing did.
    #[schema(value_type = Option<String>)]
    pub error: Option<Cow<'static, str>>,
    /// The key that answered; its mask is blank when the key is gone.
    pub key: Option<KeyLabel>,
    /// The client's.
    pub token: Option<TokenLabel>,
    pub client_ip: Option<String>,
    pub node: Option<String>,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub output_tokens: i64,
    pub thoughts_tokens: i64,
    pub attempt_count: i32,
}

/// A client token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenLabel {
    pub id: String,
    pub name: String,
}

impl TokenLabel {
    /// Configured tokens are called by their ids.
    pub fn of(id: &str) -> Self {
        Self { id: id.to_owned(), name: id.to_owned() }
    }
}

impl RequestRow {
    pub fn new(row: &RequestLog, masks: &HashMap<KeyId, String>) -> Self {
        let label = |id: KeyId| KeyLabel { id, masked: masks.get(&id).cloned().unwrap_or_default() };
        Self {
            id: row.id.clone(),
            started_at_ms: row.started_at_ms,
            duration_ms: row.duration_ms,
            first_byte_ms: row.first_byte_ms,
            dialect: row.dialect.clone(),
            endpoint: row.endpoint.clone(),
            model: row.model.clone(),
            stream: row.stream,
            status: row.status,
            error: row.error.clone(),
            key: row.key_id.map(KeyId).map(label),
            token: row.token_id.as_deref().map(TokenLabel::of),
            client_ip: row.client_ip.clone(),
            node: row.node.clone(),
            prompt_tokens: row.prompt_tokens,
            cached_tokens: row.cached_tokens,
            output_tokens: row.output_tokens,
            thoughts_tokens: row.thoughts_tokens,
            attempt_count: row.attempts,
        }
    }
}

/// The masks of the keys that answered these.
pub async fn masks_of(gateway: &Gateway, rows: &[RequestLog]) -> Result<HashMap<KeyId, String>, ApiError> {
    let keys = rows.iter().filter_map(|row| row.key_id.map(KeyId)).collect();
    gateway.supervisor.send(MaskKeys(keys)).await.map_err(|_| ApiError::Internal)
}
