//! How a text that was cut goes on: what the next key is asked, and how its answer is joined to what the client has.
//!
//! The next key gets the conversation, the text so far as the model's turn, and a short request to go on. A final turn
//! of the model's own would do with some models, but newer ones refuse it. It is asked to begin with the last words,
//! which tells a word that goes on from a new one; they are cut off again. Thoughts are not continued.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::seam::{anchor, seam};
use crate::domain::usage::Usage;

/// What the client has of an answer, over all of its parts.
#[derive(Debug, Default)]
pub struct Told {
    /// Without thoughts.
    text: String,
    /// The beginning of a later part, while it is open where it joins the text.
    head: Option<String>,
    /// What the parts before this one cost.
    spent: Usage,
    response_id: Option<Value>,
    /// A later part is being read.
    goes_on: bool,
    /// Something was told that cannot be cut in two: a call, an image, a second candidate.
    is_mixed: bool,
    has_finished: bool,
}

impl Told {
    /// Takes note of an event and returns what the client gets of it, which may be nothing. The first part passes as it
    /// comes.
    pub fn pass(&mut self, event: Bytes) -> Option<Bytes> {
        if self.is_mixed && !self.goes_on {
            return Some(event);
        }
        let Ok(mut read) = serde_json::from_slice::<Value>(&event) else { return Some(event) };
        if !self.goes_on {
            self.note(&read);
            return Some(event);
        }
        let is_left = self.adapt(&mut read);
        is_left.then(|| read.to_string().into())
    }

    /// The part that was read has broken off; it has cost so much. What was held back of it is forgotten.
    pub fn breaks_off(&mut self, usage: Option<Usage>) {
        self.spent = self.spent.plus(usage.unwrap_or_default());
        self.goes_on = true;
        self.head = (!self.text.trim().is_empty()).then(String::new);
    }

    /// What to ask so that the answer goes on; `None` when it cannot. A request whose answer has no text yet is simply
    /// repeated.
    pub fn request(&self, body: &Bytes, usage: Option<Usage>) -> Option<Bytes> {
        if self.is_mixed || self.has_finished {
            return None;
        }
        let mut request: Value = serde_json::from_slice(body).ok()?;
        let has_one_candidate =
            config(&request, "candidateCount", "candidate_count").is_none_or(|count| *count == 1);
        if self.text.trim().is_empty() {
            return has_one_candidate.then(|| body.clone());
        }
        if !has_one_candidate || !is_plain_text(&request) {
            return None;
        }
        self.ask_to_go_on(request.get_mut("contents")?.as_array_mut()?);
        let written = self.spent.plus(usage.unwrap_or_default()).candidates_token_count;
        shorten(&mut request, written);
        Some(request.to_string().into())
    }

    fn ask_to_go_on(&self, contents: &mut Vec<Value>) {
        let said = json!({"text": self.text});
        let own = contents.last_mut().filter(|content| content["role"] == "model");
        match own.and_then(|content| content["parts"].as_array_mut()) {
            // The client had begun the answer itself.
            Some(parts) => parts.push(said),
            None => contents.push(json!({"role": "model", "parts": [said]})),
        }
        let wish = format!(
            "Your answer was cut off. Write the rest of it, from the very place where it ends, and nothing else. \
             Start by repeating its last words exactly, which are:\n\n{}",
            anchor(&self.text).trim()
        );
        contents.push(json!({"role": "user", "parts": [{"text": wish}]}));
    }

    /// Changes an event of a later part so that it goes on from the part before. False when nothing is left of it.
    fn adapt(&mut self, event: &mut Value) -> bool {
        if let Some(usage) = event.get_mut("usageMetadata").and_then(Value::as_object_mut) {
            add(usage, &self.spent);
        }
        if let (Some(id), Some(own)) = (&self.response_id, event.get_mut("responseId")) {
            own.clone_from(id);
        }
        let Some(candidate) = event.pointer_mut("/candidates/0").and_then(Value::as_object_mut) else {
            return true;
        };
        let is_last = candidate.get("finishReason").is_some_and(|reason| !reason.is_null());
        let mut parts = match candidate
            .get_mut("content")
            .and_then(|content| content.get_mut("parts"))
            .map(Value::take)
        {
            Some(Value::Array(parts)) => parts,
            _ => Vec::new(),
        };
        parts.retain(|part| part["thought"] != true);
        for part in &mut parts {
            if let Some(Value::String(text)) = part.get_mut("text") {
                *text = self.join(text, false);
            }
        }
        if is_last {
            let rest = self.join("", true);
            if !rest.is_empty() {
                parts.push(json!({"text": rest}));
            }
        }
        parts.retain(|part| {
            part.as_object().is_some_and(|part| part.len() > 1 || part.get("text") != Some(&json!("")))
        });
        let is_left = is_last || !parts.is_empty();
        candidate.insert("content".to_owned(), json!({"role": "model", "parts": parts}));
        if is_left {
            self.note(event);
        }
        is_left
    }

    /// What is new of the next piece of text; nothing while it is open whether it is.
    fn join(&mut self, text: &str, is_last: bool) -> String {
        let Some(head) = &mut self.head else { return text.to_owned() };
        head.push_str(text);
        let Some(begin) = seam(&self.text, head, is_last) else { return String::new() };
        let new = head.split_off(begin);
        self.head = None;
        new
    }

    /// Takes note of what the client is told.
    fn note(&mut self, event: &Value) {
        if self.response_id.is_none() {
            self.response_id = event.get("responseId").cloned();
        }
        let candidates = event["candidates"].as_array().map_or(&[][..], |candidates| candidates);
        for (place, candidate) in candidates.iter().enumerate() {
            self.is_mixed |= place > 0 || candidate["index"].as_u64().unwrap_or(0) > 0;
            self.has_finished |= candidate.get("finishReason").is_some_and(|reason| !reason.is_null());
            let parts = candidate["content"]["parts"].as_array().map_or(&[][..], |parts| parts);
            for part in parts.iter().filter(|part| part["thought"] != true) {
                self.text.push_str(part["text"].as_str().unwrap_or_default());
                let is_text = |name: &String| matches!(&**name, "text" | "thought" | "thoughtSignature");
                self.is_mixed |= !part.as_object().is_some_and(|part| part.keys().all(is_text));
            }
        }
    }
}

/// Whether nothing but text can be the answer. A call that is under way, a picture and JSON that must parse are no texts
/// that one could write the rest of.
fn is_plain_text(request: &Value) -> bool {
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let is_text = |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("text"));
    let is_only_text =
        |kinds: &Value| is_empty(kinds) || kinds.as_array().is_some_and(|kinds| kinds.iter().all(is_text));
    let has_schema = [
        ("responseSchema", "response_schema"),
        ("responseJsonSchema", "response_json_schema"),
        ("_responseJsonSchema", "_response_json_schema"),
        ("responseFormat", "response_format"),
    ]
    .iter()
    .any(|(camel, snake)| config(request, camel, snake).is_some_and(|schema| !schema.is_null()));
    request.get("tools").is_none_or(is_empty)
        && !has_schema
        && config(request, "responseMimeType", "response_mime_type")
            .is_none_or(|kind| kind.is_null() || kind == "text/plain")
        && config(request, "responseModalities", "response_modalities").is_none_or(is_only_text)
}

/// A field of the generation's configuration; Google reads both spellings of a name.
fn config<'a>(request: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    let config = request.get("generationConfig").or_else(|| request.get("generation_config"))?;
    config.get(camel).or_else(|| config.get(snake))
}

/// Takes what is written off the limit of what may be written.
fn shorten(request: &mut Value, written: u64) {
    for (outer, inner) in
        [("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")]
    {
        if let Some(limit) = request.get_mut(outer).and_then(|config| config.get_mut(inner))
            && let Some(most) = limit.as_u64()
        {
            *limit = most.saturating_sub(written).max(1).into();
        }
    }
}

fn add(counts: &mut Map<String, Value>, spent: &Usage) {
    for (name, more) in [
        ("promptTokenCount", spent.prompt_token_count),
        ("cachedContentTokenCount", spent.cached_content_token_count),
        ("candidatesTokenCount", spent.candidates_token_count),
        ("thoughtsTokenCount", spent.thoughts_token_count),
        ("toolUsePromptTokenCount", spent.tool_use_prompt_token_count),
        ("totalTokenCount", spent.total_token_count),
    ] {
        if more > 0 {
            let count = counts.get(name).and_then(Value::as_u64).unwrap_or(0);
            counts.insert(name.to_owned(), count.saturating_add(more).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: Value) -> Bytes {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}], "responseId": "first"})
            .to_string()
            .into()
    }

    fn text(text: &str) -> Bytes {
        parts(json!([{ "text": text }]))
    }

    fn end(text: &str) -> Bytes {
        let parts = json!([{ "text": text }]);
        json!({
            "candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
            "responseId": "second",
        })
        .to_string()
        .into()
    }

    fn body(extra: Value) -> Bytes {
        let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "Tell me."}]}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body.to_string().into()
    }

    /// What was told of a stream that broke off after that text.
    fn cut_after(said: &str) -> Told {
        let mut told = Told::default();
        assert_eq!(told.pass(text(said)), Some(text(said)), "the first part passes as it comes");
        told.breaks_off(Some(Usage {
            prompt_token_count: 5,
            candidates_token_count: 3,
            total_token_count: 8,
            ..Usage::default()
        }));
        told
    }

    fn said(event: Option<Bytes>) -> Option<String> {
        let event: Value = serde_json::from_slice(&event?).unwrap();
        let parts = event["candidates"][0]["content"]["parts"].as_array().unwrap();
        Some(parts.iter().map(|part| part["text"].as_str().unwrap()).collect())
    }

    #[test]
    fn the_next_key_is_asked_for_the_rest_in_a_form_that_all_models_take() {
        let told = cut_after("Once upon a time");

        let asked: Value =
            serde_json::from_slice(&told.request(&body(json!({"x": 1})), None).unwrap()).unwrap();

        let contents = asked["contents"].as_array().unwrap();
        assert_eq!((&asked["x"], contents.len()), (&json!(1), 3));
        assert_eq!(contents[1], json!({"role": "model", "parts": [{"text": "Once upon a time"}]}));
        assert_eq!(contents[2]["role"], "user");
        assert!(contents[2]["parts"][0]["text"].as_str().unwrap().ends_with("\n\nOnce upon a time"));
    }

    #[test]
    fn an_answer_that_the_client_had_begun_stays_one_turn() {
        let begun = json!({"contents": [
            {"role": "user", "parts": [{"text": "Tell me."}]}, {"role": "model", "parts": [{"text": "Once"}]},
        ]});

        let asked = cut_after(" upon").request(&begun.to_string().into(), None).unwrap();

        let asked: Value = serde_json::from_slice(&asked).unwrap();
        assert_eq!(asked["contents"][1]["parts"], json!([{"text": "Once"}, {"text": " upon"}]));
        assert_eq!(asked["contents"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_plain_text_is_never_continued() {
        let told = cut_after("{\"a\":");
        for extra in [
            json!({"tools": [{"googleSearch": {}}]}),
            json!({"generationConfig": {"responseMimeType": "application/json"}}),
            json!({"generation_config": {"response_schema": {"type": "OBJECT"}}}),
            json!({"generationConfig": {"responseJsonSchema": {}}}),
            json!({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}),
            json!({"generationConfig": {"responseModalities": ["AUDIO"]}}),
            json!({"generationConfig": {"candidateCount": 2}}),
        ] {
            assert_eq!(told.request(&body(extra.clone()), None), None, "{extra}");
        }
        let plain = json!({"tools": [], "generationConfig": {"responseMimeType": "text/plain",
            "responseModalities": ["TEXT"], "candidateCount": 1}});
        assert!(told.request(&body(plain), None).is_some());
    }

    #[test]
    fn an_answer_with_a_call_an_image_or_a_second_candidate_in_it_is_never_continued() {
        for event in [
            parts(json!([{"text": "I look."}, {"functionCall": {"name": "f", "args": {}}}])),
            parts(json!([{"inlineData": {"mimeType": "image/png", "data": "AA=="}}])),
            json!({"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}}]}).to_string().into(),
        ] {
            let mut told = cut_after("One.");
            told.pass(event);
            assert_eq!(told.request(&body(json!({})), None), None);
        }
    }

    #[test]
    fn an_answer_that_said_why_it_ends_is_never_continued() {
        let mut told = Told::default();
        told.pass(end("whole"));

        assert_eq!(told.request(&body(json!({})), None), None);
    }

    #[test]
    fn while_only_thoughts_were_told_the_request_is_repeated_and_its_thoughts_are_not() {
        let mut told = Told::default();
        let thought = parts(json!([{"text": "hm", "thought": true}]));
        told.pass(thought.clone());
        let asked = body(json!({"tools": [{"functionDeclarations": []}]}));

        assert_eq!(told.request(&asked, None), Some(asked));
        told.breaks_off(None);
        assert_eq!(told.pass(thought), None);
        assert_eq!(said(told.pass(text("Yes."))).as_deref(), Some("Yes."));
    }

    #[test]
    fn repeated_words_are_held_back_and_cut_off() {
        let mut told = cut_after("Once upon a time there was");

        assert_eq!(told.pass(text("Once upon a")), None);
        assert_eq!(said(told.pass(text(" time there was a fox"))).as_deref(), Some(" a fox"));
        assert_eq!(said(told.pass(text(", and"))).as_deref(), Some(", and"));
    }

    #[test]
    fn words_held_back_are_told_when_the_answer_ends_with_them() {
        let mut told = cut_after("Once upon a time there was");

        assert_eq!(told.pass(text("upon")), None);
        assert_eq!(said(told.pass(end(""))).as_deref(), Some("upon"));
    }

    #[test]
    fn a_second_cut_forgets_what_was_held_back() {
        let mut told = cut_after("Once upon a time");
        assert_eq!(told.pass(text("Once upon")), None);
        told.breaks_off(None);

        assert_eq!(said(told.pass(text("Once upon a time there"))).as_deref(), Some(" there"));
    }

    #[test]
    fn all_parts_are_one_answer_with_one_bill() {
        let mut told = cut_after("Once upon a time");

        let last: Value =
            serde_json::from_slice(&told.pass(end("Once upon a time, twice")).unwrap()).unwrap();

        assert_eq!(last["responseId"], "first");
        assert_eq!(
            last["usageMetadata"],
            json!({"promptTokenCount": 14, "candidatesTokenCount": 5, "totalTokenCount": 19})
        );
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    }

    #[test]
    fn events_of_an_odd_shape_pass() {
        let odd = [
            json!(7),
            json!({"candidates": 7}),
            json!({"candidates": [7]}),
            json!({"candidates": [{"content": 7}]}),
            json!({"candidates": [{"content": {"parts": [7, {"text": 7}]}}], "usageMetadata": {"totalTokenCount": "x"}}),
        ];
        for event in odd {
            for mut told in [Told::default(), cut_after("Once upon a time")] {
                told.pass(event.to_string().into());
                told.request(&event.to_string().into(), None);
            }
        }
        assert_eq!(Told::default().pass("no JSON".into()), Some("no JSON".into()));
    }

    #[test]
    fn what_is_written_counts_against_the_limit() {
        for (limit, left) in [(100, 93), (3, 1)] {
            let asked = body(json!({"generationConfig": {"maxOutputTokens": limit}}));
            let usage = Usage { candidates_token_count: 4, ..Usage::default() };

            let asked = cut_after("Once upon a time").request(&asked, Some(usage)).unwrap();

            let asked: Value = serde_json::from_slice(&asked).unwrap();
            assert_eq!(asked["generationConfig"]["maxOutputTokens"], left);
        }
    }
}
