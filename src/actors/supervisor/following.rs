//! What other nodes have done with keys: they are told of it by ids, read them in the database, and bring what is in use
//! in line with that.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Bound,
    sync::Arc,
};

use actix::prelude::*;
use tracing::info;

use super::{Entry, PoolKey, Supervisor};
use crate::{
    actors::{cluster::News, key::Steer},
    balance::breaker::{Cause, HealthSnapshot, KeyHealth},
    domain::{
        key::{KeyAbout, KeyId, KeySwitches, Steering},
        placement::KeyPlacement,
        time::Now,
    },
};

/// Event: so these keys are in the database; those of them that were not found are gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct KeysFound {
    pub sought: Sought,
    pub found: Vec<PoolKey>,
}

/// Which keys were looked for.
#[derive(Debug)]
pub enum Sought {
    These(BTreeSet<KeyId>),
    /// All behind one key, up to another or to the end.
    Range {
        behind: KeyId,
        to: Option<KeyId>,
    },
}

impl Handler<KeysFound> for Supervisor {
    type Result = ();

    fn handle(&mut self, KeysFound { sought, found }: KeysFound, ctx: &mut Context<Self>) {
        let now_ms = Now::read().unix_ms();
        let in_use: BTreeMap<KeyId, InUse> = match &sought {
            Sought::Range { behind, to } => {
                let range = (Bound::Excluded(*behind), to.map_or(Bound::Unbounded, Bound::Included));
                self.keys.range(range).map(|(key, entry)| (*key, InUse::of(entry))).collect()
            }
            Sought::These(keys) => {
                keys.iter().filter_map(|key| Some((*key, InUse::of(self.keys.get(key)?)))).collect()
            }
        };
        let Differences { gone, added, placed, steered } = Differences::between(&in_use, found, now_ms);
        let counts = (added.len(), gone.len(), placed.len(), steered.len());
        if counts != (0, 0, 0, 0) {
            let (added, removed, placed, steered) = counts;
            info!(added, removed, placed, steered, "keys were changed on another node");
        }
        self.remove(gone, ctx);
        self.add(added, ctx);
        self.place(placed);
        for (key, steering, switches) in steered {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            entry.switch(switches);
            entry.actor.do_send(Steer { steering, cause: Cause::Elsewhere });
        }
    }
}

impl Supervisor {
    /// Tells other nodes of what operators do here.
    #[must_use]
    pub fn sharing(self, news: Option<Arc<News>>) -> Self {
        Self { news, ..self }
    }

    /// These keys are otherwise in the database now.
    pub(super) fn tell_nodes(&self, keys: impl Iterator<Item = KeyId>) {
        if let Some(news) = &self.news {
            news.change_keys(keys.collect());
        }
    }
}

impl PoolKey {
    /// What is known of its health, disabled or not as operators want it.
    pub(super) fn known_health(&self, max_failures: u32, now: Now) -> Option<HealthSnapshot> {
        let disabled = self.switches.disabled_at(now.unix_ms());
        let mut health = self.health.clone();
        if disabled.is_some() {
            health = health.or_else(|| Some(KeyHealth::new(max_failures).snapshot(now)));
        }
        // One whose time is over ends as any other does.
        let is_over = disabled.is_none() && self.switches.disabled.is_some();
        health.map(|health| if is_over { health } else { HealthSnapshot { disabled, ..health } })
    }
}

/// What is compared of a key.
struct InUse<'a> {
    placement: &'a KeyPlacement,
    about: &'a KeyAbout,
    switches: KeySwitches,
}

impl<'a> InUse<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self { placement: &entry.placement, about: &entry.about, switches: entry.switches() }
    }
}

/// What has to be done so that keys are used as they were found.
#[derive(Default)]
struct Differences {
    gone: Vec<KeyId>,
    added: Vec<PoolKey>,
    placed: Vec<(KeyId, KeyPlacement, KeyAbout)>,
    /// With how the key's switches are then.
    steered: Vec<(KeyId, Steering, KeySwitches)>,
}

impl Differences {
    fn between(in_use: &BTreeMap<KeyId, InUse>, found: Vec<PoolKey>, now_ms: i64) -> Self {
        let mut differences = Self::default();
        let ids: HashSet<KeyId> = found.iter().map(|key| key.id).collect();
        differences.gone = in_use.keys().copied().filter(|key| !ids.contains(key)).collect();
        for key in found {
            let Some(known) = in_use.get(&key.id) else {
                differences.added.push(key);
                continue;
            };
            let steerings = steerings(known.switches, key.switches, now_ms);
            differences.steered.extend(steerings.map(|steering| (key.id, steering, key.switches)));
            if *known.placement != key.placement || *known.about != key.about {
                differences.placed.push((key.id, key.placement, key.about));
            }
        }
        differences
    }
}

/// What leads from these switches to those.
fn steerings(from: KeySwitches, to: KeySwitches, now_ms: i64) -> impl Iterator<Item = Steering> {
    let reset = (to.reset_at_ms > from.reset_at_ms).then_some(Steering::Reset);
    let disabled = to.disabled_at(now_ms);
    let switch =
        (disabled != from.disabled_at(now_ms)).then(|| disabled.map_or(Steering::Enable, Steering::Disable));
    reset.into_iter().chain(switch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::{ApiKey, DisabledUntil, KeyFigures};

    fn key(id: i64, switches: KeySwitches) -> PoolKey {
        PoolKey {
            id: KeyId(id),
            secret: ApiKey::parse(&format!("k{id}")).unwrap(),
            placement: KeyPlacement::default(),
            about: KeyAbout::default(),
            health: None,
            switches,
            figures: KeyFigures::default(),
        }
    }

    fn off(until_ms: Option<i64>) -> KeySwitches {
        KeySwitches { disabled: Some(DisabledUntil { until_ms }), reset_at_ms: None }
    }

    #[test]
    fn what_another_node_has_added_changed_and_removed_is_done_here_and_the_rest_stays() {
        let known: Vec<PoolKey> = (1..=4).map(|id| key(id, KeySwitches::default())).collect();
        let in_use = known
            .iter()
            .map(|key| {
                let (placement, about) = (&key.placement, &key.about);
                (key.id, InUse { placement, about, switches: key.switches })
            })
            .collect();
        let placement = KeyPlacement { weight: 7, ..KeyPlacement::default() };
        let moved = PoolKey { placement: placement.clone(), ..known[1].clone() };
        let disabled = PoolKey { switches: off(None), ..known[2].clone() };

        let found = vec![known[0].clone(), moved, disabled, key(5, KeySwitches::default())];
        let Differences { gone, added, placed, steered } = Differences::between(&in_use, found, 10);

        assert_eq!(gone, [KeyId(4)]);
        assert_eq!(added.iter().map(|key| key.id).collect::<Vec<_>>(), [KeyId(5)]);
        assert_eq!(placed, [(KeyId(2), placement, KeyAbout::default())]);
        let disable = Steering::Disable(DisabledUntil { until_ms: None });
        assert_eq!(steered, [(KeyId(3), disable, off(None))]);
    }

    #[test]
    fn a_switch_is_followed_once_and_one_whose_time_is_over_is_none() {
        let on = KeySwitches::default();
        let reset = |at| KeySwitches { reset_at_ms: Some(at), ..on };
        let disable = |until_ms| Steering::Disable(DisabledUntil { until_ms });
        for (from, to, steered) in [
            (on, on, vec![]),
            (on, off(Some(11)), vec![disable(Some(11))]),
            (on, off(Some(10)), vec![]),
            (off(Some(9)), on, vec![]),
            (off(Some(11)), off(None), vec![disable(None)]),
            (off(None), on, vec![Steering::Enable]),
            (on, reset(5), vec![Steering::Reset]),
            (reset(5), reset(5), vec![]),
            (reset(5), on, vec![]),
            (
                reset(5),
                KeySwitches { reset_at_ms: Some(6), ..off(None) },
                vec![Steering::Reset, disable(None)],
            ),
        ] {
            assert_eq!(steerings(from, to, 10).collect::<Vec<_>>(), steered, "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_key_is_as_operators_want_it_whatever_was_saved_of_its_health() {
        let now = Now::read();
        let ahead = now.unix_ms() + 60_000;
        let health = |disabled| HealthSnapshot { disabled, ..KeyHealth::new(3).snapshot(now) };
        let by_hand = Some(DisabledUntil { until_ms: Some(ahead) });
        let over = Some(DisabledUntil { until_ms: Some(5) });
        for (switches, saved, known) in [
            (KeySwitches::default(), None, None),
            (KeySwitches::default(), Some(health(by_hand)), Some(health(None))),
            (off(Some(ahead)), None, Some(health(by_hand))),
            (off(Some(ahead)), Some(health(None)), Some(health(by_hand))),
            (off(Some(5)), Some(health(over)), Some(health(over))),
        ] {
            assert_eq!(PoolKey { health: saved, ..key(1, switches) }.known_health(3, now), known);
        }
    }
}
