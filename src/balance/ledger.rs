//! How much of each model a project has used, and may still use: its quota ledger.
//!
//! Google counts per project and model: requests and prompt tokens of a minute, requests of a day. Before a request is
//! sent it is reserved in all three windows, by an estimate of its tokens; afterwards the estimate is corrected. So a
//! quota that is used up is known without asking Google, and all keys of the project share that knowledge.
//!
//! It is also read by whoever forecasts, hence the lock; that is held for some ten nanoseconds, and nothing
//! else happens meanwhile. Minutes are told by the clock that never jumps, days by the one on the wall.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::quota;
use crate::domain::{
    model::ModelName,
    outcome::{QuotaExceeded, QuotaMetric, QuotaWindow},
    quota::{Limit, LimitTable, ModelLimits},
    time::Now,
};

mod book;
mod ceiling;
pub(super) mod day;
pub(super) mod guess;
pub(super) mod minute;
mod row;
mod snapshot;
#[cfg(test)]
mod tests;

use book::Book;
use day::WallClock;
use minute::TickClock;

pub use row::QuotaRow;
pub use snapshot::{BookSnapshot, LedgerSnapshot};

/// Models that one project keeps books of. Google offers some fifty; clients can make up any number.
const MAX_BOOKS: usize = 64;

/// What a project may do, shared by all its keys in all workers.
#[derive(Debug)]
pub struct Ledger {
    books: Mutex<Books>,
}

/// A request's place in the ledger, to be settled or refunded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The half second that it counts in.
    tick: u32,
    /// The day that it counts in.
    day: u32,
    /// Prompt tokens by estimate, and what was reserved for them.
    guess: u32,
    tokens: u32,
}

impl Reservation {
    /// Prompt tokens as they were guessed.
    pub fn estimate(self) -> u64 {
        u64::from(self.guess)
    }
}

/// No room: when there will be, if nothing else is sent until then, and what is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// From this instant on there is room, and not before.
    pub until: Instant,
    pub window: QuotaWindow,
    /// Unknown where Google closed the window and did not say what it counts.
    pub metric: QuotaMetric,
}

/// What is known of one window of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowUse {
    pub window: QuotaWindow,
    pub metric: QuotaMetric,
    pub used: u64,
    pub limit: Option<Limit>,
    /// When all that is counted now will count no more; `None` when nothing is counted.
    pub resets: Option<Instant>,
    /// Closed by Google until then, whatever we counted.
    pub closed_until: Option<Instant>,
    /// When there is room for a small request, if there is none now.
    pub free_at: Option<Instant>,
}

/// The windows of one model: requests and tokens of the minute, requests of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUse {
    pub model: ModelName,
    pub windows: [WindowUse; 3],
}

impl Ledger {
    /// A ledger without entries. `limits` are what the project's tier, or its operator, allows.
    pub fn new(limits: Arc<LimitTable>, now: Now) -> Self {
        let books = Books {
            limits,
            ticks: TickClock::new(now.instant),
            wall: WallClock::new(now),
            has_changed: false,
            list: Vec::new(),
        };
        Self { books: Mutex::new(books) }
    }

    /// What the project starts with, of models that were not asked for yet.
    pub fn limits(&self) -> Arc<LimitTable> {
        self.lock().limits.clone()
    }

    /// From now on the project's tier, or its operator, allows this. What was used stays, and what was learnt of Google
    /// too, unless more is allowed now than was learnt.
    pub fn set_limits(&self, limits: &Arc<LimitTable>, now: Now) {
        let mut books = self.lock();
        if Arc::ptr_eq(&books.limits, limits) {
            return;
        }
        books.limits = limits.clone();
        for book in &mut books.list {
            book.set_given(given(&book.model, limits), now.instant);
        }
        books.has_changed = true;
    }

    /// Forgets what Google has refused, and the limits that followed from it. What was used stays counted.
    pub fn forget_refusals(&self, now: Now) {
        let mut books = self.lock();
        for book in &mut books.list {
            book.forget_refusals(now.instant);
        }
        books.has_changed = true;
    }

    /// Makes room for one request in all windows of the model, or in none.
    ///
    /// `tokens` is the estimated size of the prompt; more than four billion count as four billion. It is corrected by what
    /// earlier estimates turned out to be. A request that alone
    /// exceeds the tokens of a minute is let through as the only one in its minute, since it would never fit otherwise
    /// and our limit may be wrong.
    pub fn reserve(&self, model: &ModelName, tokens: u64, now: Now) -> Result<Reservation, Spent> {
        let mut books = self.lock();
        let moment = books.moment(now);
        books.book(model, moment).reserve(tokens, moment)
    }

    /// When there is room for that many tokens, if nothing else is sent until then; now, if there is.
    pub fn room_at(&self, model: &ModelName, tokens: u64, now: Now) -> Instant {
        match self.reserve(model, tokens, now) {
            Ok(reservation) => {
                self.refund(model, reservation, now);
                now.instant
            }
            Err(spent) => spent.until,
        }
    }

    /// Corrects the estimate of a request that was sent, by the prompt tokens that Google counted, if it said so.
    /// A failed request stays counted, as Google counts those too. True if it took less than was reserved for it.
    pub fn settle(&self, model: &ModelName, reservation: Reservation, spent: Option<u64>, now: Now) -> bool {
        let Some(spent) = spent else { return false };
        let mut books = self.lock();
        let tick = books.ticks.tick(now.instant);
        if let Some(book) = books.find_to_change(model) {
            book.settle(reservation, spent, tick);
        }
        spent < u64::from(reservation.tokens)
    }

    /// Takes a request back that was never sent.
    pub fn refund(&self, model: &ModelName, reservation: Reservation, now: Now) {
        let mut books = self.lock();
        let tick = books.ticks.tick(now.instant);
        if let Some(book) = books.find_to_change(model) {
            book.refund(reservation, tick);
        }
    }

    /// Google refused a request that was reserved here: learns its limit, and closes the window for all keys of the
    /// project until its cooldown is over. The answer is when that is; `None` when neither Google nor our own counters
    /// tell which window it was.
    ///
    /// The refused request stays counted in its minute but not in its day: a limit that refuses takes nothing.
    pub fn exceeded(&self, model: &ModelName, exceeded: &QuotaExceeded, now: Now) -> Option<Instant> {
        let mut books = self.lock();
        let moment = books.moment(now);
        books.book(model, moment).exceeded(exceeded, now, moment)
    }

    /// The smallest share that is left of any window, from 0 to 1; 1 when nothing is known.
    pub fn headroom(&self, model: &ModelName, now: Now) -> f32 {
        let mut books = self.lock();
        let moment = books.moment(now);
        books.find(model).map_or(1.0, |book| book.headroom(moment))
    }

    /// Every model with a book: what is used, allowed and expected.
    pub fn usage(&self, now: Now) -> Vec<ModelUse> {
        let mut books = self.lock();
        let moment = books.moment(now);
        books.list.iter_mut().map(|book| book.usage(moment)).collect()
    }

    /// A book is never left half written, so one whose writer panicked is still good.
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reading of all clocks that books are kept by.
#[derive(Debug, Clone, Copy)]
struct Moment {
    instant: Instant,
    tick: u32,
    /// Unix microseconds.
    wall: i64,
    ticks: TickClock,
}

#[derive(Debug)]
struct Books {
    limits: Arc<LimitTable>,
    ticks: TickClock,
    wall: WallClock,
    /// Since it was stored last.
    has_changed: bool,
    /// Few, so they are searched from the front.
    list: Vec<Book>,
}

impl Books {
    fn moment(&mut self, now: Now) -> Moment {
        let (tick, wall) = (self.ticks.tick(now.instant), self.wall.read(now));
        Moment { instant: now.instant, tick, wall, ticks: self.ticks }
    }

    /// The book of a model that something is about to be written to.
    fn find_to_change(&mut self, model: &ModelName) -> Option<&mut Book> {
        self.has_changed = true;
        self.find(model)
    }

    fn find(&mut self, model: &ModelName) -> Option<&mut Book> {
        self.list.iter_mut().find(|book| book.model == *model)
    }

    /// The book of a model; a new one takes the place of the one that is missed least if there are too many. Names that
    /// clients made up are never served, so they push out no count that matters.
    fn book(&mut self, model: &ModelName, now: Moment) -> &mut Book {
        self.has_changed = true;
        let at = self.list.iter().position(|book| book.model == *model).unwrap_or_else(|| {
            self.make_room();
            self.list.reserve_exact(1);
            self.list.push(Book::new(model.clone(), given(model, &self.limits), now));
            self.list.len() - 1
        });
        &mut self.list[at]
    }

    fn make_room(&mut self) {
        if self.list.len() < MAX_BOOKS {
            return;
        }
        let books = self.list.iter().enumerate();
        let worth = |book: &Book| (book.is_known(), book.is_served, book.last_used());
        if let Some((at, _)) = books.min_by_key(|(_, book)| worth(book)) {
            self.list.swap_remove(at);
        }
    }
}

/// What is given of a model. What is known of it says nothing of counting its tokens, nor of calls for no model.
fn given(model: &ModelName, limits: &LimitTable) -> ModelLimits {
    if model.is_asked() { limits.find(model.as_str()) } else { ModelLimits::default() }
}
