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
        source, stream,
    },
    convert::{
        anthropic::{MessageMeta, MessageStream, MessagesOptions, messages_request, to_anthropic, to_gemini},
        gemini::GenerateContentResponse,
        traits::ModelTraits,
    },
    domain::model::ModelName,
    upstream::{
        call::{AnswerKind, Call},
        dispatch::{Answer, Refusal, UpstreamError, malformed},
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
    let prepared = match prepare(&request, &gateway, body.bytes, &mut journal).await {
        Ok(prepared) => prepared,
        Err(error) => return journal.conclude(Err(error)),
    };
    let Prepared { call, meta, is_stream, links } = prepared;
    if is_stream {
        let stream = MessageStream::new(meta);
        let writer = MessageEvents { stream, request_id: request_id(&request) };
        open_stream(&gateway, call, links, writer, journal).await
    } else {
        fetch(&gateway, call, links, &meta, journal).await
    }
}

/// What is left of a request once it is translated.
struct Prepared {
    call: Call,
    meta: MessageMeta,
    is_stream: bool,
    /// The answer ends with the links that a search found.
    links: bool,
}

/// Everything that can be refused before Google is asked. A large body is held no longer than it is needed.
async fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    body: Bytes,
    journal: &mut Journal,
) -> Result<Prepared, ApiError> {
    let mut wanted = read(request, &body, journal, messages_request)?;
    drop(body);
    journal.asks_for(&wanted.model, wanted.stream);
    let asked = gateway.asked(own_name(&wanted.model))?;
    journal.admit(&asked.model)?;
    fetch_remote(gateway.media.as_deref(), wanted.media_mut()).await?;
    let traits = ModelTraits::of(asked.model.as_str());
    let body = to_gemini(&wanted, &options(gateway, &asked.model, &traits))?.to_json();
    let is_event_stream = wanted.stream && gateway.streams.fake.is_none();
    let method = if is_event_stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let mut call = gemini_call(&asked.model, method, body.into(), AnswerKind::Generation);
    asked.change(&mut call);
    let id = format!("msg_{}", Uuid::now_v7().simple());
    let meta = MessageMeta::new(&wanted, id, asked.model.as_str());
    Ok(Prepared { call, meta, is_stream: wanted.stream, links: asked.wanted.links })
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
    let models = gateway.models.borrow();
    MessagesOptions {
        safety_settings: gateway.safety_settings.as_deref(),
        model: model.as_str(),
        traits,
        output_limit: models.find(model).and_then(|model| model["outputTokenLimit"].as_u64()),
    }
}

async fn fetch(
    gateway: &Gateway,
    call: Call,
    links: bool,
    meta: &MessageMeta,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let answer = converted::fetch(&gateway.dispatcher, &call, &mut journal.trail).await;
    let converted = answer.map_err(ApiError::from).and_then(|mut answer| {
        if links {
            source::add_links(&mut answer);
        }
        convert(&answer, meta)
    });
    journal.conclude(converted.map(|json| HttpResponse::Ok().content_type(ContentType::json()).body(json)))
}

fn convert(answer: &Answer, meta: &MessageMeta) -> Result<Vec<u8>, ApiError> {
    let response: GenerateContentResponse = serde_json::from_slice(&answer.body)
        .map_err(|_| unreadable("Gemini's answer has an unknown shape"))?;
    Ok(to_anthropic(&response, meta).to_json())
}

/// JSON of Google's that is not what was asked for.
pub fn unreadable(what: &str) -> ApiError {
    UpstreamError::Refused(Box::new(Refusal::inside(malformed(what)))).into()
}

async fn open_stream(
    gateway: &Gateway,
    call: Call,
    links: bool,
    writer: MessageEvents,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let (dispatcher, is_fake) = (gateway.dispatcher.clone(), gateway.streams.fake.is_some());
    let opening = Box::pin(async move {
        let opened = converted::open_source(&dispatcher, &call, &mut journal.trail, is_fake).await;
        (opened.map(|source| vec![source.with_links(links)]), journal)
    });
    stream::respond::<Anthropic, _>(opening, writer, gateway.shape()).await
}
