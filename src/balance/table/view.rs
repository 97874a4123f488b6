//! The slots as a policy sees them while it serves one request.

use std::collections::HashSet;

use tokio::time::Instant;

use super::{Ask, Placed, Slot, address};
use crate::{
    balance::{cost::Standing, policy::Candidates},
    domain::time::Now,
};

pub(super) struct SlotView<'a, T> {
    pub slots: &'a [Option<Slot<T>>],
    pub ask: &'a Ask<'a>,
    /// Projects without room for a request as large as this one.
    pub unfit: &'a [(Instant, usize)],
    /// Slots of the list that is chosen from that are not for this model.
    pub passed_over: Option<&'a HashSet<u32>>,
    pub heaviest: u8,
    pub now: Now,
}

impl<T: Placed> SlotView<'_, T> {
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.slots[index as usize].as_ref()
    }

    pub fn standing(&self, index: u32) -> Option<Standing> {
        let slot = self.slot(index)?;
        let now = self.now.instant;
        Some(Standing {
            in_flight: slot.place().gauge.in_flight(),
            slowness: slot.place().gauge.slowness(now),
            faults: slot.place().gauge.faults(now),
            headroom: slot.place().ledger.headroom(self.ask.model, self.now),
            share: self.share(index),
        })
    }
}

impl<T: Placed> Candidates for SlotView<'_, T> {
    fn is_allowed(&self, index: u32) -> bool {
        let is_unfit = |slot: &Slot<T>| {
            let project = address(&slot.place().ledger);
            self.unfit.iter().any(|(_, unfit)| *unfit == project)
        };
        let is_passed_over = self.passed_over.is_some_and(|passed_over| passed_over.contains(&index));
        !is_passed_over && self.slot(index).is_some_and(|slot| self.ask.allows(slot) && !is_unfit(slot))
    }

    fn in_flight(&self, index: u32) -> u32 {
        self.slot(index).map_or(u32::MAX, |slot| slot.place().gauge.in_flight())
    }

    fn share(&self, index: u32) -> f32 {
        let Some(slot) = self.slot(index) else { return 1.0 };
        let weight = f32::from(slot.place().terms.weight.max(1)) / f32::from(self.heaviest.max(1));
        weight * slot.routing.warmth(self.now.instant)
    }

    fn cost(&self, index: u32) -> f32 {
        self.standing(index).map_or(f32::INFINITY, Standing::cost)
    }
}
