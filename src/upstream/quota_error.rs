//! Which quota is used up? Reads 429 answers for [`classify`](super::classify).
//!
//! Google answers 429 for spent quotas, for models that are not in the project's tier (a limit of zero), and for
//! unpaid bills. Today's answers list `QuotaFailure.violations`; those of 2024 had one quota in `ErrorInfo.metadata`;
//! some say nothing at all.

use serde_json::Value;

use super::google_error::RawError;
use crate::domain::outcome::{BillingFault, Outcome, QuotaExceeded, QuotaMetric, QuotaWindow};

/// Judges a 429, or whatever else names a quota.
pub(super) fn judge_quota(error: &RawError) -> Outcome {
    let legacy = error.metadata("quota_limit").map(|id| Quota {
        window: window_of(id),
        metric: metric_of(id, error.metadata("quota_metric")),
        limit: error.metadata("quota_limit_value").and_then(parse_limit),
    });
    let quotas: Vec<_> = error.violations().map(Quota::listed).chain(legacy).collect();

    if quotas.iter().any(|quota| quota.limit == Some(0)) || says_limit_zero(error.message()) {
        return Outcome::ModelUnavailable;
    }
    let Quota { window, metric, limit } = longest(&quotas);
    if window == QuotaWindow::Unknown
        && let Some(fault) = unpaid(error)
    {
        return Outcome::Billing(fault);
    }
    Outcome::Quota(QuotaExceeded { window, metric, retry_after: error.retry_after(), limit })
}

/// One quota that Google names as used up.
#[derive(Debug, Clone, Copy)]
struct Quota {
    window: QuotaWindow,
    metric: QuotaMetric,
    limit: Option<u64>,
}

impl Quota {
    const UNKNOWN: Self = Self { window: QuotaWindow::Unknown, metric: QuotaMetric::Unknown, limit: None };

    /// Reads an element of `QuotaFailure.violations`.
    fn listed(violation: &Value) -> Self {
        let metric = text(violation, "quotaMetric");
        let Some(id) = text(violation, "quotaId").or(metric) else {
            return Self::UNKNOWN;
        };
        let limit = text(violation, "quotaValue").and_then(parse_limit);
        Self { window: window_of(id), metric: metric_of(id, metric), limit }
    }
}

/// The longest window, as the shorter ones will have passed by then; of several equal ones the first.
fn longest(quotas: &[Quota]) -> Quota {
    let longest = quotas
        .iter()
        .copied()
        .reduce(|longest, next| if next.window > longest.window { next } else { longest });
    longest.unwrap_or(Quota::UNKNOWN)
}

/// Reads `GenerateRequestsPerDayPerProjectPerModel-FreeTier` as well as `generate_requests_per_model_per_day`.
fn window_of(quota_id: &str) -> QuotaWindow {
    let name = plain(quota_id);
    if name.contains("perday") {
        QuotaWindow::Day
    } else if name.contains("perminute") {
        QuotaWindow::Minute
    } else {
        QuotaWindow::Unknown
    }
}

/// What is counted, by the quota's id, or else by its metric (`…/generate_content_free_tier_input_token_count`).
///
/// Only tokens of prompts are ours to count: an output quota would teach a limit for the wrong thing.
fn metric_of(quota_id: &str, metric: Option<&str>) -> QuotaMetric {
    [Some(quota_id), metric]
        .into_iter()
        .flatten()
        .map(counted)
        .find(|counted| *counted != QuotaMetric::Unknown)
        .unwrap_or(QuotaMetric::Unknown)
}

fn counted(name: &str) -> QuotaMetric {
    let name = plain(name);
    if name.contains("token") {
        if name.contains("output") { QuotaMetric::Unknown } else { QuotaMetric::Tokens }
    } else if name.contains("image") {
        QuotaMetric::Images
    } else if name.contains("request") {
        QuotaMetric::Requests
    } else {
        QuotaMetric::Unknown
    }
}

/// A name as Google's two spellings share it.
fn plain(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

/// `quotaValue` is an int64, which JSON writes as a string.
fn parse_limit(value: &str) -> Option<u64> {
    value.parse().ok()
}

/// Whether a line such as `* Quota exceeded for metric: …, limit: 0, model: …` stands in the message.
fn says_limit_zero(message: &str) -> bool {
    message
        .split("limit: 0")
        .skip(1)
        .any(|after| !after.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

fn unpaid(error: &RawError) -> Option<BillingFault> {
    if error.begins_with(&["Your prepayment credits are depleted"]) {
        Some(BillingFault::PrepayDepleted)
    } else if error.begins_with(&["Your project has exceeded its monthly spending cap"]) {
        Some(BillingFault::SpendCap)
    } else {
        None
    }
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn judge(error: Value) -> Outcome {
        judge_quota(&RawError::from_body(429, json!({ "error": error }).to_string().as_bytes()))
    }

    fn message(message: &str) -> Outcome {
        judge(json!({ "message": message }))
    }

    fn violations(violations: Value) -> Value {
        json!({"details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}]})
    }

    /// As Google refuses it that counts requests, where it says what it counts.
    fn quota(window: QuotaWindow, retry_after: Option<u64>, limit: Option<u64>) -> Outcome {
        let known = window != QuotaWindow::Unknown;
        let metric = if known { QuotaMetric::Requests } else { QuotaMetric::Unknown };
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome::Quota(QuotaExceeded { window, metric, retry_after, limit })
    }

    #[test]
    fn of_several_violations_the_longest_window_counts_with_its_own_limit() {
        let violation = |id: &str, value: &str| json!({"quotaId": id, "quotaValue": value});
        let day = violation("RequestsPerDay", "20");
        let minute = violation("RequestsPerMinute", "5");
        for both in [[&day, &minute], [&minute, &day]] {
            let outcome = judge(violations(json!(both)));

            assert_eq!(outcome, quota(QuotaWindow::Day, None, Some(20)));
        }
    }

    #[test]
    fn a_retry_time_is_read_from_the_message_when_no_detail_has_it() {
        for (words, millis) in [
            ("Please retry in 1h52m56.4s.", 6_776_400),
            ("* quota, limit: 5\nPlease retry in 290.979975ms", 290),
        ] {
            let Outcome::Quota(QuotaExceeded { retry_after: Some(told), .. }) = message(words) else {
                panic!("{words}");
            };
            assert_eq!(told.as_millis(), millis);
        }
    }

    #[test]
    fn absurd_retry_delays_are_read_or_left_out_but_never_fatal() {
        let year = 31_536_000;
        for (delay, expected) in
            [("-5s", None), ("soon", None), ("31536000s", Some(year)), ("", None), ("1e999s", None)]
        {
            let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay});

            let outcome = judge(json!({"details": [info]}));

            assert_eq!(outcome, quota(QuotaWindow::Unknown, expected, None), "{delay}");
        }
    }

    #[test]
    fn a_limit_of_zero_means_that_the_model_is_not_in_the_tier() {
        let legacy = json!({"quota_limit": "RequestsPerDay", "quota_limit_value": "0"});
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": legacy});
        for error in [
            json!({"message": "* Quota exceeded for metric: m, limit: 0, model: gemini-2.0-flash"}),
            json!({"message": "* Quota exceeded for metric: m, limit: 0"}),
            json!({"details": [info]}),
            violations(json!([{"quotaId": "RequestsPerDay", "quotaValue": "0"}])),
        ] {
            assert_eq!(judge(error.clone()), Outcome::ModelUnavailable, "{error}");
        }
    }

    #[test]
    fn a_limit_that_begins_with_zero_is_not_zero() {
        assert_eq!(message("limit: 05, limit: 0.5"), quota(QuotaWindow::Unknown, None, None));
    }

    #[test]
    fn the_metric_names_the_window_when_the_quota_has_no_id() {
        let outcome =
            judge(violations(json!([{"quotaMetric": "x.com/generate_requests_per_model_per_day"}])));

        assert_eq!(outcome, quota(QuotaWindow::Day, None, None));
    }

    #[test]
    fn what_is_counted_is_told_by_the_id_or_else_by_the_metric() {
        use QuotaMetric::{Images, Requests, Tokens, Unknown};
        for (id, metric, expected) in [
            ("GenerateContentInputTokensPerModelPerMinute-FreeTier", None, Tokens),
            ("GenerateRequestsPerDayPerProjectPerModel", None, Requests),
            ("generate_requests_per_model_per_day", None, Requests),
            ("GenerateImagesPerMinutePerProject", None, Images),
            ("PerMinute", Some("x.com/generate_content_free_tier_input_token_count"), Tokens),
            ("GenerateContentOutputTokensPerMinute", None, Unknown),
            ("ConcurrentSessionsPerProject", Some("x.com/sessions"), Unknown),
            ("", None, Unknown),
        ] {
            assert_eq!(metric_of(id, metric), expected, "{id}");
        }
    }

    #[test]
    fn an_unpaid_bill_is_told_apart_even_if_some_quota_is_listed_with_it() {
        let mut error = violations(json!([{"quotaId": "SpendPerProject"}]));
        error["message"] = json!("Your project has exceeded its monthly spending cap.");

        assert_eq!(judge(error), Outcome::Billing(BillingFault::SpendCap));
    }

    #[test]
    fn fields_of_another_type_than_promised_are_passed_over() {
        for odd in [json!([7, null]), json!({}), json!([{"quotaId": 3, "quotaValue": -1}])] {
            assert_eq!(judge(violations(odd)), quota(QuotaWindow::Unknown, None, None));
        }
    }
}
