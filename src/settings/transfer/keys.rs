//! API keys of a document.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fate, Preview, from_hex, hex, is_text};
use crate::{
    db::{
        DbConnection, QueryResult,
        keys::{StoredKey, change_keys, insert_keys, load_keys, steer_keys},
    },
    domain::{
        key::{ApiKey, DisabledUntil, KeyAbout, KeyId, KeyOrigin, Steering},
        placement::{KeyPlacement, ModelRules, PlacedKey, ProjectName, Tier},
        time::Now,
    },
    secrets::Sealer,
};

const MOST_TAGS: usize = 20;

/// An API key with what is said of it.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyEntry {
    /// The key itself, if secrets were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// By which a gateway with the same encryption key recognises it.
    #[serde(default)]
    pub hash: String,
    #[serde(default)]
    pub masked: String,
    #[serde(default)]
    pub origin: KeyOrigin,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub project: Option<ProjectName>,
    #[serde(default)]
    pub tier: Option<Tier>,
    #[serde(default = "one")]
    pub weight: u8,
    #[serde(default)]
    pub models: ModelRules,
    /// It is out of use by hand.
    #[serde(default)]
    pub disabled: Option<DisabledEntry>,
}

impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyEntry({})", self.masked)
    }
}

fn one() -> u8 {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisabledEntry {
    /// `null`: until somebody enables it.
    pub until_ms: Option<i64>,
}

/// What whoever has the keys in use must hear of.
#[derive(Debug, Default)]
pub struct KeysStored {
    pub added: Vec<StoredKey>,
    pub placed: Vec<(KeyId, KeyPlacement, KeyAbout)>,
    /// Keys that were there, and are disabled now, or enabled.
    pub steered: Vec<(KeyId, Steering)>,
}

/// What is to be written.
pub(super) struct Plan {
    pub preview: Preview,
    added: Vec<(PlacedKey, Wish)>,
    changed: Vec<(StoredKey, Wish)>,
}

/// What is said of a key in words that are known to fit.
struct Wish {
    placement: KeyPlacement,
    label: Option<String>,
    tags: Vec<String>,
    disabled: Option<DisabledEntry>,
}

pub(super) fn export(
    conn: &mut DbConnection,
    sealer: &Sealer,
    with_secrets: bool,
) -> QueryResult<Vec<KeyEntry>> {
    let entry = |stored: StoredKey| KeyEntry {
        key: with_secrets.then(|| stored.key.expose().to_owned()),
        hash: hash(sealer, &stored.key),
        masked: stored.key.masked(),
        origin: stored.about.origin,
        disabled: disabled(&stored),
        label: stored.about.label,
        tags: stored.about.tags,
        project: stored.placement.project,
        tier: stored.placement.tier,
        weight: stored.placement.weight,
        models: stored.placement.models,
    };
    Ok(load_keys(conn, sealer)?.keys.into_iter().map(entry).collect())
}

pub(super) fn plan(
    conn: &mut DbConnection,
    sealer: &Sealer,
    entries: &[KeyEntry],
    can_compare: bool,
) -> QueryResult<Plan> {
    let present = load_keys(conn, sealer)?.keys.into_iter();
    let mut present: HashMap<String, StoredKey> = present.map(|key| (hash(sealer, &key.key), key)).collect();
    let mut plan = Plan { preview: Preview::default(), added: Vec::new(), changed: Vec::new() };
    let mut seen = HashSet::new();
    for entry in entries {
        let read = entry.read(sealer, can_compare).and_then(|(hash, key, wish)| {
            let is_first = seen.insert(hash.clone());
            is_first.then_some((hash, key, wish)).ok_or_else(|| "stands there twice".to_owned())
        });
        let name = if entry.masked.is_empty() { "…" } else { &entry.masked };
        let (hash, key, wish) = match read {
            Ok(read) => read,
            Err(reason) => {
                plan.preview.note(name, Fate::Refused, Some(reason));
                continue;
            }
        };
        match (present.remove(&hash), key) {
            (Some(stored), _) if wish.holds(&stored) => plan.preview.note(name, Fate::Unchanged, None),
            (Some(stored), _) => {
                plan.preview.note(name, Fate::Changed, None);
                plan.changed.push((stored, wish));
            }
            (None, Some(key)) => {
                plan.preview.note(&key.masked(), Fate::Added, None);
                plan.added.push((PlacedKey { key, placement: wish.placement.clone() }, wish));
            }
            (None, None) => {
                let reason = "is not here, and the document does not hold its secret".to_owned();
                plan.preview.note(name, Fate::Refused, Some(reason));
            }
        }
    }
    Ok(plan)
}

pub(super) fn store(
    conn: &mut DbConnection,
    sealer: &Sealer,
    plan: Plan,
    now_ms: i64,
) -> QueryResult<KeysStored> {
    let (placed, wishes): (Vec<PlacedKey>, Vec<Wish>) = plan.added.into_iter().unzip();
    let mut by_key: HashMap<ApiKey, Wish> =
        placed.iter().map(|placed| placed.key.clone()).zip(wishes).collect();
    let mut stored = KeysStored::default();
    let mut said = Vec::new();
    for mut key in insert_keys(conn, sealer, &placed, (None, &[]), now_ms)? {
        if let Some(wish) = by_key.remove(&key.key) {
            key.about = KeyAbout { label: wish.label, tags: wish.tags, ..key.about };
            if let Some(disabled) = wish.disabled {
                let steering = Steering::Disable(disabled.into());
                key.switches.steer(steering, now_ms);
                steer_keys(conn, &[key.id], steering, now_ms)?;
            }
            said.push((key.id, key.placement.clone(), key.about.clone()));
        }
        stored.added.push(key);
    }
    for (key, wish) in plan.changed {
        if disabled(&key) != wish.disabled {
            let steering =
                wish.disabled.map_or(Steering::Enable, |disabled| Steering::Disable(disabled.into()));
            steer_keys(conn, &[key.id], steering, now_ms)?;
            stored.steered.push((key.id, steering));
        }
        let about = KeyAbout { label: wish.label, tags: wish.tags, ..key.about.clone() };
        if about != key.about || wish.placement != key.placement {
            stored.placed.push((key.id, wish.placement, about));
        }
    }
    said.extend(stored.placed.iter().cloned());
    change_keys(conn, &said)?;
    Ok(stored)
}

impl KeyEntry {
    /// Its hash, its secret if that is there, and what is said of it; or why it cannot be taken over.
    fn read(&self, sealer: &Sealer, can_compare: bool) -> Result<(String, Option<ApiKey>, Wish), String> {
        let key =
            self.key.as_deref().map(ApiKey::parse).transpose().map_err(|problem| problem.to_string())?;
        let hash = match &key {
            Some(key) => hash(sealer, key),
            None if can_compare && from_hex(&self.hash).is_some() => self.hash.clone(),
            None => return Err("has no secret, and was exported under another ENCRYPTION_KEY".to_owned()),
        };
        if !(1..=100).contains(&self.weight) {
            return Err("has a weight that is not a number from 1 to 100".to_owned());
        }
        let label = self.label.as_deref().map(str::trim).filter(|label| !label.is_empty());
        if label.is_some_and(|label| !is_text(label)) {
            return Err("has a label that is longer than 100 characters or not printable".to_owned());
        }
        let mut tags: Vec<String> = self.tags.iter().map(|tag| tag.trim().to_owned()).collect();
        tags.sort();
        tags.dedup();
        if tags.len() > MOST_TAGS || !tags.iter().all(|tag| is_text(tag) && !tag.contains(',')) {
            return Err("has tags that are too many, too long or not printable".to_owned());
        }
        let placement = KeyPlacement {
            project: self.project.clone(),
            tier: self.tier,
            weight: self.weight,
            models: self.models.clone(),
        };
        let wish = Wish { placement, label: label.map(str::to_owned), tags, disabled: self.disabled };
        Ok((hash, key, wish))
    }
}

impl Wish {
    fn holds(&self, stored: &StoredKey) -> bool {
        self.placement == stored.placement
            && self.label == stored.about.label
            && self.tags == stored.about.tags
            && self.disabled == disabled(stored)
    }
}

fn hash(sealer: &Sealer, key: &ApiKey) -> String {
    hex(&sealer.fingerprint(key.expose()))
}

/// Whether the key is out of use by hand; a time that is over has ended that.
fn disabled(stored: &StoredKey) -> Option<DisabledEntry> {
    let disabled = stored.switches.disabled_at(Now::read().unix_ms())?;
    Some(DisabledEntry { until_ms: disabled.until_ms })
}

impl From<DisabledEntry> for DisabledUntil {
    fn from(DisabledEntry { until_ms }: DisabledEntry) -> Self {
        Self { until_ms }
    }
}
