//! What has happened to keys: to one, and lately to all.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde::{Deserialize, Serialize};
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use super::look_up;
use crate::{
    actors::directory::LookUpAll,
    api::{
        admin::{
            Admin, List,
            error::AdminError,
            etag::Version,
            list::{Cursor, Limit},
            parameters::Parameters,
        },
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::key_events::{KeyEventFilter, StoredKeyEvent, count_key_events, list_key_events},
    domain::{
        key::KeyId,
        key_event::{KeyEventBy, KeyEventKind, StateName},
        model::ModelName,
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Separated by commas; all, unless they are said.
    #[serde(default)]
    #[param(style = Form, explode = false)]
    kind: Vec<KeyEventKind>,
    /// Where the page begins, as the page before told.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Events of a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Limit,
}

/// Something that has happened to a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyEventView {
    pub id: i64,
    pub key_id: KeyId,
    /// `null` for a key that is gone.
    pub masked: Option<String>,
    pub label: Option<String>,
    /// When it happened first.
    pub at_ms: i64,
    /// The same happened so often within an hour, and so lately.
    pub times: i64,
    pub last_at_ms: i64,
    pub kind: KeyEventKind,
    pub from: Option<StateName>,
    pub to: Option<StateName>,
    /// Why the key was so from then on, in the words of `KeyView`.
    pub reason: Option<String>,
    /// What brought it about: the outcome of an attempt, `verify` or `storm`.
    pub cause: Option<String>,
    pub model: Option<ModelName>,
    /// When it was to end by itself.
    pub until_ms: Option<i64>,
    pub by: KeyEventBy,
}

/// What has happened to a key, newest first. It outlives the key, as long as `KEY_HISTORY_DAYS` says.
#[utoipa::path(
    get, path = "/api/admin/keys/{id}/events", tag = "keys",
    params(("id" = i64, Path, description = "Its id"), HistoryQuery),
    responses((status = 200, description = "A page of events", body = List<KeyEventView>)),
)]
pub async fn list_events_of_key(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    id: Path<String>,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<HttpResponse, Failure<Admin>> {
    let unknown = || ApiError::Admin(AdminError::not_found("key", id.as_str()));
    let key = KeyId(id.parse().map_err(|_| unknown())?);
    let page = read(&gateway, Some(key), query).await?;
    if page.total == 0 {
        look_up(&gateway, &id).await?;
    }
    Ok(Version::of_whole(&page).respond(&request, &page))
}

/// What has happened to keys lately, newest first.
#[utoipa::path(
    get, path = "/api/admin/keys/events", tag = "keys", params(HistoryQuery),
    responses((status = 200, description = "A page of events", body = List<KeyEventView>)),
)]
pub async fn list_events(
    _: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<HttpResponse, Failure<Admin>> {
    let page = read(&gateway, None, query).await?;
    Ok(Version::of_whole(&page).respond(&request, &page))
}

async fn read(
    gateway: &Gateway,
    key: Option<KeyId>,
    query: HistoryQuery,
) -> Result<List<KeyEventView>, ApiError> {
    let before: Option<i64> = query.cursor.map(|cursor| cursor.place()).transpose()?;
    let (filter, limit) = (KeyEventFilter { key, kinds: query.kind }, query.limit.0);
    let read = gateway.database.read(move |conn| {
        Ok((list_key_events(conn, &filter, before, limit + 1)?, count_key_events(conn, &filter)?))
    });
    let (mut found, total) = read.await.map_err(|failure| {
        error!(error = %failure, "the history of keys cannot be read");
        ApiError::Internal
    })?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| has_more);
    let next_cursor = last.map(|stored| Cursor::text(&stored.id));
    Ok(List { items: named(gateway, found).await?, next_cursor, total })
}

/// With the names that the keys have now.
async fn named(gateway: &Gateway, found: Vec<StoredKeyEvent>) -> Result<Vec<KeyEventView>, ApiError> {
    let keys = found.iter().map(|stored| stored.event.key).collect();
    let rows = gateway.directory.send(LookUpAll(keys)).await.map_err(|_| ApiError::Internal)?;
    let view = |StoredKeyEvent { id, event, times, last_at_ms }| KeyEventView {
        id,
        key_id: event.key,
        masked: rows.get(&event.key).map(|row| row.masked()),
        label: rows.get(&event.key).and_then(|row| row.about.label.clone()),
        at_ms: event.at_ms,
        times,
        last_at_ms,
        kind: event.kind,
        from: event.from,
        to: event.to,
        reason: event.reason,
        cause: event.cause,
        model: event.model,
        until_ms: event.until_ms,
        by: event.by,
    };
    Ok(found.into_iter().map(view).collect())
}
