//! What happened upstream on behalf of one client request.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::classify::Fault;
use crate::domain::{client::TokenId, key::KeyId, outcome::Outcome, usage::Usage};

/// What an attempt was for, if it was not simply the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    pub key: KeyId,
    pub extra: Option<Extra>,
    pub sent_at: Instant,
}

/// One attempt, as the request log keeps it.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    pub key_id: KeyId,
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Extra>,
    /// Google's HTTP status; absent when no answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Google's own word for the reason, such as `RESOURCE_EXHAUSTED`; absent where it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub duration_ms: u64,
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
    pub attempts: Vec<Attempt>,
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

    /// `waited` is the part of `spent` that the client's first byte had to wait for.
    pub fn succeeded(&mut self, mark: Mark, status: u16, spent: Duration, waited: Duration) {
        self.answered_by = Some(mark.key);
        self.wait(mark, waited);
        self.push(mark, &Outcome::Success, Some(status), None, spent);
    }

    pub fn failed(&mut self, mark: Mark, fault: &Fault, spent: Duration) {
        let named = fault.error.reason.as_ref().unwrap_or(&fault.error.status);
        let reason = Some(named.clone()).filter(|reason| !reason.is_empty() && !fault.is_ours);
        self.wait(mark, spent);
        let status = Some(fault.status).filter(|status| *status != 0);
        self.push(mark, &fault.outcome, status, reason, spent);
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
        self.wait(mark, waited);
        self.push(mark, &Outcome::Abandoned, None, None, spent);
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
    fn wait(&mut self, mark: Mark, waited: Duration) {
        if mark.extra != Some(Extra::Continuation) {
            self.upstream += waited;
        }
    }

    fn push(
        &mut self,
        mark: Mark,
        outcome: &Outcome,
        status: Option<u16>,
        reason: Option<String>,
        spent: Duration,
    ) {
        let Mark { key: key_id, extra, .. } = mark;
        let duration_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        self.attempts.push(Attempt { key_id, outcome: outcome.name(), extra, status, reason, duration_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{classify::Classifier, dispatch::malformed};

    fn attempt(key: i64) -> Mark {
        Mark { key: KeyId(key), extra: None, sent_at: Instant::now() }
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
