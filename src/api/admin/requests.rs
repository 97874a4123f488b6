//! The request log: pages of it, one request with all that was tried for it, a table of it, and deletion.

pub mod delete;
pub mod export;
pub mod filter;
pub mod list;
pub mod row;

use std::collections::HashMap;

use actix_web::web::{Data, Json, Path, ServiceConfig, delete as del, get};
use serde::Serialize;
use utoipa::ToSchema;

use self::row::RequestRow;
use super::{Admin, stats::read_figures};
use crate::{
    actors::supervisor::MaskKeys,
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    db::{
        error_logs::{ErrorFilter, ErrorLog, search_error_logs},
        request_logs::{RequestLog, find_request_log},
    },
    domain::key::KeyId,
    upstream::trail::{Attempt, NoKey, Step},
};

/// Failed attempts of one request that are shown.
const MESSAGES: u32 = 100;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            only::<Admin>("/requests", "GET, DELETE")
                .route(get().to(list::list_requests))
                .route(del().to(delete::delete_requests)),
        )
        .service(only::<Admin>("/requests/export", "GET").route(get().to(export::export_requests)))
        .service(only::<Admin>("/requests/{id}", "GET").route(get().to(find_request)));
}

/// A request as the admin API and `gemini-balance explain` show it. Keys go by id and mask.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestDetail {
    #[serde(flatten)]
    pub row: RequestRow,
    pub attempts: Vec<AttemptDetail>,
    /// Why there was no key for a further attempt, or for any.
    pub no_keys: Vec<NoKey>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptDetail {
    #[serde(flatten)]
    pub attempt: Attempt,
    /// `null` for a key that is gone, or cannot be opened.
    pub masked: Option<String>,
    /// What Google said to it; `null` where it did not fail, or that is no longer known.
    pub message: Option<String>,
}

impl RequestDetail {
    /// A trail that cannot be read shows no attempts. `errors` are those of this request, in any order.
    pub fn new(row: &RequestLog, errors: &[ErrorLog]) -> Self {
        let steps: Vec<Step> = serde_json::from_str(&row.trail).unwrap_or_default();
        let mut messages: Vec<&ErrorLog> = errors.iter().collect();
        messages.sort_unstable_by_key(|error| error.id);
        let (mut attempts, mut no_keys) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Attempt(attempt) => {
                    let message = take_message(&mut messages, &attempt);
                    attempts.push(AttemptDetail { attempt, masked: None, message });
                }
                Step::NoKey { no_key } => no_keys.push(no_key),
            }
        }
        Self { row: RequestRow::new(row, &HashMap::new()), attempts, no_keys }
    }

    /// Every key that is named.
    fn keys(&self) -> Vec<KeyId> {
        let tried = self.attempts.iter().map(|tried| tried.attempt.key_id);
        tried.chain(self.row.key.iter().map(|key| key.id)).collect()
    }

    /// With the masks of those keys that exist.
    pub fn with_masks(mut self, masks: &HashMap<KeyId, String>) -> Self {
        for tried in &mut self.attempts {
            tried.masked = masks.get(&tried.attempt.key_id).cloned();
        }
        if let Some(key) = &mut self.row.key {
            key.masked = masks.get(&key.id).cloned().unwrap_or_default();
        }
        self
    }
}

/// Both are in the order in which they were made.
fn take_message(messages: &mut Vec<&ErrorLog>, attempt: &Attempt) -> Option<String> {
    let is_its = |error: &&ErrorLog| error.key_id == Some(attempt.key_id.0) && error.kind == attempt.outcome;
    let place = messages.iter().position(is_its)?;
    Some(messages.remove(place).message.clone()).filter(|message| !message.is_empty())
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
    let found = read_figures(&gateway, move |conn| find_detail(conn, &wanted)).await?;
    let detail = found.ok_or(ApiError::UnknownRequest { id })?;
    let masks = gateway.supervisor.send(MaskKeys(detail.keys())).await.map_err(|_| ApiError::Internal)?;
    Ok(Json(detail.with_masks(&masks)))
}

/// All that both logs know of a request; keys have no masks yet.
pub fn find_detail(
    conn: &mut crate::db::DbConnection,
    id: &str,
) -> diesel::QueryResult<Option<RequestDetail>> {
    let Some(row) = find_request_log(conn, id)? else { return Ok(None) };
    let filter = ErrorFilter { request_id: Some(id.to_owned()), ..ErrorFilter::default() };
    let errors = search_error_logs(conn, &filter, None, MESSAGES)?.rows;
    Ok(Some(RequestDetail::new(&row, &errors)))
}

/// An id as the log has it; people copy it with the dashes of a UUID, or in capitals.
pub fn request_id(text: &str) -> String {
    text.trim().replace('-', "").to_ascii_lowercase()
}
