//! A streamed answer as the client gets it: one stream, even where it was cut and went on with another key.

use std::{
    cell::RefCell,
    mem,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use super::{
    attempts::Start,
    call::Call,
    classify::Fault,
    continuation::Told,
    dispatch::{Dispatcher, UpstreamError},
    events::EventStream,
    trail::{Extra, Trail},
};
use crate::domain::{client::TokenId, key::KeyId, outcome::NextStep, tiers::TierSet};

/// Parts that one answer may have beyond its first.
const MAX_CONTINUATIONS: usize = 2;

/// Events for the client; whatever leases are inside are settled with its end, or as abandoned on a drop.
pub struct AnswerStream {
    state: State,
    /// `None` where an answer that is cut ends with the error.
    resumption: Option<Resumption>,
    deadline: Instant,
    overdue: Box<Fault>,
    /// Of the parts that have ended, and of the attempts to go on from them.
    ended: Rc<RefCell<Trail>>,
}

enum State {
    Open(Box<EventStream>),
    /// The last part was cut; another key is asked.
    Reopening {
        cut: Box<Fault>,
        opening: LocalBoxFuture<'static, Result<EventStream, UpstreamError>>,
    },
    Over,
}

/// What it takes to go on with another key.
struct Resumption {
    dispatcher: Rc<Dispatcher>,
    call: Call,
    client: TokenId,
    tiers: TierSet,
    told: Told,
    tried: Vec<KeyId>,
    left: usize,
}

impl AnswerStream {
    /// An answer that ends where it is cut.
    pub(super) fn new(events: EventStream) -> Self {
        Self {
            deadline: events.deadline(),
            overdue: events.overdue(),
            state: State::Open(Box::new(events)),
            resumption: None,
            ended: Rc::default(),
        }
    }

    /// From now on the answer goes on when it is cut.
    pub(super) fn resuming(self, dispatcher: Rc<Dispatcher>, call: Call, trail: &Trail) -> Self {
        let (client, tiers) = (trail.client.clone(), trail.tiers);
        let (told, tried) = (Told::default(), keys_of(trail).collect());
        let resumption = Resumption { dispatcher, call, client, tiers, told, tried, left: MAX_CONTINUATIONS };
        Self { resumption: Some(resumption), ..self }
    }

    /// When the time of the whole request is up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What is to be said of an answer that is still running then.
    pub fn overdue(&self) -> Box<Fault> {
        self.overdue.clone()
    }

    /// The data of the next event; after an error or the end there is nothing more.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<Fault>>>> {
        loop {
            match &mut self.state {
                State::Open(events) => match ready!(events.poll_event(cx)) {
                    Some(Ok(event)) => {
                        let told = match &mut self.resumption {
                            Some(resumption) => resumption.told.pass(event),
                            None => Some(event),
                        };
                        if told.is_some() {
                            return Poll::Ready(told.map(Ok));
                        }
                    }
                    Some(Err(cut)) => {
                        if let Some(cut) = self.resume(cut) {
                            return Poll::Ready(Some(Err(cut)));
                        }
                    }
                    None => return Poll::Ready(None),
                },
                State::Reopening { opening, .. } => match ready!(opening.as_mut().poll(cx)) {
                    Ok(events) => self.state = State::Open(Box::new(events)),
                    Err(_) => {
                        if let State::Reopening { cut, .. } = mem::replace(&mut self.state, State::Over) {
                            return Poll::Ready(Some(Err(cut)));
                        }
                    }
                },
                State::Over => return Poll::Ready(None),
            }
        }
    }

    /// Asks another key for the rest; gives the fault back where there is no going on.
    fn resume(&mut self, cut: Box<Fault>) -> Option<Box<Fault>> {
        let State::Open(events) = &mut self.state else { return Some(cut) };
        let may_go_on = cut.outcome.next_step() != NextStep::Answer && Instant::now() < self.deadline;
        let Some(resumption) = self.resumption.as_mut().filter(|_| may_go_on) else { return Some(cut) };
        let Some(opening) = resumption.reopen(events, self.deadline, &self.ended) else { return Some(cut) };
        let part = mem::replace(&mut self.state, State::Reopening { cut, opening });
        if let State::Open(events) = part {
            events.conclude(&mut self.ended.borrow_mut());
        }
        None
    }

    /// Writes down how the answer ended and gives the key back.
    pub fn conclude(self, trail: &mut Trail) {
        match self.state {
            State::Open(events) => events.conclude(&mut self.ended.borrow_mut()),
            // Its attempts are written down when they are dropped.
            State::Reopening { opening, .. } => drop(opening),
            State::Over => {}
        }
        trail.append(self.ended.take());
    }
}

impl Resumption {
    fn reopen(
        &mut self,
        cut: &EventStream,
        deadline: Instant,
        ended: &Rc<RefCell<Trail>>,
    ) -> Option<LocalBoxFuture<'static, Result<EventStream, UpstreamError>>> {
        self.left = self.left.checked_sub(1)?;
        let body = self.told.request(&self.call.body, cut.usage())?;
        self.told.breaks_off(cut.usage());
        self.tried.extend(cut.key());
        self.tried.extend(keys_of(&ended.borrow()));
        let (dispatcher, call) = (self.dispatcher.clone(), Call { body, ..self.call.clone() });
        let start = Start { deadline, tried: self.tried.clone(), extra: Some(Extra::Continuation) };
        let mut record =
            Record { trail: Trail::of(self.client.clone()).within(self.tiers), whole: ended.clone() };
        Some(Box::pin(async move { dispatcher.open_part(&call, &mut record.trail, start).await }))
    }
}

/// That were asked already.
fn keys_of(trail: &Trail) -> impl Iterator<Item = KeyId> {
    trail.attempts.iter().map(|attempt| attempt.key_id)
}

/// The attempts to go on; they become part of the whole however they end, also when nobody waits for them any more.
struct Record {
    trail: Trail,
    whole: Rc<RefCell<Trail>>,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.whole.borrow_mut().append(mem::take(&mut self.trail));
    }
}
