//! The log as a table, sent piece by piece: neither its length nor a slow reader fills the memory.

use std::borrow::Cow;

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    web::{Bytes, Data},
};
use futures_util::{Stream, stream::try_unfold};

use super::{filter::RequestQuery, row::masks_of};
use crate::{
    api::{
        admin::{Admin, csv::push_row, parameters::Parameters, stats::read_figures},
        auth::AdminUser,
        error::{ApiError, Failure},
        gateway::Gateway,
    },
    db::request_logs::{Page, RequestFilter, RequestLog, search_request_logs},
    domain::key::KeyId,
};

/// Rows of a piece.
const PIECE: u32 = 500;

const COLUMNS: [&str; 20] = [
    "id",
    "started_at_ms",
    "duration_ms",
    "first_byte_ms",
    "dialect",
    "endpoint",
    "model",
    "stream",
    "status",
    "error",
    "key_id",
    "key",
    "token_id",
    "client_ip",
    "node",
    "attempts",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "thoughts_tokens",
];

/// The requests that match as CSV, newest first. Text that a spreadsheet would take for a formula has an apostrophe in
/// front.
#[utoipa::path(
    get, path = "/api/admin/requests/export", tag = "requests", params(RequestQuery),
    responses((status = 200, description = "A table with a line of headings", body = String, content_type = "text/csv")),
)]
pub async fn export_requests(
    _: AdminUser,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<RequestQuery>,
) -> Result<HttpResponse, Failure<Admin>> {
    let filter = query.filter()?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"requests.csv\""))
        .streaming(table(gateway, filter)))
}

/// Where the table goes on.
enum Place {
    Begin,
    After(String),
    End,
}

/// An error after the first piece breaks the connection off, so that half a table is not taken for the whole one.
fn table(gateway: Data<Gateway>, filter: RequestFilter) -> impl Stream<Item = Result<Bytes, ApiError>> {
    try_unfold(Place::Begin, move |place| {
        let (gateway, filter) = (gateway.clone(), filter.clone());
        async move {
            let mut text = String::new();
            let before = match place {
                Place::End => return Ok(None),
                Place::Begin => {
                    push_row(&mut text, COLUMNS.map(Cow::from));
                    None
                }
                Place::After(id) => Some(id),
            };
            let Page { rows, next } = read_figures(&gateway, move |conn| {
                search_request_logs(conn, &filter, before.as_deref(), PIECE)
            })
            .await?;
            let masks = masks_of(&gateway, &rows).await?;
            for row in &rows {
                let masked = row.key_id.and_then(|id| masks.get(&KeyId(id))).map_or("", String::as_str);
                push_row(&mut text, cells(row, masked));
            }
            Ok(Some((Bytes::from(text), next.map_or(Place::End, Place::After))))
        }
    })
}

fn cells<'a>(row: &'a RequestLog, masked: &'a str) -> [Cow<'a, str>; 20] {
    fn number<'a>(number: impl ToString) -> Cow<'a, str> {
        number.to_string().into()
    }
    fn text(text: Option<&str>) -> Cow<'_, str> {
        text.unwrap_or_default().into()
    }
    [
        (&*row.id).into(),
        number(row.started_at_ms),
        number(row.duration_ms),
        row.first_byte_ms.map_or("".into(), number),
        (&*row.dialect).into(),
        (&*row.endpoint).into(),
        (&*row.model).into(),
        number(row.stream),
        number(row.status),
        text(row.error.as_deref()),
        row.key_id.map_or("".into(), number),
        masked.into(),
        text(row.token_id.as_deref()),
        text(row.client_ip.as_deref()),
        text(row.node.as_deref()),
        number(row.attempts),
        number(row.prompt_tokens),
        number(row.cached_tokens),
        number(row.output_tokens),
        number(row.thoughts_tokens),
    ]
}
