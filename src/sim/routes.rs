//! The paths of Google's API and what stands behind each.

use std::{future, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Bytes, Data, Path, ServiceConfig},
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    answer,
    attempt::Attempt,
    auth::{Layer, key_of, query_value},
    check::check,
    directives::Directives,
    embed,
    errors::{FRONT_END_PAGE, GoogleError},
    models::{self, Model},
    openai,
    plan::Fault,
    reply::Reply,
    request::{BatchEmbedRequest, Content, CountRequest, EmbedRequest, GenerateRequest, parse},
    state::{Recorded, World},
    stream::{self, Framing},
    tokens::Usage,
};

/// The largest body that is read, in bytes: inline media make requests of many megabytes.
const MAX_BODY: usize = 256 << 20;

/// Adds all routes of the API.
pub fn configure(config: &mut ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .service(
            web::scope("/{version:v1|v1beta|v1alpha}")
                .service(web::scope("/openai").configure(openai::routes::configure))
                .route("/models", web::get().to(list_models))
                .route("/models/{model}:{method}", web::post().to(call_method))
                .route("/models/{model}", web::get().to(find_model)),
        )
        .default_service(web::to(unknown_path));
}

/// Google's front end answers unknown paths with a page, not with JSON.
pub async fn unknown_path() -> HttpResponse {
    let page = FRONT_END_PAGE.replace("502", "404").replace("Server Error", "Not Found");
    HttpResponse::NotFound().insert_header((header::CONTENT_TYPE, "text/html; charset=UTF-8")).body(page)
}

async fn list_models(request: HttpRequest, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let page = || {
        admit_free_call(&world, &request, Layer::Native)?;
        let query = |name| query_value(request.query_string(), name);
        let size = query("pageSize").and_then(|size| size.parse().ok()).unwrap_or(0);
        models::page(size, query("pageToken").as_deref())
            .ok_or_else(|| GoogleError::invalid_argument("Page token is invalid."))
    };
    page().map_or_else(|error| stream::error(&error, false), |page| HttpResponse::Ok().json(page))
}

async fn find_model(request: HttpRequest, path: Path<(String, String)>, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let (version, name) = path.into_inner();
    let model = admit_free_call(&world, &request, Layer::Native)
        .and_then(|()| models::find(&name).ok_or_else(|| GoogleError::unknown_model(&name, &version, "get")));
    model.map_or_else(|error| stream::error(&error, false), |model| HttpResponse::Ok().json(model.to_json()))
}

/// Every `models/{model}:{method}`.
async fn call_method(
    request: HttpRequest,
    path: Path<(String, String, String)>,
    body: Bytes,
    world: Data<World>,
) -> HttpResponse {
    record(&world, &request, &body);
    let (version, name, method) = path.into_inner();
    let framing = match query_value(request.query_string(), "alt").as_deref() {
        Some("sse") => Framing::Sse,
        _ => Framing::Array,
    };
    let in_array = method == "streamGenerateContent" && framing == Framing::Array;
    let target = Target { version: &version, name: &name, method: &method };
    let answered = match method.as_str() {
        "generateContent" => generate(&world, &request, target, &body, None).await,
        "streamGenerateContent" => generate(&world, &request, target, &body, Some(framing)).await,
        "countTokens" => count_tokens(&world, &request, target, &body),
        "embedContent" | "batchEmbedContents" => embed_content(&world, &request, target, &body).await,
        _ => admit_free_call(&world, &request, Layer::Native).and_then(|()| Err(target.unknown())),
    };
    answered.unwrap_or_else(|error| stream::error(&error, in_array))
}

/// What a path asks for.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub version: &'a str,
    pub name: &'a str,
    pub method: &'a str,
}

impl Target<'_> {
    fn unknown(self) -> GoogleError {
        GoogleError::unknown_model(self.name, self.version, self.method)
    }

    pub fn model(self) -> Result<&'static Model, GoogleError> {
        models::find(self.name).filter(|model| model.supports(self.method)).ok_or_else(|| self.unknown())
    }
}

async fn generate(
    world: &Arc<World>,
    request: &HttpRequest,
    target: Target<'_>,
    body: &[u8],
    framing: Option<Framing>,
) -> Result<HttpResponse, GoogleError> {
    let mut attempt = world.begin(&key_of(request, Layer::Native)?, target.name)?;
    let body = || parse::<GenerateRequest>(body);
    let Answer { reply, fault, gap_ms } = answer(&mut attempt, target, body).await?;
    Ok(match framing {
        None => stream::whole(reply.to_json(), fault, attempt),
        Some(framing) => stream::events(framing, &reply.to_events(), fault, gap_ms, attempt),
    })
}

/// An answer, and what happens to it on its way.
pub struct Answer {
    pub reply: Reply,
    pub fault: Option<Fault>,
    pub gap_ms: u64,
}

/// From an admitted attempt to its answer, pauses included. An error ends the attempt.
pub async fn answer(
    attempt: &mut Attempt,
    target: Target<'_>,
    read: impl FnOnce() -> Result<GenerateRequest, GoogleError>,
) -> Result<Answer, GoogleError> {
    let prepared = prepare(attempt, target, read);
    let (reply, directives) = prepared.inspect_err(|error| attempt.end(error.http))?;
    let fault = attempt.circumstances.fault.or(directives.fault);
    if fault == Some(Fault::Hang) {
        return future::pending().await;
    }
    pause(directives.delay_ms.unwrap_or(attempt.circumstances.first_byte_ms)).await;
    if let Some(Fault::Refuse(refusal)) = fault {
        let error = refusal.error(target.name);
        attempt.end(error.http);
        return Err(error);
    }
    let gap_ms = directives.gap_ms.unwrap_or(attempt.circumstances.pace.gap_ms);
    Ok(Answer { reply: reply.spoilt_by(fault), fault, gap_ms })
}

fn prepare(
    attempt: &Attempt,
    target: Target<'_>,
    read: impl FnOnce() -> Result<GenerateRequest, GoogleError>,
) -> Result<(Reply, Directives), GoogleError> {
    refuse_dead_key(attempt, target.name)?;
    let model = target.model()?;
    let request = read()?;
    check(&request, model)?;
    let prompt = request.contents.last().map(Content::text).unwrap_or_default();
    let (directives, prompt) = Directives::parse(&prompt);
    let reply = answer::compose(
        &request,
        model,
        &directives,
        &prompt,
        format!("sim{:09x}", attempt.circumstances.number),
    );
    attempt.spend(reply.usage.prompt())?;
    Ok((reply, directives))
}

/// Google looks at the key before it reads the body.
fn refuse_dead_key(attempt: &Attempt, model: &str) -> Result<(), GoogleError> {
    match attempt.circumstances.fault {
        Some(Fault::Refuse(refusal)) if refusal.concerns_the_key() => Err(refusal.error(model)),
        _ => Ok(()),
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        sleep(Duration::from_millis(ms)).await;
    }
}

fn count_tokens(
    world: &World,
    request: &HttpRequest,
    target: Target<'_>,
    body: &[u8],
) -> Result<HttpResponse, GoogleError> {
    admit_free_call(world, request, Layer::Native)?;
    target.model()?;
    let count: CountRequest = parse(body)?;
    let usage = match &count.generate_content_request {
        Some(request) => Usage::of_prompt(request),
        None if count.contents.is_empty() => {
            return Err(GoogleError::invalid_argument(
                "* CountTokensRequest.contents: contents is not specified\n",
            ));
        }
        None => Usage::of_contents(&count.contents),
    };
    Ok(HttpResponse::Ok().json(json!({"totalTokens": usage.prompt(), "promptTokensDetails": usage.details})))
}

async fn embed_content(
    world: &Arc<World>,
    request: &HttpRequest,
    target: Target<'_>,
    body: &[u8],
) -> Result<HttpResponse, GoogleError> {
    let mut attempt = world.begin(&key_of(request, Layer::Native)?, target.name)?;
    let read = |model: &Model| match target.method {
        "embedContent" => {
            let embedding = embed::embed(&parse::<EmbedRequest>(body)?, model, false)?;
            Ok(serde_json::json!({"embedding": embedding}).to_string())
        }
        _ => {
            let batch: BatchEmbedRequest = parse(body)?;
            let embeddings: Result<Vec<_>, _> =
                batch.requests.iter().map(|request| embed::embed(request, model, true)).collect();
            Ok(serde_json::json!({"embeddings": embeddings?}).to_string())
        }
    };
    let (json, fault) = embedded(&mut attempt, target, read).await?;
    Ok(stream::whole(json, fault, attempt))
}

/// Runs an embedding through the faults and pauses of its attempt. An error ends the attempt.
pub async fn embedded(
    attempt: &mut Attempt,
    target: Target<'_>,
    embed: impl FnOnce(&'static Model) -> Result<String, GoogleError>,
) -> Result<(String, Option<Fault>), GoogleError> {
    if attempt.circumstances.fault == Some(Fault::Hang) {
        return future::pending().await;
    }
    let json = refuse_dead_key(attempt, target.name)
        .and_then(|()| target.model())
        .and_then(embed)
        .and_then(|json| attempt.spend(1).map(|()| json))
        .and_then(|json| match attempt.circumstances.fault {
            Some(Fault::Refuse(refusal)) => Err(refusal.error(target.name)),
            _ => Ok(json),
        })
        .inspect_err(|error| attempt.end(error.http))?;
    pause(attempt.circumstances.first_byte_ms).await;
    Ok((json, attempt.circumstances.fault))
}

pub fn admit_free_call(world: &World, request: &HttpRequest, layer: Layer) -> Result<(), GoogleError> {
    world.admit_free_call(&key_of(request, layer)?)
}

/// Keeps the request for `GET /_sim/requests`, if the plan says so.
pub fn record(world: &World, request: &HttpRequest, body: &[u8]) {
    if !world.is_recording() {
        return;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    world.record(Recorded {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: headers.collect(),
        body: text(body),
    });
}
