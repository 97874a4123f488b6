//! Answers that are passed on as they came, and what the gateway learns from them: who owns what.

use actix_web::{
    HttpResponse,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{CONTENT_LENGTH, HeaderMap, HeaderName},
    },
};
use bytes::Bytes;
use chrono::DateTime;
use futures_util::StreamExt;
use serde_json::Value;

use crate::{
    actors::registrar::Registry,
    api::journal::Journal,
    domain::{client::TokenId, key::KeyId, outcome::Outcome, resource::ResourceName, time::Now},
    upstream::{
        call::Call,
        dispatch::UpstreamError,
        ownership::told,
        relay::{Relayed, RelayedBody},
    },
};

/// What of Google's headers clients get, besides those of uploads.
const PASSED: [&str; 9] = [
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "range",
    "x-goog-hash",
];
const HOUR_MS: i64 = 60 * 60 * 1000;
/// Google keeps files for two days.
const FILES_END_AFTER_MS: i64 = 48 * HOUR_MS;
/// Everything else of which Google names no end; it is heard of again whenever it is used.
const OTHERS_END_AFTER_MS: i64 = 90 * 24 * HOUR_MS;

/// Remembers who owns what the answer tells of; `client` asked.
pub fn learn(registry: &Registry, client: &TokenId, call: &Call, relayed: &Relayed) {
    let named = ResourceName::in_path(&call.target);
    if call.method == Method::DELETE {
        if let Some(named) = named.filter(|named| named.is_itself) {
            registry.remove(&named.name);
        }
        return;
    }
    let RelayedBody::Whole(body) = &relayed.body else { return };
    // A list shows what belongs to others as well.
    if named.is_none() && call.method == Method::GET {
        return;
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let known = named.map(|named| (named.name, None));
    for (resource, end) in known.into_iter().chain(told(&answer, &call.target)) {
        own(registry, resource, relayed.key, client, end.as_deref());
    }
}

/// Google says that there is no such thing, so nobody owns it.
pub fn learn_refusal(registry: &Registry, call: &Call, error: &UpstreamError) {
    let is_gone = error.refusal().is_some_and(|refusal| refusal.fault.outcome == Outcome::NotOwner);
    if let Some(named) = ResourceName::in_path(&call.target).filter(|named| is_gone && named.is_itself) {
        registry.remove(&named.name);
    }
}

fn own(registry: &Registry, resource: ResourceName, key: KeyId, client: &TokenId, end: Option<&str>) {
    let told = end.and_then(|end| DateTime::parse_from_rfc3339(end).ok()).map(|end| end.timestamp_millis());
    let kept = if resource.collection() == "files" { FILES_END_AFTER_MS } else { OTHERS_END_AFTER_MS };
    // Whole hours, so that not every look at a resource is news.
    let expires_at_ms = told.unwrap_or_else(|| (Now::read().unix_ms() + kept) / HOUR_MS * HOUR_MS);
    registry.insert(resource, key, client, expires_at_ms);
}

/// The answer for the client; what is of no concern to it stays here.
pub fn pass_on(relayed: Relayed, journal: Journal) -> HttpResponse {
    pass_on_with(relayed, journal, |_, value| Some(value.to_owned()))
}

/// The same; `rewrite` sees the headers of uploads, and drops those for which it has no value.
pub fn pass_on_with(
    relayed: Relayed,
    journal: Journal,
    rewrite: impl Fn(&HeaderName, &str) -> Option<String>,
) -> HttpResponse {
    let Relayed { status, headers, body, .. } = relayed;
    let mut response = HttpResponse::build(StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::OK));
    for (name, value) in &headers {
        if PASSED.contains(&name.as_str()) {
            response.append_header((name, value.clone()));
        } else if is_of_upload(name)
            && let Some(value) = value.to_str().ok().and_then(|value| rewrite(name, value))
        {
            response.append_header((name, value));
        }
    }
    match body {
        RelayedBody::Whole(body) => {
            journal.finish(status.as_u16());
            response.body(body)
        }
        RelayedBody::Arriving(arriving) => {
            let length = content_length(&headers);
            let chunks = Box::pin(arriving.into_stream());
            let body = futures_util::stream::unfold(
                (chunks, Some(journal)),
                move |(mut chunks, journal)| async move {
                    let mut journal = journal?;
                    match chunks.next().await {
                        Some(Ok(chunk)) => {
                            journal.content_begins();
                            Some((Ok::<Bytes, UpstreamError>(chunk), (chunks, Some(journal))))
                        }
                        // The connection breaks off, as nothing else tells that the body is not whole.
                        Some(Err(error)) => {
                            journal.fail(status.as_u16(), &UpstreamError::from(error.clone()).into());
                            Some((Err(error.into()), (chunks, None)))
                        }
                        None => {
                            journal.finish(status.as_u16());
                            None
                        }
                    }
                },
            );
            match length {
                Some(length) => response.body(SizedStream::new(length, Box::pin(body))),
                None => response.streaming(Box::pin(body)),
            }
        }
    }
}

fn is_of_upload(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-goog-upload-") || name == actix_web::http::header::LOCATION
}

pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
