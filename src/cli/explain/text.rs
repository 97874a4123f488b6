//! The record of a request for people.

use std::fmt::{self, Display, Formatter};

use chrono::DateTime;

use crate::{
    api::admin::requests::{AttemptDetail, RequestDetail, row::RequestRow},
    balance::table::{Census, Choice, ChoiceReason},
    domain::outcome::{QuotaMetric, QuotaWindow},
    upstream::trail::{Kept, NoKey, Spent},
};

pub struct Explained<'a>(pub &'a RequestDetail);

impl Display for Explained<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let RequestDetail { row: request, attempts, no_keys } = self.0;
        writeln!(f, "request {}, {}", request.id, Time(request.started_at_ms))?;
        write!(f, "  {} {}", request.dialect, request.endpoint)?;
        if !request.model.is_empty() {
            write!(f, ", model {}", request.model)?;
        }
        write!(f, "{}", if request.stream { ", streamed" } else { "" })?;
        if let Some(token) = &request.token {
            write!(f, ", token {}", token.name)?;
        }
        if let Some(address) = &request.client_ip {
            write!(f, ", from {address}")?;
        }
        write!(f, "\n  status {} after {}", request.status, Span(request.duration_ms))?;
        if let Some(first) = request.first_byte_ms {
            write!(f, ", first byte after {}", Span(first))?;
        }
        if let Some(error) = &request.error {
            write!(f, ", {error}")?;
        }
        let RequestRow { prompt_tokens, cached_tokens, output_tokens, thoughts_tokens, .. } = request;
        writeln!(
            f,
            "\n  tokens: {prompt_tokens} prompt ({cached_tokens} cached), {output_tokens} output, \
             {thoughts_tokens} thoughts"
        )?;
        if attempts.is_empty() && no_keys.is_empty() {
            writeln!(f, "\nnothing was asked of Google")?;
        }
        for (number, attempt) in (1..).zip(attempts) {
            write!(f, "\n{number}. ")?;
            write_attempt(f, attempt)?;
        }
        for no_key in no_keys {
            write_no_key(f, no_key, request)?;
        }
        Ok(())
    }
}

fn write_attempt(f: &mut Formatter<'_>, told: &AttemptDetail) -> fmt::Result {
    let AttemptDetail { attempt, masked, message } = told;
    write!(f, "key {}", attempt.key_id)?;
    if let Some(masked) = masked {
        write!(f, " ({masked})")?;
    }
    write!(f, ": {}", attempt.outcome)?;
    if let Some(status) = attempt.status {
        write!(f, ", {status}")?;
    }
    if let Some(reason) = &attempt.reason {
        write!(f, " {reason}")?;
    }
    write!(f, ", {}", Span::of(attempt.duration_ms))?;
    if let Some(proxy) = &attempt.proxy {
        write!(f, ", by {proxy}")?;
    }
    if let Some(extra) = attempt.extra {
        write!(f, ", a {}", extra.name())?;
    }
    if attempt.waited_ms > 0 {
        write!(f, ", after waiting {} for a key", Span::of(attempt.waited_ms))?;
    }
    writeln!(f)?;
    if let Some(quota) = &attempt.quota {
        write_quota(f, quota)?;
    }
    if let Some(message) = message {
        writeln!(f, "   {}", message.replace('\n', "\n   "))?;
    }
    attempt.choice.as_ref().map_or(Ok(()), |choice| write_choice(f, choice))
}

fn write_quota(f: &mut Formatter<'_>, quota: &Spent) -> fmt::Result {
    let metric = match quota.metric {
        QuotaMetric::Unknown => "",
        QuotaMetric::Requests => " of requests",
        QuotaMetric::Tokens => " of prompt tokens",
        QuotaMetric::Images => " of images",
    };
    let window = match quota.window {
        QuotaWindow::Unknown => "",
        QuotaWindow::Minute => " per minute",
        QuotaWindow::Day => " per day",
    };
    write!(f, "   Google: the quota{metric}{window} is used up")?;
    if let Some(limit) = quota.limit {
        write!(f, ", its limit is {limit}")?;
    }
    if let Some(wait) = quota.retry_after_ms {
        write!(f, ", to be tried again after {}", Span::of(wait))?;
    }
    writeln!(f)
}

fn write_choice(f: &mut Formatter<'_>, choice: &Choice) -> fmt::Result {
    let reason = match choice.reason {
        ChoiceReason::Probe => "the probe of a half-open key",
        ChoiceReason::Owner => "the owner of what the request names",
        ChoiceReason::Preferred => "preferred, as it served the like before",
        ChoiceReason::Policy => "the choice of the policy",
    };
    let tier = if choice.rank == 0 { "" } else { ", paid" };
    write!(f, "   {reason}, at cost {:.2}{tier}; ", choice.cost)?;
    write_census(f, &choice.others)
}

/// `of 60 keys: 41 ready, 12 spent`
fn write_census(f: &mut Formatter<'_>, census: &Census) -> fmt::Result {
    write!(f, "of {} keys: {} ready", census.keys, census.ready)?;
    if census.paid > 0 {
        write!(f, " ({} of them paid)", census.paid)?;
    }
    for (count, what) in [
        (census.spent, "without quota left"),
        (census.cooling, "cooling for the model"),
        (census.open, "cooling as a whole"),
        (census.half_open, "half-open"),
        (census.denied, "not for this model"),
        (census.out, "out of use"),
        (census.tried, "tried before"),
    ] {
        if count > 0 {
            write!(f, ", {count} {what}")?;
        }
    }
    writeln!(f)
}

fn write_no_key(f: &mut Formatter<'_>, no_key: &NoKey, request: &RequestRow) -> fmt::Result {
    let cause = match no_key.cause {
        Kept::Quota => "no key: all have used up a quota of the model",
        Kept::Model => "no key: the model is open to none of them",
        Kept::Key => "no key: those that could serve the model cool as a whole",
        Kept::Egress => "no key: Google refuses our address, so nothing leaves for now",
        Kept::NoUsableKey => "no key: none could serve the model without somebody acting",
        Kept::Soon => "no key: those that are ready were tried before, or are being probed",
        Kept::Attempts => "no further attempt: the request has had all that MAX_RETRIES allows",
        Kept::Budget => "no further attempt: the retry budget is spent",
        Kept::HungUp => "no key: the client hung up while it waited for one",
    };
    write!(f, "\n{cause}")?;
    if no_key.waited_ms > 0 {
        write!(f, ", after waiting {}", Span::of(no_key.waited_ms))?;
    }
    if let Some(recovers_in_ms) = no_key.recovers_in_ms {
        let recovers = Time(
            request.started_at_ms.saturating_add(request.duration_ms).saturating_add_unsigned(recovers_in_ms),
        );
        write!(f, "; the next key recovers in {}, at {recovers}", Span::of(recovers_in_ms))?;
    }
    writeln!(f)?;
    match &no_key.others {
        Some(census) => {
            write!(f, "   ")?;
            write_census(f, census)
        }
        None => Ok(()),
    }
}

/// Unix milliseconds.
struct Time(i64);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S%.3f UTC")),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// Milliseconds, in the unit that reads best.
struct Span(i64);

impl Span {
    fn of(ms: u64) -> Self {
        Self(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        match ms {
            ..=999 => write!(f, "{ms} ms"),
            1_000..=119_999 => write!(f, "{:.1} s", ms as f64 / 1000.0),
            120_000..=7_199_999 => write!(f, "{} min", ms / 60_000),
            _ => write!(f, "{:.1} h", ms as f64 / 3_600_000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_reads_best() {
        let told = [0, 999, 1_500, 90_000, 180_000, 36_000_000].map(|ms| Span(ms).to_string());
        assert_eq!(told, ["0 ms", "999 ms", "1.5 s", "90.0 s", "3 min", "10.0 h"]);
    }
}
