//! The events of a response as they go to the client, and what is done with it when it is told.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;

use super::{OpenAi, envelope::words, writer::HEARTBEAT};
use crate::{
    api::{
        archive::ToKeep,
        converted::answer_of,
        error::{ApiError, Envelope},
        signatures::Remembered,
        stream::Writer,
    },
    convert::openai::responses::{ResponseStream, stream::StreamError},
    domain::time::Now,
};

pub struct Events {
    pub stream: ResponseStream,
    pub remembered: Remembered,
    /// Taken when the response has ended.
    pub to_keep: Option<ToKeep>,
}

impl Events {
    fn keep(&mut self, response: String) {
        if let Some(to_keep) = self.to_keep.take() {
            to_keep.keep(response);
        }
    }
}

impl Writer for Events {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn event(&mut self, _: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        self.stream.event(&answer_of(data)?, out);
        self.remembered.remember(&self.stream.take_signed());
        Ok(())
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEARTBEAT);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let response = self.stream.finish(Now::read().utc.timestamp(), out);
        self.remembered.remember(&self.stream.take_signed());
        self.keep(response);
    }

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        let status = OpenAi::status(error.kind());
        let (kind, code) = words(error, status);
        let message = error.to_string();
        let response = self.stream.fail(&StreamError { message: &message, kind, code, status }, out);
        self.keep(response);
    }
}

/// The same for a response that nobody has to wait for: it can be ended from outside of its stream.
#[derive(Clone)]
pub struct SharedEvents(Rc<RefCell<Events>>);

impl SharedEvents {
    pub fn new(events: Events) -> Self {
        Self(Rc::new(RefCell::new(events)))
    }

    /// Ends a response that its client does not want any more.
    pub fn cancel(&self) -> Vec<u8> {
        let (mut events, mut out) = (self.0.borrow_mut(), Vec::new());
        let response = events.stream.cancel(&mut out);
        events.keep(response);
        out
    }

    /// Ends a response that has not ended, as the gateway stops.
    pub fn give_up(&self) -> Option<Vec<u8>> {
        let (mut events, mut out) = (self.0.borrow_mut(), Vec::new());
        events.to_keep.is_some().then(|| {
            let message = "The gateway was stopped before the response was complete.";
            let error = StreamError { message, kind: "server_error", code: None, status: 503 };
            let response = events.stream.fail(&error, &mut out);
            events.keep(response);
            out
        })
    }
}

impl Writer for SharedEvents {
    const CONTENT_TYPE: &'static str = Events::CONTENT_TYPE;

    fn event(&mut self, index: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        self.0.borrow_mut().event(index, data, out)
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        self.0.borrow_mut().heartbeat(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.0.borrow_mut().end(out);
    }

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        self.0.borrow_mut().failure(error, out);
    }
}
