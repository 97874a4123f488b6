//! Google's quotas: requests and tokens a minute, requests a day, for each project and model.
//!
//! Time is an argument, so that a test can let days pass at once: a [`QuotaBook`] needs no server.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone, Utc};
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
    /// A paid project: other quota ids, and for a spent day the time that really remains.
    pub paid: bool,
}

impl Quota {
    pub fn is_unlimited(&self) -> bool {
        self.requests_per_minute.or(self.input_tokens_per_minute).or(self.requests_per_day).is_none()
    }
}

/// How minutes are counted. Google does not say, so a gateway must do with either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Minutes {
    /// Those of the clock: all of it is free again with the next full minute.
    #[default]
    Fixed,
    /// The last sixty seconds, whenever one asks.
    Sliding,
}

/// What was used of all quotas.
#[derive(Debug)]
pub struct QuotaBook {
    minutes: Minutes,
    /// Length of a minute in milliseconds.
    minute_ms: u64,
    /// By project and model.
    usage: HashMap<(String, String), Usage>,
}

/// What was used of one quota in the running minute and day.
#[derive(Debug, Default)]
struct Usage {
    /// Times and tokens of the requests that count for the minute.
    recent: VecDeque<(u64, u64)>,
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
    /// What `RetryInfo` says, in milliseconds. For a day Google names midnight to paid projects alone; on the free tier
    /// it names the next minute, which means nothing.
    pub retry_ms: u64,
    pub paid: bool,
}

impl Default for QuotaBook {
    fn default() -> Self {
        Self::new(Minutes::Fixed, 60_000)
    }
}

impl QuotaBook {
    /// Minutes are `minute_ms` long; shorter ones let tests wait less.
    pub fn new(minutes: Minutes, minute_ms: u64) -> Self {
        Self { minutes, minute_ms: minute_ms.max(1), usage: HashMap::new() }
    }

    /// Counts one request of `tokens` at `now_ms` (Unix time), or says which limit it would break. A request that is
    /// refused counts nowhere. Times must not go backwards within a project and model.
    pub fn take(
        &mut self,
        project: &str,
        model: &str,
        quota: &Quota,
        tokens: u64,
        now_ms: u64,
    ) -> Result<(), Exceeded> {
        if quota.is_unlimited() {
            return Ok(());
        }
        let begin_ms = self.begin_ms(now_ms);
        let usage = self.usage.entry((project.to_owned(), model.to_owned())).or_default();
        usage.roll(quota, now_ms, begin_ms);
        let next_minute_ms = self.minute_ms - now_ms % self.minute_ms;
        let Some((limit, value)) = usage.broken(quota, tokens) else {
            usage.recent.push_back((now_ms, tokens));
            usage.tokens += tokens;
            usage.today += 1;
            return Ok(());
        };
        let retry_ms = match (limit, self.minutes) {
            (Limit::RequestsPerDay, _) if quota.paid => pacific_midnight_after(now_ms).saturating_sub(now_ms),
            (Limit::RequestsPerDay, _) | (_, Minutes::Fixed) => next_minute_ms,
            (_, Minutes::Sliding) => {
                usage.slides_free_at(quota, tokens, self.minute_ms).saturating_sub(now_ms)
            }
        };
        Err(Exceeded { limit, value, retry_ms, paid: quota.paid })
    }

    /// Would such a request be served now?
    pub fn has_room(&mut self, project: &str, model: &str, quota: &Quota, tokens: u64, now_ms: u64) -> bool {
        let begin_ms = self.begin_ms(now_ms);
        let Some(usage) = self.usage.get_mut(&(project.to_owned(), model.to_owned())) else { return true };
        usage.roll(quota, now_ms, begin_ms);
        usage.broken(quota, tokens).is_none()
    }

    /// When the minute began that counts at that time.
    fn begin_ms(&self, now_ms: u64) -> u64 {
        match self.minutes {
            Minutes::Fixed => now_ms - now_ms % self.minute_ms,
            Minutes::Sliding => (now_ms + 1).saturating_sub(self.minute_ms),
        }
    }

    /// Nothing was used.
    pub fn clear(&mut self) {
        self.usage.clear();
    }
}

impl Usage {
    /// Forgets what was before the minute and the day.
    fn roll(&mut self, quota: &Quota, now_ms: u64, begin_ms: u64) {
        while let Some((at_ms, tokens)) = self.recent.front()
            && *at_ms < begin_ms
        {
            self.tokens -= tokens;
            self.recent.pop_front();
        }
        let today = pacific_day(now_ms);
        if self.day != Some(today) {
            self.today = if self.day.is_none() { quota.used_today } else { 0 };
            self.day = Some(today);
        }
    }

    /// The limit that one more request would break, and its size; the day's before the minute's.
    fn broken(&self, quota: &Quota, tokens: u64) -> Option<(Limit, u64)> {
        let checks = [
            (Limit::RequestsPerDay, quota.requests_per_day, self.today + 1),
            (Limit::RequestsPerMinute, quota.requests_per_minute, self.recent.len() as u64 + 1),
            (Limit::InputTokensPerMinute, quota.input_tokens_per_minute, self.tokens.saturating_add(tokens)),
        ];
        let broken = checks.into_iter().find(|(_, value, wanted)| value.is_some_and(|value| *wanted > value));
        broken.and_then(|(limit, value, _)| Some((limit, value?)))
    }

    /// When enough will have left the sliding minute.
    fn slides_free_at(&self, quota: &Quota, tokens: u64, minute_ms: u64) -> u64 {
        let (mut requests, mut left) = (self.recent.len() as u64, self.tokens);
        let mut free_at = 0;
        for (at_ms, spent) in &self.recent {
            let fits = |wanted: u64, limit: Option<u64>| limit.is_none_or(|limit| wanted <= limit);
            if fits(requests + 1, quota.requests_per_minute)
                && fits(left.saturating_add(tokens), quota.input_tokens_per_minute)
            {
                break;
            }
            (requests, left, free_at) = (requests - 1, left - spent, at_ms + minute_ms);
        }
        free_at
    }
}

/// The calendar day in California, by which Google counts.
fn pacific_day(now_ms: u64) -> NaiveDate {
    let moment = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.with_timezone(&Los_Angeles).date_naive()
}

/// The Unix milliseconds at which the next day begins in California.
fn pacific_midnight_after(now_ms: u64) -> u64 {
    let tomorrow = pacific_day(now_ms).checked_add_days(Days::new(1)).unwrap_or_default();
    let midnight = Los_Angeles.from_local_datetime(&tomorrow.and_time(NaiveTime::MIN)).earliest();
    midnight.map_or(now_ms, |midnight| midnight.with_timezone(&Utc).timestamp_millis().unsigned_abs())
}

impl Exceeded {
    /// 429 with `QuotaFailure` and `RetryInfo`, as the project's tier gets it.
    pub fn error(&self, model: &str) -> GoogleError {
        let (metric, id) = match (self.limit, self.paid) {
            (Limit::RequestsPerMinute, false) => (
                "generate_content_free_tier_requests",
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            ),
            (Limit::RequestsPerDay, false) => {
                ("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier")
            }
            (Limit::InputTokensPerMinute, false) => (
                "generate_content_free_tier_input_token_count",
                "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            ),
            (Limit::RequestsPerMinute, true) => {
                ("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel")
            }
            (Limit::RequestsPerDay, true) => {
                ("generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel")
            }
            (Limit::InputTokensPerMinute, true) => (
                "generate_content_paid_tier_input_token_count",
                "GenerateContentPaidTierInputTokensPerModelPerMinute",
            ),
        };
        let metric = format!("generativelanguage.googleapis.com/{metric}");
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

    fn book(minutes: Minutes) -> QuotaBook {
        QuotaBook::new(minutes, MINUTE)
    }

    fn take(book: &mut QuotaBook, quota: &Quota, now_ms: u64) -> Result<(), Exceeded> {
        book.take("p", "m", quota, 10, now_ms)
    }

    #[test]
    fn the_request_after_the_last_of_a_fixed_minute_waits_for_the_next() {
        let quota = Quota { requests_per_minute: Some(2), ..Quota::default() };
        let mut book = book(Minutes::Fixed);

        assert_eq!(take(&mut book, &quota, AFTER_MIDNIGHT), Ok(()));
        assert_eq!(take(&mut book, &quota, AFTER_MIDNIGHT), Ok(()));
        let refused = take(&mut book, &quota, AFTER_MIDNIGHT + 10_000);

        let expected = Exceeded { limit: Limit::RequestsPerMinute, value: 2, retry_ms: 20_000, paid: false };
        assert_eq!(refused, Err(expected));
        assert_eq!(take(&mut book, &quota, AFTER_MIDNIGHT + 30_000), Ok(()));
    }

    #[test]
    fn in_a_sliding_minute_the_oldest_has_to_leave() {
        let quota =
            Quota { requests_per_minute: Some(2), input_tokens_per_minute: Some(100), ..Quota::default() };
        let mut book = book(Minutes::Sliding);
        for after in [0, 20_000] {
            assert_eq!(take(&mut book, &quota, AFTER_MIDNIGHT + after), Ok(()));
        }

        let refused = take(&mut book, &quota, AFTER_MIDNIGHT + 30_000);
        let large = book.take("p", "m", &quota, 95, AFTER_MIDNIGHT + 30_000);

        assert_eq!(refused.map_err(|exceeded| exceeded.retry_ms), Err(30_000));
        assert_eq!(large.map_err(|exceeded| exceeded.retry_ms), Err(50_000));
        assert!(take(&mut book, &quota, AFTER_MIDNIGHT + 59_999).is_err());
        assert_eq!(take(&mut book, &quota, AFTER_MIDNIGHT + 60_000), Ok(()));
    }

    #[test]
    fn a_spent_day_ends_at_midnight_in_california() {
        let quota = Quota { requests_per_day: Some(20), used_today: 20, ..Quota::default() };
        let mut book = book(Minutes::Fixed);

        let before = take(&mut book, &quota, AFTER_MIDNIGHT - MINUTE);

        assert_eq!(before.map_err(|exceeded| exceeded.limit), Err(Limit::RequestsPerDay));
        assert_eq!(take(&mut book, &quota, AFTER_MIDNIGHT), Ok(()));
    }

    #[test]
    fn only_paid_projects_are_told_how_long_a_spent_day_lasts() {
        let noon = AFTER_MIDNIGHT + 12 * 60 * MINUTE;
        for (paid, retry_ms) in [(false, 30_000), (true, 12 * 60 * MINUTE - 30_000)] {
            let quota = Quota { requests_per_day: Some(1), used_today: 1, paid, ..Quota::default() };

            let refused = take(&mut book(Minutes::Fixed), &quota, noon).unwrap_err();

            assert_eq!(refused.retry_ms, retry_ms);
            let id = &refused.error("m").details[0]["violations"][0]["quotaId"];
            assert_eq!(id.as_str().unwrap().ends_with("-FreeTier"), !paid);
        }
    }

    #[test]
    fn projects_and_models_are_counted_apart() {
        let quota = Quota { requests_per_minute: Some(1), ..Quota::default() };
        let mut book = book(Minutes::Fixed);
        for (project, model, fits) in
            [("p", "m", true), ("p", "n", true), ("q", "m", true), ("p", "m", false)]
        {
            assert_eq!(book.take(project, model, &quota, 1, 0).is_ok(), fits, "{project} {model}");
        }
    }

    #[test]
    fn tokens_count_against_their_own_limit() {
        let quota = Quota { input_tokens_per_minute: Some(15), ..Quota::default() };
        let mut book = book(Minutes::Fixed);

        assert_eq!(take(&mut book, &quota, 0), Ok(()));
        let refused = take(&mut book, &quota, 1);

        assert_eq!(refused.map_err(|exceeded| exceeded.limit), Err(Limit::InputTokensPerMinute));
    }

    #[test]
    fn the_error_names_window_size_and_wait() {
        let exceeded = Exceeded { limit: Limit::RequestsPerMinute, value: 5, retry_ms: 12_345, paid: false };

        let details = exceeded.error("gemini-2.5-flash").details;

        assert_eq!(
            details[0]["violations"][0]["quotaId"],
            "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
        );
        assert_eq!(details[0]["violations"][0]["quotaValue"], "5");
        assert_eq!(details[1]["retryDelay"], "12.345s");
    }
}
