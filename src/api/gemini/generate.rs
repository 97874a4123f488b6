//! `POST …/models/{model}:{method}`: generations, counts, embeddings and whatever method Google adds.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{CONTENT_TYPE, HeaderName, HeaderValue},
    },
    web::{Data, Path},
};
use bytes::Bytes;

use super::{
    Gemini,
    method::ModelMethod,
    relay,
    safety::with_safety_settings,
    writer::{JsonArray, Sse},
};
use crate::{
    api::{
        auth::{ClientToken, is_credential},
        body::Body,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        source, stream,
    },
    domain::model::ModelName,
    upstream::{
        call::{Call, Credential},
        dispatch::Answer,
    },
};

/// What of a client's headers matters to Google; everything else stays here, credentials above all.
const FORWARDED: [HeaderName; 3] =
    [CONTENT_TYPE, HeaderName::from_static("x-goog-api-client"), HeaderName::from_static("x-server-timeout")];

/// Forwards a method of a model, at the version that the client chose.
pub async fn call_method(
    request: HttpRequest,
    path: Path<(String, String)>,
    gateway: Data<Gateway>,
    token: ClientToken<Gemini>,
    body: Body<Gemini>,
) -> Result<HttpResponse, Failure<Gemini>> {
    let (name, method) = path.into_inner();
    let method = ModelMethod::parse(&method).ok_or_else(|| ApiError::unknown_path(&request))?;
    let is_stream = method == ModelMethod::StreamGenerate;
    let asked = Asked::of("gemini", method.label()).model(&name).stream(is_stream);
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let wanted = match gateway.asked(&name) {
        Ok(wanted) => wanted,
        Err(error) => return journal.conclude(Err(error)),
    };
    let admitted = match method {
        ModelMethod::CountTokens => journal.admit_free(&wanted.model),
        _ => journal.admit(&wanted.model),
    };
    if let Err(error) = admitted {
        return journal.conclude(Err(error));
    }
    let is_fake = is_stream && gateway.streams.fake.is_some();
    let mut call = Call {
        method: Method::POST,
        target: target(&request, &wanted.model, if is_fake { &ModelMethod::Generate } else { &method }),
        model: wanted.model.clone(),
        headers: forwarded_headers(&request),
        body: prepared_body(&gateway, &method, body.bytes),
        credential: Credential::ApiKeyHeader,
        answer: method.answer(),
    };
    if method.generates() {
        wanted.change(&mut call);
    } else {
        wanted.change_headers(&mut call);
    }
    let links = wanted.wanted.links && method.generates();
    if let ModelMethod::Other(_) = method {
        // Such as batches and films, which leave something behind at Google.
        relay::fetch(&gateway, call, journal).await
    } else if is_stream {
        open_stream(&request, &gateway, call, links, journal).await
    } else {
        fetch_with_links(&gateway, call, links, journal).await
    }
}

/// Gets an answer whole and passes it on as it is.
pub async fn fetch(gateway: &Gateway, call: Call, journal: Journal) -> Result<HttpResponse, Failure<Gemini>> {
    fetch_with_links(gateway, call, false, journal).await
}

async fn fetch_with_links(
    gateway: &Gateway,
    call: Call,
    links: bool,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Gemini>> {
    let mut answer = gateway.dispatcher.fetch(&call, &mut journal.trail).await;
    if let (Ok(answer), true) = (&mut answer, links) {
        source::add_links(answer);
    }
    journal.conclude(answer.map(respond))
}

async fn open_stream(
    request: &HttpRequest,
    gateway: &Gateway,
    call: Call,
    links: bool,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Gemini>> {
    let (dispatcher, is_fake) = (gateway.dispatcher.clone(), gateway.streams.fake.is_some());
    let opening = Box::pin(async move {
        let opened = source::open(&dispatcher, &call, &mut journal.trail, is_fake).await;
        (opened.map(|source| vec![source.with_links(links)]), journal)
    });
    if wants_events(request) {
        stream::respond::<Gemini, _>(opening, Sse, gateway.shape()).await
    } else {
        stream::respond::<Gemini, _>(opening, JsonArray::default(), gateway.shape()).await
    }
}

fn respond(answer: Answer) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK));
    let content_type =
        answer.content_type.unwrap_or(HeaderValue::from_static("application/json; charset=UTF-8"));
    response.insert_header((CONTENT_TYPE, content_type));
    response.body(answer.body)
}

/// Path and query at Google. Streams are always asked for as events; those who want an array get one from us.
fn target(request: &HttpRequest, model: &ModelName, method: &ModelMethod) -> String {
    let mut target = format!("/{}/{}:{}", version(request), model.resource(), method.as_str());
    let is_stream = *method == ModelMethod::StreamGenerate;
    if !is_stream && request.query_string().is_empty() {
        return target;
    }
    let kept = query(request).filter(|(name, _)| !(is_credential(name) || name == "alt" && streams(request)));
    let alt = is_stream.then_some((Cow::Borrowed("alt"), Cow::Borrowed("sse")));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept.chain(alt));
    let query = query.finish();
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query);
    }
    target
}

/// The API version in the client's path; it is the segment in front of `models`.
pub fn version(request: &HttpRequest) -> &str {
    let mut segments = request.path().split('/').filter(|segment| !segment.is_empty());
    segments.find(|segment| segment.starts_with('v')).unwrap_or("v1beta")
}

fn query(request: &HttpRequest) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
}

/// Whether the client asks for a stream, whatever Google is asked for.
fn streams(request: &HttpRequest) -> bool {
    request.path().ends_with(":streamGenerateContent")
}

fn wants_events(request: &HttpRequest) -> bool {
    query(request).any(|(name, value)| name == "alt" && value == "sse")
}

pub fn forwarded_headers(request: &HttpRequest) -> Vec<(HeaderName, HeaderValue)> {
    let header = |name: &HeaderName| Some((name.clone(), request.headers().get(name)?.clone()));
    FORWARDED.iter().filter_map(header).collect()
}

fn prepared_body(gateway: &Gateway, method: &ModelMethod, body: Bytes) -> Bytes {
    match &gateway.safety_settings {
        Some(settings) if method.generates() => match with_safety_settings(&body, settings) {
            Cow::Borrowed(_) => body,
            Cow::Owned(with_settings) => with_settings.into(),
        },
        _ => body,
    }
}
