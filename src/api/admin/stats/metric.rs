//! What can be drawn over time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    series::{Axis, Series},
    usage::rounded,
};
use crate::{db::key_states::KeyStates, domain::figures::Totals};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    #[default]
    Requests,
    /// Requests that failed; what was the client's own doing is left out.
    Errors,
    SuccessRate,
    Attempts,
    Rescued,
    Tokens,
    PromptTokens,
    OutputTokens,
    CachedTokens,
    FirstByteP50,
    FirstByteP95,
    DurationP50,
    DurationP95,
    KeysByState,
}

impl Metric {
    pub fn unit(self) -> &'static str {
        match self {
            Self::Requests | Self::Errors | Self::Rescued => "requests",
            Self::Attempts => "attempts",
            Self::SuccessRate => "ratio",
            Self::Tokens | Self::PromptTokens | Self::OutputTokens | Self::CachedTokens => "tokens",
            Self::FirstByteP50 | Self::FirstByteP95 | Self::DurationP50 | Self::DurationP95 => "ms",
            Self::KeysByState => "keys",
        }
    }

    /// `None` where nothing can be said. Of keys' states sums say nothing.
    pub fn value(self, totals: &Totals) -> Option<f64> {
        let count = |count: i64| Some(count as f64);
        match self {
            Self::Requests => count(totals.requests),
            Self::Errors => count(totals.failed),
            Self::SuccessRate => totals.success_rate(),
            Self::Attempts => count(totals.attempts),
            Self::Rescued => count(totals.rescued),
            Self::Tokens => count(totals.tokens()),
            Self::PromptTokens => count(totals.prompt_tokens),
            Self::OutputTokens => count(totals.output_tokens + totals.thoughts_tokens),
            Self::CachedTokens => count(totals.cached_tokens),
            Self::FirstByteP50 => rounded(totals.first_byte.percentile(0.5)),
            Self::FirstByteP95 => rounded(totals.first_byte.percentile(0.95)),
            Self::DurationP50 => rounded(totals.duration.percentile(0.5)),
            Self::DurationP95 => rounded(totals.duration.percentile(0.95)),
            Self::KeysByState => None,
        }
    }
}

/// A series for each state: in each bucket how it was when somebody looked last.
pub(super) fn state_series(axis: Axis, states: &[KeyStates]) -> Vec<Series> {
    type Count = fn(&KeyStates) -> i64;
    let names: [(&str, Count); 5] = [
        ("active", |states| states.active),
        ("cooling", |states| states.cooling),
        ("half_open", |states| states.half_open),
        ("invalid", |states| states.invalid),
        ("disabled", |states| states.disabled),
    ];
    let last_within = |at_ms: i64| {
        let end = states.partition_point(|states| states.at_ms < at_ms + axis.step_ms);
        states[..end].last().filter(|states| states.at_ms >= at_ms)
    };
    let series = |(name, count): (&str, Count)| {
        let points = axis.points(|at_ms| last_within(at_ms).map(|states| count(states) as f64));
        Series { name: name.to_owned(), id: None, points }
    };
    names.map(series).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_tells_how_the_keys_were_at_its_end() {
        let at =
            |at_ms, active| KeyStates { at_ms, active, cooling: 1, half_open: 0, invalid: 0, disabled: 0 };
        let axis = Axis { from_ms: 0, to_ms: 30, step_ms: 10 };

        let told = state_series(axis, &[at(0, 5), at(9, 6), at(20, 7)]);

        assert_eq!((&*told[0].name, told.len()), ("active", 5));
        assert_eq!(told[0].points, [(0, Some(6.0)), (10, None), (20, Some(7.0))]);
        assert_eq!(told[1].points[0], (0, Some(1.0)));
    }
}
