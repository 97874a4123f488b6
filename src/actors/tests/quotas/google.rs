//! Google as far as quotas go: the simulation's own books, on the clock of the test.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use tokio::time::Instant;

use super::traffic::{Offer, Request};
use crate::{
    domain::{model::ModelName, outcome::Outcome, time::Now},
    sim::{Exceeded, Minutes, Quota, QuotaBook},
    upstream::classify::Classifier,
};

/// What Google has seen of one model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub served: u64,
    pub tokens: u64,
    pub refused: u64,
    /// Asked and refused since the minute of learning was over.
    pub asked_later: u64,
    pub refused_later: u64,
}

#[derive(Debug)]
struct Books {
    book: QuotaBook,
    quotas: HashMap<(String, ModelName), Quota>,
    seen: Vec<Seen>,
    learnt_at: Instant,
    closes_at: Instant,
}

/// A handle that everybody who asks has a copy of.
#[derive(Debug, Clone)]
pub struct Google(Rc<RefCell<Books>>);

impl Google {
    /// `projects` with the same quotas; whatever arrives at `closes_at` or later counts no more.
    pub fn new(
        minutes: Minutes,
        offers: &[Offer],
        projects: &[String],
        learnt_at: Instant,
        closes_at: Instant,
    ) -> Self {
        let quotas = projects.iter().flat_map(|project| {
            offers.iter().map(move |offer| ((project.clone(), offer.model.clone()), offer.quota.clone()))
        });
        Self(Rc::new(RefCell::new(Books {
            book: QuotaBook::new(minutes, 60_000),
            quotas: quotas.collect(),
            seen: vec![Seen::default(); offers.len()],
            learnt_at,
            closes_at,
        })))
    }

    /// A paid project has quotas and answers of its own.
    pub fn open_paid(&self, project: &str, offer: &Offer, requests_per_minute: u64) {
        let quota = Quota { requests_per_minute: Some(requests_per_minute), paid: true, ..Quota::default() };
        self.0.borrow_mut().quotas.insert((project.to_owned(), offer.model.clone()), quota);
    }

    /// A request arrives.
    pub fn ask(&self, project: &str, model: &ModelName, request: &Request) -> Result<(), Exceeded> {
        let now = Now::read();
        let books = &mut *self.0.borrow_mut();
        let quota = &books.quotas[&(project.to_owned(), model.clone())];
        let now_ms = u64::try_from(now.unix_ms()).unwrap();
        let answer = books.book.take(project, model.as_str(), quota, request.tokens, now_ms);
        let seen = &mut books.seen[request.offer];
        let is_later = u64::from(now.instant >= books.learnt_at);
        seen.asked_later += is_later;
        match answer {
            Ok(()) if now.instant < books.closes_at => {
                seen.served += 1;
                seen.tokens += request.tokens;
            }
            Ok(()) => {}
            Err(_) => {
                seen.refused += 1;
                seen.refused_later += is_later;
            }
        }
        answer
    }

    /// Would any project serve such a request now?
    pub fn has_room(&self, model: &ModelName, tokens: u64) -> bool {
        let now_ms = u64::try_from(Now::read().unix_ms()).unwrap();
        let Books { book, quotas, .. } = &mut *self.0.borrow_mut();
        let mut offered = quotas.iter().filter(|((_, offered), _)| offered == model);
        offered.any(|((project, _), quota)| book.has_room(project, model.as_str(), quota, tokens, now_ms))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.borrow().seen.clone()
    }

    /// From now on refusals are not excused by learning.
    pub fn expect_learnt(&self) {
        let mut books = self.0.borrow_mut();
        books.learnt_at = Instant::now();
        books.seen.fill(Seen::default());
    }
}

/// The refusal as the gateway reads it from the wire.
pub fn judge(exceeded: &Exceeded, model: &ModelName) -> Outcome {
    let error = exceeded.error(model.as_str());
    Classifier::default().classify(error.http, error.to_json().to_string().as_bytes()).outcome
}
