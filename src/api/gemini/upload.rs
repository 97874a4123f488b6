//! `/upload/…`: files on their way to Google, passed on while they arrive.
//!
//! Three protocols: *resumable* begins with a small request whose answer tells the address for the bytes, which come in
//! one or more further requests; *multipart* and *raw* send all in one. The address leads back to us, and what stands in
//! it is the credential of the further requests, as some SDKs send no other.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::{
        Method,
        header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName},
    },
    web::{Data, Payload},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::timeout;

use super::{
    Gemini,
    passing::{content_length, learn, pass_on_with},
    relay::{forwarded_headers, path_at_google},
    uploads::{Upload, readdress},
};
use crate::{
    actors::tokens::Holder,
    api::{
        address::with_query,
        auth::ClientToken,
        body::Body,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
    },
    domain::{key::KeyId, model::ModelName, time::Now},
    upstream::{
        call::{AnswerKind, Call, Credential},
        relay::{Incoming, Intake, Relayed},
    },
};

/// Any request of an upload.
pub async fn upload(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, Failure<Gemini>> {
    if let Some(id) = query_value(&request, "upload_id") {
        let upload =
            Upload::open(&id, &gateway.sealer, Now::read().unix_ms()).ok_or(ApiError::UnknownUpload)?;
        let call = call(&request, upload.target, Bytes::new());
        // Its address is what lets the client in, as long as its token does.
        let table = gateway.tokens.table();
        let holder = table.holder_of(&upload.client, Now::read().unix_ms()).ok_or(ApiError::UnknownUpload)?;
        return push(&request, &gateway, holder.clone(), Some(upload.key), call, payload).await;
    }
    let path = path_at_google(&request).ok_or_else(|| ApiError::unknown_path(&request))?;
    let target = with_query(path.to_owned(), request.query_string());
    let token = ClientToken::<Gemini>::extract(&request).await?;
    if brings_bytes(&request) {
        let call = call(&request, target, Bytes::new());
        return push(&request, &gateway, token.holder, None, call, payload).await;
    }
    let body = Body::<Gemini>::from_request(&request, &mut payload.into_inner()).await?;
    begin(&request, &gateway, token.holder, call(&request, target, body.bytes)).await
}

/// Begins a resumable upload. Nothing is lost yet, so any key may try.
async fn begin(
    request: &HttpRequest,
    gateway: &Data<Gateway>,
    client: Arc<Holder>,
    call: Call,
) -> Result<HttpResponse, Failure<Gemini>> {
    let mut journal = Journal::begin(gateway, request, client, Asked::of("gemini", "upload"), &call.body);
    if let Err(error) = journal.admit_free(&ModelName::none()) {
        return journal.conclude(Err(error));
    }
    match gateway.dispatcher.relay(&call, &mut journal.trail).await {
        Ok(relayed) => Ok(answer(request, gateway, relayed, journal)),
        Err(error) => journal.conclude(Err(error)),
    }
}

/// Passes bytes on while they arrive.
async fn push(
    request: &HttpRequest,
    gateway: &Data<Gateway>,
    client: Arc<Holder>,
    key: Option<KeyId>,
    call: Call,
    payload: Payload,
) -> Result<HttpResponse, Failure<Gemini>> {
    let asked = Asked::of("gemini", "upload");
    let mut journal = Journal::begin(gateway, request, client.clone(), asked, &Bytes::new());
    let (intake, broken) = (Intake::default(), Rc::default());
    let incoming = Incoming {
        stream: paced(payload, gateway.limits.body_timeout, intake.clone(), Rc::clone(&broken)),
        length: content_length(request.headers()),
        intake,
    };
    match gateway.dispatcher.push(&call, key, incoming, &mut journal.trail).await {
        Ok(relayed) => {
            learn(&gateway.registry, &client.id, &call, &relayed);
            Ok(answer(request, gateway, relayed, journal))
        }
        Err(error) => match broken.take() {
            Some(ours) => journal.conclude(Err::<_, ApiError>(ours)),
            None => journal.conclude(Err(error)),
        },
    }
}

/// The client's bytes, which may not pause for longer than that. What goes wrong on its side is kept in `broken`.
fn paced(
    payload: Payload,
    patience: Duration,
    intake: Intake,
    broken: Rc<RefCell<Option<ApiError>>>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + 'static {
    stream::unfold(Some((payload, intake, broken)), move |state| async move {
        let (mut payload, intake, broken) = state?;
        intake.moves();
        let error = match timeout(patience, payload.next()).await {
            Ok(None) => {
                intake.moves();
                return None;
            }
            Ok(Some(Ok(chunk))) => return Some((Ok(chunk), Some((payload, intake, broken)))),
            Ok(Some(Err(error))) => ApiError::BodyBroken(error.to_string()),
            Err(_) => ApiError::BodyTimeout(patience),
        };
        let told = io::Error::other(error.to_string());
        broken.replace(Some(error));
        intake.fail();
        Some((Err(told), None))
    })
}

/// Google's answer, with addresses that lead back to us.
fn answer(request: &HttpRequest, gateway: &Gateway, relayed: Relayed, journal: Journal) -> HttpResponse {
    let (key, client) = (relayed.key, journal.trail.client.clone());
    let seen = request.connection_info();
    let origin = format!("{}://{}", seen.scheme(), seen.host());
    drop(seen);
    let readdressed = |address: &str| {
        readdress(address, &origin, |target| {
            Upload::new(target, key, client.clone(), Now::read().unix_ms()).seal(&gateway.sealer)
        })
    };
    pass_on_with(
        relayed,
        journal,
        |name, value| {
            if is_address(name) { readdressed(value) } else { Some(value.to_owned()) }
        },
    )
}

fn is_address(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-goog-upload-url" | "x-goog-upload-control-url" | "location")
}

fn call(request: &HttpRequest, target: String, body: Bytes) -> Call {
    let mut headers = forwarded_headers(request);
    headers.extend(request.headers().get(CONTENT_RANGE).map(|range| (CONTENT_RANGE, range.clone())));
    Call {
        method: request.method().clone(),
        target,
        model: ModelName::none(),
        headers,
        body,
        credential: Credential::ApiKeyHeader,
        answer: AnswerKind::Plain,
    }
}

/// Whether the request holds the file itself: any that does not just begin a resumable upload.
fn brings_bytes(request: &HttpRequest) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let of_query = || query_value(request, "uploadType").or_else(|| query_value(request, "upload_protocol"));
    let protocol = match header("x-goog-upload-protocol") {
        "" => of_query().unwrap_or_default(),
        named => named.to_owned(),
    };
    let is_multipart = header(CONTENT_TYPE.as_str()).starts_with("multipart/");
    let begins = match &*protocol {
        "resumable" => !header("x-goog-upload-command").contains("upload"),
        "" => !is_multipart,
        _ => false,
    };
    request.method() != Method::GET && !begins
}

fn query_value(request: &HttpRequest, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_the_begin_of_a_resumable_upload_is_held() {
        let brings = |uri, headers: &[(&'static str, &'static str)]| {
            let request = TestRequest::post().uri(uri);
            let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
            brings_bytes(&request.to_http_request())
        };
        let resumable = ("x-goog-upload-protocol", "resumable");

        assert!(!brings("/upload/v1/files", &[resumable, ("x-goog-upload-command", "start")]));
        assert!(!brings("/upload/v1/files?uploadType=resumable", &[]));
        assert!(!brings("/upload/v1/files", &[("content-type", "application/json")]));
        assert!(brings(
            "/upload/v1/files",
            &[resumable, ("x-goog-upload-command", "start, upload, finalize")]
        ));
        assert!(brings("/upload/v1/files", &[("x-goog-upload-protocol", "raw")]));
        assert!(brings("/upload/v1/files?uploadType=media", &[]));
        assert!(brings("/upload/v1/files", &[("content-type", "multipart/related; boundary=x")]));
    }
}
