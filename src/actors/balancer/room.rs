//! Those for whom there was no key at once: who may wait, who is next, and when somebody gives up.

use std::time::Duration;

use tokio::{sync::oneshot, time::Instant};

use super::{
    Acquire, BalancerHandle, State,
    handle::{Acquired, Asked},
};
use crate::{
    actors::lease::Lease,
    balance::{
        affinity::Group,
        table::{Ask, Cause, Unavailable},
        waiting::{Place, Served},
    },
    domain::{client::TokenId, model::ModelName, time::Now},
};

/// Those who wait are not offered keys more often than this by the clock.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// Requests that may come before any key is known, which is soon.
const EARLY: usize = 10_000;
/// Requests with wishes of their own that are passed over of one client before it is the next one's turn.
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
        let preference = preference.filter(|_| self.group.is_none_or(Group::follows));
        Ask { model, tokens: *tokens, tried, elsewhere: elsewhere.as_ref(), tiers: *tiers, preference }
    }
}

/// Why somebody has no key now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lack {
    /// Nothing leaves for this model, whatever the key.
    Paused(Unavailable),
    /// `room_at` is when a key that is ready has room for a request as large as this.
    Key { room_at: Option<Instant> },
}

/// A request without a key, and how to reach it. The answer is gone once it was given.
#[derive(Debug)]
pub(super) struct Waiting {
    pub wish: Wish,
    pub answer: Option<oneshot::Sender<Acquired>>,
}

impl Waiting {
    /// Gives back the lease where somebody hung up meanwhile.
    fn give(&mut self, lease: Lease) -> Option<Lease> {
        match self.answer.take() {
            Some(answer) => answer.send(Ok(lease)).err()?.ok(),
            None => Some(lease),
        }
    }

    fn refuse(&mut self, told: Unavailable) {
        if let Some(answer) = self.answer.take() {
            // Whoever hung up meanwhile needs no answer.
            let _ = answer.send(Err(told));
        }
    }

    fn is_gone(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl State {
    /// A key at once, a refusal at once, or a place to wait.
    pub(super) fn ask(&mut self, acquire: Acquire, now: Now, handle: &BalancerHandle) -> Asked {
        let group = self.group_of(&acquire, now);
        let wish = Wish { acquire, group };
        if self.early.is_none() {
            match self.pick_in_turn(&wish, now, handle) {
                Ok(lease) => return Asked::Answered(Ok(lease)),
                Err(lack) if !self.is_worth_waiting(&wish, lack, now) => {
                    self.refused += 1;
                    return Asked::Answered(Err(self.told(&wish, lack, now)));
                }
                Err(_) => {}
            }
        }
        let (answer, answered) = oneshot::channel();
        let place = self.wait(Waiting { wish, answer: Some(answer) }, now, handle);
        Asked::Waits { place, answered }
    }

    /// A key, unless others wait for this model and come first.
    fn pick_in_turn(&mut self, wish: &Wish, now: Now, handle: &BalancerHandle) -> Result<Lease, Lack> {
        if self.room.is_awaited(&wish.acquire.model) {
            return Err(self
                .paused(&wish.acquire.model, now)
                .map_or(Lack::Key { room_at: None }, Lack::Paused));
        }
        self.pick(wish, now, handle)
    }

    /// May there be a key for this very request before it gives up? Requests that turn out smaller than was reserved for
    /// them, and limits that turn out higher, make room sooner than the ledger can tell, so only what is certain speaks
    /// against a wait.
    fn is_worth_waiting(&self, wish: &Wish, lack: Lack, now: Now) -> bool {
        let until = self.patience(wish, now);
        let prospects = match lack {
            Lack::Paused(paused) => paused,
            Lack::Key { room_at } => self.table.prospects(&Ask { tokens: 0, ..wish.ask() }, room_at, now),
        };
        match prospects {
            Unavailable::NoUsableKey | Unavailable::Until { cause: Cause::Model, .. } => false,
            Unavailable::Until { at, .. } => at <= until,
            Unavailable::Soon => now.instant < until,
        }
    }

    /// What somebody is told who gets no key: what holds for whoever asks next, as they may be back as a new request.
    fn told(&self, wish: &Wish, lack: Lack, now: Now) -> Unavailable {
        match lack {
            Lack::Paused(paused) => paused,
            Lack::Key { room_at } => self.table.prospects(&wish.ask().asked_anew(), room_at, now),
        }
    }

    fn patience(&self, wish: &Wish, now: Now) -> Instant {
        wish.acquire.deadline.min(now.instant + self.balancing.max_wait)
    }

    /// Takes somebody in: with those who came before any key was known, or into the room, where they have a place. Nobody
    /// is sent away for want of a seat who could use a key that those in the room could not.
    fn wait(&mut self, mut waiting: Waiting, now: Now, handle: &BalancerHandle) -> Option<Place> {
        if let Some(early) = &mut self.early {
            if early.len() < EARLY {
                early.push(waiting);
            } else {
                self.turned_away += 1;
                waiting.refuse(Unavailable::Soon);
            }
            return None;
        }
        if self.room.is_full()
            && let Ok(lease) = self.pick(&waiting.wish, now, handle)
        {
            self.give(&mut waiting, lease, now, handle);
            return None;
        }
        let Acquire { model, client, .. } = &waiting.wish.acquire;
        let (model, client, until) = (model.clone(), client.clone(), self.patience(&waiting.wish, now));
        let (place, sent_away) = self.room.enter(&model, &client, until, waiting);
        if let Some(sent_away) = sent_away {
            self.turned_away += 1;
            self.refuse(sent_away, Lack::Key { room_at: None }, now);
        }
        self.serve(&model, now, handle);
        self.call();
        place
    }

    /// Whoever had this place has gone.
    pub(super) fn leave(&mut self, place: &Place) {
        self.room.leave(place);
    }

    /// Gives those who came before any key was known what they would have got, had they come now.
    pub(super) fn serve_changed(&mut self, now: Now, handle: &BalancerHandle) {
        for mut early in self.early.take().into_iter().flatten() {
            match self.pick_in_turn(&early.wish, now, handle) {
                Ok(lease) => self.give(&mut early, lease, now, handle),
                Err(lack) if self.is_worth_waiting(&early.wish, lack, now) => {
                    self.wait(early, now, handle);
                }
                Err(lack) => self.refuse(early, lack, now),
            }
        }
        self.serve_all(now, handle);
    }

    /// Of a key for somebody who hung up at this very moment nothing counts.
    fn give(&mut self, waiting: &mut Waiting, lease: Lease, now: Now, handle: &BalancerHandle) {
        if let Some(unused) = waiting.give(lease) {
            self.settle(unused.into_unused(), now, handle);
        }
    }

    fn refuse(&mut self, mut waiting: Waiting, lack: Lack, now: Now) {
        self.refused += 1;
        let paused = self.paused(&waiting.wish.acquire.model, now);
        let told = self.told(&waiting.wish, paused.map_or(lack, Lack::Paused), now);
        waiting.refuse(told);
    }

    /// Gives the keys that there are for a model to those who wait for it.
    pub(super) fn serve(&mut self, model: &ModelName, now: Now, handle: &BalancerHandle) {
        let mut room = std::mem::take(&mut self.room);
        let (mut particular, mut too_large) = ((TokenId::default(), 0), u64::MAX);
        room.serve(model, |waiting| {
            if waiting.is_gone() {
                return Served::Done;
            }
            if waiting.wish.acquire.tokens >= too_large {
                return Served::NotYet;
            }
            match self.pick(&waiting.wish, now, handle) {
                Ok(lease) => {
                    self.waited += 1;
                    self.give(waiting, lease, now, handle);
                    Served::Done
                }
                Err(lack) => {
                    self.promise(&waiting.wish, lack, now);
                    let acquire = &waiting.wish.acquire;
                    if !acquire.is_particular() || !self.table.has_ready_for(model) {
                        return Served::NothingLeft;
                    }
                    if !acquire.is_choosy() {
                        too_large = acquire.tokens;
                    }
                    if particular.0 != acquire.client {
                        particular = (acquire.client.clone(), 0);
                    }
                    particular.1 += 1;
                    if particular.1 == PARTICULAR { Served::NextClient } else { Served::NotYet }
                }
            }
        });
        self.room = room;
    }

    /// Remembers when something may be found for somebody who waits.
    fn promise(&mut self, wish: &Wish, lack: Lack, now: Now) {
        if let Unavailable::Until { at, .. } = self.told(wish, lack, now) {
            let at = at.max(now.instant + SHORTEST_SLEEP);
            self.promised = Some(self.promised.map_or(at, |promised| promised.min(at)));
        }
    }

    /// Something may have become ready.
    fn serve_all(&mut self, now: Now, handle: &BalancerHandle) {
        for model in self.room.models() {
            self.serve(&model, now, handle);
        }
    }

    /// When there may be something to do for those who wait; `None` when nobody does.
    pub(super) fn next_event(&self, now: Instant) -> Option<Instant> {
        if self.room.is_empty() {
            return None;
        }
        let calm = self.egresses.calm_at(now);
        let known = self.room.next_deadline().into_iter().chain(self.table.next_end()).chain(self.promised);
        known.chain(calm).min()
    }

    /// The time has come: offers what there is, and refuses those who have waited long enough.
    pub(super) fn wake(&mut self, now: Now, handle: &BalancerHandle) {
        self.promised = None;
        self.serve_all(now, handle);
        for (_, mut waiting) in self.room.give_up(now.instant) {
            // Once more, and be it to tell when there is room for a request of this size.
            match self.pick(&waiting.wish, now, handle) {
                Ok(lease) => self.give(&mut waiting, lease, now, handle),
                Err(lack) => self.refuse(waiting, lack, now),
            }
        }
    }
}
