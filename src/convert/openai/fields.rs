//! What becomes of every field of a chat completion request. Nothing is dropped that is not listed here with its reason.

use super::json::Object;
use crate::convert::{
    ConvertError,
    fate::{self, Fate},
};

use Fate::{Honoured, Ignored, Mapped, Refused};

/// All fields that OpenAI's SDKs can express, and the vendor fields with a meaning. Others are ignored as unknown.
pub const FIELD_FATES: &[(&str, Fate)] = &[
    ("model", Honoured),
    ("messages", Honoured),
    ("stream", Honoured),
    ("stream_options", Mapped("include_usage is honoured; obfuscation is never added")),
    ("max_completion_tokens", Honoured),
    ("max_tokens", Honoured),
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
    ("stop", Mapped("at most 5 different texts")),
    ("response_format", Mapped("as a JSON schema; as words where a model cannot combine it with tools")),
    ("tools", Mapped("functions; custom tools become functions with one text argument")),
    ("tool_choice", Honoured),
    ("parallel_tool_calls", Mapped("false passes on the first call of an answer only")),
    ("reasoning_effort", Mapped("to the nearest level or budget; no effect on models that do not think")),
    ("modalities", Mapped("text and image; audio with models that speak")),
    ("audio", Mapped("a voice of Gemini's; wav, or pcm16, which streams need")),
    ("web_search_options", Mapped("Google Search; its size and place have no counterpart")),
    ("service_tier", Mapped("flex and priority; others are the standard tier")),
    (
        "google",
        Mapped("thinking_config, cached_content and safety_settings, as on Google's own OpenAI layer"),
    ),
    ("extra_body", Mapped("its `google` field, as above")),
    ("logprobs", Mapped("null in the answers of models that do not tell them")),
    ("top_logprobs", Mapped("with logprobs, 0 to 20")),
    ("logit_bias", Refused("by Gemini's models: tokens cannot be weighted.")),
    ("functions", Mapped("as tools; calls go back as function_call")),
    ("function_call", Mapped("as tool_choice; without functions it has no effect")),
    ("prediction", Ignored("only speeds up OpenAI's own models")),
    ("store", Ignored("the gateway stores no answers")),
    ("metadata", Ignored("labels of stored answers")),
    ("user", Ignored("an abuse label of OpenAI's")),
    ("safety_identifier", Ignored("an abuse label of OpenAI's")),
    ("prompt_cache_key", Ignored("Gemini's implicit cache needs no key")),
    ("prompt_cache_options", Ignored("Gemini's implicit cache has no options")),
    ("prompt_cache_retention", Ignored("Gemini's implicit cache has no options")),
    ("moderation", Ignored("safety settings of the gateway apply")),
    ("verbosity", Ignored("a hint that Gemini has no switch for")),
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
        traits::ModelTraits,
    };

    /// Every field of `CompletionCreateParams` of openai 3.54.0 with a value that asks for something.
    fn sdk_fields() -> Value {
        json!({
            "model": "gemini-2.0-flash", "messages": [{"role": "user", "content": "hi"}], "stream": true,
            "stream_options": {"include_usage": true}, "max_completion_tokens": 5, "max_tokens": 5, "temperature": 0.5,
            "top_p": 0.5, "presence_penalty": 0.5, "frequency_penalty": 0.5, "seed": 7, "n": 2, "stop": ["a"],
            "logprobs": true, "top_logprobs": 2, "logit_bias": {"1": 2}, "response_format": {"type": "json_object"},
            "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none", "parallel_tool_calls": false,
            "functions": [{"name": "f"}], "function_call": "auto", "reasoning_effort": "low", "verbosity": "low",
            "modalities": ["text"], "audio": {"format": "wav", "voice": "alloy"}, "web_search_options": {},
            "service_tier": "flex", "prediction": {"type": "content", "content": "x"}, "store": true, "metadata": {"a": "b"},
            "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_options": {"mode": "x"},
            "prompt_cache_retention": "24h", "moderation": {"model": "x"},
        })
    }

    fn convert(extra: &[(&str, &Value)]) -> Result<Vec<u8>, ConvertError> {
        let mut body = json!({"model": "gemini-2.0-flash", "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in extra {
            body[*name] = (*value).clone();
        }
        let request = chat_request(body.to_string().as_bytes())?;
        let options = ChatOptions { model: ModelTraits::of("gemini-2.0-flash"), ..ChatOptions::default() };
        Ok(to_gemini(&request, &options)?.to_json())
    }

    #[test]
    fn every_field_of_the_sdk_has_a_fate_and_meets_it() {
        let plain = convert(&[]).unwrap();
        for (name, value) in sdk_fields().as_object().unwrap() {
            let fate = FIELD_FATES.iter().find(|(field, _)| field == name).map(|(_, fate)| fate);

            // Means something only beside another.
            let beside = (name == "top_logprobs").then_some(("logprobs", &Value::Bool(true)));
            let fields: Vec<_> = std::iter::once((name.as_str(), value)).chain(beside).collect();

            let outcome = convert(&fields);

            match fate.unwrap_or_else(|| panic!("{name} has no fate")) {
                Honoured | Mapped(_) => assert!(outcome.is_ok(), "{name}: {outcome:?}"),
                Ignored(_) => assert_eq!(outcome.as_ref(), Ok(&plain), "{name}"),
                Refused(_) => {
                    let error = outcome.unwrap_err();
                    assert_eq!(
                        (error.param(), error.code()),
                        (Some(name.as_str()), Some("unsupported_parameter"))
                    );
                }
            }
        }
    }

    /// The table as `FIELDS.md` prints it.
    fn printed() -> String {
        let row = |(name, fate): &(&str, Fate)| {
            let (word, text) = match fate {
                Honoured => ("honoured", ""),
                Mapped(text) => ("mapped", *text),
                Ignored(text) => ("ignored", *text),
                Refused(text) => ("refused", *text),
            };
            format!("| `{name}` | {word} | {text} |\n")
        };
        FIELD_FATES.iter().map(row).collect()
    }

    #[test]
    fn the_documents_print_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/FIELDS.md");
        let document = std::fs::read_to_string(path).unwrap();

        assert!(document.contains(&printed()), "FIELDS.md has to hold these rows:\n{}", printed());
    }

    #[test]
    fn null_in_any_field_changes_nothing() {
        let plain = convert(&[]);
        for (name, _) in FIELD_FATES.iter().filter(|(name, _)| !["model", "messages"].contains(name)) {
            assert_eq!(convert(&[(name, &Value::Null)]), plain, "{name}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(convert(&[("enable_thinking", &json!({"x": [1]}))]), convert(&[]));
    }
}
