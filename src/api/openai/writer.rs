//! Streams as OpenAI's clients read them.

use bytes::Bytes;

use super::{OpenAi, envelope::words};
use crate::{
    api::{
        converted::answer_of,
        error::{ApiError, Envelope},
        signatures::Remembered,
        stream::Writer,
    },
    convert::openai::stream::ChatStream,
};

/// Ignored by every SDK, as the specification of server-sent events says.
pub(super) const HEARTBEAT: &[u8] = b": keep-alive\n\n";

/// Gemini's events as chunks of a chat completion.
pub struct Chunks {
    pub stream: ChatStream,
    pub remembered: Remembered,
}

impl Writer for Chunks {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn event(&mut self, index: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        self.stream.event(index, &answer_of(data)?, out);
        self.remembered.remember(&self.stream.take_signed());
        Ok(())
    }

    fn source_ends(&mut self, index: usize, out: &mut Vec<u8>) {
        self.stream.finish(index, out);
        self.remembered.remember(&self.stream.take_signed());
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEARTBEAT);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.stream.done(out);
    }

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        write_error(error, out);
    }
}

/// Chunks of Google's own OpenAI layer, as they come.
#[derive(Debug)]
pub struct AsTheyCome;

impl Writer for AsTheyCome {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn event(&mut self, _: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        for line in data.split(|byte| *byte == b'\n') {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
        Ok(())
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEARTBEAT);
    }

    fn end(&mut self, _: &mut Vec<u8>) {}

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        write_error(error, out);
    }
}

fn write_error(error: &ApiError, out: &mut Vec<u8>) {
    let (kind, code) = words(error, OpenAi::status(error.kind()));
    ChatStream::error(out, &error.to_string(), kind, code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_an_event_is_marked_as_data() {
        let mut out = Vec::new();

        AsTheyCome.event(0, &Bytes::from_static(b"{\n}"), &mut out).unwrap();

        assert_eq!(out, b"data: {\ndata: }\n\n");
    }
}
