//! What is happening now: the traffic of the last seconds and the last requests, for whoever watches traffic.
//!
//! The logger fills it as requests end, so it costs no look into the database and nothing crosses to another thread. It
//! is asked, it does not tell: a page asks once a second, whatever the traffic.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    db::request_logs::RequestLog,
    domain::figures::{Ending, Totals},
};

/// Tokens are counted over the last minute.
const SECONDS_KEPT: u64 = 60;
/// Requests are averaged over so many seconds, so that figures do not flicker; the one that runs is left out.
const AVERAGED: u64 = 5;
/// Requests that are kept for those who watch.
const ROWS_KEPT: usize = 50;

/// Shared by the logger, which fills it, and the workers.
#[derive(Debug)]
pub struct Traffic {
    began: Instant,
    watchers: AtomicUsize,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// The seconds since `began` that had traffic, and what came in each; oldest first.
    seconds: VecDeque<(u64, Totals)>,
    /// Requests that were written while somebody watched, oldest first.
    rows: VecDeque<Arc<RequestLog>>,
    /// How many have ever been put there.
    seen: u64,
}

/// How much comes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rates {
    pub requests_per_second: f64,
    /// Requests that failed; what was the client's own doing is left out.
    pub errors_per_second: f64,
    pub tokens_per_minute: i64,
}

/// What was written since somebody looked last.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// Newest first; at most 50.
    pub rows: Vec<Arc<RequestLog>>,
    /// Further ones, which are no longer kept here.
    pub more: u64,
    /// To be given with the next look.
    pub seen: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { began: Instant::now(), watchers: AtomicUsize::new(0), recent: Mutex::default() }
    }
}

impl Traffic {
    /// These requests have ended.
    pub fn count(&self, rows: &[RequestLog]) {
        let second = self.second(Instant::now());
        self.recent().count(second, rows);
    }

    /// These requests are in the database: who watches first and reads the log then has missed none.
    pub fn show(&self, rows: &[RequestLog]) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            self.recent().keep(rows);
        }
    }

    pub fn rates(&self) -> Rates {
        let now = self.second(Instant::now());
        self.recent().rates(now)
    }

    /// Requests are kept from now on, until the answer is dropped.
    pub fn watch(self: &Arc<Self>) -> Watch {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watch { seen: self.recent().seen, traffic: self.clone() }
    }

    fn second(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_secs()
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who watches requests go by.
#[derive(Debug)]
pub struct Watch {
    traffic: Arc<Traffic>,
    seen: u64,
}

impl Watch {
    /// What was written since the last call.
    pub fn look(&mut self) -> Tail {
        let tail = self.traffic.recent().tail(self.seen);
        self.seen = tail.seen;
        tail
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.traffic.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.traffic.recent().rows.clear();
        }
    }
}

impl Recent {
    fn count(&mut self, second: u64, rows: &[RequestLog]) {
        if self.seconds.back().is_none_or(|(last, _)| *last < second) {
            self.seconds.push_back((second, Totals::default()));
        }
        while self.seconds.front().is_some_and(|(first, _)| first + SECONDS_KEPT <= second) {
            self.seconds.pop_front();
        }
        let Some((_, totals)) = self.seconds.back_mut() else { return };
        for row in rows {
            totals.requests += 1;
            totals.failed += i64::from(Ending::of(row.status, row.error.is_some()) == Ending::Failed);
            totals.prompt_tokens += row.prompt_tokens;
            totals.output_tokens += row.output_tokens;
            totals.thoughts_tokens += row.thoughts_tokens;
        }
    }

    fn keep(&mut self, rows: &[RequestLog]) {
        self.seen += rows.len() as u64;
        let kept = &rows[rows.len().saturating_sub(ROWS_KEPT)..];
        self.rows.extend(kept.iter().cloned().map(Arc::new));
        while self.rows.len() > ROWS_KEPT {
            self.rows.pop_front();
        }
    }

    fn rates(&self, now: u64) -> Rates {
        let since = |seconds: u64| {
            let counted = self.seconds.iter().filter(move |(second, _)| second + seconds >= now);
            counted.map(|(second, totals)| (*second, totals))
        };
        let (mut requests, mut failed) = (0, 0);
        for (_, totals) in since(AVERAGED).filter(|(second, _)| *second < now) {
            requests += totals.requests;
            failed += totals.failed;
        }
        let seconds = Duration::from_secs(AVERAGED.min(now).max(1)).as_secs_f64();
        Rates {
            requests_per_second: requests as f64 / seconds,
            errors_per_second: failed as f64 / seconds,
            tokens_per_minute: since(SECONDS_KEPT - 1).map(|(_, totals)| totals.tokens()).sum(),
        }
    }

    fn tail(&self, seen: u64) -> Tail {
        let new = self.seen.saturating_sub(seen);
        let rows: Vec<_> =
            self.rows.iter().rev().take(usize::try_from(new).unwrap_or(usize::MAX)).cloned().collect();
        Tail { more: new - rows.len() as u64, rows, seen: self.seen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::request_logs::tests::row;

    #[tokio::test(start_paused = true)]
    async fn rates_are_those_of_the_last_whole_seconds() {
        let traffic = Traffic::default();
        tokio::time::advance(Duration::from_secs(10)).await;
        let failed = RequestLog { status: 503, ..row(2) };

        traffic.count(&[row(1), failed]);
        assert_eq!(traffic.rates(), Rates { tokens_per_minute: 340, ..Rates::default() });
        tokio::time::advance(Duration::from_secs(1)).await;

        let told = Rates { requests_per_second: 0.4, errors_per_second: 0.2, tokens_per_minute: 340 };
        assert_eq!(traffic.rates(), told);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(traffic.rates(), Rates { tokens_per_minute: 340, ..Rates::default() });
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(traffic.rates(), Rates::default());
    }

    #[tokio::test]
    async fn who_watches_sees_each_request_once_and_how_many_went_by_unseen() {
        let traffic = Arc::<Traffic>::default();
        traffic.show(&[row(1)]);
        let mut watch = traffic.watch();

        traffic.show(&[row(2), row(3)]);
        let tail = watch.look();
        let ids: Vec<_> = tail.rows.iter().map(|row| row.started_at_ms).collect();
        assert_eq!((ids, tail.more), (vec![row(3).started_at_ms, row(2).started_at_ms], 0));

        traffic.show(&(10..130).map(row).collect::<Vec<_>>());
        let tail = watch.look();
        assert_eq!((tail.rows.len(), tail.more), (50, 70));
        assert!(watch.look().rows.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_nobody() {
        let traffic = Arc::<Traffic>::default();
        let watch = traffic.watch();
        traffic.show(&[row(1)]);
        drop(watch);
        traffic.show(&[row(2)]);

        assert!(traffic.recent().rows.is_empty());
        assert!(traffic.watch().look().rows.is_empty());
    }
}
