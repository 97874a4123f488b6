//! A stream of Gemini's events as server-sent chunks of a chat completion.
//!
//! A chunk is written straight into the buffer that goes to the client: what all chunks of a choice share is prepared once,
//! only the delta is serialised. Heartbeats, holding back and retries are the caller's business.

use std::io::Write as _;

use serde_json::json;

use super::{
    answer::{Answer, Piece},
    audio, json,
    logprobs::Logprobs,
    response::ChatMeta,
    types::Delta,
    usage,
};
use crate::convert::gemini::{GenerateContentResponse, signatures::Signed};

/// One answer to a client, of one or several choices whose events may come in any order.
#[derive(Debug)]
pub struct ChatStream {
    meta: ChatMeta,
    include_usage: bool,
    choices: Vec<Choice>,
}

#[derive(Debug)]
struct Choice {
    answer: Answer,
    frame: Frame,
    /// The role was told.
    started: bool,
    finished: bool,
}

/// What stands before and after the delta in every chunk of a choice.
#[derive(Debug)]
struct Frame {
    before: Vec<u8>,
    /// From the finish reason on.
    after: &'static [u8],
}

impl ChatStream {
    /// `n` is the number of choices; `include_usage` as in `stream_options`.
    pub fn new(meta: ChatMeta, n: usize, include_usage: bool) -> Self {
        let choice = |index| Choice {
            answer: Answer::new(index, &meta),
            frame: Frame::new(&meta, index, include_usage),
            started: false,
            finished: false,
        };
        let choices = (0..n).map(choice).collect();
        Self { meta, include_usage, choices }
    }

    /// Appends the chunks of one event; none for an event without anything that the client shall see.
    pub fn event(&mut self, index: usize, response: &GenerateContentResponse<'_>, out: &mut Vec<u8>) {
        let Some(Choice { answer, frame, started, .. }) = self.choices.get_mut(index) else {
            return;
        };
        answer.read(response, &self.meta, &mut |piece| {
            frame.start(started, out);
            frame.piece(piece, &self.meta, index, out);
        });
    }

    /// What came with a signature since this was last asked.
    pub fn take_signed(&mut self) -> Vec<Signed> {
        self.choices.iter_mut().flat_map(|choice| std::mem::take(&mut choice.answer.signed)).collect()
    }

    /// Appends the end of one choice; more events of it must not follow.
    pub fn finish(&mut self, index: usize, out: &mut Vec<u8>) {
        let Some(Choice { answer, frame, started, finished }) = self.choices.get_mut(index) else {
            return;
        };
        if std::mem::replace(finished, true) {
            return;
        }
        frame.start(started, out);
        let end = answer.finish(&self.meta, &mut |piece| frame.piece(piece, &self.meta, index, out));
        if self.meta.speech.is_some() {
            let last = audio::end(&self.meta, index);
            frame.delta(&Delta { audio: Some(&last), ..Delta::default() }, out);
        }
        if let Some(refusal) = &end.refusal {
            frame.delta(&Delta { refusal: Some(refusal), ..Delta::default() }, out);
        }
        frame.finish(end.reason, out);
    }

    /// Appends the usage, if it was asked for, and the end of the stream; every choice is finished before.
    pub fn done(&mut self, out: &mut Vec<u8>) {
        if self.include_usage {
            let usage = usage::together(self.choices.iter().map(|choice| choice.answer.usage));
            out.extend_from_slice(b"data: ");
            write_head(&self.meta, out);
            out.extend_from_slice(b",\"choices\":[],\"usage\":");
            json::write(&usage, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Appends an error, after which the stream is closed; both SDKs raise it at once.
    pub fn error(out: &mut Vec<u8>, message: &str, kind: &str, code: Option<&str>) {
        out.extend_from_slice(b"data: ");
        json::write(&json!({"error": {"message": message, "type": kind, "param": null, "code": code}}), out);
        out.extend_from_slice(b"\n\n");
    }
}

impl Frame {
    fn new(meta: &ChatMeta, index: usize, include_usage: bool) -> Self {
        let mut before = b"data: ".to_vec();
        write_head(meta, &mut before);
        write!(before, ",\"choices\":[{{\"index\":{index},\"delta\":").expect("a vector takes every write");
        let after: &[u8] = if include_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" };
        Self { before, after }
    }

    /// The first chunk of a choice tells the role.
    fn start(&self, started: &mut bool, out: &mut Vec<u8>) {
        if !std::mem::replace(started, true) {
            self.chunk(out, |out| {
                out.extend_from_slice(br#"{"role":"assistant","content":"","refusal":null}"#)
            });
        }
    }

    fn piece(&self, piece: Piece<'_>, meta: &ChatMeta, index: usize, out: &mut Vec<u8>) {
        let nothing = Delta::default();
        match piece {
            Piece::Thought(text) => self.delta(&Delta { reasoning_content: Some(text), ..nothing }, out),
            Piece::Text(text) => self.delta(&Delta { content: Some(&text), ..nothing }, out),
            Piece::Citations(found) => self.delta(&Delta { annotations: &found, ..nothing }, out),
            Piece::Call(call) if meta.are_functions => {
                self.delta(&Delta { function_call: call.function.as_ref(), ..nothing }, out);
            }
            Piece::Call(call) => self.delta(&Delta { tool_calls: &[call], ..nothing }, out),
            Piece::Audio(sound) => {
                self.delta(&Delta { audio: Some(&audio::piece(sound, meta, index)), ..nothing }, out);
            }
            Piece::Logprobs(found) => self.logprobs(&found, out),
        }
    }

    fn delta(&self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        self.chunk(out, |out| json::write(delta, out));
    }

    fn chunk(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.before);
        delta(out);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":null");
        out.extend_from_slice(self.after);
    }

    fn logprobs(&self, found: &Logprobs, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(b"{},\"logprobs\":");
        json::write(found, out);
        out.extend_from_slice(b",\"finish_reason\":null");
        out.extend_from_slice(self.after);
    }

    fn finish(&self, reason: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(b"{},\"logprobs\":null,\"finish_reason\":");
        json::write(reason, out);
        out.extend_from_slice(self.after);
    }
}

/// The fields that all chunks have in common, without the closing brace.
fn write_head(meta: &ChatMeta, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    json::write(&meta.id, out);
    out.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
    json::write(&meta.created, out);
    out.extend_from_slice(b",\"model\":");
    json::write(&meta.model, out);
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::convert::{fixtures, openai::response::to_openai_signed, testing::merge};

    fn read(event: &str) -> Option<GenerateContentResponse<'_>> {
        serde_json::from_str(event).ok()
    }

    /// All chunks of a stream of one choice, without the end mark.
    fn chunks(events: &[&str], include_usage: bool) -> Vec<Value> {
        let mut stream = ChatStream::new(ChatMeta::test(), 1, include_usage);
        let mut out = Vec::new();
        for event in events {
            stream.event(0, &read(event).unwrap(), &mut out);
        }
        stream.finish(0, &mut out);
        stream.done(&mut out);
        parse(&out)
    }

    fn parse(out: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(out).unwrap().strip_suffix("data: [DONE]\n\n").unwrap();
        let data = |event: &str| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        text.split_terminator("\n\n").map(data).collect()
    }

    /// The message that a client adds up from the chunks.
    fn add_up(chunks: &[Value]) -> Value {
        let mut message = json!({"content": "", "refusal": "", "reasoning_content": "", "tool_calls": [], "annotations": []});
        for delta in chunks.iter().filter_map(|chunk| chunk["choices"].get(0)).map(|choice| &choice["delta"])
        {
            for name in ["content", "refusal", "reasoning_content"] {
                if let (Value::String(text), Some(more)) = (&mut message[name], delta[name].as_str()) {
                    text.push_str(more);
                }
            }
            for name in ["tool_calls", "annotations"] {
                if let (Value::Array(list), Some(more)) = (&mut message[name], delta[name].as_array()) {
                    list.extend(more.iter().cloned());
                }
            }
        }
        for (index, call) in message["tool_calls"].as_array_mut().unwrap().iter_mut().enumerate() {
            assert_eq!(call.as_object_mut().unwrap().remove("index"), Some(json!(index)));
        }
        message
    }

    /// The stream adds up to the same answer converted whole, and remembers the same.
    pub fn assert_adds_up(events: &[GenerateContentResponse<'_>], meta: &ChatMeta, name: &str) {
        let (mut stream, mut out) = (ChatStream::new(meta.clone(), 1, true), Vec::new());
        events.iter().for_each(|event| stream.event(0, event, &mut out));
        stream.finish(0, &mut out);
        stream.done(&mut out);
        let chunks = parse(&out);
        let whole = [merge(events)];
        let (completion, signed) = to_openai_signed(&whole, meta);
        let completion: Value = serde_json::from_slice(&completion.to_json()).unwrap();

        let streamed = add_up(&chunks);

        let choice = &completion["choices"][0];
        for (field, value) in streamed.as_object().unwrap() {
            let empty = value == "" || value.as_array().is_some_and(Vec::is_empty);
            let expected = &choice["message"][field];
            assert!(expected == value || empty && (expected.is_null() || expected == ""), "{name}: {field}");
        }
        let [.., finish, usage] = chunks.as_slice() else { panic!("{name}: too few chunks") };
        assert_eq!(finish["choices"][0]["finish_reason"], choice["finish_reason"], "{name}");
        assert_eq!(usage["usage"], completion["usage"], "{name}");
        assert_eq!(stream.take_signed(), signed, "{name}");
    }

    #[test]
    fn a_recorded_stream_adds_up_to_the_answer_converted_whole() {
        for (path, events) in fixtures::answers() {
            let events: Option<Vec<_>> = events.iter().map(|event| read(event)).collect();
            match events {
                Some(events) => assert_adds_up(&events, &ChatMeta::test(), &path),
                None => assert!(path.contains("failure"), "{path} is unreadable"),
            }
        }
    }

    #[test]
    fn chunks_come_in_openais_order_with_one_head() {
        let chunks = chunks(
            &[
                r#"{"candidates":[{"content":{"parts":[{"text":"think","thought":true}]}}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"hel"}]}}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"lo"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"totalTokenCount":1}}"#,
            ],
            true,
        );

        let deltas: Vec<_> = chunks[..5].iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
        assert_eq!(
            deltas,
            [
                json!({"role": "assistant", "content": "", "refusal": null}),
                json!({"reasoning_content": "think"}),
                json!({"content": "hel"}),
                json!({"content": "lo"}),
                json!({}),
            ]
        );
        assert_eq!(chunks[4]["choices"][0]["finish_reason"], "stop");
        assert_eq!((&chunks[5]["choices"], &chunks[5]["usage"]["prompt_tokens"]), (&json!([]), &json!(1)));
        for chunk in &chunks {
            assert_eq!(chunk["id"], "chatcmpl-test");
            assert_eq!((&chunk["object"], &chunk["model"]), (&json!("chat.completion.chunk"), &json!("m")));
        }
        assert!(chunks[..5].iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    }

    #[test]
    fn usage_is_absent_unless_it_was_asked_for() {
        let chunks = chunks(&[r#"{"usageMetadata":{"promptTokenCount":1,"totalTokenCount":1}}"#], false);

        assert_eq!(chunks.len(), 2);
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[test]
    fn several_choices_interleave_and_share_one_usage() {
        let event = read(
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}],
            "usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5}}"#,
        );
        let (mut stream, mut out) = (ChatStream::new(ChatMeta::test(), 2, true), Vec::new());
        for index in [1, 0] {
            stream.event(index, event.as_ref().unwrap(), &mut out);
        }
        stream.finish(0, &mut out);
        stream.finish(1, &mut out);
        stream.finish(1, &mut out);
        stream.event(7, event.as_ref().unwrap(), &mut out);
        stream.done(&mut out);

        let chunks = parse(&out);

        let indexes: Vec<_> =
            chunks.iter().filter_map(|chunk| chunk["choices"].get(0)?["index"].as_u64()).collect();
        assert_eq!(indexes, [1, 1, 0, 0, 0, 1]);
        let ids =
            [&chunks[1], &chunks[3]].map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["id"].clone());
        assert_ne!(ids[0], ids[1]);
        assert_eq!(chunks[6]["usage"]["completion_tokens"], 4);
        assert_eq!(chunks[6]["usage"]["prompt_tokens"], 3);
    }

    #[test]
    fn an_error_is_an_event_that_both_sdks_raise() {
        let mut out = Vec::new();

        ChatStream::error(&mut out, "gone \"away\"", "server_error", None);

        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "data: {\"error\":{\"message\":\"gone \\\"away\\\"\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"
        );
    }
}
