//! What holds for every request and answer, however odd; and that a stream says what the whole answer says.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Earlier, ResponseMeta, ResponseStream, fields::FIELD_FATES, request::tests::convert, responses_request,
    stored, stream::StreamError, to_response,
};
use crate::convert::{
    fixtures,
    gemini::{GenerateContentResponse, signatures::Signed},
    testing::{
        self, answer, answer_part, any_json, assert_nothing_is_lost, assert_well_formed, events, merge, word,
    },
};

const MODELS: [&str; 3] = ["gemini-2.5-flash", "gemini-3.8-flash", "gemma-4-31b-it"];
const NOW: i64 = 1_790_000_000;

fn item() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(&["a", "b", "c"][..]);
    let role = prop::sample::select(&["user", "assistant", "system", "developer"][..]);
    prop_oneof![
        (role, any::<u32>()).prop_map(|(role, n)| json!({"role": role, "content": format!("said-{n}")})),
        (id(), word()).prop_map(
            |(id, name)| json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{}"})
        ),
        (id(), any::<u32>()).prop_map(
            |(id, n)| json!({"type": "function_call_output", "call_id": id, "output": format!("result-{n}")})
        ),
        word().prop_map(|text| json!({"type": "reasoning", "summary": [], "encrypted_content": text})),
        Just(json!({"type": "web_search_call", "status": "completed"})),
        any::<u32>().prop_map(|n| {
            let outputs = json!([{"type": "logs", "logs": format!("logs-{n}")}]);
            json!({"type": "code_interpreter_call", "code": format!("code-{n}"), "outputs": outputs})
        }),
        Just(json!({"type": "image_generation_call", "result": "AA=="})),
    ]
}

fn meta(show_thoughts: bool) -> ResponseMeta {
    let body = json!({"model": "m", "input": "hi", "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": if show_thoughts { "auto" } else { "none" }}});
    let request = responses_request(body.to_string().as_bytes()).unwrap();
    ResponseMeta::new(&request, "resp_0190a0b0c0d07e8f90a1b2c3d4e5f601".into(), NOW, "gemini-3.8-flash")
}

fn read(event: &str) -> GenerateContentResponse<'_> {
    serde_json::from_str(event).unwrap_or_else(|error| panic!("{error}: {event}"))
}

fn stream(events: &[GenerateContentResponse<'_>], meta: &ResponseMeta) -> (Vec<Value>, Vec<Signed>) {
    let (mut stream, mut out) = (ResponseStream::new(meta.clone()), Vec::new());
    events.iter().for_each(|event| stream.event(event, &mut out));
    stream.finish(NOW, &mut out);
    (parse(&out), stream.take_signed())
}

fn parse(out: &[u8]) -> Vec<Value> {
    let frames = std::str::from_utf8(out).unwrap().split_terminator("\n\n");
    let parse = |(number, frame): (usize, &str)| {
        let (name, data) = frame.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", event["type"].as_str().unwrap()));
        assert_eq!(event["sequence_number"], number);
        event
    };
    frames.enumerate().map(parse).collect()
}

/// Puts an output together from events as the SDKs do, and fails where they would.
fn assemble(events: &[Value]) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let mut done = Vec::new();
    for event in &events[2..events.len() - 1] {
        let at = usize::try_from(event["output_index"].as_u64().unwrap()).unwrap();
        let kind = event["type"].as_str().unwrap();
        if kind == "response.output_item.added" {
            assert_eq!(at, items.len(), "every index is added once, in order");
            items.push(event["item"].clone());
            continue;
        }
        assert_eq!(at + 1, items.len(), "one item is open at a time: {event}");
        assert_eq!(done.len(), at, "nothing follows the end of an item: {event}");
        let item = &mut items[at];
        let delta = event["delta"].as_str().unwrap_or_default();
        let append = |place: &mut Value| {
            let whole = format!("{}{delta}", place.as_str().unwrap());
            *place = whole.into();
        };
        let index = |name: &str| usize::try_from(event[name].as_u64().unwrap()).unwrap();
        if let Some(id) = event.get("item_id") {
            assert_eq!(id, &item["id"]);
        }
        match kind {
            "response.output_item.done" => done.push(event["item"].clone()),
            "response.content_part.added" => {
                item["content"].as_array_mut().unwrap().push(event["part"].clone())
            }
            "response.reasoning_summary_part.added" => {
                item["summary"].as_array_mut().unwrap().push(event["part"].clone())
            }
            "response.output_text.delta" => append(&mut item["content"][index("content_index")]["text"]),
            "response.refusal.delta" => append(&mut item["content"][index("content_index")]["refusal"]),
            "response.reasoning_summary_text.delta" => {
                append(&mut item["summary"][index("summary_index")]["text"])
            }
            "response.function_call_arguments.delta" => append(&mut item["arguments"]),
            "response.code_interpreter_call_code.delta" => append(&mut item["code"]),
            "response.output_text.annotation.added" => {
                let annotations = item["content"][0]["annotations"].as_array_mut().unwrap();
                assert_eq!(annotations.len(), index("annotation_index"));
                annotations.push(event["annotation"].clone());
            }
            "response.output_text.done" => assert_eq!(event["text"], item["content"][0]["text"]),
            "response.refusal.done" => assert_eq!(event["refusal"], item["content"][0]["refusal"]),
            "response.reasoning_summary_text.done" => assert_eq!(event["text"], item["summary"][0]["text"]),
            "response.function_call_arguments.done" => assert_eq!(event["arguments"], item["arguments"]),
            _ => {}
        }
    }
    for (item, done) in items.iter().zip(&done) {
        for field in ["summary", "arguments", "code"] {
            assert_eq!(item.get(field), done.get(field));
        }
        for field in ["text", "refusal", "annotations"] {
            assert_eq!(item["content"][0].get(field), done["content"][0].get(field));
        }
    }
    assert_eq!(items.len(), done.len(), "every item ends");
    done
}

/// The stream says what the same answer says in one piece, and remembers the same.
fn assert_same(events: &[GenerateContentResponse<'_>], meta: &ResponseMeta) {
    let whole = to_response(&merge(events), meta, NOW);
    let told: Value = serde_json::from_slice(&whole.json).unwrap();
    let (events, signed) = stream(events, meta);
    let last = events.last().unwrap();
    assert_eq!(signed, whole.signed);

    let lifecycle: Vec<_> = events.iter().filter(|event| event.get("response").is_some()).collect();
    assert_eq!(lifecycle.len(), 3);
    assert!(lifecycle.iter().all(|event| event["response"]["id"] == told["id"]));
    assert_eq!(lifecycle[0]["response"]["output"], json!([]));
    assert_eq!(last["response"], told);
    assert_eq!(json!(assemble(&events)), told["output"]);
}

#[test]
fn recorded_answers_stream_as_they_are_told_whole() {
    for (path, events) in fixtures::answers() {
        let events: Option<Vec<_>> = events.iter().map(|event| serde_json::from_str(event).ok()).collect();
        let Some(events) = events else {
            assert!(path.contains("failure"), "{path} is unreadable");
            continue;
        };
        println!("{path}");
        for show_thoughts in [true, false] {
            assert_same(&events, &meta(show_thoughts));
        }
    }
}

#[test]
fn a_stream_that_breaks_off_tells_it_twice() {
    let (mut stream, mut out) = (ResponseStream::new(meta(false)), Vec::new());
    stream.event(&read(&answer(&[json!({"text": "Hel"})], None)), &mut out);

    let error = StreamError { message: "cut \"off\"", kind: "server_error", code: None, status: 502 };
    let kept = stream.fail(&error, &mut out);

    let events = parse(&out);
    let [.., error, failed] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        error["error"],
        json!({"type": "server_error", "code": null, "message": "cut \"off\"", "param": null})
    );
    assert_eq!(failed["type"], "response.failed");
    assert_eq!(failed["response"]["error"], json!({"code": "server_error", "message": "cut \"off\""}));
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["status"], "failed");
}

#[test]
fn how_an_answer_ended_is_its_status() {
    let meta = meta(false);
    let ended = testing::endings().map(|answer| {
        let told: Value = serde_json::from_slice(&to_response(&read(&answer), &meta, NOW).json).unwrap();
        let reason = told["incomplete_details"]["reason"].as_str().unwrap_or_default();
        format!("{} {reason}", told["status"].as_str().unwrap())
    });

    let (whole, long, filtered) = ("completed ", "incomplete max_output_tokens", "incomplete content_filter");
    assert_eq!(ended, [whole, whole, long, long, filtered, filtered, whole, whole]);
}

#[test]
fn a_blocked_prompt_is_a_refusal_with_its_reason() {
    let event = r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"too hot"}}"#;
    let told: Value = serde_json::from_slice(&to_response(&read(event), &meta(false), NOW).json).unwrap();

    assert_eq!(told["status"], "incomplete");
    let content = &told["output"][0]["content"];
    assert_eq!(
        content,
        &json!([{"type": "refusal", "refusal": "Gemini blocked the prompt: SAFETY (too hot)"}])
    );
    assert_same(&[read(event)], &meta(false));
}

#[test]
fn what_is_kept_leads_to_the_next_turn_with_its_signature() {
    let call =
        json!({"functionCall": {"name": "f", "args": {"a": 1}, "id": "call_1"}, "thoughtSignature": "c2ln"});
    let whole = answer(&[json!({"text": "hm", "thought": true}), call], Some("STOP"));
    let plain = ResponseMeta { include_encrypted: false, ..meta(true) };

    let told = to_response(&read(&whole), &plain, NOW);

    let shown: Value = serde_json::from_slice(&told.json).unwrap();
    assert_eq!(shown["output"][0]["summary"][0]["text"], "hm");
    assert!(shown["output"][0].get("encrypted_content").is_none(), "nobody asked for it");
    assert_eq!(stored::to_tell(&told.kept, false), Some(shown));
    let mut items = vec![json!({"role": "user", "content": "go"})];
    items.extend(stored::output(&told.kept));
    let body = json!({"model": "m", "previous_response_id": "resp_1", "input": [{"type": "function_call_output", "call_id": "call_1", "output": "ok"}]});
    let request = convert(&body, "gemini-3.8-flash", Earlier { items, ..Earlier::default() }).unwrap();
    assert_eq!(
        request["contents"][1]["parts"],
        json!([{"functionCall": {"name": "f", "args": {"a": 1}, "id": "call_1"}, "thoughtSignature": "c2ln"}])
    );
}

proptest! {
    #[test]
    fn odd_bodies_never_panic(body in any_json(), bytes in any::<Vec<u8>>()) {
        let _ = responses_request(body.to_string().as_bytes());
        let _ = responses_request(&bytes);
        let _ = stored::input_to_keep(&bytes, "resp_1");
        let _ = stored::input_to_keep(json!({ "input": body }).to_string().as_bytes(), "resp_é");
    }

    #[test]
    fn odd_fields_are_refused_or_give_a_well_formed_request(
        body in testing::with_odd_fields(json!({"model": "m", "input": "hi"}), FIELD_FATES),
    ) {
        for model in MODELS {
            convert(&body, model, Earlier::default()).iter().for_each(assert_well_formed);
        }
    }

    #[test]
    fn any_history_gives_a_well_formed_request_and_can_be_kept(items in prop::collection::vec(item(), 1..12)) {
        let body = json!({"model": "m", "input": items});
        let kept = stored::items(&stored::input_to_keep(body.to_string().as_bytes(), "resp_1").unwrap());
        prop_assert!(kept.iter().all(|item| item["id"].is_string()));
        for model in MODELS {
            let request = convert(&body, model, Earlier::default());
            if let Ok(request) = &request {
                assert_well_formed(request);
                let fields = ["content", "output", "code", "logs", "result"];
                assert_nothing_is_lost(&body["input"], &request.to_string(), &fields);
            }
            let again = convert(&json!({"model": "m", "input": kept}), model, Earlier::default());
            prop_assert_eq!(request, again, "what is kept says the same");
        }
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says(
        parts in prop::collection::vec(answer_part(), 0..8), cuts in prop::collection::vec(0_usize..8, 0..4),
        show_thoughts in any::<bool>(), parallel_tool_calls in any::<bool>(),
    ) {
        let events = events(&parts, &cuts);
        let events: Vec<_> = events.iter().map(|event| read(event)).collect();
        assert_same(&events, &ResponseMeta { parallel_tool_calls, ..meta(show_thoughts) });
    }

    #[test]
    fn odd_answers_never_panic(body in any_json(), parts in prop::collection::vec(any_json(), 0..4)) {
        let body = json!({"candidates": [{"content": {"parts": parts}, "groundingMetadata": body}]}).to_string();
        if let Ok(response) = serde_json::from_str::<GenerateContentResponse>(&body) {
            let _ = to_response(&response, &meta(true), NOW);
        }
    }
}
