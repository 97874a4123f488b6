//! Requests that were made here, not by the client: one that Google refuses for a reason with a cure is mended and sent once
//! more, with another attempt and nobody blamed.

use std::rc::Rc;

use tracing::debug;

use super::source::Source;
use crate::{
    convert::cures::Cure,
    upstream::{
        answer::AnswerStream,
        call::Call,
        dispatch::{Answer, Dispatcher, UpstreamError},
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
