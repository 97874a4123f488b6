//! How a request gets its key: a probe first, then what it prefers or the policy says, rank by rank.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Choice, ChoiceReason, RoutingTable, Slot, Unavailable, address, lists::RANKS, view::SlotView};
use crate::{
    balance::{
        affinity::Preference,
        gauge::Gauge,
        ledger::{Ledger, Reservation, Spent, SpentReason},
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

    pub(super) fn allows<T>(&self, slot: &Slot<T>) -> bool {
        let is_owner = match self.preference {
            Some(Preference::Owner(owner)) => slot.key == owner,
            Some(Preference::Same(_) | Preference::Together(_)) | None => true,
        };
        is_owner
            && self.tiers.allows(slot.place.terms.tier)
            && !self.tried.contains(&slot.key)
            && self.elsewhere.is_none_or(|ledger| !Arc::ptr_eq(ledger, &slot.place.ledger))
    }
}

/// What a pick found.
#[derive(Debug)]
pub struct Picked<'a, T> {
    pub key: KeyId,
    pub gauge: &'a Arc<Gauge>,
    pub ledger: &'a Arc<Ledger>,
    pub payload: &'a T,
    /// Room in the quota windows of the key's project.
    pub reservation: Reservation,
    /// This attempt decides over a half-open key; its end must release the gauge's probe.
    pub is_probe: bool,
    pub choice: Choice,
}

impl<T> Picked<'_, T> {
    /// Leaves the key to somebody else; nothing was sent.
    pub fn give_up(self, model: &ModelName, now: Now) {
        self.ledger.refund(model, self.reservation, now);
        if self.is_probe {
            self.gauge.release_probe();
        }
    }
}

impl<T> RoutingTable<T> {
    /// Picks a key for a request and takes its part of the key's quotas.
    pub fn pick(&mut self, ask: &Ask<'_>, now: Now) -> Result<Picked<'_, T>, Unavailable> {
        self.expire(now.instant);
        if let Some((index, reservation)) = self.pick_probe(ask, now) {
            return Ok(self.picked(index, reservation, ChoiceReason::Probe, ask, now));
        }
        let mut unfit = Vec::new();
        'ranks: for rank in (0..RANKS).filter(|rank| ask.tiers.allows_rank(*rank)) {
            while let Some((index, reason)) = self.choose(ask, rank, &unfit, now) {
                match self.reserve(index, ask, now) {
                    Ok(reservation) => return Ok(self.picked(index, reservation, reason, ask, now)),
                    // It has room, but not for one as large as this.
                    Err(spent) if self.has_room_for_less(index, ask, spent, now) => {
                        unfit.push((spent.until, self.project_of(index)));
                        if unfit.len() == UNFIT {
                            break 'ranks;
                        }
                    }
                    Err(spent) => self.hold_twins(index, ask.model, spent.until, now.instant),
                }
            }
        }
        Err(self.prospects(ask, unfit.into_iter().map(|(at, _)| at).min()))
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
        let ready = self.models.get(ask.model).map_or(&self.ready, |table| &table.ready).rank(rank);
        let view = SlotView { slots: &self.slots, ask, unfit, heaviest: self.heaviest, now };
        let is_fit = |index| ready.contains(index) && view.is_allowed(index);
        if let Some(Preference::Owner(owner)) = ask.preference {
            let index = *self.by_key.get(&owner)?;
            return is_fit(index).then_some((index, ChoiceReason::Owner));
        }
        let chosen = self.policy.choose(ready, &view)?;
        let preferred = match ask.preference {
            Some(Preference::Same(hash) | Preference::Together(hash)) => self.ring.prefer(hash, is_fit),
            Some(Preference::Owner(_)) | None => None,
        };
        match preferred {
            Some(preferred)
                if matches!(ask.preference, Some(Preference::Together(_)))
                    || view.cost(preferred) <= DEAREST_PREFERENCE * view.cost(chosen) =>
            {
                Some((preferred, ChoiceReason::Preferred))
            }
            _ => Some((chosen, ChoiceReason::Policy)),
        }
    }

    /// A half-open key whose probe nobody has claimed. A key that somebody else probes leaves the list until its
    /// actor announces it again.
    fn pick_probe(&mut self, ask: &Ask<'_>, now: Now) -> Option<(u32, Reservation)> {
        for _ in 0..PROBES_TO_TRY.min(self.unprobed.len()) {
            let index = self.unprobed.at(0);
            let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
            let is_fit = ask.allows(slot) && slot.serves(ask.model);
            let Some(reservation) = is_fit.then(|| self.reserve(index, ask, now).ok()).flatten() else {
                // To the end of the list: another request may use it.
                self.unprobed.remove(index);
                self.unprobed.insert(index);
                continue;
            };
            let claimed = slot.place.gauge.claim_probe();
            let ledger = slot.place.ledger.clone();
            self.unprobed.remove(index);
            if claimed {
                return Some((index, reservation));
            }
            ledger.refund(ask.model, reservation, now);
        }
        None
    }

    fn project_of(&self, index: u32) -> usize {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        address(&slot.place.ledger)
    }

    fn reserve(&self, index: u32, ask: &Ask<'_>, now: Now) -> Result<Reservation, Spent> {
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        slot.place.ledger.reserve(ask.model, ask.tokens, now)
    }

    /// Is it only for this request that there is no room?
    fn has_room_for_less(&self, index: u32, ask: &Ask<'_>, spent: Spent, now: Now) -> bool {
        /// A smaller share of a quota than this is not worth asking for.
        const LEAST: f32 = 0.02;
        let slot = self.slots[index as usize].as_ref().expect("listed slots are taken");
        let is_about_tokens = matches!(
            spent.reason,
            SpentReason::Quota { metric: QuotaMetric::Tokens, window: QuotaWindow::Minute }
        );
        is_about_tokens && slot.place.ledger.headroom(ask.model, now) > LEAST
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
        let view = SlotView { slots: &self.slots, ask, unfit: &[], heaviest: self.heaviest, now };
        Picked {
            key: slot.key,
            gauge: &slot.place.gauge,
            ledger: &slot.place.ledger,
            payload: &slot.payload,
            reservation,
            is_probe: reason == ChoiceReason::Probe,
            choice: Choice {
                reason,
                cost: view.cost(index),
                rank: slot.place.terms.rank,
                others: self.census(ask.model, ask.tried.len()),
            },
        }
    }

    /// Something of the quotas of this key's project was given back: its keys are asked again if they were found spent.
    pub fn reconsider(&mut self, key: KeyId, model: &ModelName) {
        let (Some(&index), Some(table)) = (self.by_key.get(&key), self.models.get_mut(model)) else { return };
        let held = self.slots[index as usize].as_ref().filter(|_| table.is_held(index));
        let Some(project) = held.map(|slot| address(&slot.place.ledger)) else { return };
        for twin in self.twins.get(&project).into_iter().flatten() {
            table.release(*twin);
            if let Some(slot) = self.slots[*twin as usize].as_ref().filter(|slot| slot.is_ready_for(model)) {
                table.ready.insert(*twin, slot.place.terms.rank);
            }
        }
    }

    /// Keeps every key of the slot's project from the model until then.
    fn hold_twins(&mut self, index: u32, model: &ModelName, until: Instant, now: Instant) {
        let until = until.max(now + SHORTEST_HOLD);
        let project = self.project_of(index);
        self.table_of(model);
        if let (Some(table), Some(twins)) = (self.models.get_mut(model), self.twins.get(&project)) {
            twins.iter().for_each(|twin| table.hold(*twin, until));
        }
        self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
    }
}
