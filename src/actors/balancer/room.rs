//! Those for whom there was no key at once: who may wait, who is next, and when somebody gives up.

use std::time::Duration;

use actix::prelude::*;
use tokio::{sync::oneshot, time::Instant};

use super::{Acquire, Acquired, Balancer};
use crate::{
    balance::{
        affinity::Group,
        table::{Ask, Cause, Unavailable},
        waiting::Served,
    },
    domain::{model::ModelName, time::Now},
};

/// Those who wait are not offered keys more often than this by the clock.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// Requests with wishes of their own that are passed over before a queue is left alone.
const PARTICULAR: usize = 64;

/// What somebody wants.
#[derive(Debug)]
pub(super) struct Wish {
    pub acquire: Acquire,
    /// What it does with its preference for a key that others of its like had before.
    pub group: Option<Group>,
}

impl Wish {
    pub fn ask(&self) -> Ask<'_> {
        let Acquire { model, tokens, tried, elsewhere, tiers, preference, .. } = &self.acquire;
        // Those of a control group go wherever it suits.
        let preference = preference.filter(|_| self.group.is_none_or(|group| group == Group::Preferring));
        Ask { model, tokens: *tokens, tried, elsewhere: elsewhere.as_ref(), tiers: *tiers, preference }
    }
}

/// A request without a key, and how to reach it. The answer is gone once it was given.
#[derive(Debug)]
pub(super) struct Waiting {
    pub wish: Wish,
    pub answer: Option<oneshot::Sender<Acquired>>,
}

impl Waiting {
    /// Whoever hung up meanwhile has no use for a lease, which then counts for nothing.
    fn answer(&mut self, acquired: Acquired) {
        let Some(answer) = self.answer.take() else { return };
        if let Err(Ok(lease)) = answer.send(acquired) {
            lease.cancel();
        }
    }

    fn is_gone(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Balancer {
    /// A key, unless others wait for this model and come first.
    pub(super) fn pick_in_turn(&mut self, wish: &Wish, now: Now, me: &Addr<Self>) -> Acquired {
        if self.room.is_awaited(&wish.acquire.model) {
            return Err(self.table.prospects(&wish.ask(), None));
        }
        self.pick(wish, now, me)
    }

    /// Will there be a key before the request gives up?
    pub(super) fn is_worth_waiting(&self, wish: &Wish, unavailable: Unavailable, now: Now) -> bool {
        let until = self.patience(wish, now);
        match unavailable {
            Unavailable::NoUsableKey | Unavailable::Until { cause: Cause::Model, .. } => false,
            // What is ready, or will be first, may be what was tried.
            _ if !wish.acquire.tried.is_empty() => {
                self.table.recovery(&wish.ask()).is_some_and(|(at, _)| at <= until)
            }
            Unavailable::Until { at, .. } => at <= until,
            Unavailable::Soon => true,
        }
    }

    fn patience(&self, wish: &Wish, now: Now) -> Instant {
        wish.acquire.deadline.min(now.instant + self.balancing.max_wait)
    }

    /// Takes somebody in: with those who came before any key was known, or into the room.
    pub(super) fn wait(&mut self, waiting: Waiting, now: Now, ctx: &mut Context<Self>) {
        if let Some(early) = &mut self.early {
            return early.push(waiting);
        }
        let Acquire { model, client, .. } = &waiting.wish.acquire;
        let (model, client, until) = (model.clone(), client.clone(), self.patience(&waiting.wish, now));
        if let Some(sent_away) = self.room.enter(&model, &client, until, waiting) {
            self.turned_away += 1;
            let outlook = self.table.prospects(&sent_away.wish.ask(), None);
            self.refuse(sent_away, outlook);
        }
        self.serve(&model, now, ctx);
        self.set_alarm(now, ctx);
    }

    /// Gives an early request what it would have got, had it come now.
    pub(super) fn admit(&mut self, mut waiting: Waiting, now: Now, ctx: &mut Context<Self>) {
        match self.pick_in_turn(&waiting.wish, now, &ctx.address()) {
            Ok(lease) => waiting.answer(Ok(lease)),
            Err(unavailable) if self.is_worth_waiting(&waiting.wish, unavailable, now) => {
                self.wait(waiting, now, ctx);
            }
            Err(unavailable) => self.refuse(waiting, unavailable),
        }
    }

    fn refuse(&mut self, mut waiting: Waiting, unavailable: Unavailable) {
        self.refused += 1;
        waiting.answer(Err(unavailable));
    }

    /// Gives the keys that there are for a model to those who wait for it.
    pub(super) fn serve(&mut self, model: &ModelName, now: Now, ctx: &mut Context<Self>) {
        let (mut room, me) = (std::mem::take(&mut self.room), ctx.address());
        let (mut particular, mut too_large) = (0, u64::MAX);
        room.serve(model, |waiting| {
            if waiting.is_gone() {
                return Served::Done;
            }
            if waiting.wish.acquire.tokens >= too_large {
                return Served::NotYet;
            }
            match self.pick(&waiting.wish, now, &me) {
                Ok(lease) => {
                    self.waited += 1;
                    waiting.answer(Ok(lease));
                    Served::Done
                }
                Err(unavailable) => {
                    if let Unavailable::Until { at, .. } = unavailable {
                        let at = at.max(now.instant + SHORTEST_SLEEP);
                        self.promised = Some(self.promised.map_or(at, |promised| promised.min(at)));
                    }
                    let acquire = &waiting.wish.acquire;
                    if particular == PARTICULAR
                        || !acquire.is_particular()
                        || !self.table.has_ready_for(model)
                    {
                        return Served::NothingLeft;
                    }
                    particular += 1;
                    if !acquire.is_choosy() {
                        too_large = acquire.tokens;
                    }
                    Served::NotYet
                }
            }
        });
        self.room = room;
    }

    /// Something may have become ready.
    pub(super) fn serve_all(&mut self, ctx: &mut Context<Self>) {
        if self.room.is_empty() {
            return;
        }
        let now = Now::read();
        for model in self.room.models() {
            self.serve(&model, now, ctx);
        }
        self.set_alarm(now, ctx);
    }

    /// Wakes up when the next key has quota again or the first request has waited long enough.
    fn set_alarm(&mut self, now: Now, ctx: &mut Context<Self>) {
        let calm = self.egress.pause(now.instant).map(|(at, _)| at);
        let known = self.room.next_deadline().into_iter().chain(self.table.next_end()).chain(self.promised);
        let wanted = known.chain(calm).min();
        let wanted = wanted.filter(|_| !self.room.is_empty());
        if self.alarm.as_ref().map(|(at, _)| *at) == wanted {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        self.alarm = wanted.map(|at| {
            let wait = at.saturating_duration_since(now.instant);
            (at, ctx.run_later(wait, Self::wake))
        });
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        (self.alarm, self.promised) = (None, None);
        self.serve_all(ctx);
        let now = Now::read();
        for (_, waiting) in self.room.give_up(now.instant) {
            let outlook = self.table.prospects(&waiting.wish.ask(), None);
            self.refuse(waiting, outlook);
        }
        self.set_alarm(now, ctx);
    }
}
