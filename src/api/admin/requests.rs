//! One request of the log, with all that was tried for it.

use std::{borrow::Cow, collections::HashMap};

use actix_web::web::{Data, Json, Path, ServiceConfig, get};
use serde::Serialize;
use tracing::error;

use super::Admin;
use crate::{
    actors::supervisor::MaskKeys,
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    db::request_logs::{RequestLog, find_request_log},
    domain::key::KeyId,
    upstream::trail::{Attempt, NoKey, Step},
};

pub fn routes(config: &mut ServiceConfig) {
    config.service(only::<Admin>("/requests/{id}", "GET").route(get().to(find_request)));
}

/// A request as the admin API and `gemini-balance explain` show it. Keys go by id and mask.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RequestDetail {
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
    /// The key that answered.
    pub key_id: Option<KeyId>,
    /// The name of the client's token.
    pub token_id: Option<String>,
    pub client_ip: Option<String>,
    pub node: Option<String>,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub output_tokens: i64,
    pub thoughts_tokens: i64,
    pub attempts: Vec<AttemptDetail>,
    /// Why there was no key for a further attempt, or for any.
    pub no_keys: Vec<NoKey>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AttemptDetail {
    #[serde(flatten)]
    pub attempt: Attempt,
    /// `null` for a key that is gone, or cannot be opened.
    pub masked: Option<String>,
}

impl RequestDetail {
    /// The keys that were tried.
    fn keys(&self) -> Vec<KeyId> {
        self.attempts.iter().map(|tried| tried.attempt.key_id).collect()
    }

    /// With the masks of those keys that exist.
    pub fn with_masks(mut self, masks: &HashMap<KeyId, String>) -> Self {
        for tried in &mut self.attempts {
            tried.masked = masks.get(&tried.attempt.key_id).cloned();
        }
        self
    }
}

/// A trail that cannot be read shows no attempts.
impl From<RequestLog> for RequestDetail {
    fn from(row: RequestLog) -> Self {
        let steps: Vec<Step> = serde_json::from_str(&row.trail).unwrap_or_default();
        let (mut attempts, mut no_keys) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Attempt(attempt) => attempts.push(AttemptDetail { attempt, masked: None }),
                Step::NoKey { no_key } => no_keys.push(no_key),
            }
        }
        Self {
            id: row.id,
            started_at_ms: row.started_at_ms,
            duration_ms: row.duration_ms,
            first_byte_ms: row.first_byte_ms,
            dialect: row.dialect,
            endpoint: row.endpoint,
            model: row.model,
            stream: row.stream,
            status: row.status,
            error: row.error,
            key_id: row.key_id.map(KeyId),
            token_id: row.token_id,
            client_ip: row.client_ip,
            node: row.node,
            prompt_tokens: row.prompt_tokens,
            cached_tokens: row.cached_tokens,
            output_tokens: row.output_tokens,
            thoughts_tokens: row.thoughts_tokens,
            attempts,
            no_keys,
        }
    }
}

/// One request by its `x-request-id`, with every attempt that was made for it.
#[utoipa::path(
    get, path = "/api/admin/requests/{id}", tag = "requests",
    params(("id" = String, Path, description = "The `x-request-id` of its answer")),
    responses((status = 200, description = "The request", body = RequestDetail)),
)]
pub async fn find_request(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<RequestDetail>, Failure<Admin>> {
    let id = id.into_inner();
    let wanted = request_id(&id);
    let found = gateway.database.read(move |conn| find_request_log(conn, &wanted)).await;
    let row = found.map_err(|failure| {
        error!(error = %failure, "the request log cannot be read");
        ApiError::Internal
    })?;
    let detail = RequestDetail::from(row.ok_or(ApiError::UnknownRequest { id })?);
    let masks = gateway.supervisor.send(MaskKeys(detail.keys())).await.map_err(|_| ApiError::Internal)?;
    Ok(Json(detail.with_masks(&masks)))
}

/// An id as the log has it; people copy it with the dashes of a UUID, or in capitals.
pub fn request_id(text: &str) -> String {
    text.trim().replace('-', "").to_ascii_lowercase()
}
