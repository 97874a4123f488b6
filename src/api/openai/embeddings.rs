//! `POST /v1/embeddings`: converted to batches of Gemini's and joined again.

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web::Data};
use futures_util::future::join_all;

use super::{
    OpenAi,
    chat::{gemini_call, model_name, read},
};
use crate::{
    api::{
        auth::ClientToken,
        body::Body,
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
    },
    convert::openai::embeddings::{EmbeddingsRequest, embeddings_request, embeddings_response},
    domain::model::ModelName,
    upstream::{
        call::AnswerKind,
        dispatch::{Refusal, UpstreamError, malformed},
        trail::Trail,
    },
};

pub async fn create_embeddings(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
    body: Body<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let asked = Asked::of("openai", "embeddings");
    let mut journal = Journal::begin(&gateway, &request, token.id, asked, &body.bytes);
    let embedded = match prepare(&request, &gateway, &body.bytes, &mut journal) {
        Ok((wanted, model)) => embed(&gateway, &wanted, &model, &mut journal).await,
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
) -> Result<(EmbeddingsRequest, ModelName), ApiError> {
    let wanted = read(request, body, journal, embeddings_request)?;
    journal.asks_for(&wanted.model, false);
    let model = model_name(gateway, &wanted.model)?;
    Ok((wanted, model))
}

/// Sends the batches side by side.
async fn embed(
    gateway: &Gateway,
    wanted: &EmbeddingsRequest,
    model: &ModelName,
    journal: &mut Journal,
) -> Result<Vec<u8>, ApiError> {
    let fetches = wanted.to_gemini(model).into_iter().map(|batch| async move {
        let call = gemini_call(model, "batchEmbedContents", batch.to_json().into(), AnswerKind::Plain);
        let mut trail = Trail::default();
        (gateway.dispatcher.fetch(&call, &mut trail).await, trail)
    });
    let mut answers = Vec::new();
    let mut failed = None;
    for (answer, trail) in join_all(fetches).await {
        journal.trail.merge(trail);
        match answer {
            Ok(answer) => {
                answers.push(serde_json::from_slice(&answer.body).map_err(|error| unreadable(&error))?)
            }
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    Ok(embeddings_response(answers, wanted, model).map_err(|error| unreadable(&error))?.to_json())
}

fn unreadable(error: &dyn std::fmt::Display) -> UpstreamError {
    UpstreamError::Refused(Box::new(Refusal::inside(malformed(&error.to_string()))))
}
