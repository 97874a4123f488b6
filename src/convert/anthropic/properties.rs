//! Properties that hold for every request and answer, however odd.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    MessageMeta, MessagesOptions, count_request, fields::FIELD_FATES, messages_request,
    stream::tests::assert_adds_up, to_anthropic, to_count, to_gemini, words,
};
use crate::convert::{
    gemini::GenerateContentResponse,
    testing::{self, answer_part, any_json, assert_nothing_is_lost, assert_well_formed, events},
    traits::ModelTraits,
};

const MODELS: [&str; 4] = ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash", "gemma-4-31b-it"];

/// A request with the fields of Anthropic's API, each absent or with any value.
fn odd_request() -> impl Strategy<Value = Value> {
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    testing::with_odd_fields(body, FIELD_FATES)
}

/// A block that a client could send, each text with a number of its own to find it again.
fn block() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(&["a", "b", "c"][..]);
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "cGRm"});
    prop_oneof![
        any::<u32>().prop_map(|n| json!({"type": "text", "text": format!("text-{n}")})),
        Just(picture),
        any::<u32>().prop_map(move |n| json!({"type": "document", "title": format!("title-{n}"), "source": pdf})),
        any::<u32>().prop_map(
            |n| json!({"type": "search_result", "title": "t", "source": format!("source-{n}"), "content": []})
        ),
        (id(), any::<u32>()).prop_map(
            |(id, n)| json!({"type": "tool_use", "id": id, "name": format!("name-{n}"), "input": {"a": format!("input-{n}")}})
        ),
        (id(), any::<u32>(), any::<bool>()).prop_map(
            |(id, n, wrong)| json!({"type": "tool_result", "tool_use_id": id, "content": format!("result-{n}"), "is_error": wrong})
        ),
        Just(json!({"type": "thinking", "thinking": "x", "signature": "gemini:gemini-3.8-flash:c2ln"})),
        Just(json!({"type": "redacted_thinking", "data": "x"})),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let role = prop::sample::select(&["user", "assistant"][..]);
    (role, prop::collection::vec(block(), 1..5)).prop_map(|(role, mut blocks)| {
        let is_foreign = |block: &Value| match block["type"].as_str() {
            Some("tool_use" | "thinking" | "redacted_thinking") => role == "user",
            Some("tool_result") => role == "assistant",
            _ => false,
        };
        blocks.retain(|block| !is_foreign(block));
        blocks.push(json!({"type": "text", "text": "."}));
        json!({"role": role, "content": blocks})
    })
}

/// A history in which every result has its call somewhere before it.
fn history() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(message(), 1..8).prop_map(|mut messages| {
        let mut called = Vec::new();
        for message in &mut messages {
            let Some(blocks) = message["content"].as_array_mut() else { continue };
            blocks.retain(|block| block["type"] != "tool_result" || called.contains(&block["tool_use_id"]));
            called.extend(
                blocks.iter().filter(|block| block["type"] == "tool_use").map(|block| block["id"].clone()),
            );
        }
        messages
    })
}

/// The request as it goes to Gemini, or the message of the error, which begins with a path.
fn convert(body: &Value, model: &str) -> Result<Value, String> {
    let traits = ModelTraits::of(model);
    let options = MessagesOptions { safety_settings: None, model, traits: &traits, output_limit: None };
    let converted = messages_request(body.to_string().as_bytes()).and_then(|request| {
        let counted = to_count(&request, &options, "models/m")?.to_json();
        assert!(serde_json::from_slice::<Value>(&counted).is_ok());
        Ok(to_gemini(&request, &options)?.to_json())
    });
    converted.map(|json| serde_json::from_slice(&json).unwrap()).map_err(|error| words::message(&error))
}

proptest! {
    #[test]
    fn odd_bodies_never_panic(body in any_json(), bytes in any::<Vec<u8>>()) {
        let body = body.to_string();
        for bytes in [body.as_bytes(), &bytes] {
            let _ = messages_request(bytes).map_err(|error| words::message(&error));
            let _ = count_request(bytes).map_err(|error| words::message(&error));
        }
    }

    #[test]
    fn odd_fields_are_refused_by_name_or_give_a_well_formed_request(body in odd_request()) {
        for model in MODELS {
            match convert(&body, model) {
                Ok(request) => assert_well_formed(&request),
                Err(message) => {
                    let field = message.split([':', '.']).next().unwrap_or_default();
                    prop_assert!(FIELD_FATES.iter().copied().flatten().any(|(name, _)| *name == field), "{}", message);
                }
            }
        }
    }

    #[test]
    fn any_history_gives_a_well_formed_request_in_which_nothing_is_lost(messages in history()) {
        let body = json!({"model": "m", "max_tokens": 9, "messages": messages});
        for model in MODELS {
            let request = convert(&body, model).unwrap();
            assert_well_formed(&request);
            let fields = ["text", "title", "source", "name", "a", "content", "data"];
            let thoughts_and_others = |block: &Value| block["type"] != "redacted_thinking";
            let said = messages.iter().flat_map(|message| message["content"].as_array().unwrap());
            let said = said.filter(|block| thoughts_and_others(block)).cloned().collect();
            assert_nothing_is_lost(&said, &request.to_string(), &fields);
        }
    }

    #[test]
    fn odd_answers_never_panic(body in any_json(), parts in prop::collection::vec(any_json(), 0..4)) {
        let body = json!({"candidates": [{"content": {"parts": parts}, "groundingMetadata": body}]}).to_string();
        if let Ok(response) = serde_json::from_str::<GenerateContentResponse>(&body) {
            let meta = MessageMeta::test();
            let _ = to_anthropic(&response, &meta).0.to_json();
        }
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says(
        parts in prop::collection::vec(answer_part(), 0..8), cuts in prop::collection::vec(0_usize..8, 0..4),
        show_thoughts in any::<bool>(), parallel_tool_use in any::<bool>(), stops in prop::collection::vec("[ae]", 0..2),
    ) {
        let meta = MessageMeta { show_thoughts, parallel_tool_use, own_stops: stops, ..MessageMeta::test() };
        let events = events(&parts, &cuts);
        let events: Vec<_> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();

        assert_adds_up(&events, &meta, "odd parts");
    }
}
