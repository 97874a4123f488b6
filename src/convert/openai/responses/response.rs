//! What an answer needs to know of its request, and a whole answer as a response.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    reply::Reply,
    request::ResponsesRequest,
    types::{IncompleteDetails, Item, Response, ResponseError, Status, Usage},
};
use crate::convert::{
    gemini::{GenerateContentResponse, signatures::Signed, tool_names::ToolNames},
    traits::ModelTraits,
};

#[derive(Debug, Clone)]
pub struct ResponseMeta {
    /// `resp_` and 32 hexadecimal digits; ids of items and calls are derived from it.
    pub id: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Gemini's name of the model.
    pub gemini_model: String,
    pub show_thoughts: bool,
    pub include_encrypted: bool,
    /// Otherwise only the first call of an answer is passed on.
    pub parallel_tool_calls: bool,
    /// Alternatives to each token, when probabilities were asked for.
    pub log_probabilities: Option<u64>,
    pub names: Arc<ToolNames>,
    /// The model signs what it says.
    pub is_signed: bool,
    pub echo: Map<String, Value>,
}

impl ResponseMeta {
    pub fn new(request: &ResponsesRequest, id: String, created_at: i64, gemini_model: &str) -> Self {
        Self {
            id,
            created_at,
            gemini_model: gemini_model.to_owned(),
            show_thoughts: request.show_thoughts,
            include_encrypted: request.include_encrypted,
            parallel_tool_calls: request.chat.parallel_tool_calls,
            log_probabilities: request.chat.log_probabilities,
            names: Arc::clone(&request.chat.names),
            is_signed: ModelTraits::of(gemini_model).signatures,
            echo: request.echo.clone(),
        }
    }
}

/// How a response stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    pub status: Status,
    pub incomplete: Option<IncompleteDetails>,
    pub error: Option<ResponseError<'a>>,
    /// Unix seconds.
    pub now: i64,
}

impl Standing<'_> {
    pub fn running() -> Self {
        Self { status: Status::InProgress, incomplete: None, error: None, now: 0 }
    }
}

/// The response around what there is of an output.
pub(super) fn around<'a>(reply: &'a Reply, meta: &'a ResponseMeta, standing: Standing<'a>) -> Response<'a> {
    let Standing { status, incomplete, error, now } = standing;
    let is_running = status == Status::InProgress;
    let output: &[Item] = if is_running { &[] } else { &reply.items };
    Response {
        id: &meta.id,
        object: "response",
        created_at: meta.created_at,
        completed_at: (status == Status::Completed).then_some(now),
        status,
        error,
        incomplete_details: incomplete,
        output,
        usage: (!is_running).then_some(reply.usage).filter(|usage| *usage != Usage::default()),
        service_tier: reply.service_tier.unwrap_or("default"),
        echo: &meta.echo,
    }
}

/// A response that is told, and how it is kept.
#[derive(Debug)]
pub struct Told {
    pub json: Vec<u8>,
    pub signed: Vec<Signed>,
    pub kept: String,
}

/// A whole answer of Gemini's. `now` is in Unix seconds.
pub fn to_response(answer: &GenerateContentResponse<'_>, meta: &ResponseMeta, now: i64) -> Told {
    let mut reply = Reply::new(meta);
    reply.read(answer, meta, &mut |_| {});
    let (status, incomplete) = reply.end(meta, &mut |_| {});
    let standing = Standing { status, incomplete, error: None, now };
    let json = to_json(&around(&reply, meta, standing));
    let signed = std::mem::take(&mut reply.signed);
    Told { json, signed, kept: to_keep(&mut reply, meta, standing) }
}

/// The response with everything that the next turn needs, whether the client wanted to see it or not.
pub(super) fn to_keep(reply: &mut Reply, meta: &ResponseMeta, standing: Standing<'_>) -> String {
    for item in &mut reply.items {
        if let Item::Reasoning(reasoning) = item {
            reasoning.encrypted_content.clone_from(&reasoning.sealed);
        }
    }
    serde_json::to_string(&around(reply, meta, standing)).expect("strings, numbers and maps always serialise")
}

fn to_json(response: &Response<'_>) -> Vec<u8> {
    serde_json::to_vec(response).expect("strings, numbers and maps always serialise")
}
