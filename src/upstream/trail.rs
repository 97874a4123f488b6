//! What happened upstream on behalf of one client request.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use tokio::time::Instant;

use super::classify::Fault;
use crate::{
    balance::{egress::Egress, table::Choice},
    domain::{
        client::TokenId,
        key::KeyId,
        outcome::{Outcome, QuotaExceeded, QuotaMetric, QuotaWindow},
        tiers::TierSet,
        usage::Usage,
    },
};

mod no_key;

pub use no_key::{Kept, NoKey};

/// What an attempt was for, if it was not simply the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// Sent beside another one that was late.
    Hedge,
    /// Sent to go on where an answer was cut.
    Continuation,
}

impl Extra {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hedge => "hedge",
            Self::Continuation => "continuation",
        }
    }
}

/// Which attempt is spoken of.
#[derive(Debug, Clone)]
pub struct Mark {
    pub key: KeyId,
    /// What it leaves by.
    pub egress: Arc<Egress>,
    pub extra: Option<Extra>,
    pub sent_at: Instant,
    pub choice: Choice,
    /// How long it took to get the key.
    pub waited: Duration,
}

/// One attempt, as the request log keeps it. What was not so is left out, and so is what an older version did not note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    pub key_id: KeyId,
    /// That it left by, without its password; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    #[schema(value_type = String)]
    pub outcome: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Extra>,
    /// Google's HTTP status; absent when no answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Google's own word for the reason, such as `RESOURCE_EXHAUSTED`; absent where it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The quota that Google says is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Spent>,
    pub duration_ms: u64,
    /// How long the request had waited for a key.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited_ms: u64,
    /// Why it was this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
}

/// A used-up quota in Google's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Spent {
    pub window: QuotaWindow,
    pub metric: QuotaMetric,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl From<&QuotaExceeded> for Spent {
    fn from(exceeded: &QuotaExceeded) -> Self {
        let QuotaExceeded { window, metric, limit, retry_after } = *exceeded;
        Self { window, metric, limit, retry_after_ms: retry_after.map(in_ms) }
    }
}

/// An entry of the record: an attempt, or the want of a key for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    NoKey { no_key: NoKey },
    Attempt(Attempt),
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn in_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A failed attempt in full, for the error log.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    pub key_id: KeyId,
    pub outcome: &'static str,
    pub status: u16,
    /// Google's message, without secrets.
    pub message: String,
}

/// Grows with every attempt of a request; the journal of `api` writes it down.
#[derive(Debug, Default)]
pub struct Trail {
    /// On whose behalf; those who wait for keys take turns by it.
    pub client: TokenId,
    /// Of the keys that may serve it.
    pub tiers: TierSet,
    pub attempts: Vec<Attempt>,
    /// Why there was no further attempt, where one was wished for; of several candidates each has its own.
    pub no_keys: Vec<NoKey>,
    pub failures: Vec<FailedAttempt>,
    /// The key that gave the answer.
    pub answered_by: Option<KeyId>,
    pub usage: Option<Usage>,
    /// Retries that the retry budget did not allow.
    pub retries_refused: u64,
    /// Time spent waiting for Google, over all attempts; a stream counts to its first byte.
    pub upstream: Duration,
}

impl Trail {
    /// What is done for this client.
    pub fn of(client: TokenId) -> Self {
        Self { client, ..Self::default() }
    }

    /// Only keys of these tiers serve it.
    #[must_use]
    pub fn within(self, tiers: TierSet) -> Self {
        Self { tiers, ..self }
    }

    /// `waited` is the part of `spent` that the client's first byte had to wait for.
    pub fn succeeded(&mut self, mark: Mark, status: u16, spent: Duration, waited: Duration) {
        self.answered_by = Some(mark.key);
        self.wait(&mark, waited);
        self.push(&mark, &Outcome::Success, Some(status), None, spent);
    }

    pub fn failed(&mut self, mark: Mark, fault: &Fault, spent: Duration) {
        let named = fault.error.reason.as_ref().unwrap_or(&fault.error.status);
        let reason = Some(named.clone()).filter(|reason| !reason.is_empty() && !fault.is_ours);
        self.wait(&mark, spent);
        let status = Some(fault.status).filter(|status| *status != 0);
        self.push(&mark, &fault.outcome, status, reason, spent);
        let message = fault.error.message.clone();
        self.failures.push(FailedAttempt {
            key_id: mark.key,
            outcome: fault.outcome.name(),
            status: fault.status,
            message,
        });
    }

    /// Nobody waited for the rest of it.
    pub fn abandoned(&mut self, mark: Mark, spent: Duration) {
        self.answered_by = Some(mark.key);
        self.cancelled(mark, spent, spent);
    }

    /// Another attempt was faster; `waited` is what it had been waited for before that one was sent.
    pub fn cancelled(&mut self, mark: Mark, spent: Duration, waited: Duration) {
        self.wait(&mark, waited);
        self.push(&mark, &Outcome::Abandoned, None, None, spent);
    }

    /// There was no key for a further attempt, after waiting so long for one.
    pub fn no_key(&mut self, no_key: NoKey, waited: Duration) {
        self.no_keys.push(NoKey { waited_ms: in_ms(waited), ..no_key });
    }

    /// What the request log keeps: a JSON list with an entry for each attempt, and then one for each want of a key.
    pub fn to_json(&self) -> String {
        let mut json = Vec::with_capacity(192 * self.attempts.len() + 2);
        let attempts = self.attempts.iter().cloned().map(Step::Attempt);
        let no_keys = self.no_keys.iter().map(|no_key| Step::NoKey { no_key: *no_key });
        let written = serde_json::Serializer::new(&mut json).collect_seq(attempts.chain(no_keys));
        written.map_or_else(|_| "[]".to_owned(), |()| String::from_utf8(json).unwrap_or_default())
    }

    /// Adds what one more call has cost.
    pub fn spent(&mut self, usage: Option<Usage>) {
        self.usage = match (self.usage, usage) {
            (Some(before), Some(more)) => Some(before.plus(more)),
            (before, more) => before.or(more),
        };
    }

    /// Takes in what was done for another candidate of the same request.
    pub fn merge(&mut self, other: Self) {
        let upstream = self.upstream.max(other.upstream);
        let answered_by = self.answered_by.or(other.answered_by);
        self.append(other);
        (self.upstream, self.answered_by) = (upstream, answered_by);
    }

    /// Takes in what was done after this.
    pub fn append(&mut self, other: Self) {
        self.attempts.extend(other.attempts);
        self.no_keys.extend(other.no_keys);
        self.failures.extend(other.failures);
        self.retries_refused += other.retries_refused;
        self.answered_by = other.answered_by.or(self.answered_by);
        self.upstream += other.upstream;
        self.usage = match (self.usage, other.usage) {
            (Some(mine), Some(theirs)) => Some(mine.with_candidate(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// What goes on where an answer was cut comes after its first byte.
    fn wait(&mut self, mark: &Mark, waited: Duration) {
        if mark.extra != Some(Extra::Continuation) {
            self.upstream += waited;
        }
    }

    fn push(
        &mut self,
        mark: &Mark,
        outcome: &Outcome,
        status: Option<u16>,
        reason: Option<String>,
        spent: Duration,
    ) {
        let quota = match outcome {
            Outcome::Quota(exceeded) => Some(exceeded.into()),
            _ => None,
        };
        self.attempts.push(Attempt {
            key_id: mark.key,
            proxy: Some(mark.egress.name()).filter(|name| !name.is_empty()).map(str::to_owned),
            outcome: outcome.name().into(),
            extra: mark.extra,
            status,
            reason,
            quota,
            duration_ms: in_ms(spent),
            waited_ms: in_ms(mark.waited),
            choice: Some(mark.choice),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        balance::table::{Cause, Census, ChoiceReason, Unavailable},
        upstream::{classify::Classifier, dispatch::malformed},
    };

    fn attempt(key: i64) -> Mark {
        let others = Census { keys: 60, ready: 41, spent: 12, ..Census::default() };
        let choice = Choice { reason: ChoiceReason::Policy, cost: 1.234, rank: 0, others };
        Mark {
            key: KeyId(key),
            egress: Arc::default(),
            extra: None,
            sent_at: Instant::now(),
            choice,
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn the_record_is_short_and_reads_back_as_it_was_written() {
        let mut trail = Trail::default();
        let spent = QuotaExceeded {
            window: QuotaWindow::Minute,
            metric: QuotaMetric::Requests,
            retry_after: Some(Duration::from_secs(18)),
            limit: Some(10),
        };
        let fault = Fault { outcome: Outcome::Quota(spent), status: 429, ..malformed("spent") };
        let others = Census { keys: 60, spent: 60, ..Census::default() };
        let at = Instant::now() + Duration::from_secs(30);
        let outlook = Unavailable::Until { at, cause: Cause::Quota };

        trail.failed(
            Mark { waited: Duration::from_millis(820), ..attempt(7) },
            &fault,
            Duration::from_millis(90),
        );
        trail.no_key(NoKey::new(outlook.into(), outlook, Some(others)), Duration::ZERO);

        let json = trail.to_json();
        let attempt = concat!(
            r#"[{"key_id":7,"outcome":"quota_minute","status":429,"#,
            r#""quota":{"window":"minute","metric":"requests","limit":10,"retry_after_ms":18000},"#,
            r#""duration_ms":90,"waited_ms":820,"#,
            r#""choice":{"reason":"policy","cost":1.23,"others":{"keys":60,"ready":41,"spent":12}}},"#,
        );
        assert!(json.starts_with(attempt), "{json}");
        let steps: Vec<Step> = serde_json::from_str(&json).unwrap();
        let Step::NoKey { no_key } = steps[1] else { panic!("{json}") };
        assert_eq!(
            NoKey { recovers_in_ms: None, ..no_key },
            NoKey { recovers_in_ms: None, ..trail.no_keys[0] }
        );
        assert_eq!(no_key.cause, Kept::Quota);
        assert!(no_key.recovers_in_ms.is_some_and(|ms| (29_000..=30_000).contains(&ms)), "{json}");
    }

    #[test]
    fn what_older_versions_wrote_can_be_read() {
        let old = r#"[{"key_id":3,"outcome":"success","status":200,"duration_ms":5}]"#;

        let steps: Vec<Step> = serde_json::from_str(old).unwrap();

        assert!(matches!(&steps[..], [Step::Attempt(Attempt { key_id: KeyId(3), choice: None, .. })]));
    }

    #[test]
    fn only_what_google_named_is_a_reason() {
        let mut trail = Trail::default();
        let busy = Classifier::default()
            .classify(503, br#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#);

        trail.failed(attempt(1), &busy, Duration::ZERO);
        trail.failed(attempt(2), &malformed("the answer had no content"), Duration::ZERO);

        let reasons: Vec<_> = trail.attempts.iter().map(|attempt| attempt.reason.as_deref()).collect();
        assert_eq!(reasons, [Some("UNAVAILABLE"), None]);
    }
}
