//! Where the events of a streamed answer come from: a stream of Google's, or an answer that was fetched whole.

use std::{
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    convert::switches::{SearchLinks, Smoothing},
    upstream::{
        answer::AnswerStream,
        call::Call,
        classify::Fault,
        dispatch::{Answer, Dispatcher, UpstreamError},
        trail::Trail,
    },
};

/// One answer on its way to a writer.
pub struct Source {
    kind: Kind,
    /// Ends with the links that were found.
    links: Option<SearchLinks>,
}

enum Kind {
    Events(Box<AnswerStream>),
    /// One event; its key was given back when it was fetched.
    Whole(Option<Bytes>),
}

/// How a streamed answer is made to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// A silent stream gets a sign of life this often; never, if `None`.
    pub heartbeat: Option<Duration>,
    pub smoothing: Option<Smoothing>,
}

impl From<Option<Duration>> for Shape {
    fn from(heartbeat: Option<Duration>) -> Self {
        Self { heartbeat, smoothing: None }
    }
}

impl From<AnswerStream> for Source {
    fn from(events: AnswerStream) -> Self {
        Self { kind: Kind::Events(Box::new(events)), links: None }
    }
}

impl From<Answer> for Source {
    fn from(answer: Answer) -> Self {
        Self { kind: Kind::Whole(Some(answer.body)), links: None }
    }
}

impl Source {
    #[must_use]
    pub fn with_links(self, is_wanted: bool) -> Self {
        Self { links: is_wanted.then(SearchLinks::default), ..self }
    }

    /// The data of the next event; after an error or the end there is nothing more.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<Fault>>>> {
        let polled = match &mut self.kind {
            Kind::Events(events) => events.poll_event(cx),
            Kind::Whole(body) => Poll::Ready(body.take().map(Ok)),
        };
        let Some(links) = &mut self.links else { return polled };
        polled.map(|event| event.map(|event| event.map(|data| links.event(&data).map_or(data, Bytes::from))))
    }

    /// Writes down how the answer ended and gives the key back.
    pub fn conclude(self, trail: &mut Trail) {
        match self.kind {
            Kind::Events(events) => events.conclude(trail),
            Kind::Whole(_) => {}
        }
    }

    /// When the time of the whole request is up; `None` when everything is here already.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Events(events) => Some(events.deadline()),
            Kind::Whole(_) => None,
        }
    }

    /// What is to be said of an answer that is still running then.
    pub fn overdue(&self) -> Option<Box<Fault>> {
        match &self.kind {
            Kind::Events(events) => Some(events.overdue()),
            Kind::Whole(_) => None,
        }
    }
}

/// Opens the source of a request that goes to Google as the client wrote it.
pub async fn open(
    dispatcher: &Rc<Dispatcher>,
    call: &Call,
    trail: &mut Trail,
    is_fake: bool,
) -> Result<Source, UpstreamError> {
    if is_fake {
        dispatcher.fetch(call, trail).await.map(Source::from)
    } else {
        dispatcher.open(call, trail).await.map(Source::from)
    }
}

/// Puts what a search found behind a whole answer.
pub fn add_links(answer: &mut Answer) {
    if let Some(body) = SearchLinks::default().event(&answer.body) {
        answer.body = body.into();
    }
}
