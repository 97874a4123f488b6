//! Which keys belong together, and the ledger of quotas that they share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use tracing::{error, warn};

use super::{KeyRoute, Supervisor};
use crate::{
    balance::{
        gauge::Gauge,
        ledger::{Ledger, LedgerSnapshot},
        table::{Place, Terms},
    },
    db,
    domain::{
        key::KeyId,
        placement::{KeyPlacement, ProjectName, Tier},
        quota::TierLimits,
        time::Now,
    },
};

/// What ledgers have counted is written this often; a process that is killed forgets no more than that.
pub const LEDGERS_SAVED_EVERY: Duration = Duration::from_secs(5);

/// A project whose keys are gone is remembered for so long: its keys may come back, and what was learnt of its limits is
/// good for a week.
const LEDGERS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What projects start with, and what was stored of them.
#[derive(Debug, Default)]
pub struct ProjectSettings {
    /// Limits that a project starts with, by its tier.
    pub limits: TierLimits,
    /// Of keys that name none.
    pub default_tier: Tier,
    /// JSON of the ledgers as they were last saved, by the names of their projects.
    pub stored: HashMap<String, String>,
}

struct Project {
    ledger: Arc<Ledger>,
    members: Vec<KeyId>,
}

/// All projects that have keys.
pub(super) struct Projects {
    settings: ProjectSettings,
    open: BTreeMap<ProjectName, Project>,
    /// Snapshots that the database did not take.
    unsaved: BTreeMap<ProjectName, LedgerSnapshot>,
}

impl Projects {
    pub fn new(settings: ProjectSettings) -> Self {
        Self { settings, open: BTreeMap::new(), unsaved: BTreeMap::new() }
    }

    /// Gives a key its place: beside its siblings if it names a project, else alone.
    pub fn place(&mut self, key: KeyId, placement: &KeyPlacement, gauge: Arc<Gauge>, now: Now) -> Place {
        let name = name_of(key, placement);
        let tier = placement.tier.unwrap_or(self.settings.default_tier);
        let settings = &mut self.settings;
        let project = self.open.entry(name).or_insert_with_key(|name| Project {
            ledger: Arc::new(open_ledger(settings, name, tier, now)),
            // Most have one key.
            members: Vec::with_capacity(1),
        });
        // It may have had another tier.
        project.ledger.set_limits(&settings.limits.of(tier), now);
        project.members.push(key);
        let rules = &placement.models;
        let models = (!rules.is_empty()).then(|| Arc::new(rules.clone()));
        let terms = Terms { rank: tier.rank(), tier, weight: placement.weight.clamp(1, 100), models };
        Place { gauge, ledger: project.ledger.clone(), terms }
    }

    /// Takes a key out of its project. What the project has used is kept, as a key may come back to it.
    pub fn leave(&mut self, key: KeyId, placement: &KeyPlacement) {
        if let Some(project) = self.open.get_mut(&name_of(key, placement)) {
            project.members.retain(|member| *member != key);
        }
    }

    /// Every project's ledger, and its keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Ledger, &[KeyId])> {
        self.open
            .values()
            .filter(|project| !project.members.is_empty())
            .map(|project| (&*project.ledger, &*project.members))
    }

    /// The other keys of a key's project.
    pub fn siblings(&self, key: KeyId, placement: &KeyPlacement) -> Vec<KeyId> {
        let project = self.open.get(&name_of(key, placement));
        let members = project.map_or(&[][..], |project| &project.members);
        members.iter().copied().filter(|member| *member != key).collect()
    }

    /// What has changed since it was taken last.
    fn take_changes(&mut self, now: Now) -> BTreeMap<ProjectName, LedgerSnapshot> {
        let mut changes = std::mem::take(&mut self.unsaved);
        for (name, project) in &self.open {
            if let Some(snapshot) = project.ledger.take_change(now) {
                changes.insert(name.clone(), snapshot);
            }
        }
        changes
    }

    fn put_back(&mut self, changes: BTreeMap<ProjectName, LedgerSnapshot>) {
        for (name, snapshot) in changes {
            self.unsaved.entry(name).or_insert(snapshot);
        }
    }
}

fn name_of(key: KeyId, placement: &KeyPlacement) -> ProjectName {
    placement.project.clone().unwrap_or_else(|| ProjectName::of_key(key))
}

fn open_ledger(settings: &mut ProjectSettings, name: &ProjectName, tier: Tier, now: Now) -> Ledger {
    let limits = settings.limits.of(tier);
    let Some(json) = settings.stored.remove(name.as_str()) else { return Ledger::new(limits, now) };
    match serde_json::from_str(&json) {
        Ok(snapshot) => Ledger::restore(limits, &snapshot, now),
        Err(problem) => {
            warn!(project = %name, error = %problem, "the stored quotas of a project cannot be read; they are counted anew");
            Ledger::new(limits, now)
        }
    }
}

impl Supervisor {
    /// Writes what ledgers have counted; the answer comes when it is done.
    pub(super) fn save_ledgers(&mut self) -> impl ActorFuture<Self, Output = ()> + use<> {
        let now = Now::read();
        let changes = self.projects.take_changes(now);
        let json = |snapshot| serde_json::to_string(snapshot).expect("a snapshot of plain fields is JSON");
        let rows: Vec<_> = changes.iter().map(|(name, snapshot)| (name.clone(), json(snapshot))).collect();
        let database = self.database.clone();
        let saving = async move {
            if rows.is_empty() {
                return Ok(());
            }
            database.write(move |conn| db::ledgers::save_ledgers(conn, &rows, now.unix_ms())).await
        };
        saving.into_actor(self).map(move |saved, supervisor, _| {
            if let Err(failure) = saved {
                error!(error = %failure, projects = changes.len(), "what quotas were used could not be saved, trying again");
                supervisor.projects.put_back(changes);
            }
        })
    }
}

/// Command: projects may do that much from now on, and keys that name no tier are in this one. What was used stays, and
/// what was learnt of Google where it is not less.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LimitProjects {
    pub limits: TierLimits,
    pub default_tier: Tier,
}

impl Handler<LimitProjects> for Supervisor {
    type Result = ();

    fn handle(&mut self, LimitProjects { limits, default_tier }: LimitProjects, _: &mut Context<Self>) {
        let (mut moved, now) = (Vec::new(), Now::read());
        for (key, entry) in &mut self.keys {
            let tier = entry.placement.tier.unwrap_or(default_tier);
            if entry.place.terms.tier != tier {
                let mut card = (*entry.card).clone();
                card.place.terms = Terms { tier, rank: tier.rank(), ..card.place.terms };
                entry.card = Arc::new(card);
                moved.push(*key);
            }
        }
        for project in self.projects.open.values() {
            let first = project.members.first().and_then(|key| self.keys.get(key));
            let tier = first.map_or(default_tier, |entry| entry.place.terms.tier);
            project.ledger.set_limits(&limits.of(tier), now);
        }
        self.projects.settings.limits = limits;
        self.projects.settings.default_tier = default_tier;
        self.tell_of(&moved);
        self.announce(&[KeyRoute::LimitsChanged]);
    }
}

/// Command: delete from the database the ledgers of projects without keys that have not been heard of for long.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct PruneLedgers;

impl Handler<PruneLedgers> for Supervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: PruneLedgers, _: &mut Context<Self>) -> Self::Result {
        let before_ms =
            Now::read().unix_ms() - i64::try_from(LEDGERS_KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
        let in_use = self.projects.open.keys().cloned().collect();
        let pruning = self.database.write(move |conn| db::ledgers::prune_ledgers(conn, before_ms, &in_use));
        let pruning = async move {
            if let Err(failure) = pruning.await {
                error!(error = %failure, "old quota ledgers could not be deleted");
            }
        };
        Box::pin(pruning.into_actor(self))
    }
}
