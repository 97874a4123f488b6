//! What the fall of one key means for the others of its project: they go with it, or are looked at.
//!
//! Siblings tend to fall together. Each project is warned of a fault once in a while, and those that are to be looked at
//! are collected, so that a project of a thousand keys costs a thousand questions and not a million.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use actix::prelude::*;
use tokio::time::Instant;

use super::{RecheckNow, Supervisor};
use crate::{actors::key::SiblingFell, balance::breaker::ProjectFault, domain::key::KeyId};

/// A project that was warned of a fault is not warned of it again for so long.
const WARNED_FOR: Duration = Duration::from_secs(60);
/// Falls that come together are looked into together.
const COLLECTED_FOR: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct Siblings {
    /// Told of keys that a re-check should look at soon.
    recheck: Option<Recipient<RecheckNow>>,
    /// By the addresses of the projects' ledgers.
    warned: HashMap<usize, (ProjectFault, Instant)>,
    to_check: BTreeSet<KeyId>,
}

impl Siblings {
    /// Is this the first that the project hears of the fault, or the first for a while?
    fn is_news(&mut self, project: usize, fault: ProjectFault, now: Instant) -> bool {
        self.warned.retain(|_, (_, at)| now.saturating_duration_since(*at) < WARNED_FOR);
        let known = self.warned.get(&project).is_some_and(|(known, _)| *known == fault);
        if !known {
            self.warned.insert(project, (fault, now));
        }
        !known
    }
}

impl Supervisor {
    /// A fault of the project concerns its other keys too.
    pub(super) fn warn_siblings(&mut self, key: KeyId, fault: ProjectFault, ctx: &mut Context<Self>) {
        let Some(entry) = self.keys.get(&key) else { return };
        let ledger = entry.place.ledger.clone();
        if !self.siblings.is_news(std::sync::Arc::as_ptr(&ledger) as usize, fault, Instant::now()) {
            return;
        }
        for sibling in self.projects.siblings(key, &entry.placement) {
            let Some(entry) = self.keys.get(&sibling) else { continue };
            if entry.health.state.project_fault() == Some(fault) {
                continue;
            }
            entry.actor.do_send(SiblingFell(fault));
            if let ProjectFault::Key(_) = fault {
                self.look_at(sibling, ctx);
            }
        }
    }

    fn look_at(&mut self, key: KeyId, ctx: &mut Context<Self>) {
        if self.siblings.to_check.is_empty() {
            ctx.run_later(COLLECTED_FOR, |supervisor, _| {
                let keys = std::mem::take(&mut supervisor.siblings.to_check);
                if let Some(recheck) = &supervisor.siblings.recheck {
                    recheck.do_send(RecheckNow(keys.into_iter().collect()));
                }
            });
        }
        self.siblings.to_check.insert(key);
    }
}

/// Command: tell this one of keys that a re-check should look at soon.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReportTo(pub Recipient<RecheckNow>);

impl Handler<ReportTo> for Supervisor {
    type Result = ();

    fn handle(&mut self, ReportTo(recheck): ReportTo, _: &mut Context<Self>) {
        self.siblings.recheck = Some(recheck);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{BillingFault, KeyFault};

    #[test]
    fn a_project_is_warned_of_each_fault_once_a_minute() {
        let (mut siblings, now) = (Siblings::default(), Instant::now());
        let (suspended, unpaid) =
            (ProjectFault::Key(KeyFault::Suspended), ProjectFault::Billing(BillingFault::SpendCap));

        assert!(siblings.is_news(7, suspended, now));
        assert!((0..1000).all(|_| !siblings.is_news(7, suspended, now)));
        assert!(siblings.is_news(8, suspended, now) && siblings.is_news(7, unpaid, now));
        assert!(siblings.is_news(8, suspended, now + WARNED_FOR));
        assert_eq!(siblings.warned.len(), 1, "what is over is forgotten");
    }
}
