//! Reads out of a Gemini answer the little that [`glance`](super::glance) asks for.
//!
//! Each type here keeps a few bits of what it reads and steps over the rest. Strings are seen as raw JSON, because a
//! string with escapes would have to be copied to be read.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::glance::Finish;
use crate::domain::usage::Usage;

/// The top of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub candidates: Option<Candidates>,
    pub prompt_feedback: Option<PromptFeedback>,
    pub usage_metadata: Option<Counts>,
    pub error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback {
    block_reason: Option<IgnoredAny>,
    block_reason_message: Option<IgnoredAny>,
}

impl PromptFeedback {
    pub fn is_block(&self) -> bool {
        self.block_reason.is_some() || self.block_reason_message.is_some()
    }
}

/// All candidates in one: what any of them has, and why the last one that ended did so.
#[derive(Clone, Copy, Default)]
pub(super) struct Candidates {
    pub content: bool,
    pub answer: bool,
    pub finish: Option<Finish>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<Finish>,
}

#[derive(Deserialize)]
struct Content {
    parts: Option<Parts>,
}

#[derive(Default)]
struct Parts {
    content: bool,
    answer: bool,
}

/// Reads a list element by element, folding each into what is known of the whole.
macro_rules! fold_list {
    ($whole:ty, $item:ty, $fold:expr) => {
        impl<'de> Deserialize<'de> for $whole {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fold;
                impl<'de> Visitor<'de> for Fold {
                    type Value = $whole;

                    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                        f.write_str("a list")
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<$whole, A::Error> {
                        let mut whole = <$whole>::default();
                        let fold: fn(&mut $whole, $item) = $fold;
                        while let Some(item) = list.next_element::<$item>()? {
                            fold(&mut whole, item);
                        }
                        Ok(whole)
                    }
                }
                deserializer.deserialize_seq(Fold)
            }
        }
    };
}

fold_list!(Candidates, Candidate, |whole, candidate| {
    let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
    whole.content |= parts.content;
    whole.answer |= parts.answer;
    whole.finish = candidate.finish_reason.or(whole.finish);
});

fold_list!(Parts, Part, |whole, part| {
    whole.content |= part.text || part.data;
    whole.answer |= part.data || (part.text && !part.thought);
});

/// One part. Fields that Google may add count as data: a client would miss them.
#[derive(Default)]
struct Part {
    /// There is text, and it is not the empty string.
    text: bool,
    thought: bool,
    /// There is a call, an image, code, or anything else.
    data: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum PartField {
    Text,
    Thought,
    ThoughtSignature,
    #[serde(other)]
    Data,
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a part")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Part, A::Error> {
        let mut part = Part::default();
        while let Some(field) = fields.next_key::<PartField>()? {
            match field {
                PartField::Text => part.text = !matches!(raw(&mut fields)?, "\"\"" | "null"),
                PartField::Thought => part.thought = raw(&mut fields)? == "true",
                PartField::ThoughtSignature => drop(fields.next_value::<IgnoredAny>()?),
                PartField::Data => part.data |= fields.next_value::<Option<IgnoredAny>>()?.is_some(),
            }
        }
        Ok(part)
    }
}

fn raw<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<&'de str, A::Error> {
    fields.next_value::<&RawValue>().map(RawValue::get)
}

impl<'de> Deserialize<'de> for Finish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <&RawValue>::deserialize(deserializer)?.get();
        Ok(match name.trim_matches('"') {
            "STOP" | "FINISH_REASON_UNSPECIFIED" => Self::Stop,
            "MAX_TOKENS" => Self::MaxTokens,
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR" => Self::Blocked,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE"
            | "OTHER"
            | "IMAGE_OTHER"
            | "NO_IMAGE" => Self::Failed,
            "MISSING_THOUGHT_SIGNATURE" => Self::MissingSignature,
            "CONTINUATION" => Self::Continued,
            _ => Self::Unknown,
        })
    }
}

/// The counts of `usageMetadata`, each of them optional and of whatever type: a count must not spoil an answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Counts {
    prompt_token_count: Option<Count>,
    cached_content_token_count: Option<Count>,
    candidates_token_count: Option<Count>,
    thoughts_token_count: Option<Count>,
    tool_use_prompt_token_count: Option<Count>,
    total_token_count: Option<Count>,
}

impl Counts {
    pub fn into_usage(self) -> Option<Usage> {
        let count = |count: Option<Count>| count.map_or(0, |count| count.0);
        let usage = Usage {
            prompt_token_count: count(self.prompt_token_count),
            cached_content_token_count: count(self.cached_content_token_count),
            candidates_token_count: count(self.candidates_token_count),
            thoughts_token_count: count(self.thoughts_token_count),
            tool_use_prompt_token_count: count(self.tool_use_prompt_token_count),
            total_token_count: count(self.total_token_count),
        };
        (usage != Usage::default()).then_some(usage)
    }
}

/// A number of tokens, an int32 in Google's API; what is no whole positive number counts as none.
#[derive(Clone, Copy)]
pub(super) struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        // Far larger numbers are nonsense, and sums of them must not overflow.
        Ok(Self(raw.trim_matches('"').parse().unwrap_or(0).min(u32::MAX.into())))
    }
}
