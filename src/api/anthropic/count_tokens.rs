//! `POST /v1/messages/count_tokens`: counted by Gemini, which uses no quota for generation.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::{Value, json};

use super::{
    Anthropic,
    messages::{options, own_name},
};
use crate::{
    api::{
        auth::ClientToken,
        body::Body,
        converted::unreadable,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        media::fetch_remote,
        openai::chat::{gemini_call, read},
    },
    convert::{
        anthropic::{count_request, to_count},
        gemini::count_tokens::CountTokensResponse,
        traits::ModelTraits,
    },
    upstream::call::{AnswerKind, Call},
};

pub async fn count_tokens(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<Anthropic>,
    body: Body<Anthropic>,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let asked = Asked::of("anthropic", "messages/count_tokens");
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let counted = match prepare(&request, &gateway, &body.bytes, &mut journal).await {
        Ok(call) => count(&gateway, &call, &mut journal).await,
        Err(error) => Err(error),
    };
    journal.conclude(counted.map(|count| HttpResponse::Ok().json(count)))
}

async fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    body: &[u8],
    journal: &mut Journal,
) -> Result<Call, ApiError> {
    let mut wanted = read(request, body, journal, count_request)?;
    journal.asks_for(&wanted.model, false);
    let asked = gateway.asked(own_name(&wanted.model))?;
    let model = &asked.model;
    journal.admit_free(model)?;
    fetch_remote(gateway.media.as_deref(), wanted.media_mut()).await?;
    let (traits, resource) = (ModelTraits::of(model.as_str()), model.resource());
    let body = to_count(&wanted, &options(gateway, model, &traits), &resource)?.to_json();
    let mut call = gemini_call(model, "countTokens", body.into(), AnswerKind::Plain);
    asked.change_headers(&mut call);
    Ok(call)
}

async fn count(gateway: &Gateway, call: &Call, journal: &mut Journal) -> Result<Value, ApiError> {
    let answer = gateway.dispatcher.fetch(call, &mut journal.trail).await?;
    let count: CountTokensResponse = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    Ok(json!({"input_tokens": count.total_tokens}))
}
