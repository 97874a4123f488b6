//! Streams as Google writes them: server-sent events with `alt=sse`, else one JSON array.

use bytes::Bytes;

use super::Gemini;
use crate::{
    api::{
        error::{ApiError, Envelope},
        stream::Writer,
    },
    upstream::{json_array::JsonArrayWriter, sse::data_event},
};

/// `alt=sse`. Events leave with the JSON that they came with.
#[derive(Debug, Default)]
pub struct Sse;

impl Writer for Sse {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn event(&mut self, _: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        out.extend_from_slice(&data_event(data));
        Ok(())
    }

    /// Google's Python SDK fails on comments; an empty line it does not even see.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
    }

    fn end(&mut self, _: &mut Vec<u8>) {}

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        out.extend_from_slice(&data_event(&error_json(error)));
    }
}

/// Without `alt=sse`: an array whose elements arrive one by one.
#[derive(Debug, Default)]
pub struct JsonArray {
    framing: JsonArrayWriter,
}

impl Writer for JsonArray {
    const CONTENT_TYPE: &'static str = "application/json; charset=UTF-8";

    fn event(&mut self, _: usize, data: &Bytes, out: &mut Vec<u8>) -> Result<(), ApiError> {
        out.extend_from_slice(&self.framing.separator());
        out.extend_from_slice(data);
        Ok(())
    }

    /// White space between the elements of an array means nothing.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&std::mem::take(&mut self.framing).end());
    }

    fn failure(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.framing.separator());
        out.extend_from_slice(&error_json(error));
        self.end(out);
    }
}

fn error_json(error: &ApiError) -> Vec<u8> {
    Gemini::body(error, Gemini::status(error.kind()))
}
