//! Google's quotas: requests and tokens a minute, requests a day, for each project and model.
//!
//! Time is an argument, so that a test can let days pass at once.

use chrono::{DateTime, NaiveDate};
use chrono_tz::America::Los_Angeles;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::errors::GoogleError;

/// Limits of one project for one model; absent means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    pub requests_per_minute: Option<u64>,
    pub input_tokens_per_minute: Option<u64>,
    pub requests_per_day: Option<u64>,
    /// Requests of the first day that were made before the simulation began.
    pub used_today: u64,
}

impl Quota {
    pub fn is_unlimited(&self) -> bool {
        self.requests_per_minute.or(self.input_tokens_per_minute).or(self.requests_per_day).is_none()
    }
}

/// What was used of a quota in the running minute and day.
#[derive(Debug, Default)]
pub struct Usage {
    minute: u64,
    requests: u64,
    tokens: u64,
    day: Option<NaiveDate>,
    today: u64,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    RequestsPerMinute,
    InputTokensPerMinute,
    RequestsPerDay,
}

/// A request that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Limit,
    /// The limit's size in its unit.
    pub value: u64,
    /// What `RetryInfo` says, in milliseconds. For a day on the free tier Google names the next minute, not midnight.
    pub retry_ms: u64,
}

impl Usage {
    /// Counts one request of `tokens` at `now_ms` (Unix time), or says which limit it would break.
    ///
    /// A minute is `minute_ms` long and aligned to the clock; a day ends at midnight Pacific.
    pub fn take(&mut self, quota: &Quota, tokens: u64, now_ms: u64, minute_ms: u64) -> Result<(), Exceeded> {
        self.roll(quota, now_ms, minute_ms);
        let retry_ms = minute_ms - now_ms % minute_ms;
        let checks = [
            (Limit::RequestsPerDay, quota.requests_per_day, self.today + 1),
            (Limit::RequestsPerMinute, quota.requests_per_minute, self.requests + 1),
            (Limit::InputTokensPerMinute, quota.input_tokens_per_minute, self.tokens + tokens),
        ];
        for (limit, value, wanted) in checks {
            if let Some(value) = value.filter(|value| wanted > *value) {
                return Err(Exceeded { limit, value, retry_ms });
            }
        }
        self.requests += 1;
        self.tokens += tokens;
        self.today += 1;
        Ok(())
    }

    fn roll(&mut self, quota: &Quota, now_ms: u64, minute_ms: u64) {
        let minute = now_ms / minute_ms;
        if minute != self.minute {
            (self.minute, self.requests, self.tokens) = (minute, 0, 0);
        }
        if quota.requests_per_day.is_none() {
            return;
        }
        let today = pacific_day(now_ms);
        if self.day != Some(today) {
            self.today = if self.day.is_none() { quota.used_today } else { 0 };
            self.day = Some(today);
        }
    }
}

/// The calendar day in California, by which Google counts.
fn pacific_day(now_ms: u64) -> NaiveDate {
    let moment = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.with_timezone(&Los_Angeles).date_naive()
}

impl Exceeded {
    /// 429 with `QuotaFailure` and `RetryInfo`, as the free tier sends it.
    pub fn error(&self, model: &str) -> GoogleError {
        let (metric, id) = match self.limit {
            Limit::RequestsPerMinute => ("requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            Limit::RequestsPerDay => ("requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            Limit::InputTokensPerMinute => {
                ("input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier")
            }
        };
        let metric = format!("generativelanguage.googleapis.com/generate_content_free_tier_{metric}");
        let Self { value, retry_ms, .. } = self;
        let (seconds, millis) = (retry_ms / 1000, retry_ms % 1000);
        let message = format!(
            "You exceeded your current quota, please check your plan and billing details.\n\
             * Quota exceeded for metric: {metric}, limit: {value}, model: {model}\n\
             Please retry in {seconds}.{millis:03}s."
        );
        GoogleError::new(429, "RESOURCE_EXHAUSTED", message)
            .with(json!({
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{
                    "quotaMetric": metric, "quotaId": id, "quotaValue": value.to_string(),
                    "quotaDimensions": {"location": "global", "model": model},
                }],
            }))
            .with(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{seconds}.{millis:03}s"),
            }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    /// 2026-11-23, 00:00:30 in California.
    const AFTER_MIDNIGHT: u64 = 1_795_420_830_000;

    fn take(usage: &mut Usage, quota: &Quota, now_ms: u64) -> Result<(), Exceeded> {
        usage.take(quota, 10, now_ms, MINUTE)
    }

    #[test]
    fn the_request_after_the_last_of_a_minute_waits_for_the_next_minute() {
        let quota = Quota { requests_per_minute: Some(2), ..Quota::default() };
        let mut usage = Usage::default();

        assert_eq!(take(&mut usage, &quota, AFTER_MIDNIGHT), Ok(()));
        assert_eq!(take(&mut usage, &quota, AFTER_MIDNIGHT), Ok(()));
        let refused = take(&mut usage, &quota, AFTER_MIDNIGHT + 10_000);

        let expected = Exceeded { limit: Limit::RequestsPerMinute, value: 2, retry_ms: 20_000 };
        assert_eq!(refused, Err(expected));
        assert_eq!(take(&mut usage, &quota, AFTER_MIDNIGHT + 30_000), Ok(()));
    }

    #[test]
    fn a_spent_day_ends_at_midnight_in_california() {
        let quota = Quota { requests_per_day: Some(20), used_today: 20, ..Quota::default() };
        let mut usage = Usage::default();

        let before = take(&mut usage, &quota, AFTER_MIDNIGHT - MINUTE);

        assert_eq!(before.map_err(|exceeded| exceeded.limit), Err(Limit::RequestsPerDay));
        assert_eq!(take(&mut usage, &quota, AFTER_MIDNIGHT), Ok(()));
    }

    #[test]
    fn tokens_count_against_their_own_limit() {
        let quota = Quota { input_tokens_per_minute: Some(15), ..Quota::default() };
        let mut usage = Usage::default();

        assert_eq!(take(&mut usage, &quota, 0), Ok(()));
        let refused = take(&mut usage, &quota, 1);

        assert_eq!(refused.map_err(|exceeded| exceeded.limit), Err(Limit::InputTokensPerMinute));
    }

    #[test]
    fn the_error_names_window_size_and_wait() {
        let exceeded = Exceeded { limit: Limit::RequestsPerMinute, value: 5, retry_ms: 12_345 };

        let details = exceeded.error("gemini-2.5-flash").details;

        assert_eq!(
            details[0]["violations"][0]["quotaId"],
            "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
        );
        assert_eq!(details[0]["violations"][0]["quotaValue"], "5");
        assert_eq!(details[1]["retryDelay"], "12.345s");
    }
}
