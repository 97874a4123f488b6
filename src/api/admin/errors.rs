//! Failed attempts: pages of the error log, what they have in common, one with the request that it happened to, and
//! deletion.

pub mod groups;

use std::collections::HashMap;

use actix_web::web::{Data, Json, Path, ServiceConfig, delete, get};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    error::AdminError,
    list::{Cursor, Limit},
    parameters::Parameters,
    requests::delete::{Deleted, STEP, delete_for_a_while, require_some},
    stats::read_figures,
};
use crate::{
    actors::supervisor::{KeyLabel, MaskKeys},
    api::{
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
        only,
    },
    db::{
        DbConnection,
        error_logs::{ErrorFilter, ErrorLog, Place, delete_error_logs, find_error_log, search_error_logs},
    },
    domain::key::KeyId,
};

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            only::<Admin>("/errors", "GET, DELETE")
                .route(get().to(list_errors))
                .route(delete().to(delete_errors)),
        )
        .service(only::<Admin>("/errors/groups", "GET").route(get().to(groups::group_errors)))
        .service(only::<Admin>("/errors/{id}", "GET").route(get().to(find_error)));
}

/// A query with these parameters and further ones.
macro_rules! error_query {
    ($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $further:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// Noted at or after; Unix milliseconds.
            from_ms: Option<i64>,
            /// Noted before; `before_ms` says the same.
            #[serde(alias = "before_ms")]
            to_ms: Option<i64>,
            key_id: Option<i64>,
            request_id: Option<String>,
            model: Option<String>,
            /// Google's HTTP status.
            status: Option<i32>,
            /// One word for what it was, such as `quota_minute`.
            kind: Option<String>,
            /// A part of what Google said.
            q: Option<String>,
            $($(#[$attribute])* $further: $type,)*
        }

        impl $name {
            fn filter(&self) -> crate::db::error_logs::ErrorFilter {
                crate::db::error_logs::ErrorFilter {
                    from_ms: self.from_ms,
                    to_ms: self.to_ms,
                    key_id: self.key_id,
                    request_id: self.request_id.as_deref().map(crate::api::admin::requests::request_id),
                    model: self.model.clone(),
                    status: self.status,
                    kind: self.kind.clone(),
                    message: self.q.clone(),
                }
            }
        }
    };
}
use error_query;

error_query! {
    /// Which failed attempts, and which page of them.
    PageQuery {
        /// The `next_cursor` of the page before.
        #[param(value_type = Option<String>)]
        cursor: Option<Cursor>,
        /// Number of items, 1 to 500; 50 unless it is said.
        #[serde(default)]
        #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
        limit: Limit,
    }
}

error_query! {
    /// Which failed attempts, and where the work goes on.
    RestQuery {
        /// The `next_cursor` of the call before.
        #[param(value_type = Option<String>)]
        cursor: Option<Cursor>,
    }
}

/// A failed attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorRow {
    pub id: i64,
    pub at_ms: i64,
    /// The request that it was made for.
    pub request_id: String,
    /// The mask is blank when the key is gone.
    pub key: Option<KeyLabel>,
    pub model: String,
    /// Google's HTTP status; `null` when it did not answer.
    pub status: Option<i32>,
    /// One word for what it was.
    pub kind: String,
    /// What Google said.
    pub message: String,
    /// Whether there is a request body, which only the single error shows.
    pub has_request_body: bool,
}

/// A failed attempt with the request that it happened to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorWithBody {
    #[serde(flatten)]
    row: ErrorRow,
    /// Only with `ERROR_LOG_RECORD_REQUEST_BODY`.
    request_body: Option<String>,
}

/// A page of failed attempts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorPage {
    /// Newest first; there may be none although the search goes on.
    items: Vec<ErrorRow>,
    /// Where the next page begins; `null` when everything was looked at.
    next_cursor: Option<String>,
    /// Number of items on all pages, where this page is all of them.
    total: Option<usize>,
}

impl ErrorRow {
    fn new(row: ErrorLog, masks: &HashMap<KeyId, String>) -> Self {
        let label = |id: KeyId| KeyLabel { id, masked: masks.get(&id).cloned().unwrap_or_default() };
        Self {
            id: row.id,
            at_ms: row.at_ms,
            request_id: row.request_id,
            key: row.key_id.map(KeyId).map(label),
            model: row.model,
            status: row.status,
            kind: row.kind,
            message: row.message,
            has_request_body: row.request_body.is_some(),
        }
    }
}

async fn masks_of(gateway: &Gateway, rows: &[ErrorLog]) -> Result<HashMap<KeyId, String>, ApiError> {
    let keys = rows.iter().filter_map(|row| row.key_id.map(KeyId)).collect();
    gateway.supervisor.send(MaskKeys(keys)).await.map_err(|_| ApiError::Internal)
}

/// Failed attempts, newest first.
#[utoipa::path(
    get, path = "/api/admin/errors", tag = "errors", params(PageQuery),
    responses((status = 200, description = "A page of them", body = ErrorPage)),
)]
pub async fn list_errors(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<ErrorPage>, Failure<Admin>> {
    let (filter, limit) = (query.filter(), query.limit.0 as u32);
    let before = place(query.cursor)?;
    let read = read_figures(&gateway, move |conn| search_error_logs(conn, &filter, before, limit));
    let page = read.await?;
    let masks = masks_of(&gateway, &page.rows).await?;
    let is_whole = before.is_none() && page.next.is_none();
    Ok(Json(ErrorPage {
        total: is_whole.then_some(page.rows.len()),
        items: page.rows.into_iter().map(|row| ErrorRow::new(row, &masks)).collect(),
        next_cursor: page.next.map(|place| Cursor::text(&place)),
    }))
}

fn place(cursor: Option<Cursor>) -> Result<Option<Place>, AdminError> {
    cursor.map(|cursor| cursor.place()).transpose()
}

/// One failed attempt, with the body of the request if that was kept.
#[utoipa::path(
    get, path = "/api/admin/errors/{id}", tag = "errors",
    params(("id" = i64, Path, description = "Its id in the list")),
    responses((status = 200, description = "The failed attempt", body = ErrorWithBody)),
)]
pub async fn find_error(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<ErrorWithBody>, Failure<Admin>> {
    let unknown = || AdminError::not_found("error", &*id);
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let found = read_figures(&gateway, move |conn| find_error_log(conn, number)).await?;
    let mut row = found.ok_or_else(unknown)?;
    let masks = masks_of(&gateway, std::slice::from_ref(&row)).await?;
    let request_body = row.request_body.clone();
    row.request_body = request_body.as_ref().map(|_| String::new());
    Ok(Json(ErrorWithBody { row: ErrorRow::new(row, &masks), request_body }))
}

/// Deletes failed attempts from the error log.
#[utoipa::path(
    delete, path = "/api/admin/errors", tag = "errors", params(RestQuery),
    responses((status = 200, description = "How many, and whether there are more", body = Deleted)),
)]
pub async fn delete_errors(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<RestQuery>,
) -> Result<Json<Deleted>, Failure<Admin>> {
    let filter = query.filter();
    require_some(&filter, &ErrorFilter::default())?;
    let step =
        move |conn: &mut DbConnection, place: Option<Place>| delete_error_logs(conn, &filter, place, STEP);
    Ok(Json(delete_for_a_while(&gateway.database, query.cursor, step).await?))
}
