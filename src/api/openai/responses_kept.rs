//! `/v1/responses/{id}`: responses that were kept, for the client that they belong to. Another client's do not exist.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::ContentType,
    web::{Data, Path, Query},
};
use bytes::Bytes;
use serde_json::json;

use super::{OpenAi, background::Task, responses::tell_events};
use crate::{
    api::{
        auth::ClientToken,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
    },
    convert::openai::responses::stored::{self, Page},
    db::responses::StoredResponse,
    domain::client::TokenId,
};

/// Names and values, as a name may come more than once.
type Parameters = Query<Vec<(String, String)>>;

const LARGEST_PAGE: usize = 100;
const USUAL_PAGE: usize = 20;

pub async fn find_response(
    request: HttpRequest,
    path: Path<String>,
    parameters: Parameters,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let journal = begin(&gateway, &request, &token, "responses.get");
    let id = path.into_inner();
    let task = task(&gateway, &token.id, &id);
    if let Some(task) = task.clone().filter(|_| wants_events(&parameters)) {
        let after = starting_after(&parameters);
        return journal.conclude(after.map(|after| tell_events(task, after, gateway.heartbeat)));
    }
    if let Some(running) = task.and_then(|task| task.running()) {
        let running = HttpResponse::Ok().content_type(ContentType::json()).body(running);
        return journal.conclude(Ok::<_, ApiError>(running));
    }
    let found = find(&gateway, &token.id, id).await;
    journal.conclude(found.and_then(|row| tell(&row, &parameters)))
}

/// A response that is being made in the background, or was a moment ago.
fn task(gateway: &Gateway, owner: &TokenId, id: &str) -> Option<Arc<Task>> {
    gateway.responses.background.find(owner, id)
}

fn wants_events(parameters: &Parameters) -> bool {
    parameters.iter().any(|(name, value)| name == "stream" && value == "true")
}

/// The number of the last event that the client has.
fn starting_after(parameters: &Parameters) -> Result<Option<usize>, ApiError> {
    let Some((_, value)) = parameters.iter().find(|(name, _)| name == "starting_after") else {
        return Ok(None);
    };
    let wrong = |_| ApiError::Parameter { name: "starting_after", value: value.clone() };
    value.parse().map(Some).map_err(wrong)
}

fn tell(row: &StoredResponse, parameters: &Parameters) -> Result<HttpResponse, ApiError> {
    if wants_events(parameters) {
        return Err(ApiError::NoEvents);
    }
    let includes = |(name, value): &(String, String)| {
        name.starts_with("include") && value == "reasoning.encrypted_content"
    };
    let response = stored::to_tell(&row.response, parameters.iter().any(includes));
    response.map(|response| HttpResponse::Ok().json(response)).ok_or(ApiError::Internal)
}

pub async fn delete_response(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let journal = begin(&gateway, &request, &token, "responses.delete");
    let id = path.into_inner();
    if let Some(task) = task(&gateway, &token.id, &id) {
        task.cancel().await;
        gateway.responses.background.forget(&id);
    }
    let deleted = gateway.responses.delete(&token.id, id.clone()).await;
    journal.conclude(deleted.and_then(|was_there| {
        if !was_there {
            return Err(ApiError::UnknownResponse { id });
        }
        Ok(HttpResponse::Ok().json(json!({"id": id, "object": "response", "deleted": true})))
    }))
}

pub async fn list_input_items(
    request: HttpRequest,
    path: Path<String>,
    parameters: Parameters,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let journal = begin(&gateway, &request, &token, "responses.input_items");
    let listed = match page(&parameters) {
        Ok(page) => find(&gateway, &token.id, path.into_inner()).await.map(|row| (page, row)),
        Err(error) => Err(error),
    };
    journal.conclude(listed.map(|(page, row)| HttpResponse::Ok().json(page.of(stored::items(&row.input)))))
}

/// `limit`, `order` and `after`; the newest item comes first unless they say otherwise, as OpenAI does it.
fn page(parameters: &Parameters) -> Result<Page, ApiError> {
    let mut page = Page { limit: USUAL_PAGE, is_descending: true, after: None };
    for (name, value) in parameters.iter() {
        let wrong = |name| ApiError::Parameter { name, value: value.clone() };
        match (name.as_str(), value.as_str()) {
            ("limit", value) => {
                let limit = value.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
                page.limit = limit.ok_or_else(|| wrong("limit"))?;
            }
            ("order", "asc") => page.is_descending = false,
            ("order", "desc") => page.is_descending = true,
            ("order", _) => return Err(wrong("order")),
            ("after", value) => page.after = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(page)
}

/// Only what is made in the background can be cancelled: whoever waits for an answer hangs up. What has ended stays as it is.
pub async fn cancel_response(
    request: HttpRequest,
    path: Path<String>,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let journal = begin(&gateway, &request, &token, "responses.cancel");
    let id = path.into_inner();
    if let Some(task) = task(&gateway, &token.id, &id) {
        task.cancel().await;
    }
    let found = find(&gateway, &token.id, id).await;
    let told = found.and_then(|row| stored::to_tell(&row.response, false).ok_or(ApiError::Internal));
    journal.conclude(told.and_then(|response| {
        let was_in_background = response["background"] == true;
        was_in_background.then(|| HttpResponse::Ok().json(response)).ok_or(ApiError::NotInBackground)
    }))
}

fn begin(
    gateway: &Data<Gateway>,
    request: &HttpRequest,
    token: &ClientToken<OpenAi>,
    endpoint: &'static str,
) -> Journal {
    Journal::begin(gateway, request, token.holder.clone(), Asked::of("openai", endpoint), &Bytes::new())
}

async fn find(gateway: &Gateway, owner: &TokenId, id: String) -> Result<StoredResponse, ApiError> {
    let found = gateway.responses.find(owner, id.clone()).await?;
    found.ok_or(ApiError::UnknownResponse { id })
}
