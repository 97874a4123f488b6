//! What must be known of a *successful* answer, read in one pass without building it.
//!
//! A [`Glance`] is taken of every stream event and of every whole answer, so it copies nothing and steps over texts,
//! images and signatures of any length: about 1 µs for an event, 0.3 ms for an image of a megabyte. It reads Gemini's
//! `GenerateContentResponse`; of other answers (embeddings, token counts, files) it sees the usage and that there are
//! no candidates.
//!
//! Two questions are kept apart. *Content* is anything that a client would show, thoughts included: the first event
//! with content commits a stream. An *answer* is what the client asked for: text, calls, images, anything but
//! thoughts. An answer of thoughts alone that then stops is an empty answer.

use super::answer_reader::Answer;
use crate::domain::usage::Usage;

/// One JSON object of an answer, or a whole stream of them ([`StreamGlance`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// There is a `candidates` list, even an empty one.
    pub candidates: bool,
    /// Some part holds what a client would show; thoughts count.
    pub content: bool,
    /// Some part holds more than thoughts and signatures.
    pub answer: bool,
    /// The prompt was blocked: `promptFeedback.blockReason`, or a message of that kind.
    pub blocked: bool,
    pub finish: Option<Finish>,
    /// `None` too where `usageMetadata` has no counts, as in the first events of Vertex.
    pub usage: Option<Usage>,
    /// An `error` stands beside or in place of the answer; `classify_error_event` judges it.
    pub error: bool,
}

/// Why an answer ended, as far as it matters to a gateway.
///
/// Source: `Candidate.FinishReason` of the Gemini API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// `STOP`; tool calls end with it too.
    Stop,
    MaxTokens,
    /// Safety, recitation and every other rule about what may be said.
    Blocked,
    /// The model stumbled: `MALFORMED_FUNCTION_CALL`, `OTHER`, `NO_IMAGE`…; another attempt may succeed.
    Failed,
    /// `MISSING_THOUGHT_SIGNATURE`: the request lacks something, so no other key helps.
    MissingSignature,
    /// `CONTINUATION`: not the end; the request is to be repeated with a token.
    Continued,
    /// A reason that did not exist when this was written.
    Unknown,
}

/// Why an answer could not be looked at; it is then nobody's business but the client's.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not a readable JSON object: {0}")]
pub struct GlanceError(#[from] serde_json::Error);

/// Looks at a whole answer or at the data of one stream event.
pub fn glance(json: &[u8]) -> Result<Glance, GlanceError> {
    let Answer { candidates, prompt_feedback, usage_metadata, error } = serde_json::from_slice(json)?;
    let seen = candidates.unwrap_or_default();
    Ok(Glance {
        candidates: candidates.is_some(),
        content: seen.content,
        answer: seen.answer,
        blocked: prompt_feedback.is_some_and(|feedback| feedback.is_block()),
        finish: seen.finish,
        usage: usage_metadata.and_then(|counts| counts.into_usage()),
        error: error.is_some(),
    })
}

impl Glance {
    /// Whether this is a success that has no reason to carry candidates: embeddings, token counts, files, models.
    pub fn is_plain_success(&self) -> bool {
        !self.candidates && !self.error
    }
}

/// Whether a whole answer of `generateContent` is empty without a reason, so that another attempt is worth it.
///
/// Thoughts alone do not make an answer, except when the token limit cut them short. A blocked prompt, a stop for
/// safety and a reason that we do not know are reasons.
pub fn is_empty_answer(whole: &Glance) -> bool {
    let unexplained = match whole.finish {
        None | Some(Finish::Stop | Finish::Failed) => true,
        Some(
            Finish::MaxTokens
            | Finish::Blocked
            | Finish::MissingSignature
            | Finish::Continued
            | Finish::Unknown,
        ) => false,
    };
    unexplained && !whole.answer && !whole.blocked && !whole.error
}

/// What all events of a stream amount to.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamGlance {
    whole: Glance,
}

impl StreamGlance {
    /// Adds the next event. Of usage and finish reason the last ones count: earlier events may count fewer tokens,
    /// and Vertex may write `STOP` into every event.
    pub fn observe(&mut self, event: &Glance) {
        let whole = &mut self.whole;
        whole.candidates |= event.candidates;
        whole.content |= event.content;
        whole.answer |= event.answer;
        whole.blocked |= event.blocked;
        whole.error |= event.error;
        whole.finish = event.finish.or(whole.finish);
        whole.usage = event.usage.or(whole.usage);
    }

    /// The events so far, as if they had come as one answer.
    pub fn whole(&self) -> &Glance {
        &self.whole
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::upstream::{
        fixtures,
        sse::{Event, EventSplitter},
    };

    fn look(json: Value) -> Glance {
        glance(json.to_string().as_bytes()).unwrap()
    }

    /// The glance of an answer with one candidate of these parts.
    fn parts(parts: Value, finish: &str) -> Glance {
        look(json!({"candidates": [{"content": {"parts": parts}, "finishReason": finish}]}))
    }

    #[test]
    fn anything_but_thoughts_and_signatures_is_an_answer() {
        for part in [
            json!({"text": "a"}),
            json!({"text": "\"\\\n"}),
            json!({"functionCall": {"name": "f", "args": {}}}),
            json!({"functionCall": {}, "thoughtSignature": "s"}),
            json!({"inlineData": {"data": "", "mimeType": "image/png"}}),
            json!({"executableCode": {}}),
            json!({"somethingNew": 1}),
        ] {
            let seen = parts(json!([{ "text": "" }, part]), "STOP");
            assert!(seen.content && seen.answer && !is_empty_answer(&seen), "{part}");
        }
    }

    #[test]
    fn a_thought_is_content_but_no_answer() {
        let seen = parts(json!([{"text": "hm", "thought": true, "thoughtSignature": "s"}]), "STOP");

        assert!(seen.content && !seen.answer && is_empty_answer(&seen));
    }

    #[test]
    fn empty_parts_and_signatures_alone_are_nothing() {
        for nothing in [
            json!([]),
            json!(null),
            json!([{}]),
            json!([{"text": ""}]),
            json!([{"text": null, "functionCall": null}]),
            json!([{"text": "", "thoughtSignature": "s"}]),
        ] {
            let seen = parts(nothing.clone(), "STOP");
            assert!(!seen.content && !seen.answer && is_empty_answer(&seen), "{nothing}");
        }
    }

    #[test]
    fn an_answer_without_content_is_empty_only_when_nothing_explains_it() {
        for (finish, empty) in [
            ("STOP", true),
            ("FINISH_REASON_UNSPECIFIED", true),
            ("OTHER", true),
            ("MALFORMED_FUNCTION_CALL", true),
            ("UNEXPECTED_TOOL_CALL", true),
            ("MALFORMED_RESPONSE", true),
            ("MAX_TOKENS", false),
            ("SAFETY", false),
            ("RECITATION", false),
            ("MISSING_THOUGHT_SIGNATURE", false),
            ("CONTINUATION", false),
            ("INVENTED_TOMORROW", false),
        ] {
            assert_eq!(is_empty_answer(&parts(json!([]), finish)), empty, "{finish}");
        }
        assert!(is_empty_answer(&look(json!({"candidates": []}))));
        assert!(is_empty_answer(&look(json!({"candidates": [{"content": {}}]}))));
        assert!(!is_empty_answer(&look(json!({"promptFeedback": {"blockReason": "SAFETY"}}))));
        assert!(!is_empty_answer(&look(json!({"error": {"code": 500}}))));
    }

    #[test]
    fn any_candidate_with_content_is_enough() {
        let seen = look(json!({"candidates": [
            {"finishReason": "STOP"},
            {"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"},
        ]}));

        assert!(seen.answer);
    }

    #[test]
    fn counts_of_any_type_are_read_or_left_out() {
        let seen = look(json!({"usageMetadata": {
            "promptTokenCount": 3, "candidatesTokenCount": "4", "totalTokenCount": null, "thoughtsTokenCount": -1,
            "cachedContentTokenCount": u64::MAX, "toolUsePromptTokenCount": {},
        }}));

        let usage = seen.usage.unwrap();
        assert_eq!((usage.prompt_token_count, usage.candidates_token_count), (3, 4));
        assert_eq!((usage.total_token_count, usage.thoughts_token_count), (0, 0));
        assert_eq!(usage.cached_content_token_count, u64::from(u32::MAX));
        assert_eq!(look(json!({"usageMetadata": {"trafficType": "ON_DEMAND"}})).usage, None);
    }

    #[test]
    fn of_a_stream_the_last_usage_and_finish_reason_count_and_content_adds_up() {
        let mut stream = StreamGlance::default();
        for event in [
            json!({"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 55}}),
            json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}],
                   "usageMetadata": {"promptTokenCount": 257}}),
            json!({"usageMetadata": {}}),
        ] {
            stream.observe(&look(event));
        }

        let whole = stream.whole();
        assert_eq!(whole.usage.unwrap().prompt_token_count, 257);
        assert_eq!(whole.finish, Some(Finish::Stop));
        assert!(whole.answer && !is_empty_answer(whole));
    }

    #[test]
    fn an_answer_of_another_endpoint_is_a_plain_success() {
        for body in [json!({"totalTokens": 6}), json!({"embedding": {"values": [0.1]}}), json!({})] {
            assert!(look(body).is_plain_success());
        }
        assert!(!look(json!({"error": {}})).is_plain_success());
    }

    #[test]
    fn what_is_no_object_cannot_be_looked_at() {
        for body in ["", "[]", "nul", "{\"candidates\":7}", "{\"candidates\":[", "<html>"] {
            assert!(glance(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_stepped_over() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));

        assert!(glance(deep.as_bytes()).unwrap().is_plain_success());
    }

    proptest! {
        #[test]
        fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = glance(&bytes);
        }
    }

    /// Recorded successes that are empty all the same, and rightly judged so.
    const EMPTY: [&str; 1] = ["unary-success-empty-text-part.json"];

    /// Looks at a recording: a JSON object, Google's JSON array, a stream, or a stream without its frames.
    fn look_at(body: &str) -> Glance {
        let mut whole = StreamGlance::default();
        if let Ok(Value::Array(elements)) = serde_json::from_str(body) {
            elements.into_iter().for_each(|element| whole.observe(&look(element)));
            return *whole.whole();
        }
        let mut splitter = EventSplitter::default();
        splitter.push(body.to_owned().into());
        while let Some(event) = splitter.finish() {
            let (Event::Data { data, .. } | Event::Bare(data)) = event.unwrap();
            whole.observe(&glance(&data).unwrap());
        }
        *whole.whole()
    }

    fn assert_not_empty(body: &str, file: &Path) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let whole = look_at(body);
        let generated = whole.candidates || whole.blocked;
        assert_eq!(generated && is_empty_answer(&whole), EMPTY.contains(&name), "{name}: {whole:?}");
        assert!(!whole.error, "{name}");
    }

    #[test]
    fn no_recorded_success_is_taken_for_empty() {
        let Some(folder) = fixtures::folder("gemini") else { return };
        let firebase = ["googleai", "vertexai"].map(|name| folder.join("firebase").join(name));
        let vercel = folder.join("vercel/google");
        let mut seen = 0;
        for folder in firebase.iter().chain([&vercel]) {
            for file in fixtures::files(folder, "json").into_iter().chain(fixtures::files(folder, "txt")) {
                let name = file.file_name().unwrap().to_str().unwrap();
                if name.contains("success") || (name.starts_with("google-") && !name.contains("429")) {
                    assert_not_empty(&fs::read_to_string(&file).unwrap(), &file);
                    seen += 1;
                }
            }
        }
        assert!(seen > 80, "{seen} recordings");
    }

    #[test]
    fn no_recorded_exchange_that_succeeded_is_taken_for_empty() {
        let Some(folder) = fixtures::folder("gemini/exchanges") else { return };
        let mut seen = 0;
        for file in fixtures::files(&folder, "json") {
            for exchange in fixtures::json(&file)["exchanges"].as_array().unwrap() {
                let response = &exchange["response"];
                let url = exchange["request"]["url"].as_str().unwrap();
                if response["status"] != 200 || !url.contains("enerateContent") {
                    continue;
                }
                match (&response["body"], response["body_text"].as_str()) {
                    (Value::Null, Some(text)) => assert_not_empty(text, &file),
                    (body, _) => assert_not_empty(&body.to_string(), &file),
                }
                seen += 1;
            }
        }
        assert!(seen > 80, "{seen} exchanges");
    }
}
