//! `GET …/models` and `GET …/models/{model}`, from the catalogue.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{Data, Path},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Gemini,
    generate::{fetch, forwarded_headers, version},
};
use crate::{
    api::{
        auth::ClientToken,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
    },
    domain::model::ModelName,
    services::catalog::{ModelList, Refresh},
    upstream::call::{AnswerKind, Call, Credential},
};

/// Google's own page sizes. Source: discovery document, `models.list`.
const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// Which part of the list is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Paging {
    /// The position of the page's first model; tokens of pages are this number.
    start: usize,
    size: usize,
}

impl Paging {
    /// Reads `pageSize` and `pageToken` in either spelling; an empty one counts as absent.
    fn read(query: &str) -> Result<Self, ApiError> {
        let mut paging = Self { start: 0, size: DEFAULT_PAGE };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            let number = |name| {
                value.parse::<usize>().map_err(|_| ApiError::Parameter { name, value: value.to_string() })
            };
            match &*name {
                "pageSize" | "page_size" => paging.size = number("pageSize")?,
                "pageToken" | "page_token" => paging.start = number("pageToken")?,
                _ => {}
            }
        }
        // Google takes 0 for its default.
        paging.size = if paging.size == 0 { DEFAULT_PAGE } else { paging.size.min(LARGEST_PAGE) };
        Ok(paging)
    }
}

pub async fn list_models(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<Gemini>,
) -> Result<HttpResponse, Failure<Gemini>> {
    let asked = Asked::of("gemini", "models.list");
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &Bytes::new());
    let listed = list_page(&gateway, request.query_string()).await;
    journal.conclude(listed.map(|page| HttpResponse::Ok().json(page)))
}

async fn list_page(gateway: &Gateway, query: &str) -> Result<Value, ApiError> {
    let paging = Paging::read(query)?;
    let list = catalogue(gateway).await?;
    Ok(page(&gateway.switches.with_derived(&list.models), &paging))
}

fn page(models: &[Value], paging: &Paging) -> Value {
    let start = paging.start.min(models.len());
    let end = (start + paging.size).min(models.len());
    let mut page = json!({ "models": models[start..end] });
    if end < models.len() {
        page["nextPageToken"] = Value::from(end.to_string());
    }
    page
}

/// From the catalogue; a model that is not in it may still exist, so Google is asked.
pub async fn find_model(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
    token: ClientToken<Gemini>,
) -> Result<HttpResponse, Failure<Gemini>> {
    let name = path.into_inner();
    let asked = Asked::of("gemini", "models.get").model(&name);
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &Bytes::new());
    let model = match gateway.model(&name) {
        Ok(model) => model,
        Err(error) => return journal.conclude(Err(error)),
    };
    if let Some(found) = known(&gateway, &model) {
        return journal.conclude(Ok::<_, ApiError>(HttpResponse::Ok().json(found)));
    }
    if let Err(error) = journal.admit_free(&model) {
        return journal.conclude(Err(error));
    }
    let call = Call {
        method: Method::GET,
        target: format!("/{}/{}", version(&request), model.resource()),
        model,
        headers: forwarded_headers(&request),
        body: Bytes::new(),
        credential: Credential::ApiKeyHeader,
        answer: AnswerKind::Plain,
    };
    fetch(&gateway, call, journal).await
}

/// The entry of a model that Google has, or that is made of one here.
fn known(gateway: &Gateway, model: &ModelName) -> Option<Value> {
    let list = gateway.models.borrow();
    if let Some(found) = list.find(model) {
        return Some(found.clone());
    }
    let resource = model.resource();
    let all = gateway.switches.with_derived(&list.models);
    all.into_iter().find(|model| model["name"] == *resource)
}

/// The list that this worker has; fetched now when there is none yet.
pub async fn catalogue(gateway: &Gateway) -> Result<Arc<ModelList>, ApiError> {
    let list = gateway.models.borrow().clone();
    if !list.is_empty() {
        return Ok(list);
    }
    Ok(gateway.catalog.send(Refresh).await.map_err(|_| ApiError::Internal)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_in_either_spelling_and_within_googles_bounds() {
        for (query, start, size) in [
            ("", 0, DEFAULT_PAGE),
            ("pageSize=2&pageToken=4", 4, 2),
            ("page_size=2&page_token=4&key=x", 4, 2),
            ("pageSize=0&pageToken=", 0, DEFAULT_PAGE),
            ("pageSize=5000", 0, LARGEST_PAGE),
            ("%zz=%&&=", 0, DEFAULT_PAGE),
        ] {
            assert_eq!(Paging::read(query).unwrap(), Paging { start, size }, "{query}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        for (query, message) in
            [("pageSize=many", "`many` is no pageSize"), ("page_token=-1", "`-1` is no pageToken")]
        {
            assert_eq!(Paging::read(query).unwrap_err().to_string(), message);
        }
    }
}
