//! What holds for every request and answer, however odd.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ChatMeta, ChatOptions, ChatStream, chat_request, embeddings_request, to_gemini, to_openai};
use crate::convert::{
    gemini::{GenerateContentResponse, schema},
    traits::ModelTraits,
};

const MODELS: [&str; 4] = ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3.8-flash", "gemma-4-31b-it"];

/// Words that mean something somewhere, so that odd JSON gets past the first check.
const WORDS: &[&str] = &[
    "",
    "type",
    "text",
    "user",
    "system",
    "assistant",
    "tool",
    "function",
    "image_url",
    "content",
    "role",
    "name",
    "a",
    "é😀",
    "data:image/png;base64,AA==",
    "data:,",
    "http://x",
    "properties",
    "items",
    "$ref",
    "allOf",
    "required",
    "enum",
    "const",
];

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS).prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A request with the fields of OpenAI's API, each absent or with any value.
fn odd_request() -> impl Strategy<Value = Value> {
    let names: Vec<&str> = super::fields::FIELD_FATES.iter().map(|(name, _)| *name).collect();
    let field = (prop::sample::select(names), any_json());
    prop::collection::vec(field, 0..4).prop_map(|fields| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in fields {
            body[name] = value;
        }
        body
    })
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

fn count(content: &Value, field: &str) -> usize {
    content["parts"]
        .as_array()
        .map_or(0, |parts| parts.iter().filter(|part| part.get(field).is_some()).count())
}

/// What Gemini refuses, whatever the client sent.
fn assert_well_formed(request: &Value) {
    let contents = request["contents"].as_array().unwrap();
    assert_eq!(contents[0]["role"], "user");
    for (index, content) in contents.iter().enumerate() {
        let parts = content["parts"].as_array().unwrap();
        assert!(!parts.is_empty());
        let next = contents.get(index + 1).unwrap_or(&Value::Null);
        assert_eq!(count(content, "functionCall"), count(next, "functionResponse"));
        assert_ne!(content["role"], next["role"]);
        let first = parts.iter().position(|part| part.get("functionResponse").is_some());
        let behind = &parts[first.unwrap_or(parts.len())..];
        assert!(behind.iter().all(|part| part.get("functionResponse").is_some()), "text behind a response");
    }
}

fn convert(body: &Value, model: &str) -> Option<Value> {
    let request = chat_request(body.to_string().as_bytes()).ok()?;
    let options = ChatOptions { show_thoughts: true, safety_settings: None, model: ModelTraits::of(model) };
    let gemini = to_gemini(&request, &options).ok()?;
    Some(serde_json::from_slice(&gemini.to_json()).unwrap())
}

/// A part of an answer, also of kinds that a client never sees.
fn part() -> impl Strategy<Value = Value> {
    prop_oneof![
        word().prop_map(|text| json!({ "text": text })),
        word().prop_map(|text| json!({"text": text, "thought": true})),
        word().prop_map(
            |name| json!({"functionCall": {"name": name, "args": {"a b": " c "}}, "thoughtSignature": "c2ln"})
        ),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}})),
        Just(json!({"executableCode": {"language": "PYTHON", "code": "1"}})),
        Just(json!({"toolCall": {}})),
        Just(json!({})),
    ]
}

fn answer_text(out: &[u8], field: &str) -> String {
    let text = String::from_utf8_lossy(out);
    let events = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let chunks = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str().map(str::to_owned)).collect()
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
    fn a_stream_says_what_the_whole_answer_says(parts in prop::collection::vec(part(), 0..8)) {
        let event = |parts: &[Value]| json!({"candidates": [{"content": {"parts": parts}}]}).to_string();
        let (whole, pieces) = (event(&parts), parts.iter().map(|part| event(std::slice::from_ref(part))));
        let responses = [serde_json::from_str(&whole).unwrap()];
        let (meta, mut out) = (ChatMeta::test(), Vec::new());
        let mut stream = ChatStream::new(meta.clone(), 1, false);

        for piece in pieces {
            stream.event(0, &serde_json::from_str(&piece).unwrap(), &mut out);
        }
        stream.finish(0, &mut out);

        let completion: Value = serde_json::from_slice(&to_openai(&responses, &meta).to_json()).unwrap();
        let message = &completion["choices"][0]["message"];
        for field in ["content", "reasoning_content"] {
            prop_assert_eq!(answer_text(&out, field), message[field].as_str().unwrap_or_default());
        }
    }
}
