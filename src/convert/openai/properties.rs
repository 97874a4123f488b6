//! What holds for every request and answer, however odd.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    ChatMeta, ChatOptions, chat_request, embeddings_request, fields::FIELD_FATES,
    stream::tests::assert_adds_up, to_gemini, to_openai,
};
use crate::convert::{
    gemini::{GenerateContentResponse, schema},
    testing::{self, answer_part, any_json, assert_nothing_is_lost, assert_well_formed, events, word},
    traits::ModelTraits,
};

const MODELS: [&str; 4] = ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash", "gemma-4-31b-it"];

/// A request with the fields of OpenAI's API, each absent or with any value.
fn odd_request() -> impl Strategy<Value = Value> {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    testing::with_odd_fields(body, FIELD_FATES)
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        word().prop_map(Value::from),
        word().prop_map(|text| json!([{"type": "text", "text": text}])),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(&["a", "b", "c", ""][..]);
    let calls = prop::collection::vec((id(), word()), 0..4).prop_map(|calls| {
        let call = |(id, name): (&str, String)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}})
        };
        calls.into_iter().map(call).collect::<Value>()
    });
    prop_oneof![
        word().prop_map(|text| json!({"role": "system", "content": text})),
        word().prop_map(|text| json!({"role": "user", "content": text})),
        (content(), calls).prop_map(
            |(content, calls)| json!({"role": "assistant", "content": content, "tool_calls": calls})
        ),
        (id(), content())
            .prop_map(|(id, content)| json!({"role": "tool", "tool_call_id": id, "content": content})),
    ]
}

/// A part that a user could send, each with a number of its own to find it again.
fn shown() -> impl Strategy<Value = Value> {
    let picture = |n: u32| STANDARD.encode([b"\x89PNG\r\n\x1a\n", &n.to_be_bytes()[..]].concat());
    prop_oneof![
        any::<u32>().prop_map(|n| json!({"type": "text", "text": format!("text-{n}")})),
        any::<u32>().prop_map(move |n| {
            let url = format!("data:image/png;base64,{}", picture(n));
            json!({"type": "image_url", "image_url": {"url": url}})
        }),
        any::<u32>().prop_map(move |n| {
            json!({"type": "file", "file": {"filename": "a.pdf", "file_data": STANDARD.encode(format!("%PDF-{n}"))}})
        }),
        any::<u32>().prop_map(
            |n| json!({"type": "input_audio", "input_audio": {"format": "mp3", "data": STANDARD.encode(format!("ID3{n}"))}})
        ),
    ]
}

/// A history in which every result has its call somewhere before it.
fn history() -> impl Strategy<Value = Vec<Value>> {
    let id = || prop::sample::select(&["a", "b", "c"][..]);
    let call = (id(), any::<u32>()).prop_map(|(id, n)| {
        let function =
            json!({"name": format!("name-{n}"), "arguments": format!(r#"{{"a":"argument-{n}"}}"#)});
        json!({"id": id, "type": "function", "function": function})
    });
    let message = prop_oneof![
        any::<u32>().prop_map(|n| json!({"role": "developer", "content": format!("system-{n}")})),
        prop::collection::vec(shown(), 1..4).prop_map(|parts| json!({"role": "user", "content": parts})),
        (any::<u32>(), prop::collection::vec(call, 0..3)).prop_map(
            |(n, calls)| json!({"role": "assistant", "content": format!("said-{n}"), "tool_calls": calls})
        ),
        (id(), any::<u32>()).prop_map(
            |(id, n)| json!({"role": "tool", "tool_call_id": id, "content": format!("result-{n}")})
        ),
    ];
    prop::collection::vec(message, 1..10).prop_map(|mut messages| {
        let mut called = Vec::new();
        messages.retain(|message| {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            called.extend(calls.map(|call| call["id"].clone()));
            message["role"] != "tool" || called.contains(&message["tool_call_id"])
        });
        messages.push(json!({"role": "user", "content": "last"}));
        messages
    })
}

fn convert(body: &Value, model: &str) -> Option<Value> {
    let request = chat_request(body.to_string().as_bytes()).ok()?;
    let model = ModelTraits::of(model);
    let options = ChatOptions { show_thoughts: true, model, ..ChatOptions::default() };
    let gemini = to_gemini(&request, &options).ok()?;
    Some(serde_json::from_slice(&gemini.to_json()).unwrap())
}

proptest! {
    #[test]
    fn odd_bodies_never_panic(body in any_json(), bytes in any::<Vec<u8>>()) {
        let _ = chat_request(body.to_string().as_bytes());
        let _ = chat_request(&bytes);
        let _ = embeddings_request(body.to_string().as_bytes());
        let _ = embeddings_request(&bytes);
    }

    #[test]
    fn odd_fields_are_refused_or_give_a_well_formed_request(body in odd_request()) {
        for model in MODELS {
            convert(&body, model).iter().for_each(assert_well_formed);
        }
    }

    #[test]
    fn any_history_gives_a_well_formed_request(messages in prop::collection::vec(message(), 1..12)) {
        let body = json!({"model": "m", "messages": messages});
        for model in MODELS {
            convert(&body, model).iter().for_each(assert_well_formed);
        }
    }

    #[test]
    fn nothing_that_was_said_is_lost(messages in history()) {
        for model in MODELS {
            let body = json!({"model": "m", "messages": messages});
            let sent = convert(&body, model).unwrap();
            assert_well_formed(&sent);
            // Arguments are JSON within a text.
            let said = messages.iter().map(|message| {
                let mut message = message.clone();
                for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
                    let arguments = call["function"]["arguments"].as_str().unwrap();
                    call["function"]["arguments"] = serde_json::from_str(arguments).unwrap();
                }
                message
            });
            let fields = ["content", "text", "url", "file_data", "data", "name", "a"];
            assert_nothing_is_lost(&said.collect(), &sent.to_string(), &fields);
        }
    }

    #[test]
    fn names_of_properties_survive_cleaning(names in prop::collection::vec(word(), 0..6), deep in any_json()) {
        let properties: Map<String, Value> = names.iter().map(|name| (name.clone(), deep.clone())).collect();

        let cleaned = schema::clean(&json!({ "properties": properties }));

        let kept: Vec<_> = cleaned["properties"].as_object().unwrap().keys().cloned().collect();
        prop_assert_eq!(kept, properties.keys().cloned().collect::<Vec<_>>());
        prop_assert_eq!(schema::clean(&cleaned), cleaned, "cleaning twice changes nothing more");
    }

    #[test]
    fn odd_answers_never_panic(body in any_json(), parts in prop::collection::vec(any_json(), 0..4)) {
        let body = json!({"candidates": [{"content": {"parts": parts}, "groundingMetadata": body}]}).to_string();
        if let Ok(response) = serde_json::from_str::<GenerateContentResponse>(&body) {
            let (responses, meta) = ([response], ChatMeta::test());
            let _ = to_openai(&responses, &meta).to_json();
        }
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says(
        parts in prop::collection::vec(answer_part(), 0..8), cuts in prop::collection::vec(0_usize..8, 0..4),
        show_thoughts in any::<bool>(), parallel_tool_calls in any::<bool>(), stops in prop::collection::vec("[ae]", 0..2),
    ) {
        let meta = ChatMeta { show_thoughts, parallel_tool_calls, own_stops: stops, ..ChatMeta::test() };
        let events = events(&parts, &cuts);
        let events: Vec<_> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();

        assert_adds_up(&events, &meta, "odd parts");
    }
}
