//! How a request gets its key: a probe first, then what it prefers or the policy says, rank by rank.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Choice, ChoiceReason, Placed, RoutingTable, Slot, address,
    lists::{RANKS, ReadyFor},
    view::SlotView,
};
use crate::{
    balance::{
        affinity::Preference,
        gauge::Gauge,
        ledger::{Ledger, Reservation, Spent},
        policy::Candidates,
    },
    domain::{
        key::KeyId,
        model::ModelName,
        outcome::{QuotaMetric, QuotaWindow},
        tiers::TierSet,
        time::Now,
    },
};

/// How many half-open keys are looked at for a probe before an ordinary key serves the request.
const PROBES_TO_TRY: usize = 4;
/// A preferred key is used as long as it costs at most so many times what the policy's own choice costs.
const DEAREST_PREFERENCE: f32 = 4.0;
/// Large requests are tried with so many projects that only have room for smaller ones.
const UNFIT: usize = 16;
/// A key that has just been found spent is not asked again at once, whatever its ledger says.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);

/// What a request wants.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub model: &'a ModelName,
    /// Input tokens as far as they can be told beforehand.
    pub tokens: u64,
    /// Keys that this request has had already.
    pub tried: &'a [KeyId],
    /// No key of this project, for a second request beside one that runs.
    pub elsewhere: Option<&'a Arc<Ledger>>,
    /// Only keys of these.
    pub tiers: TierSet,
    pub preference: Option<Preference>,
}

impl<'a> Ask<'a> {
    /// Any key for this model.
    pub fn new(model: &'a ModelName) -> Self {
        Self { model, tokens: 0, tried: &[], elsewhere: None, tiers: TierSet::ALL, preference: None }
    }

    /// The same request, had it not been made yet. A key that has to be had and was tried stays tried.
    pub fn asked_anew(self) -> Self {
        match self.preference {
            Some(Preference::Owner(_)) => self,
            _ => Self { tried: &[], elsewhere: None, ..self },
        }
    }

    pub(super) fn allows<T: Placed>(&self, slot: &Slot<T>) -> bool {
        let is_owner = match self.preference {
            Some(Preference::Owner(owner)) => slot.key == owner,
            Some(Preference::Prefix(_) | Preference::Conversation(_) | Preference::Together(_)) | None => {
                true
            }
        };
        is_owner
            && self.tiers.allows(slot.place().terms.tier)
            && !self.tried.contains(&slot.key)
            && self.elsewhere.is_none_or(|ledger| !Arc::ptr_eq(ledger, &slot.place().ledger))
    }
}

/// What a pick found.
#[derive(Debug)]
pub struct Picked<'a, T> {
    slot: u32,
    pub key: KeyId,
    pub gauge: &'a Arc<Gauge>,
    pub ledger: &'a Arc<Ledger>,
    pub payload: &'a T,
    /// Room in the quota windows of the key's project.
    pub reservation: Reservation,
    /// Where the reason is a probe, this attempt decides over a half-open key; its end must release the gauge's probe.
    pub choice: Choice,
}

/// No key could be picked: none is ready, or those that are have no room for a request as large as this one before then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPicked {
    pub room_at: Option<Instant>,
}

/// What was picked and is not to be used after all.
#[derive(Debug)]
pub struct Unused {
    slot: u32,
    reservation: Reservation,
    is_probe: bool,
}

impl<T> Picked<'_, T> {
    pub fn is_probe(&self) -> bool {
        self.choice.reason == ChoiceReason::Probe
    }

    /// Leaves the key to somebody else; nothing was sent. See [`RoutingTable::give_back`].
    pub fn unused(self) -> Unused {
        Unused { slot: self.slot, reservation: self.reservation, is_probe: self.is_probe() }
    }
}

impl<T: Placed> RoutingTable<T> {
    /// Picks a key for a request and takes its part of the key's quotas.
    ///
    /// A half-open key is probed by the next request that it suits, but neither in place of a key of a better rank nor by
    /// a request that would rather have a certain key, as long as one is ready.
    pub fn pick(&mut self, ask: &Ask<'_>, now: Now) -> Result<Picked<'_, T>, NotPicked> {
        self.expire(now.instant);
        let probes_first = ask.preference.and_then(Preference::hash).is_none();
        let mut unfit = Vec::new();
        for rank in (0..RANKS).filter(|rank| ask.tiers.allows_rank(*rank)) {
            if probes_first && let Some((index, reservation)) = self.pick_probe(ask, rank, now) {
                return Ok(self.picked(index, reservation, ChoiceReason::Probe, ask, now));
            }
            let mut too_small = 0;
            while too_small < UNFIT
                && let Some((index, reason)) = self.choose(ask, rank, &unfit, now)
            {
                match self.reserve(index, ask, now) {
                    Ok(reservation) => return Ok(self.picked(index, reservation, reason, ask, now)),
                    // It has room, but not for one as large as this.
                    Err(spent) if self.has_room_for_less(index, ask, spent, now) => {
                        unfit.push((spent.until, self.project_of(index)));
                        too_small += 1;
                    }
                    Err(spent) => self.hold_twins(index, ask.model, spent.until, now.instant),
                }
            }
            if !probes_first && let Some((index, reservation)) = self.pick_probe(ask, rank, now) {
                return Ok(self.picked(index, reservation, ChoiceReason::Probe, ask, now));
            }
        }
        Err(NotPicked { room_at: unfit.into_iter().map(|(at, _)| at).min() })
    }

    /// Takes back what was picked and not used.
    pub fn give_back(&mut self, unused: Unused, model: &ModelName, now: Now) {
        let Unused { slot: index, reservation, is_probe } = unused;
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        slot.place().ledger.refund(model, reservation, now);
        if is_probe {
            slot.place().gauge.release_probe();
            if self.half_open.contains(index) {
                self.unprobed.insert(index, slot.place().terms.rank);
            }
        }
    }

    fn choose(
        &mut self,
        ask: &Ask<'_>,
        rank: usize,
        unfit: &[(Instant, usize)],
        now: Now,
    ) -> Option<(u32, ChoiceReason)> {
        if !self.ruled.is_empty() {
            self.table_of(ask.model);
        }
        let ready = ReadyFor::new(&self.ready, self.models.get(ask.model));
        let passed_over = ready.passed_over(rank);
        let view = SlotView { slots: &self.slots, ask, unfit, passed_over, heaviest: self.heaviest, now };
        let ready = ready.list(rank);
        let is_fit = |index| ready.contains(index) && view.is_allowed(index);
        if let Some(Preference::Owner(owner)) = ask.preference {
            let index = *self.by_key.get(&owner)?;
            return is_fit(index).then_some((index, ChoiceReason::Owner));
        }
        let hash = ask.preference.and_then(Preference::hash);
        let preferred = hash.and_then(|hash| self.ring.prefer(hash, is_fit));
        if let (Some(Preference::Together(_)), Some(preferred)) = (ask.preference, preferred) {
            return Some((preferred, ChoiceReason::Preferred));
        }
        let chosen = self.policy.choose(ready, &view)?;
        match preferred {
            Some(preferred) if view.cost(preferred) <= DEAREST_PREFERENCE * view.cost(chosen) => {
                Some((preferred, ChoiceReason::Preferred))
            }
            _ => Some((chosen, ChoiceReason::Policy)),
        }
    }

    /// A half-open key of that rank whose probe nobody has claimed. A key that somebody else probes leaves the list until
    /// its actor announces it again.
    fn pick_probe(&mut self, ask: &Ask<'_>, rank: usize, now: Now) -> Option<(u32, Reservation)> {
        if let Some(Preference::Owner(owner)) = ask.preference {
            let index = *self.by_key.get(&owner)?;
            return self.unprobed.rank(rank).contains(index).then(|| self.probe(index, ask, now)).flatten();
        }
        for _ in 0..PROBES_TO_TRY.min(self.unprobed.rank(rank).len()) {
            let index = self.unprobed.rank(rank).at(0);
            if let Some(reservation) = self.probe(index, ask, now) {
                return Some(reservation);
            }
            // To the end of the list: another request may use it.
            if self.unprobed.contains(index) {
                self.unprobed.remove(index);
                self.unprobed.insert(index, rank as u8);
            }
        }
        None
    }

    /// Claims the probe of a half-open key, if that is of use to the request and nobody was quicker.
    fn probe(&mut self, index: u32, ask: &Ask<'_>, now: Now) -> Option<(u32, Reservation)> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        if !ask.allows(slot) || !slot.serves(ask.model) {
            return None;
        }
        let reservation = match self.reserve(index, ask, now) {
            Ok(reservation) => reservation,
            Err(spent) => {
                if !self.has_room_for_less(index, ask, spent, now) {
                    self.hold_twins(index, ask.model, spent.until, now.instant);
                }
                return None;
            }
        };
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        self.unprobed.remove(index);
        if slot.place().gauge.claim_probe() {
            return Some((index, reservation));
        }
        slot.place().ledger.refund(ask.model, reservation, now);
        None
    }

    fn project_of(&self, index: u32) -> usize {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        address(&slot.place().ledger)
    }

    fn reserve(&self, index: u32, ask: &Ask<'_>, now: Now) -> Result<Reservation, Spent> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        slot.place().ledger.reserve(ask.model, ask.tokens, now)
    }

    /// Is it only for this request that there is no room?
    fn has_room_for_less(&self, index: u32, ask: &Ask<'_>, spent: Spent, now: Now) -> bool {
        /// A smaller share of a quota than this is not worth asking for.
        const LEAST: f32 = 0.02;
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        let is_about_tokens = (spent.metric, spent.window) == (QuotaMetric::Tokens, QuotaWindow::Minute);
        is_about_tokens && slot.place().ledger.headroom(ask.model, now) > LEAST
    }

    fn picked(
        &self,
        index: u32,
        reservation: Reservation,
        reason: ChoiceReason,
        ask: &Ask<'_>,
        now: Now,
    ) -> Picked<'_, T> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        let view =
            SlotView { slots: &self.slots, ask, unfit: &[], passed_over: None, heaviest: self.heaviest, now };
        Picked {
            slot: index,
            key: slot.key,
            gauge: &slot.place().gauge,
            ledger: &slot.place().ledger,
            payload: &slot.payload,
            reservation,
            choice: Choice {
                reason,
                cost: view.cost(index),
                rank: slot.place().terms.rank,
                others: self.census(ask.model, ask.tried.len()),
            },
        }
    }

    /// Something of the quotas of this key's project was given back: its keys are asked again if they were found spent.
    pub fn reconsider(&mut self, key: KeyId, model: &ModelName) {
        let (Some(&index), Some(table)) = (self.by_key.get(&key), self.models.get_mut(model)) else { return };
        let held = self.slots[index as usize].as_ref().filter(|_| table.is_held(index));
        let Some(project) = held.map(|slot| address(&slot.place().ledger)) else { return };
        for twin in self.projects.get(&project).into_iter().flat_map(|project| &project.slots) {
            table.release(*twin);
            if let Some(slot) = self.slots[*twin as usize].as_ref().filter(|slot| slot.is_ready_for(model)) {
                table.free(*twin, slot.place().terms.rank, &self.ready);
            }
        }
    }

    /// Keeps every key of the slot's project from the model until then.
    fn hold_twins(&mut self, index: u32, model: &ModelName, until: Instant, now: Instant) {
        let until = until.max(now + SHORTEST_HOLD);
        let project = self.project_of(index);
        self.table_of(model);
        let twins = self.projects.get(&project);
        if let (Some(table), Some(twins)) = (self.models.get_mut(model), twins) {
            for twin in &twins.slots {
                table.hold(*twin, until);
                let slot = self.slots[*twin as usize].as_ref();
                if let Some(slot) = slot.filter(|_| self.ready.contains(*twin)) {
                    table.keep(*twin, slot.place().terms.rank, &self.ready);
                }
            }
        }
        self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
    }
}
