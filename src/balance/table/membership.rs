//! In which lists a slot is: the one of all models, and those of the models that something is particular to.

use tokio::time::Instant;

use super::{RoutingTable, lists::ModelTable};
use crate::{balance::breaker::Availability, domain::model::ModelName};

/// Tables of models that are kept although nothing but the rules of keys is particular to them.
const TABLES: usize = 256;

impl<T> RoutingTable<T> {
    /// Lets keys back whose quota windows have moved on.
    pub fn expire(&mut self, now: Instant) {
        if self.next_end.is_none_or(|end| now < end) {
            return;
        }
        for (model, table) in &mut self.models {
            while let Some(index) = table.pop_ended(now) {
                if let Some(slot) =
                    self.slots[index as usize].as_ref().filter(|slot| slot.is_ready_for(model))
                {
                    table.ready.insert(index, slot.place.terms.rank);
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
            let slots = &self.slots;
            let is_denied = |index: &&u32| {
                slots[**index as usize].as_ref().is_some_and(|slot| !slot.place.terms.allow(model))
            };
            let denied =
                (!self.ruled.is_empty()).then(|| self.ruled.iter().filter(is_denied).copied().collect());
            self.models.insert(model.clone(), ModelTable::new(self.ready.clone(), denied));
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
                self.ready.insert(index, slot.place.terms.rank);
                for (model, table) in &mut self.models {
                    if !slot.place.terms.allow(model) {
                        table.deny(index);
                    } else if slot.is_ready_for(model) && !table.is_held(index) {
                        table.ready.insert(index, slot.place.terms.rank);
                    }
                }
            }
            Availability::HalfOpen => {
                self.half_open.insert(index);
                self.unprobed.insert(index);
            }
            Availability::CoolingUntil(until) => {
                self.cooling.insert((until, index));
            }
            Availability::Out => {}
        }
    }

    /// Takes the slot out of every list; a model that nothing is particular to any more shares the common list again.
    pub(super) fn unlist(&mut self, index: u32) {
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
            table.ready.remove(index);
            !table.is_ordinary()
        });
    }
}
