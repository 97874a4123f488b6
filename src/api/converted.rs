//! Requests that were made here, not by the client: one that Google refuses for a reason with a cure is mended and sent once
//! more, with another attempt and nobody blamed.

use std::rc::Rc;

use bytes::Bytes;
use tracing::debug;

use super::{
    error::ApiError,
    gateway::Gateway,
    journal::Journal,
    source::{self, Source},
    stream::Opening,
};
use crate::{
    convert::{cures::Cure, gemini::GenerateContentResponse},
    domain::model::ModelName,
    upstream::{
        answer::AnswerStream,
        call::Call,
        dispatch::{Answer, Dispatcher, Refusal, UpstreamError, malformed},
        trail::Trail,
    },
};

/// Gets an answer whole.
pub async fn fetch(
    dispatcher: &Rc<Dispatcher>,
    call: &Call,
    trail: &mut Trail,
) -> Result<Answer, UpstreamError> {
    match dispatcher.fetch(call, trail).await {
        Err(error) => match mended(call, &error) {
            Some(call) => dispatcher.fetch(&call, trail).await,
            None => Err(error),
        },
        answer => answer,
    }
}

/// Opens a stream.
pub async fn open(
    dispatcher: &Rc<Dispatcher>,
    call: &Call,
    trail: &mut Trail,
) -> Result<AnswerStream, UpstreamError> {
    match dispatcher.open(call, trail).await {
        Err(error) => match mended(call, &error) {
            Some(call) => dispatcher.open(&call, trail).await,
            None => Err(error),
        },
        stream => stream,
    }
}

/// The same, or what is made to look like one.
pub async fn open_source(
    dispatcher: &Rc<Dispatcher>,
    call: &Call,
    trail: &mut Trail,
    is_fake: bool,
) -> Result<Source, UpstreamError> {
    if is_fake {
        fetch(dispatcher, call, trail).await.map(Source::from)
    } else {
        open(dispatcher, call, trail).await.map(Source::from)
    }
}

/// The one answer to a request, whole; with the links that a search found, where they are wanted.
pub async fn whole(
    gateway: &Gateway,
    call: &Call,
    links: bool,
    trail: &mut Trail,
) -> Result<Answer, ApiError> {
    let mut answer = fetch(&gateway.dispatcher, call, trail).await?;
    if links {
        source::add_links(&mut answer);
    }
    Ok(answer)
}

/// The same as a stream, before anything has come.
pub fn opening(gateway: &Gateway, call: Call, links: bool, mut journal: Journal) -> Opening {
    let (dispatcher, is_fake) = (gateway.dispatcher.clone(), gateway.streams.fake.is_some());
    Box::pin(async move {
        let opened = open_source(&dispatcher, &call, &mut journal.trail, is_fake).await;
        (opened.map(|source| vec![source.with_links(links)]), journal)
    })
}

/// Google's method for an answer, told as it comes or whole.
pub fn method(gateway: &Gateway, is_stream: bool) -> &'static str {
    if is_stream && gateway.streams.fake.is_none() {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    }
}

/// The most tokens that the model writes, where that is known.
pub fn output_limit(gateway: &Gateway, model: &ModelName) -> Option<u64> {
    gateway.models.borrow().find(model)?["outputTokenLimit"].as_u64()
}

/// Reads an answer of Gemini's, whole or one event.
pub fn answer_of(data: &Bytes) -> Result<GenerateContentResponse<'_>, ApiError> {
    serde_json::from_slice(data).map_err(|_| unreadable())
}

/// JSON of Google's that is not what was asked for.
pub fn unreadable() -> ApiError {
    let fault = malformed("Gemini sent something that is not an answer");
    UpstreamError::Refused(Box::new(Refusal::inside(fault))).into()
}

/// The call with a body that Google may take.
fn mended(call: &Call, error: &UpstreamError) -> Option<Call> {
    let UpstreamError::Refused(refusal) = error else { return None };
    if refusal.fault.status != 400 {
        return None;
    }
    let cure = Cure::of(&refusal.fault.error.message)?;
    let body = cure.mend(&call.body)?;
    debug!(model = %call.model, ?cure, "a converted request was refused and is mended");
    Some(Call { body: body.into(), ..call.clone() })
}
