//! What answers tell of a client token's limits: which are there, what is left, and when there is more.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    body::MessageBody,
    dev::ServiceResponse,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use chrono::{SecondsFormat, TimeDelta};

use super::auth::Credentials;
use crate::{
    actors::tokens::Holder,
    balance::allowance::{Bound, Exceeded, LimitUse},
    domain::{terms::Metric, time::Now},
};

/// How a dialect's server tells of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    OpenAi,
    Anthropic,
}

/// Whose limits the answer to a request will tell.
struct ToTell {
    holder: Arc<Holder>,
    style: Style,
}

/// Remembers with the request that its answer is to tell of limits, if the holder has any.
pub fn tell_later<F: Credentials>(request: &HttpRequest, holder: &Arc<Holder>) {
    if !holder.terms.rate_limits.is_empty() {
        request.extensions_mut().insert(ToTell { holder: holder.clone(), style: F::LIMITS });
    }
}

/// Writes the headers of an answer. Of several limits of one kind the one is told that leaves least.
pub fn tell(response: &mut ServiceResponse<impl MessageBody>) {
    let Some(ToTell { holder, style }) = response.request().extensions_mut().remove::<ToTell>() else {
        return;
    };
    let now = Now::read();
    let usage = holder.allowance().usage(&holder.terms.rate_limits, holder.terms.time_zone, now);
    for (metric, name) in [(Metric::Requests, "requests"), (Metric::Tokens, "tokens")] {
        let of_metric = usage.iter().filter(|limit| limit.name.metric() == metric);
        if let Some(tightest) = of_metric.min_by_key(|limit| limit.remaining()) {
            write(response.headers_mut(), style, name, tightest, now);
        }
    }
}

fn write(headers: &mut HeaderMap, style: Style, metric: &str, limit: &LimitUse, now: Now) {
    let (name, reset): (fn(&str, &str) -> String, String) = match style {
        Style::OpenAi => (|metric, what| format!("x-ratelimit-{what}-{metric}"), in_words(limit.resets_in)),
        Style::Anthropic => (
            |metric, what| format!("anthropic-ratelimit-{metric}-{what}"),
            (now.utc + TimeDelta::from_std(limit.resets_in).unwrap_or_default())
                .to_rfc3339_opts(SecondsFormat::Secs, true),
        ),
    };
    let told =
        [("limit", limit.limit.to_string()), ("remaining", limit.remaining().to_string()), ("reset", reset)];
    for (what, value) in told {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name(metric, what)), HeaderValue::try_from(value))
        {
            headers.insert(name, value);
        }
    }
}

/// `6m0s`, `1h2m3s`, `20ms`: how OpenAI's server writes a span.
fn in_words(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        return format!("{}ms", span.as_millis());
    }
    // Rounded up, so that whoever waits so long is not early.
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Which limit it is, and when to try again.
pub fn told(exceeded: &Exceeded) -> String {
    let Exceeded { limit, most, retry_after } = exceeded;
    let wait = in_words(*retry_after);
    match limit {
        Bound::Rate(name) => {
            format!("this API key's limit of {most} {name} on this gateway is used up; try again in {wait}")
        }
        Bound::Concurrency => format!(
            "this API key's limit of {most} requests at the same time on this gateway is reached; \
             try again when one of them has ended"
        ),
    }
}

/// In OpenAI's words.
pub fn metric(exceeded: &Exceeded) -> &'static str {
    match exceeded.limit {
        Bound::Rate(name) => match name.metric() {
            Metric::Requests => "requests",
            Metric::Tokens => "tokens",
            Metric::Images => "images",
        },
        Bound::Concurrency => "requests",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_openai_does() {
        let words = [0, 20, 999, 1000, 1001, 360_000, 3_723_000, 90_000_000]
            .map(|ms| in_words(Duration::from_millis(ms)));

        assert_eq!(words, ["0ms", "20ms", "999ms", "1s", "2s", "6m0s", "1h2m3s", "25h0m0s"]);
    }
}
