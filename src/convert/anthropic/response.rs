//! A whole answer of Gemini's as a message.

use std::{borrow::Cow, sync::Arc};

use super::{
    answer::{Answer, Kind, Step},
    messages::MessagesRequest,
    types::{ContentBlock, Message},
};
use crate::convert::{
    gemini::{GenerateContentResponse, signatures::Signed, tool_names::ToolNames},
    traits::ModelTraits,
};

/// What an answer needs to know of its request.
#[derive(Debug, Clone)]
pub struct MessageMeta {
    /// `msg_` and something unique: ids of tool calls are derived from it.
    pub id: String,
    /// As the client wrote it.
    pub model: String,
    /// Gemini's short name of it, which signatures are marked with.
    pub gemini_model: String,
    /// Thoughts are passed on as thinking blocks.
    pub show_thoughts: bool,
    /// Only the cache was to be filled: nothing is passed on.
    pub is_mute: bool,
    /// Otherwise only the first call of an answer is passed on.
    pub parallel_tool_use: bool,
    pub names: Arc<ToolNames>,
    /// Stop sequences that Gemini does not know of.
    pub own_stops: Vec<String>,
    /// The model signs what it says.
    pub is_signed: bool,
}

impl MessageMeta {
    pub fn new(request: &MessagesRequest, id: String, gemini_model: &str) -> Self {
        Self {
            id,
            model: request.model.clone(),
            gemini_model: gemini_model.to_owned(),
            show_thoughts: request.thinking.is_shown,
            is_mute: request.max_tokens == Some(0),
            parallel_tool_use: request.parallel_tool_use,
            names: Arc::clone(&request.names),
            own_stops: request.stops.own().to_vec(),
            is_signed: ModelTraits::of(gemini_model).signatures,
        }
    }

    #[cfg(test)]
    pub(super) fn test() -> Self {
        Self {
            id: "msg_test".to_owned(),
            model: "m".to_owned(),
            gemini_model: "m".to_owned(),
            show_thoughts: true,
            is_mute: false,
            parallel_tool_use: true,
            names: Arc::default(),
            own_stops: Vec::new(),
            is_signed: true,
        }
    }
}

/// The message, with what has a signature, for whoever remembers it.
pub fn to_anthropic<'a>(
    response: &'a GenerateContentResponse<'a>,
    meta: &'a MessageMeta,
) -> (Message<'a>, Vec<Signed>) {
    let (mut answer, mut content) = (Answer::new(meta), Vec::new());
    answer.read(response, meta, &mut |step| add(step, &mut content));
    let end = answer.finish(meta, &mut |step| add(step, &mut content));
    let message = Message {
        id: &meta.id,
        kind: "message",
        role: "assistant",
        model: &meta.model,
        content,
        stop_reason: Some(end.reason),
        stop_sequence: end.stop_sequence,
        stop_details: end.details,
        usage: answer.usage.into(),
    };
    (message, answer.signed)
}

fn add<'a>(step: Step<'a>, content: &mut Vec<ContentBlock<'a>>) {
    match (step, content.last_mut()) {
        (Step::Start(Kind::Text), _) => {
            content.push(ContentBlock::Text { text: Cow::Borrowed(""), citations: None })
        }
        (Step::Start(Kind::Thinking), _) => {
            content.push(ContentBlock::Thinking { thinking: Cow::Borrowed(""), signature: String::new() });
        }
        (Step::Call(call), _) => content.push(ContentBlock::ToolUse(call)),
        (Step::Text(more), Some(ContentBlock::Text { text, .. })) => append(text, more),
        (Step::Thinking(more), Some(ContentBlock::Thinking { thinking, .. })) => {
            append(thinking, Cow::Borrowed(more))
        }
        (Step::Signature(signed), Some(ContentBlock::Thinking { signature, .. })) => *signature = signed,
        (Step::Citation(citation), Some(ContentBlock::Text { citations, .. })) => {
            citations.get_or_insert_default().push(citation);
        }
        // An answer gives more of a block only while that block is open.
        (Step::Text(_) | Step::Thinking(_) | Step::Signature(_) | Step::Citation(_) | Step::Stop, _) => {}
    }
}

/// A single text stays borrowed; only a second one makes a copy.
fn append<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else {
        text.to_mut().push_str(&more);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::convert::fixtures;

    fn convert_with(body: &str, meta: &MessageMeta) -> Value {
        let response = serde_json::from_str(body).unwrap();
        serde_json::from_slice(&to_anthropic(&response, meta).0.to_json()).unwrap()
    }

    fn convert(body: &str) -> Value {
        convert_with(body, &MessageMeta::test())
    }

    #[test]
    fn an_answer_looks_as_anthropics_own() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"h"},{"text":"i"}]},"finishReason":"STOP"}],
            "usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"thoughtsTokenCount":1,"totalTokenCount":4}}"#;

        assert_eq!(
            convert(body),
            json!({
                "id": "msg_test", "type": "message", "role": "assistant", "model": "m",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "gemini:m:"},
                    {"type": "text", "text": "hi", "citations": null},
                ],
                "stop_reason": "end_turn", "stop_sequence": null, "stop_details": null,
                "usage": {
                    "input_tokens": 2, "output_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                    "output_tokens_details": {"thinking_tokens": 1},
                    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                    "service_tier": "standard",
                },
            })
        );
    }

    #[test]
    fn a_signature_travels_in_the_thinking_block_before_its_call() {
        let parts = |first: &str| {
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{first}
                {{"functionCall":{{"name":"f","args":{{ "a" : 1 }},"id":"call_1"}},"thoughtSignature":"c2ln"}},
                {{"functionCall":{{"name":"g"}}}}]}},"finishReason":"STOP"}}]}}"#
            )
        };
        let signed =
            |thinking: &str| json!({"type": "thinking", "thinking": thinking, "signature": "gemini:m:c2ln"});
        let call = json!({"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}});

        let after_thoughts = convert(&parts(r#"{"text":"hm","thought":true},"#))["content"].clone();
        let after_text = convert(&parts(r#"{"text":"hm","thought":true},{"text":"so"},"#))["content"].clone();
        let hidden = MessageMeta { show_thoughts: false, ..MessageMeta::test() };
        let without = convert_with(&parts(r#"{"text":"hm","thought":true},"#), &hidden)["content"].clone();

        assert_eq!([&after_thoughts[0], &after_thoughts[1]], [&signed("hm"), &call]);
        assert_eq!(after_text[0]["signature"], "gemini:m:");
        assert_eq!([&after_text[2], &after_text[3]], [&signed(""), &call]);
        assert_eq!([&without[0], &without[1]], [&signed(""), &call]);
        assert_eq!((&without[2]["name"], &without[2]["input"]), (&json!("g"), &json!({})));
        assert!(without[2]["id"].as_str().is_some_and(|id| id.starts_with("toolu_") && id.len() == 30));
    }

    #[test]
    fn an_answer_without_calls_begins_with_its_text_when_no_thoughts_were_asked_for() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"hi","thoughtSignature":"c2ln"}]}}]}"#;
        let meta = MessageMeta { show_thoughts: false, ..MessageMeta::test() };

        assert_eq!(
            convert_with(body, &meta)["content"],
            json!([{"type": "text", "text": "hi", "citations": null}])
        );
    }

    #[test]
    fn only_the_first_call_is_passed_on_when_one_at_a_time_is_wanted() {
        let body = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}}]}}]}"#;
        let meta = MessageMeta { parallel_tool_use: false, ..MessageMeta::test() };

        assert_eq!(convert_with(body, &meta)["content"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_stop_sequence_of_the_gateways_own_ends_the_text_and_is_named() {
        let body = r#"{"candidates":[{"content":{"parts":[{"text":"one EN"},{"text":"D two"},{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}]}"#;
        let meta = MessageMeta { own_stops: vec!["END".to_owned()], ..MessageMeta::test() };

        let message = convert_with(body, &meta);

        assert_eq!(message["content"], json!([{"type": "text", "text": "one ", "citations": null}]));
        assert_eq!(
            (&message["stop_reason"], &message["stop_sequence"]),
            (&json!("stop_sequence"), &json!("END"))
        );
    }

    #[test]
    fn where_only_the_cache_was_to_be_filled_nothing_is_said() {
        let meta = MessageMeta { is_mute: true, ..MessageMeta::test() };
        for reason in ["STOP", "MAX_TOKENS"] {
            let body = json!({"candidates": [{"content": {"parts": [{"text": "H"}]}, "finishReason": reason}],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10}});

            let message = convert_with(&body.to_string(), &meta);

            assert_eq!((&message["content"], &message["stop_reason"]), (&json!([]), &json!("max_tokens")));
            assert_eq!(message["usage"]["input_tokens"], 9);
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let message = convert(
            r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}"#,
        );

        assert_eq!((&message["stop_reason"], &message["content"]), (&json!("refusal"), &json!([])));
        assert_eq!(
            message["stop_details"],
            json!({"type": "refusal", "category": null, "explanation": "Gemini blocked the prompt: SAFETY"})
        );
    }

    #[test]
    fn pictures_code_and_sources_are_told_in_the_text() {
        let body = r#"{"candidates":[{"content":{"parts":[
            {"text":"Look:"}, {"inlineData":{"mimeType":"image/png","data":"AA=="}}, {"text":"Nice."},
            {"executableCode":{"language":"PYTHON","code":"1+1\n"}}, {"codeExecutionResult":{"output":"2\n"}}
        ]},"groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a","title":"A"}}],
            "groundingSupports":[{"segment":{"text":"Nice."},"groundingChunkIndices":[0]}]}}]}"#;

        let block = convert(body)["content"][0].clone();

        assert_eq!(
            block["text"],
            "Look:\n\n![image](data:image/png;base64,AA==)\n\nNice.\n\n```python\n1+1\n```\n\n```\n2\n```"
        );
        assert_eq!(
            block["citations"],
            json!([{"type": "web_search_result_location", "cited_text": "Nice.", "url": "https://a", "title": "A", "encrypted_index": ""}])
        );
    }

    #[test]
    fn every_recorded_answer_converts() {
        for (path, events) in fixtures::answers().iter().filter(|(_, events)| events.len() == 1) {
            let Ok(response) = serde_json::from_str::<GenerateContentResponse>(&events[0]) else {
                assert!(path.contains("failure"), "{path}");
                continue;
            };
            let meta = MessageMeta::test();

            let (message, _) = to_anthropic(&response, &meta);

            let reasons = ["end_turn", "max_tokens", "tool_use", "refusal"];
            assert!(message.stop_reason.is_some_and(|reason| reasons.contains(&reason)), "{path}");
            let has_call = events[0].contains("\"functionCall\"");
            assert_eq!(message.stop_reason == Some("tool_use"), has_call, "{path}");
        }
    }
}
