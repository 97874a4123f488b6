//! Keys that seem to share a project although nobody said so: told once, shown as long as it seems so, and never acted
//! upon.

use std::{collections::HashSet, sync::Arc, time::Duration};

use actix::prelude::*;
use serde::Serialize;
use tracing::warn;

use super::{KeyLabel, Supervisor};
use crate::{
    actors::Observe,
    balance::projects::{Evidence, Exhaustion, ProjectFinder, Proposal},
    domain::{
        key::KeyId,
        key_event::{KeyEvent, KeyEventBy, KeyEventKind, word},
        model::ModelName,
        outcome::{QuotaExceeded, QuotaWindow},
        time::Now,
    },
};

/// Signs that come together are looked at together.
const REVIEWED_AFTER: Duration = Duration::from_secs(1);

/// What is known of undeclared projects.
#[derive(Debug, Default)]
pub(super) struct Twins {
    finder: ProjectFinder,
    proposals: Vec<Proposal>,
    /// Sets of keys that the log has told of.
    told: HashSet<Vec<KeyId>>,
    is_due: bool,
}

impl Twins {
    pub fn len(&self) -> usize {
        self.proposals.len()
    }

    /// These keys are gone.
    pub fn forget(&mut self, keys: &[KeyId]) {
        let gone = keys.iter().copied().collect();
        self.finder.forget(&gone);
        self.proposals = self.finder.proposals(Now::read().instant);
    }
}

/// Event: Google refused a key in a way that tells of its project.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ProjectSeen {
    pub key: KeyId,
    /// The number of the project, where Google named it.
    pub consumer: Option<u64>,
    pub exceeded: Option<(ModelName, QuotaExceeded)>,
}

impl Handler<ProjectSeen> for Supervisor {
    type Result = ();

    fn handle(&mut self, seen: ProjectSeen, ctx: &mut Context<Self>) {
        let ProjectSeen { key, consumer, exceeded } = seen;
        let now = Now::read();
        let Some(entry) = self.keys.get(&key) else { return };
        if let Some((model, exceeded)) =
            exceeded.filter(|(_, exceeded)| exceeded.window != QuotaWindow::Unknown)
        {
            let QuotaExceeded { window, metric, limit, .. } = exceeded;
            let usage = entry.place.ledger.usage(now).into_iter().find(|usage| usage.model == model);
            let windows = usage.map(|usage| usage.windows).into_iter().flatten();
            let mut of_that_kind = windows.filter(|known| known.window == window && known.metric == metric);
            if let Some(known) = of_that_kind.next() {
                let dry = Exhaustion { key, model, window, used: known.used, limit };
                self.twins.finder.ran_dry(&dry, now.instant);
            }
        }
        let is_news = consumer.is_some_and(|consumer| self.twins.finder.saw_consumer(key, consumer));
        if is_news && !std::mem::replace(&mut self.twins.is_due, true) {
            ctx.run_later(REVIEWED_AFTER, Self::review_twins);
        }
    }
}

impl Supervisor {
    /// Looks at what the signs amount to, and tells what is new.
    pub(super) fn review_twins(&mut self, ctx: &mut Context<Self>) {
        self.twins.is_due = false;
        let mut proposals = self.twins.finder.proposals(Now::read().instant);
        proposals.retain(|proposal| !self.is_declared(&proposal.keys));
        let mut events = Vec::new();
        for proposal in &proposals {
            if self.twins.told.insert(proposal.keys.clone()) {
                warn!(evidence = ?proposal.evidence, "{}", advice(&proposal.keys));
                events.extend(proposed(proposal));
            }
        }
        self.twins.proposals = proposals;
        self.note(events, ctx);
    }

    /// They are one project already.
    fn is_declared(&self, keys: &[KeyId]) -> bool {
        let ledgers = keys.iter().filter_map(|key| self.keys.get(key)).map(|entry| &entry.place.ledger);
        let ledgers: HashSet<_> = ledgers.map(Arc::as_ptr).collect();
        ledgers.len() <= 1
    }
}

/// For the history of each of the keys.
fn proposed(proposal: &Proposal) -> impl Iterator<Item = KeyEvent> + use<'_> {
    let now_ms = Now::read().unix_ms();
    proposal.keys.iter().map(move |key| KeyEvent {
        reason: word(&proposal.evidence),
        ..KeyEvent::new(*key, now_ms, KeyEventKind::ProjectProposed, KeyEventBy::Traffic)
    })
}

/// What to do about it.
fn advice(keys: &[KeyId]) -> String {
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let (last, others) =
        names.split_last().map_or((String::new(), &[][..]), |(last, others)| (last.clone(), others));
    format!(
        "keys {} and {last} look like one project, so they share its quotas: give {} the same project=… in API_KEYS",
        others.join(", "),
        if keys.len() == 2 { "both" } else { "all of them" }
    )
}

/// Snapshot: what somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attention {
    pub items: Vec<AttentionItem>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttentionItem {
    /// Keys that seem to belong to one project.
    SharedProject { evidence: Evidence, keys: Vec<KeyLabel>, message: String },
}

impl Handler<Observe<Attention>> for Supervisor {
    type Result = MessageResult<Observe<Attention>>;

    fn handle(&mut self, _: Observe<Attention>, _: &mut Context<Self>) -> Self::Result {
        let item = |proposal: &Proposal| AttentionItem::SharedProject {
            evidence: proposal.evidence,
            keys: proposal.keys.iter().filter_map(|key| self.label(*key)).collect(),
            message: advice(&proposal.keys),
        };
        MessageResult(Attention { items: self.twins.proposals.iter().map(item).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_keys_and_what_to_do() {
        let told = |ids: &[i64]| advice(&ids.iter().copied().map(KeyId).collect::<Vec<_>>());

        assert!(told(&[3, 7]).starts_with("keys 3 and 7 look like one project"));
        assert!(told(&[3, 7]).contains("give both the same project=…"));
        assert!(
            told(&[3, 7, 9]).starts_with("keys 3, 7 and 9 look") && told(&[3, 7, 9]).contains("all of them")
        );
    }
}
