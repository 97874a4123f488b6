//! What the tests of all dialects share: odd JSON, odd answers, and what must hold of every request and table of fields.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    ConvertError,
    fate::{Fate, Fates},
    gemini::{GenerateContentResponse, response},
    json::Object,
};

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
    "tool_use",
    "tool_result",
    "thinking",
    "signature",
    "image",
    "document",
    "source",
    "base64",
    "url",
    "id",
    "tool_use_id",
    "input",
    "image/png",
    "AA==",
    "enabled",
    "auto",
    "gemini:gemini-3.8-flash:c2ln",
    "input_text",
    "output_text",
    "message",
    "function_call",
    "function_call_output",
    "reasoning",
    "item_reference",
    "call_id",
    "arguments",
    "output",
    "encrypted_content",
];

pub fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS).prop_map(str::to_owned)
}

/// Any JSON, with the words as texts and as names of fields.
pub fn any_json() -> impl Strategy<Value = Value> {
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

/// `body` with any of the fields that have a fate set to anything.
pub fn with_odd_fields(body: Value, fates: &Fates) -> impl Strategy<Value = Value> + use<> {
    let names: Vec<&str> = fates.iter().copied().flatten().map(|(name, _)| *name).collect();
    let field = (prop::sample::select(names), any_json());
    prop::collection::vec(field, 0..4).prop_map(move |fields| {
        let mut body = body.clone();
        for (name, value) in fields {
            body[name] = value;
        }
        body
    })
}

/// A part of an answer of Gemini's, also of kinds that a client never sees.
pub fn answer_part() -> impl Strategy<Value = Value> {
    let call = json!({"functionCall": {"name": "", "args": {"a b": " c "}}, "thoughtSignature": "c2ln"});
    prop_oneof![
        word().prop_map(|text| json!({ "text": text })),
        word().prop_map(|text| json!({"text": text, "thoughtSignature": "dGV4dA=="})),
        word().prop_map(|text| json!({"text": text, "thought": true})),
        word().prop_map(move |name| {
            let mut call = call.clone();
            call["functionCall"]["name"] = name.into();
            call
        }),
        word().prop_map(|name| json!({"functionCall": {"name": name}})),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}})),
        Just(json!({"executableCode": {"language": "PYTHON", "code": "1"}})),
        Just(json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}})),
        Just(json!({"toolCall": {}})),
        Just(json!({})),
    ]
}

/// An event, or a whole answer, of those parts.
pub fn answer(parts: &[Value], reason: Option<&str>) -> String {
    json!({"candidates": [{"content": {"parts": parts}, "finishReason": reason}]}).to_string()
}

/// Answers that end in every way: whole, with a call, at the limit with a text and without one, by a filter, without an
/// answer, as the model failed, and in a way that nobody has heard of.
pub fn endings() -> [String; 8] {
    let (text, call) = ([json!({"text": "a"})], [json!({"functionCall": {"name": "f"}})]);
    [
        answer(&text, Some("STOP")),
        answer(&call, Some("STOP")),
        answer(&text, Some("MAX_TOKENS")),
        answer(&[], Some("MAX_TOKENS")),
        answer(&text, Some("SAFETY")),
        answer(&[], Some("LANGUAGE")),
        answer(&[], Some("MALFORMED_FUNCTION_CALL")),
        answer(&text, Some("NEVER_HEARD_OF")),
    ]
}

/// The parts as events, divided at some of these places.
pub fn events(parts: &[Value], cuts: &[usize]) -> Vec<String> {
    let mut cuts: Vec<_> =
        cuts.iter().copied().filter(|cut| *cut < parts.len()).chain([0, parts.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| answer(&parts[cut[0]..cut[1]], None)).collect()
}

/// The answer that would have come in one piece: all parts in order, the last of everything else.
pub fn merge<'a>(events: &[GenerateContentResponse<'a>]) -> GenerateContentResponse<'a> {
    let mut whole = GenerateContentResponse::default();
    let mut candidate = response::Candidate::default();
    for event in events {
        whole.prompt_feedback = event.prompt_feedback.clone().or(whole.prompt_feedback);
        let counted = event.usage_metadata.clone();
        let counted = counted.filter(|usage| usage.prompt_token_count + usage.total_token_count > 0);
        whole.usage_metadata = counted.or(whole.usage_metadata);
        let Some(part) = event.candidates.first() else {
            continue;
        };
        candidate.content.parts.extend(part.content.parts.iter().cloned());
        candidate.finish_reason = part.finish_reason.clone().or(candidate.finish_reason);
        candidate.finish_message = part.finish_message.clone().or(candidate.finish_message);
        let grounding = part.grounding_metadata.clone();
        let says_more = |found: &response::GroundingMetadata<'_>| {
            candidate.grounding_metadata.is_none() || !found.grounding_supports.is_empty()
        };
        candidate.grounding_metadata = grounding.filter(says_more).or(candidate.grounding_metadata);
    }
    whole.candidates.push(candidate);
    whole
}

fn count(content: &Value, field: &str) -> usize {
    let parts = content["parts"].as_array();
    parts.map_or(0, |parts| parts.iter().filter(|part| part.get(field).is_some()).count())
}

/// What Gemini refuses, whatever the client sent.
pub fn assert_well_formed(request: &Value) {
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

/// Every text, name and medium that stands under one of `fields` anywhere in what the client said is somewhere in what is sent.
pub fn assert_nothing_is_lost(said: &Value, sent: &str, fields: &[&str]) {
    match said {
        Value::Array(list) => list.iter().for_each(|value| assert_nothing_is_lost(value, sent, fields)),
        Value::Object(named) => {
            for (name, value) in named {
                if let Some(text) = value.as_str().filter(|_| fields.contains(&name.as_str())) {
                    let data = text.rsplit(',').next().unwrap_or(text);
                    assert!(sent.contains(data), "{name} `{text}` is lost in {sent}");
                }
                assert_nothing_is_lost(value, sent, fields);
            }
        }
        _ => {}
    }
}

/// Each field of an SDK has a fate and meets it: what is honoured or mapped shows in what goes to Gemini, or is one of those
/// that show `elsewhere`; what is ignored does not; what is refused is named. `beside` tells what a field needs to mean anything.
pub fn assert_fates(
    fates: &Fates,
    sdk_fields: &Value,
    elsewhere: &[&str],
    beside: impl Fn(&str) -> Value,
    convert: impl Fn(&Value) -> Result<Vec<u8>, ConvertError>,
) {
    for (name, value) in sdk_fields.as_object().unwrap() {
        let mut all = fates.iter().copied().flatten();
        let fate = all.find(|(field, _)| field == name).map(|(_, fate)| fate);
        let mut fields = beside(name);
        let plain = convert(&fields).unwrap_or_else(|error| panic!("{name}: {error}"));
        fields[name] = value.clone();

        let outcome = convert(&fields);

        match fate.unwrap_or_else(|| panic!("{name} has no fate")) {
            Fate::Honoured | Fate::Mapped(_) => {
                let is_seen = outcome.unwrap_or_else(|error| panic!("{name}: {error}")) != plain;
                assert_ne!(is_seen, elsewhere.contains(&name.as_str()), "{name} is lost, or seen after all");
            }
            Fate::Ignored(_) => assert_eq!(outcome, Ok(plain), "{name}"),
            Fate::Refused(_) => {
                let error = outcome.unwrap_err();
                assert_eq!((error.param(), error.code()), (Some(&**name), Some("unsupported_parameter")));
            }
        }
        fields[name] = Value::Null;
        assert!(convert(&fields).is_ok() || ["model", "messages", "input", "max_tokens"].contains(&&**name));
    }
    let fields = sdk_fields.as_object().unwrap();
    for (name, _) in fates.iter().copied().flatten() {
        assert!(fields.contains_key(*name), "{name} has a fate and is no field");
    }
}

/// `FIELDS.md` prints this table.
pub fn assert_printed(fates: &Fates) {
    let row = |(name, fate): &(&str, Fate)| {
        let (word, text) = fate.words();
        format!("| `{name}` | {word} | {text} |\n")
    };
    let table: String = fates.iter().copied().flatten().map(row).collect();
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/FIELDS.md")).unwrap();

    assert!(document.contains(&table), "FIELDS.md has to hold these rows:\n{table}");
}

/// The fields of `more` added to those of `body`, both objects.
pub fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_refused_field_may_ask_for_nothing() {
    const FATES: &Fates = &[&[("a", Fate::Refused("here."))]];
    let refuse = |value: Value| {
        let mut object = Object::read(json!({ "a": value }), super::json::At::Root).unwrap();
        super::fate::refuse(&mut object, FATES)
    };

    for nothing in [json!(null), json!(false), json!(0), json!("none"), json!([]), json!({})] {
        assert_eq!(refuse(nothing.clone()), Ok(()), "{nothing}");
    }
    for something in [json!(true), json!(1), json!("x"), json!([0]), json!({"b": null})] {
        assert_eq!(refuse(something.clone()).unwrap_err().param(), Some("a"), "{something}");
    }
}
