//! What becomes of every field of a request to the Responses API. Nothing is dropped that is not listed here with its reason.

use crate::convert::{
    fate::{
        Fate::{self, Honoured, Ignored, Mapped, Refused},
        Fates,
    },
    openai::fields::COMMON,
};

/// All fields that OpenAI's SDKs can express, and the vendor fields with a meaning. Others are ignored as unknown.
pub const FIELD_FATES: &Fates = &[OWN, COMMON];

const OWN: &[(&str, Fate)] = &[
    ("model", Honoured),
    (
        "input",
        Mapped("messages, calls, results, reasoning and references; items of other hosted tools are refused"),
    ),
    ("instructions", Honoured),
    ("stream", Honoured),
    ("stream_options", Ignored("obfuscation is never added")),
    ("store", Honoured),
    ("previous_response_id", Honoured),
    ("max_output_tokens", Mapped("at most what the model can write")),
    ("temperature", Honoured),
    ("top_p", Honoured),
    ("top_logprobs", Mapped("null or empty in the answers of models that do not tell them")),
    (
        "tools",
        Mapped(
            "functions, custom tools, web search as Google Search, code interpreter as Gemini's; others are refused, as are domains of a search and files of a container",
        ),
    ),
    ("tool_choice", Mapped("a hosted tool cannot be forced, only offered")),
    ("parallel_tool_calls", Mapped("false passes on the first call of an answer only")),
    ("reasoning", Mapped("effort to the nearest level or budget; summary shows Gemini's own summaries")),
    ("text", Mapped("the format as a JSON schema; verbosity has no counterpart")),
    (
        "include",
        Mapped(
            "reasoning.encrypted_content and message.output_text.logprobs; sources of searches are always told",
        ),
    ),
    ("metadata", Honoured),
    ("background", Mapped("made by this process, and told as failed if it stops meanwhile; needs store")),
    ("background_options", Ignored("what is made in the background is made at once")),
    ("conversation", Refused("here: no conversations are kept. Send 'previous_response_id' instead.")),
    ("prompt", Refused("here: no prompt templates are kept. Send their text as 'instructions'.")),
    ("truncation", Ignored("Gemini's windows are large, and an input beyond them is refused")),
    ("max_tool_calls", Ignored("Gemini decides how often it searches")),
    ("context_management", Ignored("nothing is compacted")),
    ("image", Ignored("pictures go to Gemini as they are")),
    ("access_programs", Ignored("about OpenAI's own models")),
];
