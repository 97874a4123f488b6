//! Requests that were made here, not by the client: one that Google refuses for a reason with a cure is mended and sent again,
//! with another attempt and nobody blamed. Each cure is tried once.

use std::{borrow::Cow, rc::Rc};

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
    mending(call, async |call| dispatcher.fetch(call, trail).await).await
}

/// Opens a stream.
pub async fn open(
    dispatcher: &Rc<Dispatcher>,
    call: &Call,
    trail: &mut Trail,
) -> Result<AnswerStream, UpstreamError> {
    mending(call, async |call| dispatcher.open(call, trail).await).await
}

/// Sends a call until Google takes it, or refuses it for a reason that was mended already or never can be.
async fn mending<T>(
    call: &Call,
    mut send: impl AsyncFnMut(&Call) -> Result<T, UpstreamError>,
) -> Result<T, UpstreamError> {
    let (mut call, mut tried) = (Cow::Borrowed(call), Vec::new());
    loop {
        let error = match send(&call).await {
            Err(error) => error,
            sent => return sent,
        };
        match mended(&call, &error, &mut tried) {
            Some(mended) => call = Cow::Owned(mended),
            None => return Err(error),
        }
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

/// The call with a body that Google may take; `tried` are the cures that did not suffice.
fn mended(call: &Call, error: &UpstreamError, tried: &mut Vec<Cure>) -> Option<Call> {
    let UpstreamError::Refused(refusal) = error else { return None };
    if refusal.fault.status != 400 {
        return None;
    }
    let cure = Cure::of(&refusal.fault.error.message).filter(|cure| !tried.contains(cure))?;
    tried.push(cure);
    let body = cure.mend(&call.body)?;
    debug!(model = %call.model, ?cure, "a converted request was refused and is mended");
    Some(Call { body: body.into(), ..call.clone() })
}
