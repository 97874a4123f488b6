//! A stream of Gemini's events as the events of a response.
//!
//! Each has a line with its name and a sequence number without gaps. There is no `[DONE]`.

use std::io::Write as _;

use serde::Serialize;
use serde_json::json;

use super::{
    reply::Reply,
    response::{ResponseMeta, Standing, around, to_keep},
    types::{Annotation, Content, Item, Response, ResponseError, Status, Summary},
};
use crate::convert::{
    gemini::{GenerateContentResponse, signatures::Signed},
    openai::logprobs::Token,
};

/// One event; those fields are set that its name asks for.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Event<'a> {
    #[serde(skip)]
    pub name: &'static str,
    pub output_index: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub item_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<&'a Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<&'a Content>,
    #[serde(rename = "part", skip_serializing_if = "Option::is_none")]
    pub summary: Option<&'a Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(rename = "name", skip_serializing_if = "Option::is_none")]
    pub function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation: Option<&'a Annotation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<&'a [Token]>,
}

/// One response on its way to a client.
#[derive(Debug)]
pub struct ResponseStream {
    meta: ResponseMeta,
    reply: Reply,
    frames: Frames,
}

/// Counts events.
#[derive(Debug, Default)]
struct Frames {
    next: u64,
}

#[derive(Serialize)]
struct Lifecycle<'a> {
    response: Response<'a>,
}

impl ResponseStream {
    pub fn new(meta: ResponseMeta) -> Self {
        Self { reply: Reply::new(&meta), meta, frames: Frames::default() }
    }

    pub fn id(&self) -> &str {
        &self.meta.id
    }

    /// Appends what one event of Gemini's says.
    pub fn event(&mut self, answer: &GenerateContentResponse<'_>, out: &mut Vec<u8>) {
        self.begin(out);
        let Self { meta, reply, frames } = self;
        reply.read(answer, meta, &mut |event| frames.write(event.name, &event, out));
    }

    /// What came with a signature since this was last asked.
    pub fn take_signed(&mut self) -> Vec<Signed> {
        std::mem::take(&mut self.reply.signed)
    }

    /// Appends the end of a whole answer, and tells how the response is kept. `now` is in Unix seconds.
    pub fn finish(&mut self, now: i64, out: &mut Vec<u8>) -> String {
        self.begin(out);
        let Self { meta, reply, frames } = self;
        let (status, incomplete) = reply.end(meta, &mut |event| frames.write(event.name, &event, out));
        let standing = Standing { status, incomplete, error: None, now };
        let name = if status == Status::Completed { "response.completed" } else { "response.incomplete" };
        frames.write(name, &Lifecycle { response: around(reply, meta, standing) }, out);
        to_keep(reply, meta, standing)
    }

    /// The response as it stands before anything came, in JSON.
    pub fn begun(&self) -> Vec<u8> {
        let response = around(&self.reply, &self.meta, Standing::running());
        serde_json::to_vec(&response).expect("strings, numbers and maps always serialise")
    }

    /// Appends the end of an answer that its client cancelled. There is no event of that name, so the last one tells of a
    /// response that is not whole.
    pub fn cancel(&mut self, out: &mut Vec<u8>) -> String {
        self.begin(out);
        let Self { meta, reply, frames } = self;
        let standing = Standing { status: Status::Cancelled, incomplete: None, error: None, now: 0 };
        frames.write("response.incomplete", &Lifecycle { response: around(reply, meta, standing) }, out);
        to_keep(reply, meta, standing)
    }

    /// Appends the end of an answer that broke off: an error that SDKs raise, and the response that failed, as some only
    /// look for one of them.
    pub fn fail(&mut self, error: &StreamError<'_>, out: &mut Vec<u8>) -> String {
        self.begin(out);
        let StreamError { message, kind, code, status } = *error;
        let told = json!({"error": {"type": kind, "code": code, "message": message, "param": null}});
        let Self { meta, reply, frames } = self;
        frames.write("error", &told, out);
        let error = Some(ResponseError { code: failure_code(status), message });
        let standing = Standing { status: Status::Failed, incomplete: None, error, now: 0 };
        frames.write("response.failed", &Lifecycle { response: around(reply, meta, standing) }, out);
        to_keep(reply, meta, standing)
    }

    /// The first two events.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let Self { meta, reply, frames } = self;
        if frames.next == 0 {
            for name in ["response.created", "response.in_progress"] {
                frames.write(name, &Lifecycle { response: around(reply, meta, Standing::running()) }, out);
            }
        }
    }
}

/// Why a stream broke off, in OpenAI's words.
#[derive(Debug, Clone, Copy)]
pub struct StreamError<'a> {
    pub message: &'a str,
    pub kind: &'a str,
    pub code: Option<&'a str>,
    /// The HTTP status that it would have had.
    pub status: u16,
}

/// `response.error.code`, which SDKs check against a list.
fn failure_code(status: u16) -> &'static str {
    match status {
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_prompt",
        _ => "server_error",
    }
}

impl Frames {
    /// `fields` serialise to an object with at least one field.
    fn write(&mut self, name: &str, fields: &impl Serialize, out: &mut Vec<u8>) {
        const WRITES: &str = "strings and numbers serialise, and a vector takes every write";
        let number = self.next;
        self.next += 1;
        write!(out, "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number}").expect(WRITES);
        let brace = out.len();
        serde_json::to_writer(&mut *out, fields).expect(WRITES);
        // The object goes on where its own began.
        out[brace] = b',';
        out.extend_from_slice(b"\n\n");
    }
}
