//! Streams as Anthropic's clients read them.

use bytes::Bytes;

use super::{Anthropic, envelope};
use crate::{
    api::{
        converted::answer_of,
        error::{ApiError, Envelope},
        signatures::Remembered,
        stream::Writer,
    },
    convert::anthropic::MessageStream,
};

/// Gemini's events as those of a message.
pub struct MessageEvents {
    pub stream: MessageStream,
    pub remembered: Remembered,
    /// As in the header `request-id`.
    pub request_id: String,
}

impl Writer for MessageEvents {
    const CONTENT_TYPE: &'static str = "text/event-stream; charset=utf-8";

    fn event(&mut self, _: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        self.stream.event(&answer_of(data)?, out);
        self.remembered.remember(&self.stream.take_signed());
        Ok(())
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        MessageStream::ping(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.stream.finish(out);
        self.remembered.remember(&self.stream.take_signed());
    }

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        let status = Anthropic::status(error.kind());
        MessageStream::error(out, envelope::kind(status), &envelope::message(error), &self.request_id);
    }
}
