//! The paths of Google's API and what stands behind each.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Bytes, Data, Path, ServiceConfig},
};
use serde_json::json;

use super::{
    auth::{Layer, key_of, query_value},
    embed,
    errors::{FRONT_END_PAGE, GoogleError},
    flow::{Answer, Target, embedded, generate_answer},
    media,
    models::{self, Model},
    openai,
    request::{BatchEmbedRequest, CountRequest, EmbedRequest, GenerateRequest, parse},
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
        .configure(media::configure)
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

async fn generate(
    world: &Arc<World>,
    request: &HttpRequest,
    target: Target<'_>,
    body: &[u8],
    framing: Option<Framing>,
) -> Result<HttpResponse, GoogleError> {
    let mut attempt = world.begin(&key_of(request, Layer::Native)?, target.name)?;
    let body = || parse::<GenerateRequest>(body);
    let Answer { reply, fault, gap_ms } = generate_answer(&mut attempt, target, body).await?;
    Ok(match framing {
        None => stream::whole(reply.to_json(), fault, attempt),
        Some(framing) => stream::events(framing, &reply.to_events(), fault, gap_ms, attempt),
    })
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
            Ok(json!({"embedding": embedding}).to_string())
        }
        _ => {
            let batch: BatchEmbedRequest = parse(body)?;
            let embeddings: Result<Vec<_>, _> =
                batch.requests.iter().map(|request| embed::embed(request, model, true)).collect();
            Ok(json!({"embeddings": embeddings?}).to_string())
        }
    };
    let (json, fault) = embedded(&mut attempt, target, read).await?;
    Ok(stream::whole(json, fault, attempt))
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
