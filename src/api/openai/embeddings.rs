//! `POST /v1/embeddings`: converted to batches of Gemini's and joined again.

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web::Data};
use futures_util::future::try_join_all;

use super::{
    OpenAi,
    chat::{gemini_call, read},
};
use crate::{
    api::{
        auth::ClientToken,
        body::Body,
        error::{ApiError, Failure},
        gateway::{Asked as AskedModel, Gateway},
        journal::{Asked, Journal},
    },
    convert::{
        gemini::embeddings::BatchEmbedContentsRequest,
        openai::embeddings::{EmbeddingsRequest, embeddings_request, embeddings_response},
    },
    upstream::{
        call::AnswerKind,
        dispatch::{Refusal, UpstreamError, malformed},
    },
};

pub async fn create_embeddings(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
    body: Body<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let asked = Asked::of("openai", "embeddings");
    let journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    embed_inputs(&request, &gateway, &body.bytes, journal).await
}

/// Answers a request whose record has begun.
pub async fn embed_inputs(
    request: &HttpRequest,
    gateway: &Gateway,
    body: &[u8],
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let embedded = match prepare(request, gateway, body, &mut journal) {
        Ok((wanted, asked)) => embed(gateway, &wanted, &asked, &mut journal).await,
        Err(error) => Err(error),
    };
    journal.conclude(embedded.map(|json| HttpResponse::Ok().content_type(ContentType::json()).body(json)))
}

/// Everything that can be refused before Google is asked.
fn prepare(
    request: &HttpRequest,
    gateway: &Gateway,
    body: &[u8],
    journal: &mut Journal,
) -> Result<(EmbeddingsRequest, AskedModel), ApiError> {
    let wanted = read(request, body, journal, embeddings_request)?;
    journal.asks_for(&wanted.model, false);
    let asked = gateway.asked(&wanted.model)?;
    journal.admit(&asked.model)?;
    Ok((wanted, asked))
}

/// Sends the batches side by side.
async fn embed(
    gateway: &Gateway,
    wanted: &EmbeddingsRequest,
    asked: &AskedModel,
    journal: &mut Journal,
) -> Result<Vec<u8>, ApiError> {
    let model = &asked.model;
    let to_call = |batch: &BatchEmbedContentsRequest<'_>| {
        let mut call = gemini_call(model, "batchEmbedContents", batch.to_json().into(), AnswerKind::Plain);
        asked.change_headers(&mut call);
        call
    };
    let calls: Vec<_> = wanted.to_gemini(model).iter().map(to_call).collect();
    let branches = journal.branches(calls.len()).iter_mut();
    let fetches = calls.iter().zip(branches).map(|(call, trail)| gateway.dispatcher.fetch(call, trail));
    let mut vectors = Vec::with_capacity(calls.len());
    for answer in try_join_all(fetches).await? {
        vectors.push(serde_json::from_slice(&answer.body).map_err(|error| unreadable(&error))?);
    }
    Ok(embeddings_response(vectors, wanted, model).map_err(|error| unreadable(&error))?.to_json())
}

fn unreadable(error: &dyn std::fmt::Display) -> UpstreamError {
    UpstreamError::Refused(Box::new(Refusal::inside(malformed(&error.to_string()))))
}
