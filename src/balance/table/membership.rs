//! In which lists a slot is: the one of all models, and those of the models that something is particular to.

use tokio::time::Instant;

use super::{Placed, RoutingTable, address, lists::ModelTable};
use crate::{balance::breaker::Availability, domain::model::ModelName};

/// Tables of models that are kept although nothing but the rules of keys is particular to them.
const TABLES: usize = 256;

impl<T: Placed> RoutingTable<T> {
    /// Lets keys back whose quota windows have moved on.
    pub fn expire(&mut self, now: Instant) {
        if self.next_end.is_some_and(|end| end <= now) {
            self.let_back(|table| table.pop_ended(now));
        }
    }

    /// Lets all keys back that their ledgers keep away, as other limits hold from now on; they are asked anew.
    pub fn release_held(&mut self) {
        self.let_back(ModelTable::pop_held);
    }

    fn let_back(&mut self, next: impl Fn(&mut ModelTable) -> Option<u32>) {
        for (model, table) in &mut self.models {
            while let Some(index) = next(table) {
                if let Some(slot) =
                    self.slots[index as usize].as_ref().filter(|slot| slot.is_ready_for(model))
                {
                    table.free(index, slot.place().terms.rank, &self.ready);
                }
            }
        }
        self.models.retain(|_, table| !table.is_ordinary());
        self.next_end = self.models.values().filter_map(ModelTable::first_end).min();
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_end(&self) -> Option<Instant> {
        self.next_end
    }

    /// The model's own table, made if there is none yet.
    pub(super) fn table_of(&mut self, model: &ModelName) -> &mut ModelTable {
        if !self.models.contains_key(model) {
            self.forget_needless_tables();
            let mut table = ModelTable::following_rules(!self.ruled.is_empty());
            for index in self.ruled.iter().copied() {
                let slot = self.slots[index as usize].as_ref();
                if let Some(slot) = slot.filter(|slot| !slot.place().terms.allow(model)) {
                    table.deny(index);
                    if self.ready.contains(index) {
                        table.keep(index, slot.place().terms.rank, &self.ready);
                    }
                }
            }
            self.models.insert(model.clone(), table);
        }
        self.models.get_mut(model).expect("it was made just now")
    }

    /// Clients can make up any number of models, and a table of its own costs memory.
    fn forget_needless_tables(&mut self) {
        if self.models.len() >= TABLES {
            self.models.retain(|_, table| !table.is_for_rules_only());
        }
    }

    /// Puts the slot into every list that its routing says.
    pub(super) fn list(&mut self, index: u32) {
        self.count_usable(index, 1);
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        let mut cooling = Vec::new();
        for cooldown in &slot.routing.cooldowns {
            let Some(back_at) = slot.routing.back_at(cooldown) else { break };
            cooling.push((cooldown.model.clone(), back_at));
        }
        for (model, back_at) in cooling {
            self.table_of(&model).cooling.insert((back_at, index));
        }
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        match slot.routing.availability {
            Availability::Ready => {
                let rank = slot.place().terms.rank;
                self.ready.insert(index, rank);
                for (model, table) in &mut self.models {
                    if !slot.place().terms.allow(model) {
                        table.deny(index);
                    }
                    if slot.is_ready_for(model) && !table.is_held(index) {
                        table.free(index, rank, &self.ready);
                    } else {
                        table.keep(index, rank, &self.ready);
                    }
                }
            }
            Availability::HalfOpen => {
                self.half_open.insert(index);
                self.unprobed.insert(index, slot.place().terms.rank);
            }
            Availability::CoolingUntil(until) => {
                self.cooling.insert((until, index));
            }
            Availability::Out => {}
        }
    }

    /// Takes the slot out of every list; a model that nothing is particular to any more shares the common list again.
    pub(super) fn unlist(&mut self, index: u32) {
        self.count_usable(index, -1);
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        self.ready.remove(index);
        self.half_open.remove(index);
        self.unprobed.remove(index);
        if let Availability::CoolingUntil(until) = slot.routing.availability {
            self.cooling.remove(&(until, index));
        }
        for cooldown in &slot.routing.cooldowns {
            if let (Some(table), Some(back_at)) =
                (self.models.get_mut(&cooldown.model), slot.routing.back_at(cooldown))
            {
                table.cooling.remove(&(back_at, index));
            }
        }
        self.models.retain(|_, table| {
            table.unlist(index);
            !table.is_ordinary()
        });
    }

    /// Counts a slot that may be used now, or no longer, for its project.
    fn count_usable(&mut self, index: u32, change: i32) {
        let Some(slot) = self.slots[index as usize].as_ref() else { return };
        if !matches!(slot.routing.availability, Availability::Ready | Availability::HalfOpen) {
            return;
        }
        if let Some(project) = self.projects.get_mut(&address(&slot.place().ledger)) {
            let before = project.usable;
            project.usable = before.saturating_add_signed(change);
            match (before, project.usable) {
                (0, 1..) => self.usable_projects += 1,
                (1.., 0) => self.usable_projects -= 1,
                _ => {}
            }
        }
    }
}
