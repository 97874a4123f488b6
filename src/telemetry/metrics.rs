//! Figures for Prometheus. Labels have few values by design: no model names that clients make up, no tokens.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{actors::logger::LogQueue, domain::usage::Usage};

/// Of every figure.
pub(super) const PREFIX: &str = "gemini_balance";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    pub dialect: &'static str,
    pub endpoint: &'static str,
    pub status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    pub outcome: Cow<'static, str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ExtraLabels {
    pub kind: &'static str,
    pub outcome: Cow<'static, str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DialectLabel {
    pub dialect: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StateLabel {
    pub state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindLabel {
    pub kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StatusLabel {
    pub status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CauseLabel {
    pub cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

type LatencyFamily = Family<DialectLabel, Histogram, fn() -> Histogram>;

/// All of them; shared by every worker, updated without locks held across anything slow.
pub struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    pub rejected: Family<StatusLabel, Counter>,
    pub attempts: Family<OutcomeLabel, Counter>,
    pub extra_attempts: Family<ExtraLabels, Counter>,
    pub retries_refused: Counter,
    pub duration: LatencyFamily,
    pub first_byte: LatencyFamily,
    pub overhead: LatencyFamily,
    pub tokens: Family<KindLabel, Counter>,
    pub key_wait: Family<ResultLabel, Histogram, fn() -> Histogram>,
    log_queue: Gauge,
    log_rows: Family<StateLabel, Gauge>,
    queue: Arc<LogQueue>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// From 5 ms to 5 min: a model's answer.
fn answer_buckets() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0])
}

/// From 10 ms to a minute: waiting for a key.
fn wait_buckets() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// From 10 µs to 100 ms: our own part.
fn overhead_buckets() -> Histogram {
    Histogram::new([0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1])
}

impl Metrics {
    pub fn new(queue: Arc<LogQueue>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let metrics = Self {
            requests: Family::default(),
            rejected: Family::default(),
            attempts: Family::default(),
            extra_attempts: Family::default(),
            retries_refused: Counter::default(),
            duration: Family::new_with_constructor(answer_buckets as fn() -> Histogram),
            first_byte: Family::new_with_constructor(answer_buckets as fn() -> Histogram),
            overhead: Family::new_with_constructor(overhead_buckets as fn() -> Histogram),
            tokens: Family::default(),
            key_wait: Family::new_with_constructor(wait_buckets as fn() -> Histogram),
            log_queue: Gauge::default(),
            log_rows: Family::default(),
            registry: Registry::default(),
            queue,
        };
        registry.register(
            "requests",
            "Client requests by dialect, endpoint and status",
            metrics.requests.clone(),
        );
        registry.register(
            "rejected_requests",
            "Requests turned away before they were anybody's, by status",
            metrics.rejected.clone(),
        );
        registry.register("attempts", "Calls to Google by outcome", metrics.attempts.clone());
        registry.register(
            "extra_attempts",
            "Hedges and continuations among the calls to Google, by outcome",
            metrics.extra_attempts.clone(),
        );
        registry.register(
            "retries_refused",
            "Retries that the retry budget did not allow",
            metrics.retries_refused.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to the last byte of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "first_byte",
            "From the head of a request to the first byte of content",
            Unit::Seconds,
            metrics.first_byte.clone(),
        );
        registry.register_with_unit(
            "overhead",
            "The gateway's own part of the time to the first byte",
            Unit::Seconds,
            metrics.overhead.clone(),
        );
        registry.register("tokens", "Tokens by kind, as Google counted them", metrics.tokens.clone());
        registry.register_with_unit(
            "key_wait",
            "How long requests waited for a key, by whether they got one; those that did not wait are left out",
            Unit::Seconds,
            metrics.key_wait.clone(),
        );
        registry.register(
            "log_queue_rows",
            "Log rows that are not in the database yet",
            metrics.log_queue.clone(),
        );
        registry.register(
            "log_rows",
            "Log rows written, and given up since the queue was full",
            metrics.log_rows.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts the tokens of one answer.
    pub fn count_tokens(&self, usage: &Usage) {
        let kinds = [
            ("prompt", usage.input()),
            ("cached", usage.cached_content_token_count),
            ("candidates", usage.candidates_token_count),
            ("thoughts", usage.thoughts_token_count),
        ];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            self.tokens.get_or_create(&KindLabel { kind }).inc_by(count);
        }
    }

    /// Counts a wait for a key. One that is not worth a millisecond is none.
    pub fn count_wait(&self, waited_ms: u64, result: &'static str) {
        if waited_ms > 0 {
            let seconds = Duration::from_millis(waited_ms).as_secs_f64();
            self.key_wait.get_or_create(&ResultLabel { result }).observe(seconds);
        }
    }

    /// The exposition text: what was counted here, and what was found for this scrape.
    pub fn encode(&self, found: &Registry) -> Result<String, fmt::Error> {
        self.log_queue.set(signed(self.queue.queued() as u64));
        let rows = [("written", self.queue.written()), ("dropped", self.queue.dropped())];
        for (state, count) in rows {
            self.log_rows.get_or_create(&StateLabel { state }).set(signed(count));
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, found)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
