//! `GET …/models` and `GET …/models/{model}`, from the catalogue.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{Data, Path, Query},
};
use bytes::Bytes;
use serde::Deserialize;
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

#[derive(Debug, Deserialize)]
pub struct Paging {
    #[serde(rename = "pageSize", alias = "page_size")]
    size: Option<usize>,
    /// The position of the first model of the page.
    #[serde(rename = "pageToken", alias = "page_token")]
    token: Option<String>,
}

pub async fn list_models(
    gateway: Data<Gateway>,
    _token: ClientToken<Gemini>,
    paging: Query<Paging>,
) -> Result<HttpResponse, Failure<Gemini>> {
    let list = catalogue(&gateway).await?;
    let start =
        paging.token.as_deref().and_then(|token| token.parse().ok()).unwrap_or(0).min(list.models.len());
    let size = paging.size.filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE).min(LARGEST_PAGE);
    let end = (start + size).min(list.models.len());
    let mut page = json!({ "models": list.models[start..end] });
    if end < list.models.len() {
        page["nextPageToken"] = Value::from(end.to_string());
    }
    Ok(HttpResponse::Ok().json(page))
}

/// From the catalogue; a model that is not in it may still exist, so Google is asked.
pub async fn find_model(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
    token: ClientToken<Gemini>,
) -> Result<HttpResponse, Failure<Gemini>> {
    let name = path.into_inner();
    let model = ModelName::parse(&name).ok_or(ApiError::ModelName { name })?;
    if gateway.filtered_models.contains(&model) {
        return Err(ApiError::UnknownModel { model: model.to_string() }.into());
    }
    if let Some(found) = gateway.models.borrow().find(&model) {
        return Ok(HttpResponse::Ok().json(found));
    }
    let asked = Asked { dialect: "gemini", endpoint: "models.get", model: model.clone(), is_stream: false };
    let journal = Journal::begin(&gateway, &request, token.id, asked, &Bytes::new());
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

/// The list that this worker has; fetched now when there is none yet.
pub async fn catalogue(gateway: &Gateway) -> Result<Arc<ModelList>, ApiError> {
    let list = gateway.models.borrow().clone();
    if !list.is_empty() {
        return Ok(list);
    }
    Ok(gateway.catalog.send(Refresh).await.map_err(|_| ApiError::Internal)??)
}
