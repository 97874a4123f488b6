//! `POST /v1/messages`: converted to Gemini and back.

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web::Data};
use bytes::Bytes;
use uuid::Uuid;

use super::{Anthropic, naming::request_id, writer::MessageEvents};
use crate::{
    api::{
        auth::ClientToken,
        body::Body,
        converted,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        media::fetch_remote,
        openai::chat::{gemini_call, read},
        signatures::Remembered,
        stream,
    },
    convert::{
        anthropic::{
            MessageMeta, MessageStream, MessagesOptions, interleaved_request, interleaves, messages_request,
            to_anthropic, to_gemini,
        },
        traits::ModelTraits,
    },
    domain::{client::TokenId, model::ModelName},
    upstream::{
        call::{AnswerKind, Call},
        dispatch::Answer,
    },
};

pub async fn create_message(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<Anthropic>,
    body: Body<Anthropic>,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let asked = Asked::of("anthropic", "messages");
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let prepared = match prepare(&request, &gateway, token.id, body.bytes, &mut journal).await {
        Ok(prepared) => prepared,
        Err(error) => return journal.conclude(Err(error)),
    };
    if prepared.is_stream {
        open_stream(&gateway, prepared, request_id(&request), journal).await
    } else {
        fetch(&gateway, prepared, journal).await
    }
}

/// What is left of a request once it is translated.
struct Prepared {
    call: Call,
    meta: MessageMeta,
    is_stream: bool,
    /// The answer ends with the links that a search found.
    links: bool,
    remembered: Remembered,
}

/// Everything that can be refused before Google is asked. A large body is held no longer than it is needed.
async fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    owner: TokenId,
    body: Bytes,
    journal: &mut Journal,
) -> Result<Prepared, ApiError> {
    let parse = if is_interleaved(request) { interleaved_request } else { messages_request };
    let mut wanted = read(request, &body, journal, parse)?;
    let size = body.len();
    drop(body);
    journal.asks_for(&wanted.model, wanted.stream);
    let asked = gateway.asked(own_name(&wanted.model))?;
    journal.admit(&asked.model)?;
    let remembered = gateway.remembered(&owner, &asked.model);
    let traits = ModelTraits::of(asked.model.as_str());
    wanted.recall_signatures(&traits, |id, function| remembered.recall(id, function));
    fetch_remote(gateway.media.as_deref(), wanted.media_mut()).await?;
    let body = to_gemini(&wanted, &options(gateway, &asked.model, &traits))?.to_json_like(size);
    let method = converted::method(gateway, wanted.stream);
    let mut call = gemini_call(&asked.model, method, body.into(), AnswerKind::Generation);
    asked.change(&mut call);
    let id = format!("msg_{}", Uuid::now_v7().simple());
    let meta = MessageMeta::new(&wanted, id, asked.model.as_str());
    Ok(Prepared { call, meta, is_stream: wanted.stream, links: asked.wanted.links, remembered })
}

fn is_interleaved(request: &HttpRequest) -> bool {
    let betas = request.headers().get_all("anthropic-beta").filter_map(|betas| betas.to_str().ok());
    betas.into_iter().any(interleaves)
}

/// A model's name without what agents mark a larger context with, which Gemini's models have anyway.
pub fn own_name(name: &str) -> &str {
    name.strip_suffix("[1m]").unwrap_or(name)
}

pub fn options<'a>(
    gateway: &'a Gateway,
    model: &'a ModelName,
    traits: &'a ModelTraits,
) -> MessagesOptions<'a> {
    MessagesOptions {
        safety_settings: gateway.safety_settings.as_deref(),
        model: model.as_str(),
        traits,
        output_limit: converted::output_limit(gateway, model),
    }
}

async fn fetch(
    gateway: &Gateway,
    prepared: Prepared,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let Prepared { call, meta, links, remembered, .. } = prepared;
    let answer = converted::whole(gateway, &call, links, &mut journal.trail).await;
    let converted = answer.and_then(|answer| convert(&answer, &meta, &remembered));
    journal.conclude(converted.map(|json| HttpResponse::Ok().content_type(ContentType::json()).body(json)))
}

fn convert(answer: &Answer, meta: &MessageMeta, remembered: &Remembered) -> Result<Vec<u8>, ApiError> {
    let response = converted::answer_of(&answer.body)?;
    let (message, signed) = to_anthropic(&response, meta);
    remembered.remember(&signed);
    Ok(message.to_json())
}

async fn open_stream(
    gateway: &Gateway,
    prepared: Prepared,
    request_id: String,
    journal: Journal,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let Prepared { call, meta, links, remembered, .. } = prepared;
    let writer = MessageEvents { stream: MessageStream::new(meta), remembered, request_id };
    let opening = converted::opening(gateway, call, links, journal);
    stream::respond::<Anthropic, _>(opening, writer, gateway.shape()).await
}
