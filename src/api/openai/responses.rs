//! `POST /v1/responses`: converted to Gemini and back, and kept if the client wants to go on from it.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, ContentType},
    web::Data,
};
use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::{
    OpenAi,
    background::{self, Task},
    chat::{gemini_call, read},
    responses_writer::{Events, SharedEvents},
};
use crate::{
    api::{
        archive::ToKeep,
        auth::ClientToken,
        body::Body,
        converted::{self, answer_of, unreadable},
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        media::fetch_remote,
        signatures::Remembered,
        source::Shape,
        stream::{self, Opening, Writer as _},
    },
    convert::{
        gemini::count_tokens::{CountTokensRequest, CountTokensResponse, CountedRequest},
        openai::{
            ChatOptions,
            responses::{ResponseMeta, ResponseStream, ResponsesRequest, responses_request, to_response},
        },
        traits::ModelTraits,
    },
    domain::{client::TokenId, model::ModelName, time::Now},
    upstream::{
        call::{AnswerKind, Call},
        dispatch::Answer,
    },
};

pub async fn create_response(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
    body: Body<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let asked = Asked::of("openai", "responses");
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let prepared = match prepare(&request, &gateway, token.id, body.bytes, &mut journal).await {
        Ok(prepared) => prepared,
        Err(error) => return journal.conclude(Err(error)),
    };
    if prepared.is_background {
        begin_in_background(&gateway, prepared, journal)
    } else if prepared.is_stream {
        open_stream(&gateway, prepared, journal).await
    } else {
        fetch(&gateway, prepared, journal).await
    }
}

/// What is left of a request once it is translated.
struct Prepared {
    call: Call,
    is_stream: bool,
    is_background: bool,
    owner: TokenId,
    /// The answer ends with the links that a search found.
    links: bool,
    meta: ResponseMeta,
    remembered: Remembered,
    to_keep: Option<ToKeep>,
}

/// Everything that can be refused before Google is asked.
async fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    owner: TokenId,
    body: Bytes,
    journal: &mut Journal,
) -> Result<Prepared, ApiError> {
    let mut wanted = read(request, &body, journal, responses_request)?;
    let size = body.len();
    journal.asks_for(&wanted.chat.model, wanted.chat.stream);
    if !gateway.responses.takes(&body) {
        wanted.keep_nothing()?;
    }
    let id = format!("resp_{}", Uuid::now_v7().simple());
    // What is not kept is let go: with pictures in it, it is large.
    let to_keep = wanted
        .store
        .then(|| gateway.responses.to_keep(id.clone(), &owner, wanted.previous_response_id.clone(), body));
    let asked = gateway.asked(&wanted.chat.model)?;
    journal.admit(&asked.model)?;
    let remembered = complete(gateway, &mut wanted, &owner, &asked.model).await?;
    let mut call = to_call(gateway, &wanted, &asked.model, size)?;
    asked.change(&mut call);
    let meta = ResponseMeta::new(&wanted, id, Now::read().utc.timestamp(), asked.model.as_str());
    let (is_stream, is_background) = (wanted.chat.stream, wanted.background);
    let links = asked.wanted.links;
    Ok(Prepared { call, is_stream, is_background, owner, links, meta, remembered, to_keep })
}

/// Brings what the request refers to: responses before it, items, signatures, and media by their address.
async fn complete(
    gateway: &Gateway,
    wanted: &mut ResponsesRequest,
    owner: &TokenId,
    model: &ModelName,
) -> Result<Remembered, ApiError> {
    let references = wanted.references().map(str::to_owned).collect();
    let previous_id = wanted.previous_response_id.clone();
    let earlier = gateway.responses.earlier(owner, previous_id, references).await?;
    wanted.complete(earlier, model.as_str())?;
    let remembered = gateway.remembered(owner, model);
    let traits = ModelTraits::of(model.as_str());
    wanted.chat.recall_signatures(&traits, |id, function| remembered.recall(id, function));
    fetch_remote(gateway.media.as_deref(), wanted.chat.media_mut()).await?;
    Ok(remembered)
}

fn options<'a>(gateway: &'a Gateway, wanted: &ResponsesRequest, model: &ModelName) -> ChatOptions<'a> {
    ChatOptions {
        show_thoughts: wanted.show_thoughts,
        safety_settings: gateway.safety_settings.as_deref(),
        model: ModelTraits::of(model.as_str()),
        output_limit: converted::output_limit(gateway, model),
    }
}

/// `size` is that of the client's body, in bytes.
fn to_call(
    gateway: &Gateway,
    wanted: &ResponsesRequest,
    model: &ModelName,
    size: usize,
) -> Result<Call, ApiError> {
    let body = wanted.to_gemini(&options(gateway, wanted, model))?.to_json_like(size);
    let method = converted::method(gateway, wanted.chat.stream || wanted.background);
    Ok(gemini_call(model, method, body.into(), AnswerKind::Generation))
}

async fn fetch(
    gateway: &Gateway,
    prepared: Prepared,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let Prepared { call, links, meta, remembered, to_keep, .. } = prepared;
    let answer = converted::whole(gateway, &call, links, &mut journal.trail).await;
    let told = answer.and_then(|answer| tell(&answer, &meta, &remembered, to_keep));
    journal.conclude(told.map(|json| HttpResponse::Ok().content_type(ContentType::json()).body(json)))
}

fn tell(
    answer: &Answer,
    meta: &ResponseMeta,
    remembered: &Remembered,
    to_keep: Option<ToKeep>,
) -> Result<Vec<u8>, ApiError> {
    let told = to_response(&answer_of(&answer.body)?, meta, Now::read().utc.timestamp());
    remembered.remember(&told.signed);
    if let Some(to_keep) = to_keep {
        to_keep.keep(told.kept);
    }
    Ok(told.json)
}

async fn open_stream(
    gateway: &Gateway,
    prepared: Prepared,
    journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let (opening, writer) = open(gateway, prepared, journal);
    stream::respond::<OpenAi, _>(opening, writer, gateway.shape()).await
}

/// The answer as a stream, before anything has come.
fn open(gateway: &Gateway, prepared: Prepared, journal: Journal) -> (Opening, Events) {
    let Prepared { call, links, meta, remembered, to_keep, .. } = prepared;
    let opening = converted::opening(gateway, call, links, journal);
    (opening, Events { stream: ResponseStream::new(meta), remembered, to_keep })
}

/// Answers at once with a response that is not there yet, or with its events as they come; it is made in either case.
fn begin_in_background(
    gateway: &Gateway,
    prepared: Prepared,
    journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let background = gateway.responses.background.clone();
    let (is_stream, owner) = (prepared.is_stream, prepared.owner.clone());
    let (id, begun) = (prepared.meta.id.clone(), ResponseStream::new(prepared.meta.clone()).begun());
    let Some(task) = background.begin(&id, owner, begun.clone().into()) else {
        return journal.conclude(Err(ApiError::TooManyInBackground));
    };
    let (opening, events) = open(gateway, prepared, journal);
    let events = SharedEvents::new(events);
    let told = stream::told(opening, events.clone(), Shape::default());
    actix_web::rt::spawn(background::run(background, id, task.clone(), told, events));
    if is_stream {
        return Ok(tell_events(task, None, gateway.heartbeat));
    }
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(begun))
}

/// The events of a response behind a number, and those that come.
pub fn tell_events(task: Arc<Task>, after: Option<usize>, heartbeat: Option<Duration>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, Events::CONTENT_TYPE)).insert_header((CACHE_CONTROL, "no-cache"));
    response.streaming(Box::pin(task.follow(after, heartbeat)))
}

/// `POST /v1/responses/input_tokens`: counted by Gemini, which uses no quota for generation.
pub async fn count_input_tokens(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
    body: Body<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let asked = Asked::of("openai", "responses.input_tokens");
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let counted = count(&request, &gateway, token.id, &body.bytes, &mut journal).await;
    journal.conclude(counted.map(|tokens| {
        HttpResponse::Ok().json(json!({"object": "response.input_tokens", "input_tokens": tokens}))
    }))
}

async fn count(
    request: &HttpRequest,
    gateway: &Gateway,
    owner: TokenId,
    body: &[u8],
    journal: &mut Journal,
) -> Result<u64, ApiError> {
    let mut wanted = read(request, body, journal, responses_request)?;
    journal.asks_for(&wanted.chat.model, false);
    let asked = gateway.asked(&wanted.chat.model)?;
    let model = &asked.model;
    journal.admit_free(model)?;
    complete(gateway, &mut wanted, &owner, model).await?;
    let (options, resource) = (options(gateway, &wanted, model), model.resource());
    let request = CountedRequest { model: &resource, request: wanted.to_gemini(&options)? };
    let body = CountTokensRequest { generate_content_request: request }.to_json();
    let mut call = gemini_call(model, "countTokens", body.into(), AnswerKind::Plain);
    asked.change_headers(&mut call);
    let answer = gateway.dispatcher.fetch(&call, &mut journal.trail).await?;
    let count: CountTokensResponse = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    Ok(count.total_tokens)
}
