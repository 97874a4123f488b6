//! A whole answer of Gemini's as a chat completion.

use std::{borrow::Cow, sync::Arc};

use super::{
    answer::{Answer, Piece},
    audio::Spoken,
    chat::ChatRequest,
    outputs::AudioFormat,
    logprobs::Logprobs,
    types::{ChatCompletion, Choice, Message, ToolCall},
    usage,
};
use crate::convert::{
    gemini::{GenerateContentResponse, signatures::Signed, tool_names::ToolNames},
    traits::ModelTraits,
};

/// What an answer needs to know of its request.
#[derive(Debug, Clone)]
pub struct ChatMeta {
    /// `chatcmpl-` and something unique: ids of tool calls are derived from it.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// As the client wrote it.
    pub model: String,
    /// Thoughts are passed on as `reasoning_content`.
    pub show_thoughts: bool,
    /// Otherwise only the first call of an answer is passed on.
    pub parallel_tool_calls: bool,
    /// Calls go back as `function_call`.
    pub are_functions: bool,
    /// Alternatives to each token, when probabilities were asked for.
    pub log_probabilities: Option<u64>,
    /// What the answer shall sound as.
    pub speech: Option<AudioFormat>,
    pub names: Arc<ToolNames>,
    /// Stop sequences that Gemini does not know of.
    pub own_stops: Vec<String>,
    /// The model signs what it says.
    pub is_signed: bool,
}

impl ChatMeta {
    /// `show_thoughts` is the gateway's setting, which the client may have overridden.
    pub fn new(
        request: &ChatRequest,
        id: String,
        created: i64,
        show_thoughts: bool,
        traits: &ModelTraits,
    ) -> Self {
        Self {
            id,
            created,
            model: request.model.clone(),
            show_thoughts: request.shows_thoughts(show_thoughts),
            parallel_tool_calls: request.parallel_tool_calls,
            are_functions: request.are_functions,
            log_probabilities: request.log_probabilities,
            speech: request.speech.map(|speech| speech.format),
            names: Arc::clone(&request.names),
            own_stops: request.stop.own().to_vec(),
            is_signed: traits.signatures,
        }
    }

    #[cfg(test)]
    pub(super) fn test() -> Self {
        Self {
            id: "chatcmpl-test".to_owned(),
            created: 1_700_000_000,
            model: "m".to_owned(),
            show_thoughts: true,
            parallel_tool_calls: true,
            are_functions: false,
            log_probabilities: None,
            speech: None,
            names: Arc::default(),
            own_stops: Vec::new(),
            is_signed: true,
        }
    }
}

/// One choice for each answer, in order.
pub fn to_openai<'a>(responses: &'a [GenerateContentResponse<'a>], meta: &'a ChatMeta) -> ChatCompletion<'a> {
    to_openai_signed(responses, meta).0
}

/// The same with what was signed, for whoever remembers it.
pub fn to_openai_signed<'a>(
    responses: &'a [GenerateContentResponse<'a>],
    meta: &'a ChatMeta,
) -> (ChatCompletion<'a>, Vec<Signed>) {
    let mut answers: Vec<Answer> = (0..responses.len()).map(|choice| Answer::new(choice, meta)).collect();
    let read = |(index, (response, answer))| choice(index, response, answer, meta);
    let choices = responses.iter().zip(&mut answers).enumerate().map(read).collect();
    let signed = answers.iter_mut().flat_map(|answer| std::mem::take(&mut answer.signed)).collect();
    let completion = ChatCompletion {
        id: &meta.id,
        object: "chat.completion",
        created: meta.created,
        model: &meta.model,
        choices,
        usage: usage::together(answers.iter().map(|answer| answer.usage)),
        service_tier: answers.first().and_then(|answer| answer.service_tier),
    };
    (completion, signed)
}

fn choice<'a>(
    index: usize,
    response: &'a GenerateContentResponse<'a>,
    answer: &mut Answer,
    meta: &'a ChatMeta,
) -> Choice<'a> {
    let mut message = Message {
        role: "assistant",
        content: None,
        refusal: None,
        reasoning_content: None,
        tool_calls: Vec::new(),
        function_call: None,
        audio: None,
        annotations: Vec::new(),
    };
    let (mut spoken, mut logprobs) = (Spoken::default(), None::<Logprobs>);
    let mut add = |piece| match piece {
        Piece::Thought(text) => append(&mut message.reasoning_content, Cow::Borrowed(text)),
        Piece::Text(text) => append(&mut message.content, text),
        Piece::Call(call) if meta.are_functions => message.function_call = call.function,
        Piece::Call(call) => message.tool_calls.push(ToolCall { index: None, ..call }),
        Piece::Citations(found) => message.annotations.extend(found),
        Piece::Audio(sound) => spoken.add(sound),
        Piece::Logprobs(more) => logprobs.get_or_insert_default().content.extend(more.content),
    };
    answer.read(response, meta, &mut add);
    let end = answer.finish(meta, &mut add);
    message.refusal = end.refusal;
    message.audio = spoken.finish(meta, index);
    if answer_is_text(&message) {
        message.content.get_or_insert(Cow::Borrowed(""));
    }
    Choice { index, message, logprobs, finish_reason: end.reason }
}

/// Only then the content is never `null`.
fn answer_is_text(message: &Message<'_>) -> bool {
    let has_call = !message.tool_calls.is_empty() || message.function_call.is_some();
    !has_call && message.refusal.is_none() && message.audio.is_none()
}

/// A single text stays borrowed; only a second one makes a copy.
fn append<'a>(texts: &mut Option<Cow<'a, str>>, more: Cow<'a, str>) {
    match texts {
        None => *texts = Some(more),
        Some(text) => text.to_mut().push_str(&more),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::fixtures;

    fn convert(bodies: &[&str]) -> Value {
        let responses: Vec<_> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        serde_json::from_slice(&to_openai(&responses, &ChatMeta::test()).to_json()).unwrap()
    }

    #[test]
    fn a_text_answer_looks_as_openais_own() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"hi"}]},"finishReason":"STOP"}],
            "usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"totalTokenCount":3,"serviceTier":"standard"}}"#;

        assert_eq!(
            convert(&[body]),
            json!({
                "id": "chatcmpl-test", "object": "chat.completion", "created": 1_700_000_000, "model": "m",
                "choices": [{
                    "index": 0,
                    "message": {"role": "assistant", "content": "hi", "refusal": null, "reasoning_content": "hm"},
                    "logprobs": null,
                    "finish_reason": "stop",
                }],
                "usage": {
                    "prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "image_tokens": 0,
                        "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
                },
                "service_tier": "default",
            })
        );
    }

    #[test]
    fn content_is_null_when_only_calls_came() {
        let body = r#"{"candidates":[{"content":{"parts":[
            {"functionCall":{"name":"f","args":{ "a" : 1 },"id":"call_1"},"thoughtSignature":"c2ln"},{"functionCall":{"name":"g"}}
        ]},"finishReason":"STOP"}]}"#;

        let message = &convert(&[body])["choices"][0]["message"];

        assert_eq!(message["content"], Value::Null);
        assert_eq!(
            message["tool_calls"][0],
            json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"},
                "extra_content": {"google": {"thought_signature": "c2ln"}}})
        );
        assert_eq!(message["tool_calls"][1]["function"]["arguments"], "{}");
        assert!(message["tool_calls"][1]["id"].as_str().unwrap().starts_with("call_"));
    }

    #[test]
    fn several_answers_are_several_choices() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}"#;

        let choices = convert(&[body, body])["choices"].clone();

        assert_eq!((&choices[0]["index"], &choices[1]["index"]), (&json!(0), &json!(1)));
    }

    #[test]
    fn only_the_first_call_is_passed_on_without_parallel_calls() {
        let body = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}}]}}]}"#;
        let responses = [serde_json::from_str(body).unwrap()];
        let meta = ChatMeta { parallel_tool_calls: false, ..ChatMeta::test() };

        assert_eq!(to_openai(&responses, &meta).choices[0].message.tool_calls.len(), 1);
    }

    #[test]
    fn every_recorded_answer_converts() {
        for (path, events) in fixtures::answers().iter().filter(|(_, events)| events.len() == 1) {
            let Ok(response) = serde_json::from_str::<GenerateContentResponse>(&events[0]) else {
                assert!(path.contains("failure"), "{path}");
                continue;
            };
            let has_text = events[0].contains("\"text\": \"") || events[0].contains("\"text\":\"");
            let (responses, meta) = ([response], ChatMeta::test());

            let completion = to_openai(&responses, &meta);

            let choice = &completion.choices[0];
            assert!(
                ["stop", "length", "tool_calls", "content_filter"].contains(&choice.finish_reason),
                "{path}"
            );
            if has_text && !path.contains("failure") && choice.message.tool_calls.is_empty() {
                assert!(choice.message.content.is_some(), "{path}");
            }
        }
    }
}
