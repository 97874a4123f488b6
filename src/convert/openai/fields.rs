//! What becomes of every field of a chat completion request. Nothing is dropped that is not listed here with its reason.

use super::json::Object;
use crate::convert::{
    ConvertError,
    fate::{self, Fate, Fates},
};

use Fate::{Honoured, Ignored, Mapped, Refused};

/// All fields that OpenAI's SDKs can express, and the vendor fields with a meaning. Others are ignored as unknown.
pub const FIELD_FATES: &Fates = &[OWN, COMMON];

const OWN: &[(&str, Fate)] = &[
    ("model", Honoured),
    ("messages", Honoured),
    ("stream", Honoured),
    ("stream_options", Mapped("include_usage is honoured; obfuscation is never added")),
    ("max_completion_tokens", Mapped("at most what the model can write")),
    ("max_tokens", Mapped("at most what the model can write")),
    ("temperature", Honoured),
    ("top_p", Honoured),
    ("top_k", Mapped("a vendor field with the meaning of Gemini's topK")),
    (
        "presence_penalty",
        Mapped("left out on models that take no penalties, which are those since Gemini 2.5"),
    ),
    (
        "frequency_penalty",
        Mapped("left out on models that take no penalties, which are those since Gemini 2.5"),
    ),
    ("seed", Mapped("reduced to 32 bits")),
    ("n", Mapped("as that many requests to Gemini, at most 8")),
    ("stop", Mapped("five are Gemini's to find; the gateway finds the others")),
    ("response_format", Mapped("as a JSON schema; as words where a model cannot combine it with tools")),
    (
        "tools",
        Mapped(
            "functions, of two with one name the first; custom tools become functions with one text argument",
        ),
    ),
    ("tool_choice", Honoured),
    ("parallel_tool_calls", Mapped("false passes on the first call of an answer only")),
    ("reasoning_effort", Mapped("to the nearest level or budget; no effect on models that do not think")),
    ("modalities", Mapped("text and image; audio with models that speak")),
    ("audio", Mapped("a voice of Gemini's; wav, or pcm16, which streams need")),
    ("web_search_options", Mapped("Google Search; its size and place have no counterpart")),
    ("logprobs", Mapped("null in the answers of models that do not tell them")),
    ("top_logprobs", Mapped("with logprobs, 0 to 20")),
    ("logit_bias", Refused("by Gemini's models: tokens cannot be weighted.")),
    ("functions", Mapped("as tools; calls go back as function_call")),
    ("function_call", Mapped("as tool_choice; without functions it has no effect")),
    ("prediction", Ignored("only speeds up OpenAI's own models")),
    ("store", Ignored("the gateway stores no answers")),
    ("metadata", Ignored("labels of stored answers")),
    ("verbosity", Ignored("a hint that Gemini has no switch for")),
];

/// What means the same in both of OpenAI's APIs.
pub(super) const COMMON: &[(&str, Fate)] = &[
    ("service_tier", Mapped("flex and priority; others are the standard tier")),
    (
        "google",
        Mapped("thinking_config, cached_content and safety_settings, as on Google's own OpenAI layer"),
    ),
    ("extra_body", Mapped("its `google` field, as above")),
    ("user", Ignored("an abuse label of OpenAI's")),
    ("safety_identifier", Ignored("an abuse label of OpenAI's")),
    ("prompt_cache_key", Ignored("Gemini's implicit cache needs no key")),
    ("prompt_cache_options", Ignored("Gemini's implicit cache has no options")),
    ("prompt_cache_retention", Ignored("Gemini's implicit cache has no options")),
    ("moderation", Ignored("safety settings of the gateway apply")),
];

/// Fails on a refused field that asks for something.
pub(super) fn refuse(request: &mut Object<'_>) -> Result<(), ConvertError> {
    fate::refuse(request, FIELD_FATES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::{
        openai::{ChatOptions, chat_request, to_gemini},
        testing::{assert_fates, assert_printed, with},
        traits::ModelTraits,
    };

    /// Every field of `CompletionCreateParams` of openai 3.54.0 with a value that asks for something.
    fn sdk_fields() -> Value {
        json!({
            "model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hello"}], "stream": true,
            "stream_options": {"include_usage": true}, "max_completion_tokens": 5, "max_tokens": 5, "temperature": 0.5,
            "top_p": 0.5, "presence_penalty": 0.5, "frequency_penalty": 0.5, "seed": 7, "n": 2, "stop": ["a"],
            "logprobs": true, "top_logprobs": 2, "logit_bias": {"1": 2}, "response_format": {"type": "json_object"},
            "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none", "parallel_tool_calls": false,
            "functions": [{"name": "f"}], "function_call": {"name": "f"}, "reasoning_effort": "low", "verbosity": "low",
            "modalities": ["text", "image"], "audio": {"format": "wav", "voice": "alloy"}, "web_search_options": {},
            "service_tier": "flex", "prediction": {"type": "content", "content": "x"}, "store": true, "metadata": {"a": "b"},
            "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_options": {"mode": "x"},
            "prompt_cache_retention": "24h", "moderation": {"model": "x"},
        })
    }

    fn vendor_fields() -> Value {
        let google = json!({"cached_content": "c"});
        json!({"top_k": 5, "google": google, "extra_body": {"google": google}})
    }

    fn beside(name: &str) -> Value {
        match name {
            "top_logprobs" => json!({"logprobs": true}),
            "tool_choice" => json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
            "function_call" => json!({"functions": [{"name": "f"}]}),
            "reasoning_effort" => json!({"model": "gemini-2.5-flash"}),
            "audio" => json!({"model": "gemini-2.5-flash-preview-tts"}),
            _ => json!({}),
        }
    }

    fn convert(fields: &Value) -> Result<Vec<u8>, ConvertError> {
        let body = json!({"model": "gemini-2.0-flash", "messages": [{"role": "user", "content": "hi"}]});
        let request = chat_request(with(body, fields).to_string().as_bytes())?;
        let options = ChatOptions { model: ModelTraits::of(&request.model), ..ChatOptions::default() };
        Ok(to_gemini(&request, &options)?.to_json())
    }

    #[test]
    fn every_field_of_the_sdk_has_a_fate_and_meets_it() {
        // How an answer is told, and what sound means only beside `modalities`.
        let elsewhere = ["model", "stream", "stream_options", "n", "parallel_tool_calls", "audio"];
        assert_fates(FIELD_FATES, &with(sdk_fields(), &vendor_fields()), &elsewhere, beside, convert);
    }

    #[test]
    fn the_documents_print_this_table() {
        assert_printed(FIELD_FATES);
    }

    #[test]
    fn null_in_any_field_changes_nothing() {
        let plain = convert(&json!({}));
        for (name, _) in
            FIELD_FATES.iter().copied().flatten().filter(|(name, _)| !["model", "messages"].contains(name))
        {
            assert_eq!(convert(&json!({ *name: null })), plain, "{name}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(convert(&json!({"enable_thinking": {"x": [1]}})), convert(&json!({})));
    }
}
