//! What of a ledger outlives the process. Times are Unix milliseconds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Book, Ledger, MAX_BOOKS, Moment, ceiling::Ceiling, day::Day};
use crate::domain::{
    model::ModelName,
    quota::{Limit, LimitTable},
    time::Now,
};

/// Longest closures that are believed when they are read back: the longest that Google is believed in, and a little.
const MAX_MINUTE_CLOSED_MS: i64 = 6 * 60 * 1000;
const MAX_DAY_CLOSED_MS: i64 = 26 * 60 * 60 * 1000;

/// A ledger as it is stored. What a newer version adds is passed over, what an older one lacks is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerSnapshot {
    pub books: Vec<BookSnapshot>,
}

/// The book of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookSnapshot {
    pub model: ModelName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute: Option<MinuteSnapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<DaySnapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute_closed_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_closed_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute_requests: Option<CeilingSnapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute_tokens: Option<CeilingSnapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_requests: Option<CeilingSnapshot>,
    /// Google has answered for this model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub served: bool,
}

/// The running minute in one lump, as if all of it had been sent with its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteSnapshot {
    pub at_ms: i64,
    pub requests: u64,
    pub tokens: u64,
}

/// The day that began then, and the requests of the day before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaySnapshot {
    pub starts_ms: i64,
    pub requests: u32,
    #[serde(default)]
    pub before: u32,
}

/// A limit that was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CeilingSnapshot {
    #[serde(flatten)]
    pub limit: Limit,
    /// Not to be put to the test before.
    pub firm_until_ms: i64,
}

impl Ledger {
    /// What is worth keeping. Idle books give their memory back meanwhile.
    pub fn snapshot(&self, now: Now) -> LedgerSnapshot {
        let mut books = self.lock();
        let moment = books.moment(now);
        let stored = books.list.iter_mut().filter_map(|book| store(book, now, moment));
        LedgerSnapshot { books: stored.collect() }
    }

    /// What is worth keeping, if anything has been written since this was asked last.
    pub fn take_change(&self, now: Now) -> Option<LedgerSnapshot> {
        let has_changed = std::mem::take(&mut self.lock().has_changed);
        has_changed.then(|| self.snapshot(now))
    }

    /// A ledger as it was stored. What is over, lies too far ahead or makes no sense is left out.
    pub fn restore(limits: Arc<LimitTable>, stored: &LedgerSnapshot, now: Now) -> Self {
        let ledger = Self::new(limits, now);
        let mut books = ledger.lock();
        let moment = books.moment(now);
        for stored in stored.books.iter().take(MAX_BOOKS) {
            let book = books.book(&stored.model, moment);
            restore(book, stored, now, moment);
        }
        drop(books);
        ledger
    }
}

fn store(book: &mut Book, now: Now, moment: Moment) -> Option<BookSnapshot> {
    book.advance(moment);
    let at_ms = |instant: Instant| now.unix_ms_at(instant);
    let ceiling = |ceiling: &Ceiling| {
        let (limit, firm_until) = ceiling.stored()?;
        Some(CeilingSnapshot { limit, firm_until_ms: at_ms(firm_until) })
    };
    let minute = (book.minute.requests() > 0).then(|| MinuteSnapshot {
        at_ms: at_ms(moment.ticks.expiry(book.minute.newest())) - 60_000,
        requests: book.minute.requests(),
        tokens: book.minute.tokens(),
    });
    let (requests, before, starts_ms) = book.day.stored();
    let day = (requests > 0 || before > 0).then_some(DaySnapshot { starts_ms, requests, before });
    let is_worth_it = minute.is_some() || day.is_some() || book.is_known();
    is_worth_it.then(|| BookSnapshot {
        model: book.model.clone(),
        minute,
        day,
        minute_closed_ms: book.minute_closed.map(at_ms),
        day_closed_ms: book.day_closed.map(at_ms),
        minute_requests: ceiling(&book.minute_requests),
        minute_tokens: ceiling(&book.minute_tokens),
        day_requests: ceiling(&book.day_requests),
        served: book.is_served,
    })
}

fn restore(book: &mut Book, stored: &BookSnapshot, now: Now, moment: Moment) {
    let closed = |until_ms: Option<i64>, longest_ms: i64| {
        let until_ms = until_ms?;
        let ahead_ms = until_ms.saturating_sub(now.unix_ms());
        (1..=longest_ms).contains(&ahead_ms).then(|| now.instant_at(until_ms))
    };
    if let Some(MinuteSnapshot { at_ms, requests, tokens }) = stored.minute {
        // A time ahead means that the clock was put back; the lump is then as young as can be.
        let age_ms = u64::try_from(now.unix_ms().saturating_sub(at_ms)).unwrap_or(0);
        let (requests, tokens) =
            (u16::try_from(requests).unwrap_or(u16::MAX), u32::try_from(tokens).unwrap_or(u32::MAX));
        book.minute.add(moment.ticks.tick_before(moment.instant, age_ms), requests, tokens);
    }
    if let Some(DaySnapshot { starts_ms, requests, before }) = stored.day {
        book.day = Day::restored(requests, before, starts_ms, moment.wall);
    }
    book.is_served = stored.served;
    book.minute_closed = closed(stored.minute_closed_ms, MAX_MINUTE_CLOSED_MS);
    book.day_closed = closed(stored.day_closed_ms, MAX_DAY_CLOSED_MS);
    for (ceiling, found) in [
        (&mut book.minute_requests, stored.minute_requests),
        (&mut book.minute_tokens, stored.minute_tokens),
        (&mut book.day_requests, stored.day_requests),
    ] {
        if let Some(CeilingSnapshot { limit, firm_until_ms }) = found {
            ceiling.restore(limit, now.instant_at(firm_until_ms), moment.instant);
        }
    }
    book.advance(moment);
}
