//! Figures for Prometheus. Labels have few values by design: no model names that clients make up, no tokens.

use std::{borrow::Cow, fmt, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    actors::{logger::LogQueue, supervisor::PoolSnapshot},
    domain::usage::Usage,
};

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
    keys: Family<StateLabel, Gauge>,
    partly_cooling: Gauge,
    in_flight: Gauge,
    respawns: Family<CauseLabel, Gauge>,
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

/// From 10 µs to 100 ms: our own part.
fn overhead_buckets() -> Histogram {
    Histogram::new([0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1])
}

impl Metrics {
    pub fn new(queue: Arc<LogQueue>) -> Self {
        let mut registry = Registry::with_prefix("gemini_balance");
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
            keys: Family::default(),
            partly_cooling: Gauge::default(),
            in_flight: Gauge::default(),
            respawns: Family::default(),
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
        registry.register("keys", "Keys by state", metrics.keys.clone());
        registry.register(
            "keys_partly_cooling",
            "Active keys that cool for at least one model",
            metrics.partly_cooling.clone(),
        );
        registry.register("in_flight", "Attempts that are not settled yet", metrics.in_flight.clone());
        registry.register(
            "key_actor_respawns",
            "Key actors started again, by cause",
            metrics.respawns.clone(),
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

    /// The exposition text; `pool` is asked for at each scrape.
    pub fn encode(&self, pool: Option<&PoolSnapshot>) -> Result<String, fmt::Error> {
        if let Some(pool) = pool {
            self.set_pool(pool);
        }
        self.log_queue.set(signed(self.queue.queued() as u64));
        let rows = [("written", self.queue.written()), ("dropped", self.queue.dropped())];
        for (state, count) in rows {
            self.log_rows.get_or_create(&StateLabel { state }).set(signed(count));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn set_pool(&self, pool: &PoolSnapshot) {
        let states = [
            ("active", pool.states.active),
            ("cooling", pool.states.cooling),
            ("half_open", pool.states.half_open),
            ("invalid", pool.states.invalid),
        ];
        for (state, count) in states {
            self.keys.get_or_create(&StateLabel { state }).set(signed(count as u64));
        }
        self.partly_cooling.set(signed(pool.partly_cooling as u64));
        self.in_flight.set(signed(pool.in_flight));
        let respawns = [("panic", pool.respawned_after_panic), ("stop", pool.respawned_after_stop)];
        for (cause, count) in respawns {
            self.respawns.get_or_create(&CauseLabel { cause }).set(signed(count));
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
