//! An answer and its shape in Google's JSON, whole or event by event.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    models::Model,
    plan::Fault,
    tokens::{ModalityCount, Usage},
};

/// An answer before it is framed.
#[derive(Debug, Clone)]
pub struct Reply {
    pub model: &'static Model,
    pub id: String,
    /// The parts of each event; together they are the whole answer.
    pub events: Vec<Vec<ReplyPart>>,
    pub finish: String,
    pub finish_message: Option<&'static str>,
    /// Why the prompt was blocked; then there is no candidate.
    pub block_reason: Option<&'static str>,
    pub usage: Usage,
    /// What was searched for; such an answer names a source of its first words.
    pub query: Option<String>,
}

/// A part of an answer, as Google writes it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplyPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<CallPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<MediaPart>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CallPart {
    pub name: String,
    pub args: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaPart {
    pub mime_type: &'static str,
    /// Base64.
    pub data: String,
}

impl ReplyPart {
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    pub fn thought(text: impl Into<String>) -> Self {
        Self { thought: true, ..Self::text(text) }
    }

    /// Whether `next` only goes on with the same text.
    fn continues_in(&self, next: &Self) -> bool {
        let is_text = self.text.is_some() && next.text.is_some();
        is_text && self.thought == next.thought && self.thought_signature.is_none()
    }
}

impl Reply {
    pub fn new(model: &'static Model, id: String) -> Self {
        let (events, finish, usage) = (Vec::new(), "STOP".to_owned(), Usage::default());
        Self { model, id, events, finish, finish_message: None, block_reason: None, usage, query: None }
    }

    /// The answer as this fault leaves it; faults of the connection leave it as it is.
    pub fn spoilt_by(mut self, fault: Option<Fault>) -> Self {
        if matches!(fault, Some(Fault::Empty | Fault::Blocked)) {
            self.events.clear();
            (self.usage.candidates, self.finish_message) = (0, None);
        }
        if fault == Some(Fault::Blocked) {
            self.block_reason = Some("PROHIBITED_CONTENT");
        }
        self
    }

    /// All parts, texts that follow each other made one.
    pub fn whole(&self) -> Vec<ReplyPart> {
        let mut parts: Vec<ReplyPart> = Vec::new();
        for part in self.events.iter().flatten() {
            match parts.last_mut() {
                Some(last) if last.continues_in(part) => {
                    let text = last.text.get_or_insert_default();
                    text.push_str(part.text.as_deref().unwrap_or_default());
                    last.thought_signature.clone_from(&part.thought_signature);
                }
                _ => parts.push(part.clone()),
            }
        }
        parts
    }

    /// Its text without thoughts.
    pub fn text(&self) -> String {
        self.texts(false)
    }

    /// The text of its thoughts.
    pub fn thoughts(&self) -> String {
        self.texts(true)
    }

    fn texts(&self, thought: bool) -> String {
        let parts = self.events.iter().flatten().filter(|part| part.thought == thought);
        parts.filter_map(|part| part.text.as_deref()).collect()
    }

    /// Body of `generateContent`.
    pub fn to_json(&self) -> String {
        self.wire(&self.whole(), true, self.usage.candidates)
    }

    /// Bodies of the events of `streamGenerateContent`; at least one.
    pub fn to_events(&self) -> Vec<String> {
        let Some(last) = self.events.len().checked_sub(1) else {
            return vec![self.to_json()];
        };
        let share = |at: usize| self.usage.candidates * (at as u64 + 1) / (last as u64 + 1);
        self.events.iter().enumerate().map(|(at, parts)| self.wire(parts, at == last, share(at))).collect()
    }

    /// Where the first words of the answer come from. Offsets are bytes.
    fn grounding(&self, query: &str) -> Value {
        let text = self.text();
        let quoted: String = text.split_inclusive(' ').take(3).collect();
        json!({
            "webSearchQueries": [query],
            "groundingChunks": [{"web": {"uri": "https://example.com/source", "title": "A source"}}],
            "groundingSupports": [{
                "segment": {"startIndex": 0, "endIndex": quoted.len(), "text": quoted},
                "groundingChunkIndices": [0],
            }],
        })
    }

    fn wire(&self, parts: &[ReplyPart], is_last: bool, candidates: u64) -> String {
        let usage = &self.usage;
        let finish = is_last.then_some(self.finish.as_str());
        let candidate = WireCandidate {
            content: WireContent { parts, role: "model" },
            finish_reason: finish,
            index: 0,
            finish_message: self.finish_message.filter(|_| is_last),
            grounding_metadata: self.query.as_deref().filter(|_| is_last).map(|query| self.grounding(query)),
        };
        let wire = Wire {
            candidates: self.block_reason.is_none().then_some([candidate]),
            prompt_feedback: self.block_reason.map(|block_reason| WireFeedback { block_reason }),
            usage_metadata: WireUsage {
                prompt_token_count: usage.prompt(),
                candidates_token_count: candidates,
                total_token_count: usage.prompt() + candidates + usage.thoughts,
                prompt_tokens_details: &usage.details,
                thoughts_token_count: usage.thoughts,
                service_tier: "standard",
            },
            model_version: self.model.id,
            response_id: &self.id,
        };
        serde_json::to_string(&wire).expect("strings, numbers and JSON values always serialise")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<[WireCandidate<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_feedback: Option<WireFeedback>,
    usage_metadata: WireUsage<'a>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCandidate<'a> {
    content: WireContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grounding_metadata: Option<Value>,
}

#[derive(Serialize)]
struct WireContent<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parts: &'a [ReplyPart],
    role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireFeedback {
    block_reason: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireUsage<'a> {
    prompt_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    candidates_token_count: u64,
    total_token_count: u64,
    prompt_tokens_details: &'a [ModalityCount],
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    service_tier: &'static str,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::{super::models, *};

    fn reply(texts: &[&str]) -> Reply {
        let mut reply = Reply::new(models::find("gemini-2.5-flash").unwrap(), "id".into());
        reply.events = texts.iter().map(|text| vec![ReplyPart::text(*text)]).collect();
        reply.usage.candidates = 9;
        reply
    }

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_whole_answer_has_one_text_part_and_a_finish_reason() {
        let body = parse(&reply(&["a ", "b ", "c"]).to_json());

        let candidate = &body["candidates"][0];
        assert_eq!(candidate["content"]["parts"], serde_json::json!([{"text": "a b c"}]));
        assert_eq!(candidate["finishReason"], "STOP");
        assert_eq!(body["usageMetadata"]["candidatesTokenCount"], 9);
    }

    #[test]
    fn only_the_last_event_has_a_finish_reason_and_the_final_count() {
        let events = reply(&["a ", "b ", "c"]).to_events();

        assert_eq!(events.len(), 3);
        assert!(parse(&events[1])["candidates"][0].get("finishReason").is_none());
        assert_eq!(parse(&events[1])["usageMetadata"]["candidatesTokenCount"], 6);
        assert_eq!(parse(&events[2])["candidates"][0]["finishReason"], "STOP");
    }

    #[test]
    fn an_empty_answer_is_a_candidate_without_parts() {
        let events = reply(&["a"]).spoilt_by(Some(Fault::Empty)).to_events();

        assert_eq!(events.len(), 1);
        let candidate = &parse(&events[0])["candidates"][0];
        assert!(candidate["content"].get("parts").is_none());
        assert_eq!(candidate["finishReason"], "STOP");
    }

    #[test]
    fn a_blocked_prompt_has_feedback_and_no_candidates() {
        let body = parse(&reply(&["a"]).spoilt_by(Some(Fault::Blocked)).to_json());

        assert!(body.get("candidates").is_none());
        assert_eq!(body["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    }
}
