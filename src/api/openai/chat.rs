//! `POST /v1/chat/completions`: converted to Gemini and back.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{CONTENT_TYPE, ContentType, HeaderValue},
    },
    web::Data,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::{OpenAi, writer::Chunks};
use crate::{
    api::{
        auth::ClientToken,
        body::{Body, Glance, require_json},
        converted,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        media::fetch_remote,
        signatures::Remembered,
        source, stream,
    },
    convert::{
        ConvertError,
        openai::{
            chat::{ChatRequest, chat_request},
            request::{ChatOptions, to_gemini},
            response::{ChatMeta, to_openai_signed},
            stream::ChatStream,
        },
        traits::ModelTraits,
    },
    domain::{client::TokenId, model::ModelName, time::Now},
    upstream::{
        call::{AnswerKind, Call, Credential},
        dispatch::Answer,
    },
};

pub async fn create_chat_completion(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
    body: Body<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let asked = Asked::of("openai", "chat/completions");
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    complete(&request, &gateway, token.id, body.bytes, journal).await
}

/// Answers a chat whose record has begun.
pub async fn complete(
    request: &HttpRequest,
    gateway: &Gateway,
    owner: TokenId,
    body: Bytes,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let prepared = match prepare(request, gateway, owner, body, &mut journal).await {
        Ok(prepared) => prepared,
        Err(error) => return journal.conclude(Err(error)),
    };
    if prepared.is_stream {
        open_stream(gateway, prepared, journal).await
    } else {
        fetch(gateway, prepared, journal).await
    }
}

/// What is left of a request once it is translated.
struct Prepared {
    call: Call,
    n: usize,
    is_stream: bool,
    include_usage: bool,
    /// The answer ends with the links that a search found.
    links: bool,
    meta: ChatMeta,
    remembered: Remembered,
}

/// Everything that can be refused before Google is asked.
async fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    owner: TokenId,
    body: Bytes,
    journal: &mut Journal,
) -> Result<Prepared, ApiError> {
    let mut chat = read(request, &body, journal, chat_request)?;
    // With pictures in it, it is large, and what follows holds them again.
    let size = body.len();
    drop(body);
    journal.asks_for(&chat.model, chat.stream);
    let asked = gateway.asked(&chat.model)?;
    journal.admit(&asked.model)?;
    let remembered = gateway.remembered(&owner, &asked.model);
    let traits = ModelTraits::of(asked.model.as_str());
    chat.recall_signatures(&traits, |id, function| remembered.recall(id, function));
    fetch_remote(gateway.media.as_deref(), chat.media_mut()).await?;
    let mut call = to_call(gateway, &chat, &asked.model, size)?;
    asked.change(&mut call);
    let id = format!("chatcmpl-{}", Uuid::now_v7().simple());
    let meta = ChatMeta::new(&chat, id, Now::read().utc.timestamp(), gateway.show_thoughts, &traits);
    let (n, is_stream, include_usage) = (chat.n(), chat.stream, chat.include_usage);
    Ok(Prepared { call, n, is_stream, include_usage, links: asked.wanted.links, meta, remembered })
}

/// Reads a JSON body; the journal learns what can be read of one that is refused.
pub fn read<T>(
    request: &HttpRequest,
    body: &[u8],
    journal: &mut Journal,
    parse: impl FnOnce(&[u8]) -> Result<T, ConvertError>,
) -> Result<T, ApiError> {
    let parsed = require_json(request).and_then(|()| Ok(parse(body)?));
    parsed.inspect_err(|_| {
        let glance = Glance::at(body);
        journal.asks_for(&glance.model, glance.is_stream());
    })
}

/// `size` is that of the client's body, in bytes.
fn to_call(gateway: &Gateway, chat: &ChatRequest, model: &ModelName, size: usize) -> Result<Call, ApiError> {
    let options = ChatOptions {
        show_thoughts: gateway.show_thoughts,
        safety_settings: gateway.safety_settings.as_deref(),
        model: ModelTraits::of(model.as_str()),
        output_limit: converted::output_limit(gateway, model),
    };
    let body = to_gemini(chat, &options)?.to_json_like(size);
    let method = converted::method(gateway, chat.stream);
    Ok(gemini_call(model, method, body.into(), AnswerKind::Generation))
}

/// A request that we made ourselves; it goes to `v1beta`, which has everything.
pub fn gemini_call(model: &ModelName, method: &str, body: Bytes, answer: AnswerKind) -> Call {
    Call {
        method: Method::POST,
        target: format!("/v1beta/{}:{method}", model.resource()),
        model: model.clone(),
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
        credential: Credential::ApiKeyHeader,
        answer,
    }
}

/// Gemini's models take one candidate a request, so `n` answers are `n` requests side by side.
async fn fetch(
    gateway: &Gateway,
    prepared: Prepared,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let Prepared { call, n, links, meta, remembered, .. } = prepared;
    let branches = journal.branches(n).iter_mut();
    let fetches = branches.map(|trail| converted::fetch(&gateway.dispatcher, &call, trail));
    let answers = try_join_all(fetches).await;
    let converted = answers.map_err(ApiError::from).and_then(|mut answers| {
        if links {
            answers.iter_mut().for_each(source::add_links);
        }
        convert(&answers, &meta, &remembered)
    });
    journal.conclude(converted.map(|json| HttpResponse::Ok().content_type(ContentType::json()).body(json)))
}

fn convert(answers: &[Answer], meta: &ChatMeta, remembered: &Remembered) -> Result<Vec<u8>, ApiError> {
    let parsed: Result<Vec<_>, _> = answers.iter().map(|answer| converted::answer_of(&answer.body)).collect();
    let parsed = parsed?;
    let (completion, signed) = to_openai_signed(&parsed, meta);
    remembered.remember(&signed);
    Ok(completion.to_json())
}

async fn open_stream(
    gateway: &Gateway,
    prepared: Prepared,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let Prepared { call, n, include_usage, links, meta, remembered, .. } = prepared;
    let (dispatcher, is_fake) = (gateway.dispatcher.clone(), gateway.streams.fake.is_some());
    let opening = Box::pin(async move {
        let branches = journal.branches(n).iter_mut();
        let opens = branches.map(|trail| converted::open_source(&dispatcher, &call, trail, is_fake));
        let sources = try_join_all(opens).await;
        let sources =
            sources.map(|sources| sources.into_iter().map(|source| source.with_links(links)).collect());
        journal.join();
        (sources, journal)
    });
    let writer = Chunks { stream: ChatStream::new(meta, n, include_usage), remembered };
    stream::respond::<OpenAi, _>(opening, writer, gateway.shape()).await
}
