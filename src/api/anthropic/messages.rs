//! `POST /v1/messages`: converted to Gemini and back.

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web::Data};
use bytes::Bytes;
use uuid::Uuid;

use super::{Anthropic, naming::request_id, writer::MessageEvents};
use crate::{
    api::{
        auth::ClientToken,
        body::Body,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        openai::chat::{gemini_call, read},
        stream,
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
    let mut journal = Journal::begin(&gateway, &request, token.id, asked, &body.bytes);
    let (meta, is_stream, call) = match prepare(&request, &gateway, body.bytes, &mut journal) {
        Ok(prepared) => prepared,
        Err(error) => return journal.conclude(Err(error)),
    };
    if is_stream {
        let stream = MessageStream::new(meta);
        let writer = MessageEvents { stream, request_id: request_id(&request) };
        open_stream(&gateway, call, writer, journal).await
    } else {
        fetch(&gateway, call, &meta, journal).await
    }
}

/// Everything that can be refused before Google is asked. A large body is held no longer than it is needed.
fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    body: Bytes,
    journal: &mut Journal,
) -> Result<(MessageMeta, bool, Call), ApiError> {
    let wanted = read(request, &body, journal, messages_request)?;
    drop(body);
    journal.asks_for(&wanted.model, wanted.stream);
    let model = model_name(gateway, &wanted.model)?;
    let traits = ModelTraits::of(model.as_str());
    let body = to_gemini(&wanted, &options(gateway, &model, &traits))?.to_json();
    let method = if wanted.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let call = gemini_call(&model, method, body.into(), AnswerKind::Generation);
    let id = format!("msg_{}", Uuid::now_v7().simple());
    Ok((MessageMeta::new(&wanted, id, model.as_str()), wanted.stream, call))
}

/// The model that Gemini is asked for. Agents mark a larger context with `[1m]`, which Gemini's models have anyway.
pub fn model_name(gateway: &Gateway, name: &str) -> Result<ModelName, ApiError> {
    let name = name.strip_prefix("google/").unwrap_or(name);
    gateway.model(name.strip_suffix("[1m]").unwrap_or(name))
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
    meta: &MessageMeta,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let answer = gateway.dispatcher.fetch(&call, &mut journal.trail).await;
    let converted = answer.map_err(ApiError::from).and_then(|answer| convert(&answer, meta));
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
    writer: MessageEvents,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Anthropic>> {
    let dispatcher = gateway.dispatcher.clone();
    let opening = Box::pin(async move {
        let opened = dispatcher.open(&call, &mut journal.trail).await;
        (opened.map(|source| vec![source]), journal)
    });
    stream::respond::<Anthropic, _>(opening, writer, gateway.heartbeat).await
}
