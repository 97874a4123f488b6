//! The paths of the OpenAI layer.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Bytes, Data, Path, ServiceConfig},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    reply,
    request::{ChatRequest, strings},
};
use crate::sim::{
    auth::{Layer, key_of},
    embed,
    errors::GoogleError,
    flow::{Answer, Target, embedded, generate_answer},
    models::{self, MODELS},
    request::parse,
    routes::{admit_free_call, record},
    state::World,
    stream::{self, Framing},
    tokens,
};

pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/models", web::get().to(list_models))
        .route("/models/{model:.+}", web::get().to(find_model))
        .route("/chat/completions", web::post().to(create_chat_completion))
        .route("/embeddings", web::post().to(create_embedding));
}

async fn list_models(request: HttpRequest, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let models = || MODELS.iter().map(reply::model).collect::<Vec<_>>();
    let listed = admit_free_call(&world, &request, Layer::OpenAi)
        .map(|()| json!({"object": "list", "data": models()}));
    listed.map_or_else(|error| stream::error(&error, true), |list| HttpResponse::Ok().json(list))
}

async fn find_model(request: HttpRequest, path: Path<(String, String)>, world: Data<World>) -> HttpResponse {
    record(&world, &request, &[]);
    let (version, name) = path.into_inner();
    let model = admit_free_call(&world, &request, Layer::OpenAi)
        .and_then(|()| models::find(&name).ok_or_else(|| GoogleError::unknown_model(&name, &version, "get")));
    model.map_or_else(
        |error| stream::error(&error, true),
        |model| HttpResponse::Ok().json(reply::model(model)),
    )
}

async fn create_chat_completion(
    request: HttpRequest,
    version: Path<String>,
    body: Bytes,
    world: Data<World>,
) -> HttpResponse {
    record(&world, &request, &body);
    let answered = match parse::<ChatRequest>(&body) {
        Ok(chat) => complete(&world, &request, &version, &chat).await,
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| stream::error(&error, true))
}

async fn complete(
    world: &Arc<World>,
    request: &HttpRequest,
    version: &str,
    chat: &ChatRequest,
) -> Result<HttpResponse, GoogleError> {
    let name = chat.model.trim_start_matches("models/");
    let mut attempt = world.begin(&key_of(request, Layer::OpenAi)?, name)?;
    let target = Target { version, name, method: "generateContent" };
    let Answer { reply, fault, gap_ms } = generate_answer(&mut attempt, target, || chat.to_gemini()).await?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(if chat.stream == Some(true) {
        let chunks = reply::chunks(&reply, created, chat.includes_usage());
        stream::events(Framing::OpenAi, &chunks, fault, gap_ms, attempt)
    } else {
        stream::whole(reply::completion(&reply, created), fault, attempt)
    })
}

/// Body of `embeddings`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EmbeddingRequest {
    model: String,
    /// A string or a list of strings.
    input: Value,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
}

async fn create_embedding(
    request: HttpRequest,
    version: Path<String>,
    body: Bytes,
    world: Data<World>,
) -> HttpResponse {
    record(&world, &request, &body);
    let embedded = match parse::<EmbeddingRequest>(&body) {
        Ok(embedding) => embed_strings(&world, &request, &version, &embedding).await,
        Err(error) => Err(error),
    };
    embedded.unwrap_or_else(|error| stream::error(&error, true))
}

async fn embed_strings(
    world: &Arc<World>,
    request: &HttpRequest,
    version: &str,
    embedding: &EmbeddingRequest,
) -> Result<HttpResponse, GoogleError> {
    let name = embedding.model.trim_start_matches("models/");
    let mut attempt = world.begin(&key_of(request, Layer::OpenAi)?, name)?;
    let target = Target { version, name, method: "embedContent" };
    let (json, fault) = embedded(&mut attempt, target, |_| vectors(embedding)).await?;
    Ok(stream::whole(json, fault, attempt))
}

fn vectors(request: &EmbeddingRequest) -> Result<String, GoogleError> {
    let inputs = strings(&request.input);
    if inputs.is_empty() {
        return Err(GoogleError::invalid_argument(
            "Invalid input: a string or a list of strings is required.",
        ));
    }
    let dimensions = request.dimensions.unwrap_or(embed::MAX_DIMENSIONS);
    if !(1..=embed::MAX_DIMENSIONS).contains(&dimensions) {
        return Err(GoogleError::invalid_argument("Invalid dimensions."));
    }
    let is_base64 = request.encoding_format.as_deref() == Some("base64");
    let entry = |(index, input): (usize, &String)| {
        let vector = embed::vector(input, dimensions);
        let written = if is_base64 { base64_of(&vector).into() } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": written})
    };
    let data: Vec<_> = inputs.iter().enumerate().map(entry).collect();
    let tokens: u64 = inputs.iter().map(|input| tokens::of_text(input)).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(json!({"object": "list", "data": data, "model": request.model, "usage": usage}).to_string())
}

/// Little-endian floats, as OpenAI writes them.
fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
