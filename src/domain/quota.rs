//! How much of a model a project may use, and where that is known from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::placement::Tier;

/// Where a limit comes from, from the vaguest to the firmest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The table of tiers: an assumption.
    Preset,
    /// What went well before Google refused, or has gone well since.
    Observed,
    /// Google's own `quotaValue`.
    Learnt,
    /// The operator's: never exceeded, whatever Google would allow.
    Hand,
}

/// The most that a window takes, in requests or tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub value: u64,
    pub source: LimitSource,
}

/// What one project may do with one model; `None` where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelLimits {
    pub requests_per_minute: Option<Limit>,
    /// Tokens of prompts.
    pub tokens_per_minute: Option<Limit>,
    pub requests_per_day: Option<Limit>,
}

/// Limits of models, by patterns of their names: what a project starts with before anything is learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitTable {
    rows: Vec<(ModelPattern, ModelLimits)>,
}

impl LimitTable {
    /// Rows that are asked first come first.
    pub fn new(rows: impl IntoIterator<Item = (ModelPattern, ModelLimits)>) -> Self {
        Self { rows: rows.into_iter().collect() }
    }

    /// The first row that fits says everything: a limit that it leaves out is unknown.
    pub fn find(&self, model: &str) -> ModelLimits {
        let row = self.rows.iter().find(|(pattern, _)| pattern.matches(model));
        row.map_or_else(ModelLimits::default, |(_, limits)| *limits)
    }
}

/// The starting limits of each tier.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TierLimits([Arc<LimitTable>; Tier::ALL.len()]);

impl TierLimits {
    pub fn new(table: impl Fn(Tier) -> Arc<LimitTable>) -> Self {
        Self(Tier::ALL.map(table))
    }

    /// The table of a tier, to be shared by the ledgers of all its projects.
    pub fn of(&self, tier: Tier) -> Arc<LimitTable> {
        self.0[tier as usize].clone()
    }
}

/// The name of a model, in which `*` stands for any text: `gemini-2.5-*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct ModelPattern(Box<str>);

impl ModelPattern {
    /// Longest pattern, in bytes: that of a name.
    const MAX_BYTES: usize = 200;

    /// Reads a name or a pattern; `None` when no model's name could look so.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("models/").unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@/*".contains(&byte);
        let is_plain = !name.is_empty() && name.len() <= Self::MAX_BYTES && name.bytes().all(plain);
        is_plain.then(|| Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes time in proportion to both lengths at most: there is one place to come back to, the last `*`.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut read, mut star) = (0, 0, None);
        while read < name.len() {
            if pattern.get(at) == Some(&b'*') {
                star = Some((at, read));
                at += 1;
            } else if pattern.get(at) == Some(&name[read]) {
                (at, read) = (at + 1, read + 1);
            } else if let Some((star_at, taken)) = star {
                star = Some((star_at, taken + 1));
                (at, read) = (star_at + 1, taken + 1);
            } else {
                return false;
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl TryFrom<String> for ModelPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("is neither the name of a model nor a pattern with `*`")
    }
}

impl From<ModelPattern> for String {
    fn from(pattern: ModelPattern) -> Self {
        pattern.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ModelPattern {
        ModelPattern::parse(text).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (text, name, fits) in [
            ("gemini-2.5-flash", "gemini-2.5-flash", true),
            ("gemini-2.5-flash", "gemini-2.5-flash-lite", false),
            ("gemini-2.5-*", "gemini-2.5-pro", true),
            ("gemini-2.5-*", "gemini-2.5-", true),
            ("gemini-2.5-*", "gemini-3-pro", false),
            ("*-flash*", "gemini-3.8-flash-tts", true),
            ("*-pro", "gemini-pro-pro", true),
            ("*-pro", "gemini-pro-x", false),
            ("g*2*h", "gemini-2.5-flash", true),
            ("*", "anything", true),
            ("**", "", true),
            ("models/a", "a", true),
        ] {
            assert_eq!(pattern(text).matches(name), fits, "{text} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_answered_at_once() {
        assert!(!pattern(&"*a".repeat(100)).matches(&"a".repeat(99)));
        assert!(pattern(&"*a".repeat(100)).matches(&"a".repeat(100)));
    }

    #[test]
    fn what_could_be_no_models_name_is_no_pattern() {
        for text in ["", "a b", "a?b", "ä", &"x".repeat(201)] {
            assert_eq!(ModelPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_several_rows_the_first_that_fits_counts() {
        let limit = |value| Some(Limit { value, source: LimitSource::Preset });
        let row = |value| ModelLimits { requests_per_minute: limit(value), ..ModelLimits::default() };
        let table = LimitTable::new([(pattern("gemini-2.5-flash"), row(1)), (pattern("gemini-*"), row(2))]);

        let found = ["gemini-2.5-flash", "gemini-2.5-pro", "gemma"].map(|name| table.find(name));

        assert_eq!(found, [row(1), row(2), ModelLimits::default()]);
    }
}
