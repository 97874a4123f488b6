//! What to tell a request for which no key was found: wait for a moment, until a known time, or not at all.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Ask, Placed, RoutingTable, Slot, address, lists::RANKS};
use crate::{
    balance::{
        affinity::Preference,
        breaker::{Availability, ModelCooldown, ModelReason, Routing},
    },
    domain::{key::KeyId, model::ModelName, time::Now},
};

/// How many keys are looked at before an answer must do that may be a little off.
const LOOKED_AT: usize = 64;
/// Of those whose quota is used up, so many are asked when they have room for a request of that size.
const SIZED: usize = 16;

/// Why no key was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Nothing in the pool could serve this model, now or later, without somebody acting.
    NoUsableKey,
    /// The soonest that a key recovers for this model, and from what.
    Until { at: Instant, cause: Cause },
    /// A key may be had in a moment: one is being probed, or is ready and others come first.
    Soon,
}

/// What keeps the key that recovers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A quota for this model is used up.
    Quota,
    /// The model is not open to it.
    Model,
    /// The key as a whole is out: its breaker is open, or its project has not paid.
    Key,
    /// Google refuses our address, whatever the key.
    Egress,
}

impl Routing {
    /// When a key with that cooldown can serve its model again, as far as anybody knows.
    pub(super) fn back_at(&self, cooldown: &ModelCooldown) -> Option<Instant> {
        match self.availability {
            Availability::Ready | Availability::HalfOpen => Some(cooldown.until),
            Availability::CoolingUntil(key) => Some(cooldown.until.max(key)),
            Availability::Out => None,
        }
    }
}

impl<T: Placed> RoutingTable<T> {
    /// The prospects of whoever asks for a model next.
    pub fn outlook(&self, model: &ModelName, now: Now) -> Unavailable {
        self.prospects(&Ask::new(model), None, now)
    }

    /// The prospects of this very request, for which no key was picked. `room_at` is when a key that is ready has room for
    /// it, as it found none now.
    pub fn prospects(&self, ask: &Ask<'_>, room_at: Option<Instant>, now: Now) -> Unavailable {
        match ask.preference {
            Some(Preference::Owner(owner)) if ask.tried.contains(&owner) => return Unavailable::NoUsableKey,
            Some(Preference::Owner(owner)) => return self.prospects_of(owner, ask.model, room_at),
            _ => {}
        }
        if self.is_being_probed_for(ask) || (room_at.is_none() && self.has_ready_but_tried(ask)) {
            return Unavailable::Soon;
        }
        let room = room_at.map(|at| (at, Cause::Quota));
        let soonest = self.recovery(ask, now).into_iter().chain(room).min_by_key(|(at, _)| *at);
        soonest.map_or(Unavailable::NoUsableKey, |(at, cause)| Unavailable::Until { at, cause })
    }

    /// Is a key ready that the request may have? What it may not have is counted, so the pool is not walked over.
    fn has_ready_but_tried(&self, ask: &Ask<'_>) -> bool {
        let ready = self.ready_for(ask.model);
        if !ask.tiers.is_all() {
            // Whose are few may be missed behind others, and is then told of the next to come back.
            let mut slots = (0..RANKS).flat_map(|rank| {
                let list = ready.list(rank);
                (0..list.len().min(LOOKED_AT)).map(move |position| list.at(position))
            });
            let is_fit = |index: u32| self.slot(index).is_some_and(|slot| ask.allows(slot));
            return slots.any(|index| ready.contains(index) && is_fit(index));
        }
        let elsewhere = ask.elsewhere.and_then(|ledger| self.projects.get(&address(ledger)));
        let twins = elsewhere.map_or(&[][..], |project| &project.slots);
        let tried =
            ask.tried.iter().filter_map(|key| self.by_key.get(key)).filter(|slot| !twins.contains(slot));
        let barred = twins.iter().chain(tried).filter(|slot| ready.contains(**slot)).count();
        ready.len() > barred
    }

    fn prospects_of(&self, owner: KeyId, model: &ModelName, room_at: Option<Instant>) -> Unavailable {
        let index = self.by_key.get(&owner).copied();
        let Some((index, slot)) = index.and_then(|index| Some((index, self.slot(index)?))) else {
            return Unavailable::NoUsableKey;
        };
        let held = self.models.get(model).and_then(|table| table.held_until(index));
        let quota = held.into_iter().chain(room_at).map(|at| (at, Cause::Quota));
        let verdict = match (slot.routing.availability, slot.routing.cooldown(model)) {
            (Availability::Out, _) => return Unavailable::NoUsableKey,
            (_, Some(cooldown)) => slot.routing.back_at(cooldown),
            (Availability::CoolingUntil(at), None) => Some(at),
            (Availability::Ready | Availability::HalfOpen, None) => None,
        };
        let verdict = verdict.map(|at| (at, self.cause(index, model)));
        match quota.chain(verdict).max_by_key(|(at, _)| *at) {
            Some((at, cause)) => Unavailable::Until { at, cause },
            // It is being probed.
            None if slot.serves(model) => Unavailable::Soon,
            None => Unavailable::NoUsableKey,
        }
    }

    /// Is any key ready for the model, for a request of whatever size, or to be probed?
    pub fn has_ready_for(&self, model: &ModelName) -> bool {
        !self.ready_for(model).is_empty() || self.is_being_probed_for(&Ask::new(model))
    }

    /// When the next key comes back that is kept from the request's model now and fit for it, and what keeps it.
    pub fn recovery(&self, ask: &Ask<'_>, now: Now) -> Option<(Instant, Cause)> {
        let is_fit = |index: u32| self.slot(index).is_some_and(|slot| ask.allows(slot));
        let of_model = self.models.get(ask.model);
        let cooling = of_model.and_then(|table| {
            let (at, index) = table.cooling.iter().take(LOOKED_AT).find(|(_, index)| is_fit(*index))?;
            Some((*at, self.cause(*index, ask.model)))
        });
        let is_probed =
            |slot: &Slot<T>| slot.routing.availability == Availability::HalfOpen && slot.serves(ask.model);
        let comes_back =
            |index| self.slot(index).is_some_and(|slot| slot.is_ready_for(ask.model) || is_probed(slot));
        let held = of_model.and_then(|table| {
            let mut held =
                table.held().take(LOOKED_AT).filter(|(_, index)| is_fit(*index) && comes_back(*index));
            let at = match ask.tokens {
                0 => held.next().map(|(at, _)| at),
                // A large one may not fit yet when the hold ends.
                _ => held.take(SIZED).map(|(at, index)| at.max(self.room_at(index, ask, now))).min(),
            };
            at.map(|at| (at, Cause::Quota))
        });
        // Those that cool for the model as well are in the model's own list.
        let serves = |index: u32| self.slot(index).is_some_and(|slot| slot.serves(ask.model));
        let mut keys = self.cooling.iter().take(LOOKED_AT);
        let key = keys.find(|(_, index)| is_fit(*index) && serves(*index)).map(|&(at, _)| (at, Cause::Key));
        cooling.into_iter().chain(held).chain(key).min_by_key(|(at, _)| *at)
    }

    fn room_at(&self, index: u32, ask: &Ask<'_>, now: Now) -> Instant {
        self.slot(index).map_or(now.instant, |slot| slot.place().ledger.room_at(ask.model, ask.tokens, now))
    }

    fn is_being_probed_for(&self, ask: &Ask<'_>) -> bool {
        let slots = (0..self.half_open.len().min(LOOKED_AT)).map(|position| self.half_open.at(position));
        let of_model = self.models.get(ask.model);
        let mut unspent = slots.filter(|index| of_model.is_none_or(|table| !table.is_held(*index)));
        unspent.any(|index| self.slot(index).is_some_and(|slot| slot.serves(ask.model) && ask.allows(slot)))
    }

    fn cause(&self, index: u32, model: &ModelName) -> Cause {
        let Some(routing) = self.slot(index).map(|slot| &slot.routing) else { return Cause::Key };
        match (routing.availability, routing.cooldown(model)) {
            (Availability::CoolingUntil(key), Some(cooldown)) if key > cooldown.until => Cause::Key,
            (_, Some(cooldown)) if cooldown.reason == ModelReason::Unavailable => Cause::Model,
            (_, Some(_)) => Cause::Quota,
            (_, None) => Cause::Key,
        }
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.slots[index as usize].as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        balance::{policy, table::Place},
        domain::{key::KeyId, policy::PolicyKind},
    };

    fn model() -> ModelName {
        ModelName::parse("pro").unwrap()
    }

    /// Keys with their availability and their cooldown for the model.
    fn outlook(keys: &[(Availability, Option<(Instant, ModelReason)>)]) -> Unavailable {
        let mut table = RoutingTable::new(policy::build(PolicyKind::RoundRobin, 0));
        for (id, (availability, cooldown)) in (1..).zip(keys) {
            let cooldowns = cooldown.map(|(until, reason)| ModelCooldown { model: model(), until, reason });
            let routing = Routing {
                availability: *availability,
                warm_at: None,
                cooldowns: cooldowns.into_iter().collect(),
            };
            table.apply(KeyId(id), routing, Place::default());
        }
        table.outlook(&model(), Now::read())
    }

    fn in_secs(count: u64) -> Instant {
        Instant::now() + Duration::from_secs(count)
    }

    use Availability::{CoolingUntil, HalfOpen, Out, Ready};
    use ModelReason::{QuotaDay, QuotaMinute, Unavailable as NotOpen};

    #[test]
    fn the_soonest_recovery_is_told_with_its_cause() {
        let (soon, later) = (in_secs(7), in_secs(40));

        let found = outlook(&[
            (Ready, Some((later, QuotaDay))),
            (Ready, Some((soon, QuotaMinute))),
            (CoolingUntil(in_secs(90)), None),
            (Out, None),
        ]);

        assert_eq!(found, Unavailable::Until { at: soon, cause: Cause::Quota });
    }

    #[test]
    fn a_key_that_is_being_probed_is_a_matter_of_moments_whatever_else_cools() {
        assert_eq!(
            outlook(&[(HalfOpen, None), (Ready, Some((in_secs(9_000), QuotaDay)))]),
            Unavailable::Soon
        );
    }

    #[test]
    fn a_half_open_key_that_cools_for_the_model_comes_back_with_the_model() {
        let day = in_secs(9_000);

        assert_eq!(
            outlook(&[(HalfOpen, Some((day, QuotaDay)))]),
            Unavailable::Until { at: day, cause: Cause::Quota }
        );
    }

    #[test]
    fn a_key_is_back_for_a_model_when_both_are() {
        let (soon, day) = (in_secs(10), in_secs(9_000));

        let quota_last = outlook(&[(CoolingUntil(soon), Some((day, QuotaDay)))]);
        let key_last = outlook(&[(CoolingUntil(day), Some((soon, QuotaMinute)))]);

        assert_eq!(quota_last, Unavailable::Until { at: day, cause: Cause::Quota });
        assert_eq!(key_last, Unavailable::Until { at: day, cause: Cause::Key });
    }

    #[test]
    fn a_model_that_is_open_to_no_key_is_no_matter_of_quotas() {
        let day = in_secs(86_400);

        assert_eq!(
            outlook(&[(Ready, Some((day, NotOpen)))]),
            Unavailable::Until { at: day, cause: Cause::Model }
        );
    }

    #[test]
    fn a_dead_pool_has_no_prospects() {
        assert_eq!(outlook(&[]), Unavailable::NoUsableKey);
        assert_eq!(outlook(&[(Out, Some((in_secs(5), QuotaMinute)))]), Unavailable::NoUsableKey);
    }
}
