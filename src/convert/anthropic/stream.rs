//! A stream of Gemini's events as the events of a message.
//!
//! They come in the order of Anthropic's own server: `message_start`, for each block its start, deltas and stop, then
//! `message_delta` with the final counts, and `message_stop`. Heartbeats, holding back and retries are the caller's business.

use std::io::Write as _;

use serde::Serialize;
use serde_json::json;

use super::{
    answer::{Answer, Kind, Step},
    json,
    response::MessageMeta,
    types::Message,
};
use crate::convert::gemini::{GenerateContentResponse, signatures::Signed};

/// One message to a client.
#[derive(Debug)]
pub struct MessageStream {
    meta: MessageMeta,
    answer: Answer,
    blocks: Blocks,
    /// The message was announced.
    is_started: bool,
}

/// Which block is being written.
#[derive(Debug, Default)]
struct Blocks {
    /// Counts from 0.
    index: usize,
}

impl MessageStream {
    pub fn new(meta: MessageMeta) -> Self {
        Self { answer: Answer::new(&meta), meta, blocks: Blocks::default(), is_started: false }
    }

    /// Appends what one event says.
    pub fn event(&mut self, response: &GenerateContentResponse<'_>, out: &mut Vec<u8>) {
        self.answer.count(response);
        self.start(out);
        let Self { answer, meta, blocks, .. } = self;
        answer.read(response, meta, &mut |step| blocks.step(step, out));
    }

    /// What came with a signature since this was last asked.
    pub fn take_signed(&mut self) -> Vec<Signed> {
        std::mem::take(&mut self.answer.signed)
    }

    /// Appends the end of the message; more events must not follow.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let Self { answer, meta, blocks, .. } = self;
        let end = answer.finish(meta, &mut |step| blocks.step(step, out));
        let delta = json!({"stop_reason": end.reason, "stop_sequence": end.stop_sequence, "stop_details": end.details});
        event(out, "message_delta", |out| {
            out.extend_from_slice(b",\"delta\":");
            json::write(&delta, out);
            out.extend_from_slice(b",\"usage\":");
            json::write(&answer.usage, out);
        });
        event(out, "message_stop", |_| {});
    }

    /// Appends a sign of life, which is allowed anywhere.
    pub fn ping(out: &mut Vec<u8>) {
        event(out, "ping", |_| {});
    }

    /// Appends an error, after which the stream is closed; both SDKs raise it.
    pub fn error(out: &mut Vec<u8>, kind: &str, message: &str, request_id: &str) {
        event(out, "error", |out| {
            out.extend_from_slice(b",\"error\":");
            json::write(&json!({"type": kind, "message": message}), out);
            out.extend_from_slice(b",\"request_id\":");
            json::write(request_id, out);
        });
    }

    /// Announces the message, once, with the counts that are known by then.
    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        let message = Message {
            id: &self.meta.id,
            kind: "message",
            role: "assistant",
            model: &self.meta.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            usage: self.answer.usage.into(),
        };
        event(out, "message_start", |out| {
            out.extend_from_slice(b",\"message\":");
            json::write(&message, out);
        });
    }
}

impl Blocks {
    fn step(&mut self, step: Step<'_>, out: &mut Vec<u8>) {
        match step {
            Step::Start(Kind::Text) => self.start(br#"{"type":"text","text":""}"#, out),
            Step::Start(Kind::Thinking) => {
                self.start(br#"{"type":"thinking","thinking":"","signature":""}"#, out)
            }
            Step::Text(text) => self.delta(br#"{"type":"text_delta","text":"#, &text, out),
            Step::Thinking(text) => self.delta(br#"{"type":"thinking_delta","thinking":"#, text, out),
            Step::Signature(text) => self.delta(br#"{"type":"signature_delta","signature":"#, &text, out),
            Step::Citation(citation) => {
                self.delta(br#"{"type":"citations_delta","citation":"#, &citation, out)
            }
            Step::Stop => self.stop(out),
            Step::Call(call) => {
                let empty =
                    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}).to_string();
                self.start(empty.as_bytes(), out);
                self.delta(br#"{"type":"input_json_delta","partial_json":"#, call.input.get(), out);
                self.stop(out);
            }
        }
    }

    fn start(&self, block: &[u8], out: &mut Vec<u8>) {
        self.event("content_block_start", out, |out| {
            out.extend_from_slice(b",\"content_block\":");
            out.extend_from_slice(block);
        });
    }

    /// `beginning` is the delta up to its one value.
    fn delta<T: Serialize + ?Sized>(&self, beginning: &[u8], value: &T, out: &mut Vec<u8>) {
        self.event("content_block_delta", out, |out| {
            out.extend_from_slice(b",\"delta\":");
            out.extend_from_slice(beginning);
            json::write(value, out);
            out.push(b'}');
        });
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        self.event("content_block_stop", out, |_| {});
        self.index += 1;
    }

    fn event(&self, name: &str, out: &mut Vec<u8>, rest: impl FnOnce(&mut Vec<u8>)) {
        event(out, name, |out| {
            write!(out, ",\"index\":{}", self.index).expect("a vector takes every write");
            rest(out);
        });
    }
}

/// One server-sent event; its name stands in the data as well.
fn event(out: &mut Vec<u8>, name: &str, rest: impl FnOnce(&mut Vec<u8>)) {
    write!(out, "event: {name}\ndata: {{\"type\":\"{name}\"").expect("a vector takes every write");
    rest(out);
    out.extend_from_slice(b"}\n\n");
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::convert::{anthropic::to_anthropic, fixtures, testing::merge};

    fn read(event: &str) -> Option<GenerateContentResponse<'_>> {
        serde_json::from_str(event).ok()
    }

    fn stream(events: &[GenerateContentResponse<'_>], meta: &MessageMeta) -> (Vec<Value>, Vec<Signed>) {
        let (mut stream, mut out) = (MessageStream::new(meta.clone()), Vec::new());
        events.iter().for_each(|event| stream.event(event, &mut out));
        stream.finish(&mut out);
        (parse(&out), stream.take_signed())
    }

    /// The data of all events, whose names are those of their lines.
    pub fn parse(out: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(out).unwrap();
        let data = |event: &str| {
            let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            data
        };
        text.split_terminator("\n\n").map(data).collect()
    }

    /// The message that a client adds up, by the rules of Anthropic's SDKs; fails on events out of order.
    pub fn add_up(events: &[Value]) -> Value {
        let [start, blocks @ .., delta, stop] = events else { panic!("too few events: {events:?}") };
        let mut message = start["message"].clone();
        assert_eq!((&start["type"], &message["content"]), (&json!("message_start"), &json!([])));
        assert_eq!((&delta["type"], &stop["type"]), (&json!("message_delta"), &json!("message_stop")));
        let (mut open, mut content) = (None::<(Value, String)>, Vec::new());
        for event in blocks {
            assert_eq!(event["index"], content.len());
            match (event["type"].as_str().unwrap(), &mut open) {
                ("content_block_start", None) => open = Some((event["content_block"].clone(), String::new())),
                ("content_block_delta", Some((block, input))) => add(&event["delta"], block, input),
                ("content_block_stop", Some((block, input))) => {
                    if block["type"] == "tool_use" {
                        let text = if input.is_empty() { "{}" } else { input.as_str() };
                        block["input"] = serde_json::from_str(text).unwrap();
                    }
                    content.push(block.take());
                    open = None;
                }
                other => panic!("{other:?} in {events:?}"),
            }
        }
        assert!(open.is_none());
        message["content"] = content.into();
        for name in ["stop_reason", "stop_sequence", "stop_details"] {
            message[name] = delta["delta"][name].clone();
        }
        for (name, count) in delta["usage"].as_object().unwrap() {
            message["usage"][name] = count.clone();
        }
        message
    }

    fn add(delta: &Value, block: &mut Value, input: &mut String) {
        let field = match delta["type"].as_str().unwrap() {
            "text_delta" => "text",
            "thinking_delta" => "thinking",
            "signature_delta" => "signature",
            "input_json_delta" => return input.push_str(delta["partial_json"].as_str().unwrap()),
            "citations_delta" => {
                let mut list = block["citations"].as_array().cloned().unwrap_or_default();
                list.push(delta["citation"].clone());
                return block["citations"] = list.into();
            }
            other => panic!("{other}"),
        };
        let before = block[field].as_str().unwrap_or_else(|| panic!("{delta} for {block}"));
        block[field] = format!("{before}{}", delta[field].as_str().unwrap()).into();
    }

    /// The stream adds up to the same answer converted whole, and remembers the same.
    pub fn assert_adds_up(events: &[GenerateContentResponse<'_>], meta: &MessageMeta, name: &str) {
        let (told, remembered) = stream(events, meta);
        let mut streamed = add_up(&told);
        let merged = merge(events);
        let (whole, signed) = to_anthropic(&merged, meta);
        let mut whole: Value = serde_json::from_slice(&whole.to_json()).unwrap();
        // A stream leaves out what is nothing, and nobody told a whole block from one without citations.
        for message in [&mut streamed, &mut whole] {
            for block in message["content"].as_array_mut().unwrap() {
                if block["citations"].is_null() {
                    block.as_object_mut().unwrap().remove("citations");
                }
            }
        }
        assert_eq!(streamed, whole, "{name}");
        assert_eq!(remembered, signed, "{name}");
    }

    #[test]
    fn a_recorded_stream_adds_up_to_the_answer_converted_whole() {
        let meta = MessageMeta::test();
        for meta in [MessageMeta { show_thoughts: false, ..meta.clone() }, meta] {
            for (path, events) in fixtures::answers() {
                let events: Option<Vec<_>> = events.iter().map(|event| read(event)).collect();
                match events {
                    Some(events) => assert_adds_up(&events, &meta, &path),
                    None => assert!(path.contains("failure"), "{path} is unreadable"),
                }
            }
        }
    }

    #[test]
    fn events_come_in_anthropics_order() {
        let events = [
            r#"{"candidates":[{"content":{"parts":[{"text":"think","thought":true}]}}],"usageMetadata":{"promptTokenCount":3,"totalTokenCount":4,"thoughtsTokenCount":1}}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"hel"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"lo"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"b\nc"},"id":"c1"},"thoughtSignature":"c2ln"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"totalTokenCount":9,"candidatesTokenCount":5,"thoughtsTokenCount":1}}"#,
        ]
        .map(|event| read(event).unwrap());

        let (told, _) = stream(&events, &MessageMeta::test());

        let usage = |output: u64| {
            json!({"input_tokens": 3, "output_tokens": output, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "output_tokens_details": {"thinking_tokens": 1}})
        };
        let mut started = usage(1);
        started["cache_creation"] = json!({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0});
        started["service_tier"] = json!("standard");
        let start = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
        let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        let stop = |index: usize| json!({"type": "content_block_stop", "index": index});
        let thinking = json!({"type": "thinking", "thinking": "", "signature": ""});
        assert_eq!(
            told,
            [
                json!({"type": "message_start", "message": {"id": "msg_test", "type": "message", "role": "assistant", "model": "m",
                    "content": [], "stop_reason": null, "stop_sequence": null, "stop_details": null, "usage": started}}),
                start(0, thinking.clone()),
                delta(0, json!({"type": "thinking_delta", "thinking": "think"})),
                delta(0, json!({"type": "signature_delta", "signature": "gemini:m:"})),
                stop(0),
                start(1, json!({"type": "text", "text": ""})),
                delta(1, json!({"type": "text_delta", "text": "hel"})),
                delta(1, json!({"type": "text_delta", "text": "lo"})),
                stop(1),
                start(2, thinking),
                delta(2, json!({"type": "signature_delta", "signature": "gemini:m:c2ln"})),
                stop(2),
                start(3, json!({"type": "tool_use", "id": "c1", "name": "f", "input": {}})),
                delta(3, json!({"type": "input_json_delta", "partial_json": "{\"a\":\"b\\nc\"}"})),
                stop(3),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null, "stop_details": null}, "usage": usage(6)}),
                json!({"type": "message_stop"}),
            ]
        );
    }

    #[test]
    fn recorded_streams_of_anthropics_add_up_by_the_same_rules() {
        // So that the rules above are Anthropic's, not ours.
        for name in ["stream-text", "thinking-stream", "tools-stream", "tools-stream-no-args"] {
            let files = fixtures::files("anthropic/exchanges", &format!("/{name}.json"));
            for text in files.iter().map(|(_, text)| text) {
                let file: Value = serde_json::from_str(text).unwrap();
                for exchange in file["exchanges"].as_array().unwrap() {
                    let events = fixtures::sse_events(exchange["response"]["body_text"].as_str().unwrap());
                    let events = events.iter().map(|data| serde_json::from_str::<Value>(data).unwrap());
                    let events: Vec<_> = events.filter(|event| event["type"] != "ping").collect();
                    assert!(!add_up(&events)["content"].as_array().unwrap().is_empty());
                }
            }
        }
    }

    #[test]
    fn an_error_is_an_event_of_its_own() {
        let mut out = Vec::new();

        MessageStream::error(&mut out, "overloaded_error", "gone \"away\"", "req_1");

        assert_eq!(
            parse(&out),
            [
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "gone \"away\""}, "request_id": "req_1"})
            ]
        );
    }
}
