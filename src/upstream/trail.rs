//! What happened upstream on behalf of one client request.

use std::time::Duration;

use serde::Serialize;

use super::classify::Fault;
use crate::domain::{client::TokenId, key::KeyId, outcome::Outcome, usage::Usage};

/// One attempt, as the request log keeps it.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    pub key_id: KeyId,
    pub outcome: &'static str,
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
    /// Time spent waiting for Google, over all attempts; a stream counts to its first byte.
    pub upstream: Duration,
}

impl Trail {
    /// What is done for this client.
    pub fn of(client: TokenId) -> Self {
        Self { client, ..Self::default() }
    }

    /// `waited` is the part of `spent` that the client's first byte had to wait for.
    pub fn succeeded(&mut self, key_id: KeyId, status: u16, spent: Duration, waited: Duration) {
        self.answered_by = Some(key_id);
        self.push(key_id, &Outcome::Success, Some(status), None, spent, waited);
    }

    pub fn failed(&mut self, key_id: KeyId, fault: &Fault, spent: Duration) {
        let named = fault.error.reason.as_ref().unwrap_or(&fault.error.status);
        let reason = Some(named.clone()).filter(|reason| !reason.is_empty() && !fault.is_ours);
        self.push(
            key_id,
            &fault.outcome,
            Some(fault.status).filter(|status| *status != 0),
            reason,
            spent,
            spent,
        );
        let message = fault.error.message.clone();
        self.failures.push(FailedAttempt {
            key_id,
            outcome: fault.outcome.name(),
            status: fault.status,
            message,
        });
    }

    pub fn abandoned(&mut self, key_id: KeyId, spent: Duration) {
        self.answered_by = Some(key_id);
        self.push(key_id, &Outcome::Abandoned, None, None, spent, spent);
    }

    /// Takes in what was done for another candidate of the same request.
    pub fn merge(&mut self, other: Self) {
        self.attempts.extend(other.attempts);
        self.failures.extend(other.failures);
        self.answered_by = self.answered_by.or(other.answered_by);
        self.upstream = self.upstream.max(other.upstream);
        self.usage = match (self.usage, other.usage) {
            (Some(mine), Some(theirs)) => Some(mine.with_candidate(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    fn push(
        &mut self,
        key_id: KeyId,
        outcome: &Outcome,
        status: Option<u16>,
        reason: Option<String>,
        spent: Duration,
        waited: Duration,
    ) {
        self.upstream += waited;
        let duration_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        self.attempts.push(Attempt { key_id, outcome: outcome.name(), status, reason, duration_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{classify::Classifier, dispatch::malformed};

    #[test]
    fn only_what_google_named_is_a_reason() {
        let mut trail = Trail::default();
        let busy = Classifier::default()
            .classify(503, br#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#);

        trail.failed(KeyId(1), &busy, Duration::ZERO);
        trail.failed(KeyId(2), &malformed("the answer had no content"), Duration::ZERO);

        let reasons: Vec<_> = trail.attempts.iter().map(|attempt| attempt.reason.as_deref()).collect();
        assert_eq!(reasons, [Some("UNAVAILABLE"), None]);
    }
}
