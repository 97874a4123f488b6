//! What becomes of every field of a request for a message. Nothing is dropped that is not listed here with its reason.

use super::json::Object;
use crate::convert::{
    ConvertError,
    fate::{self, Fate, Fates},
};

use Fate::{Honoured, Ignored, Mapped, Refused};

/// All fields that Anthropic's SDKs can express, those of beta versions included. Others are ignored as unknown.
pub const FIELD_FATES: &Fates = &[&[
    ("model", Honoured),
    ("messages", Mapped("blocks of hosted tools and thoughts of other models are passed over")),
    (
        "max_tokens",
        Mapped("at most what the model can write; 0 only fills Gemini's cache, at the cost of one token"),
    ),
    ("system", Honoured),
    ("stream", Honoured),
    ("temperature", Mapped("also with API versions that take none any more")),
    ("top_p", Mapped("also with API versions that take none any more")),
    ("top_k", Mapped("also with API versions that take none any more")),
    (
        "stop_sequences",
        Mapped("five are Gemini's to find, and end as `end_turn`; the gateway finds the others"),
    ),
    (
        "tools",
        Mapped(
            "functions, web search, web fetch, code execution; tools that run at the client are functions",
        ),
    ),
    (
        "tool_choice",
        Mapped("one call at a time is the first call of an answer; tools of Google's cannot be forced"),
    ),
    (
        "thinking",
        Mapped(
            "as a budget that leaves room for the answer, or as the nearest level; no effect on models that do not think",
        ),
    ),
    (
        "output_config",
        Mapped("effort as the nearest level or budget; format as a JSON schema, in words where it must"),
    ),
    ("output_format", Mapped("the older name of output_config.format")),
    ("mcp_servers", Refused("by Gemini: call the servers yourself and pass their tools in 'tools'")),
    ("thread", Refused("here: the gateway keeps no conversations")),
    ("cache_control", Ignored("Gemini's implicit cache needs no marks")),
    ("metadata", Ignored("an abuse label of Anthropic's")),
    ("service_tier", Ignored("both values mean Gemini's standard tier")),
    ("speed", Ignored("a mode of Anthropic's own models")),
    ("container", Ignored("code runs in a place that Google makes for each answer")),
    ("context_management", Ignored("the client's history is sent as it is")),
    ("compaction", Ignored("the client's history is sent as it is")),
    ("inference_geo", Ignored("Google chooses the place")),
    ("diagnostics", Ignored("about Anthropic's own cache")),
    ("billing_policy", Ignored("about Anthropic's own bill")),
    ("fallbacks", Ignored("the gateway tries other keys, not other models")),
    ("fallback_credit_token", Ignored("about Anthropic's own bill")),
    ("user_profile_id", Ignored("a label of Anthropic's")),
    ("workspace_id", Ignored("a label of Anthropic's")),
    ("betas", Ignored("what is there is always on")),
]];

/// Fails on a refused field that asks for something.
pub(super) fn refuse(request: &mut Object<'_>) -> Result<(), ConvertError> {
    fate::refuse(request, FIELD_FATES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::{
        anthropic::{MessagesOptions, messages_request, to_gemini},
        testing::{assert_fates, assert_printed, with},
        traits::ModelTraits,
    };

    const MODEL: &str = "gemini-2.5-flash";

    /// Every field of `MessageCreateParams` of anthropic 2.12.0, beta and older names too, with a value that asks for something.
    fn sdk_fields() -> Value {
        json!({
            "model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4000, "system": "be brief",
            "stream": true, "temperature": 0.5, "top_p": 0.5, "top_k": 5, "stop_sequences": ["a"],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"},
            "thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "low"},
            "output_format": {"type": "json_schema", "schema": {"type": "object"}},
            "mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}], "thread": {"id": "x"},
            "cache_control": {"type": "ephemeral"}, "metadata": {"user_id": "u"}, "service_tier": "standard_only",
            "speed": "fast", "container": "c", "context_management": {"edits": []}, "compaction": {"type": "x"},
            "inference_geo": "eu", "diagnostics": {}, "billing_policy": {"x": 1}, "fallbacks": [{"model": "x"}],
            "fallback_credit_token": "t", "user_profile_id": "u", "workspace_id": "w", "betas": ["x"],
        })
    }

    fn beside(name: &str) -> Value {
        match name {
            "tool_choice" => json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
            _ => json!({}),
        }
    }

    fn convert(fields: &Value) -> Result<Vec<u8>, ConvertError> {
        let body =
            json!({"model": MODEL, "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]});
        let request = messages_request(with(body, fields).to_string().as_bytes())?;
        let traits = ModelTraits::of(MODEL);
        let options =
            MessagesOptions { safety_settings: None, model: MODEL, traits: &traits, output_limit: None };
        Ok(to_gemini(&request, &options)?.to_json())
    }

    #[test]
    fn every_field_of_the_sdk_has_a_fate_and_meets_it() {
        assert_fates(FIELD_FATES, &sdk_fields(), &["model", "stream"], beside, convert);
    }

    #[test]
    fn the_documents_print_this_table() {
        assert_printed(FIELD_FATES);
    }
}
