//! The log of requests, page by page.

use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    filter::PageQuery,
    row::{RequestRow, masks_of},
};
use crate::{
    api::{
        admin::{Admin, list::Cursor, parameters::Parameters, stats::read_figures},
        auth::AdminUser,
        error::Failure,
        gateway::Gateway,
    },
    db::request_logs::{count_request_logs, search_request_logs},
};

/// A page of a log that is too long to be looked through at once.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found<T> {
    /// Newest first. There may be few, or none, although `next_cursor` says that the search goes on: one page looks at
    /// so many rows at most.
    pub items: Vec<T>,
    /// Where the next page begins; `null` when everything was looked at.
    pub next_cursor: Option<String>,
    /// Number of items on all pages; `null` where nobody has counted that far.
    pub total: Option<u32>,
    /// They are no fewer; `null` on pages behind the first, which do not count.
    pub total_at_least: Option<u32>,
}

/// Requests of the log, newest first.
#[utoipa::path(
    get, path = "/api/admin/requests", tag = "requests", params(PageQuery),
    responses((status = 200, description = "A page of them", body = Found<RequestRow>)),
)]
pub async fn list_requests(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Found<RequestRow>>, Failure<Admin>> {
    let filter = query.filter()?;
    let before: Option<String> = query.cursor.map(|cursor| cursor.place()).transpose()?;
    let limit = query.limit.0 as u32;
    let read = read_figures(&gateway, move |conn| {
        let page = search_request_logs(conn, &filter, before.as_deref(), limit)?;
        let count = if before.is_none() { Some(count_request_logs(conn, &filter)?) } else { None };
        Ok((page, count))
    });
    let (page, count) = read.await?;
    let masks = masks_of(&gateway, &page.rows).await?;
    Ok(Json(Found {
        items: page.rows.iter().map(|row| RequestRow::new(row, &masks)).collect(),
        next_cursor: page.next.map(|place| Cursor::text(&place)),
        total: count.filter(|count| count.is_exact).map(|count| count.at_least),
        total_at_least: count.map(|count| count.at_least),
    }))
}
