//! Every other path of Gemini's: files, caches, batches, operations and whatever Google adds, passed on as they come.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE},
    },
    web::{Data, Payload},
};
use bytes::Bytes;
use url::Url;

use super::{
    Gemini,
    listing::{self, Listed},
    passing::{learn, learn_refusal, pass_on},
};
use crate::{
    api::{
        address::{climbs, with_query},
        auth::{ClientToken, speaks_gemini},
        body::{Body, Glance},
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        openai::OpenAi,
    },
    domain::{model::ModelName, resource::is_version},
    upstream::{
        call::{AnswerKind, Call, Credential},
        dispatch::UpstreamError,
        relay::Relayed,
    },
};

/// What of a client's headers matters to Google, besides those of uploads; credentials stay here.
const FORWARDED: [HeaderName; 5] = [
    ACCEPT,
    CONTENT_TYPE,
    RANGE,
    HeaderName::from_static("x-goog-api-client"),
    HeaderName::from_static("x-server-timeout"),
];
/// Collections under `/v1` that only Gemini has.
const GEMINI_ONLY: [&str; 9] = [
    "cachedContents",
    "corpora",
    "dynamic",
    "fileSearchStores",
    "generatedFiles",
    "interactions",
    "models",
    "operations",
    "tunedModels",
];

/// Forwards any method and path.
pub async fn relay(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<Gemini>,
    body: Body<Gemini>,
) -> Result<HttpResponse, Failure<Gemini>> {
    let path = path_at_google(&request).ok_or_else(|| ApiError::unknown_path(&request))?;
    if let Some(listed) = Listed::asked_for(&request, path) {
        return listing::list(&request, &gateway, token, listed).await;
    }
    let asked = Asked::of("gemini", "relay");
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let admitted = require_named_model(&journal, &body.bytes);
    if let Err(error) = admitted.and_then(|()| journal.admit_free(&ModelName::none())) {
        return journal.conclude(Err(error));
    }
    let call = Call {
        method: request.method().clone(),
        target: with_query(path.to_owned(), request.query_string()),
        model: ModelName::none(),
        headers: forwarded_headers(&request),
        body: body.bytes,
        credential: credential(path),
        answer: AnswerKind::Plain,
    };
    fetch(&gateway, call, journal).await
}

/// Caches and interactions name in their body what they are for.
fn require_named_model(journal: &Journal, body: &[u8]) -> Result<(), ApiError> {
    if body.is_empty() || !journal.is_bound_to_models() {
        return Ok(());
    }
    let glance = Glance::read(body).ok_or_else(|| ApiError::ModelNotAllowed { model: "?".to_owned() })?;
    let mut named = [glance.model, glance.agent].into_iter().filter(|name| !name.is_empty());
    named.try_for_each(|name| journal.require_named(&name))
}

/// Under `/v1`, what no other handler takes: Gemini's by its path or its credential, else nobody's.
pub async fn relay_unless_openai(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, actix_web::Error> {
    let collection = path_at_google(&request).and_then(|path| path.split(['/', ':']).nth(2));
    let is_gemini = speaks_gemini(&request) || collection.is_some_and(|name| GEMINI_ONLY.contains(&name));
    if !is_gemini {
        return Err(Failure::<OpenAi>::from(ApiError::unknown_path(&request)).into());
    }
    let token = ClientToken::extract(&request).await?;
    let body = Body::from_request(&request, &mut payload.into_inner()).await?;
    Ok(relay(request, gateway, token, body).await?)
}

/// Passes the answer on, and learns from it who owns what.
pub async fn fetch(
    gateway: &Gateway,
    call: Call,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<Gemini>> {
    match relayed(gateway, &call, &mut journal).await {
        Ok(relayed) => Ok(pass_on(relayed, journal)),
        Err(error) => journal.conclude(Err(error)),
    }
}

async fn relayed(gateway: &Gateway, call: &Call, journal: &mut Journal) -> Result<Relayed, UpstreamError> {
    let client = journal.trail.client.clone();
    let answer = gateway.dispatcher.relay(call, &mut journal.trail).await;
    let relayed = answer.inspect_err(|error| learn_refusal(&gateway.registry, call, error))?;
    learn(&gateway.registry, &client, call, &relayed);
    match download(&relayed) {
        // The client could not follow: its credential is none of Google's.
        Some(target) => {
            let call = Call { target, ..call.clone() };
            gateway.dispatcher.relay(&call, &mut journal.trail).await
        }
        None => Ok(relayed),
    }
}

/// Where the bytes of a file are that was asked for.
fn download(relayed: &Relayed) -> Option<String> {
    if relayed.status != StatusCode::FOUND {
        return None;
    }
    let location = Url::parse(relayed.headers.get(LOCATION)?.to_str().ok()?).ok()?;
    let begin = location.path().find("/download/")?;
    Some(with_query(location.path()[begin..].to_owned(), location.query().unwrap_or_default()))
}

/// The path from the version on, or from `upload` or `download` in front of it, as the client wrote it. `None` where it
/// is no path of Google's.
pub fn path_at_google(request: &HttpRequest) -> Option<&str> {
    let path = request.uri().path();
    let path = ["/gemini/", "/hf/"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .map_or(path, |rest| &path[path.len() - rest.len() - 1..]);
    let mut segments =
        path.split('/').skip(1).skip_while(|segment| matches!(*segment, "upload" | "download"));
    (segments.next().is_some_and(is_version) && !climbs(path)).then_some(path)
}

/// Google's OpenAI layer takes keys as its clients send them.
fn credential(path: &str) -> Credential {
    if path.split('/').nth(2) == Some("openai") { Credential::Bearer } else { Credential::ApiKeyHeader }
}

pub fn forwarded_headers(request: &HttpRequest) -> Vec<(HeaderName, HeaderValue)> {
    let is_forwarded =
        |name: &HeaderName| FORWARDED.contains(name) || name.as_str().starts_with("x-goog-upload-");
    let headers = request.headers().iter().filter(|(name, _)| is_forwarded(name));
    headers.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A call that the gateway makes for a client: `GET` of a resource.
pub fn get(target: String) -> Call {
    Call {
        method: Method::GET,
        target,
        model: ModelName::none(),
        headers: Vec::new(),
        body: Bytes::new(),
        credential: Credential::ApiKeyHeader,
        answer: AnswerKind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn paths_are_googles_from_the_version_on() {
        for (path, at_google) in [
            ("/v1beta/files/a", Some("/v1beta/files/a")),
            ("/gemini/v1beta/cachedContents", Some("/v1beta/cachedContents")),
            ("/gemini/upload/v1beta/files", Some("/upload/v1beta/files")),
            ("/download/v1/files/a:download", Some("/download/v1/files/a:download")),
            ("/v1beta/files/a%20b", Some("/v1beta/files/a%20b")),
            ("/v1beta/files/../x", None),
            ("/upload/files", None),
        ] {
            let request = TestRequest::with_uri(path).to_http_request();
            assert_eq!(path_at_google(&request), at_google, "{path}");
        }
    }
}
