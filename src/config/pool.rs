//! The keys, and when one is given up.

use std::{collections::HashMap, path::Path, time::Duration};

use super::{quotas, reader::Reader};
use crate::domain::{
    key::{ApiKey, InvalidApiKey},
    model::ModelName,
    placement::{KeyPlacement, PlacedKey, ProjectName, Tier},
    policy::{Balancing, PolicyKind},
    quota::TierLimits,
};

/// The pool of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// In their order, each once; `None` when `API_KEYS` is not set, and the stored keys are to stay.
    pub api_keys: Option<Vec<PlacedKey>>,
    /// Of keys that name none.
    pub default_tier: Tier,
    /// What projects may do before Google names its limits.
    pub limits: TierLimits,
    /// Failures in a row that take a key out of use, 1 to 100.
    pub max_failures: u32,
    /// Attempts for one request in total, 1 to 10: `MAX_RETRIES`.
    pub max_attempts: u32,
    /// Between checks of the keys that are out of use; `None` is never.
    pub check_interval: Option<Duration>,
    /// Keys are checked with it.
    pub test_model: ModelName,
    pub balancing: Balancing,
}

impl Pool {
    pub(super) fn read(reader: &mut Reader, dir: &Path) -> Option<Self> {
        let policies = PolicyKind::ALL.map(|kind| (kind.name(), kind));
        let api_keys = api_keys(reader);
        let tiers = Tier::ALL.map(|tier| (tier.name(), tier));
        let default_tier = reader.choice("DEFAULT_TIER", &tiers);
        let limits = quotas::read(reader, dir);
        let max_failures = reader.number("MAX_FAILURES");
        let max_attempts = max_attempts(reader);
        let check_interval_hours: u64 = reader.number("CHECK_INTERVAL_HOURS");
        let test_model =
            reader.parsed("TEST_MODEL", |text| ModelName::parse(text).ok_or("is not the name of a model"));
        let policy = reader.choice("BALANCE_POLICY", &policies);
        let max_wait = Duration::from_secs(reader.number("MAX_WAIT_SECONDS"));
        let max_waiting = reader.number("MAX_WAITING_REQUESTS");
        let balancing = Balancing { policy, max_wait, max_waiting };
        let check_interval =
            (check_interval_hours > 0).then(|| Duration::from_secs(check_interval_hours * 3600));
        let test_model = test_model?;
        Some(Self {
            api_keys,
            default_tier,
            limits,
            max_failures,
            max_attempts,
            check_interval,
            test_model,
            balancing,
        })
    }
}

/// The original takes 0 as well and then answers nothing at all; one attempt is what it must mean.
fn max_attempts(reader: &mut Reader) -> u32 {
    let attempts: u32 = reader.number("MAX_RETRIES");
    if attempts == 0 && reader.is_set("MAX_RETRIES") {
        reader.notice("MAX_RETRIES is 0 and taken as 1: it counts all attempts, the first included");
    }
    attempts.max(1)
}

fn api_keys(reader: &mut Reader) -> Option<Vec<PlacedKey>> {
    const NAME: &str = "API_KEYS";
    let texts = reader.texts(NAME);
    let mut keys: Vec<PlacedKey> = Vec::new();
    let mut seen = HashMap::new();
    let (mut blank, mut duplicate, mut placeholder) = (0, 0, 0);
    for (text, number) in texts.iter().zip(1..) {
        let (text, words) = text.trim().split_once(char::is_whitespace).unwrap_or((text, ""));
        let key = match ApiKey::parse(text) {
            Ok(_) if is_placeholder(text.trim()) => {
                placeholder += 1;
                continue;
            }
            Ok(key) => key,
            Err(InvalidApiKey::Empty) => {
                blank += 1;
                continue;
            }
            Err(problem) => {
                reader.report(NAME, format!("key {number} {problem}"));
                continue;
            }
        };
        match (KeyPlacement::parse(words), seen.get(&key)) {
            (Err(problem), _) => reader.report(NAME, format!("key {number} {problem}")),
            (Ok(placement), Some((first, known))) if placement != *known => {
                let problem = format!("key {number} is key {first} again, in another place");
                reader.report(NAME, problem);
            }
            (Ok(_), Some(_)) => duplicate += 1,
            (Ok(placement), None) => {
                seen.insert(key.clone(), (number, placement.clone()));
                keys.push(PlacedKey { key, placement });
            }
        }
    }
    for (count, kind) in [(blank, "blank"), (duplicate, "duplicate"), (placeholder, "placeholder")] {
        if count > 0 {
            let plural = if count == 1 { "entry was" } else { "entries were" };
            reader.notice(format!("API_KEYS: {count} {kind} {plural} left out"));
        }
    }
    if let Some(project) = torn_project(&keys) {
        reader.report(NAME, format!("the keys of project {project} are in different tiers"));
    }
    reader.is_set(NAME).then_some(keys)
}

/// A project whose keys name more than one tier. Google gives a project one; two projects of one name look so.
fn torn_project(keys: &[PlacedKey]) -> Option<&ProjectName> {
    let mut tiers = HashMap::new();
    let told = keys.iter().filter_map(|key| Some((key.placement.project.as_ref()?, key.placement.tier?)));
    told.into_iter()
        .find(|(project, tier)| *tiers.entry(*project).or_insert(*tier) != *tier)
        .map(|(name, _)| name)
}

/// Texts that stand for a key in examples and images: `your_api_key_1`, `AIzaSyxxxxxxxx`.
fn is_placeholder(text: &str) -> bool {
    let plain = text.to_ascii_lowercase().replace('-', "_");
    let tail = plain.strip_prefix("aizasy").unwrap_or(&plain);
    plain.starts_with("your_")
        || plain.starts_with("<your")
        || tail.bytes().all(|byte| b"x.*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_keys() {
        for text in ["your_api_key_1", "YOUR-API-KEY", "AIzaSyxxxxxxxxxxxxxx", "xxx", "AIzaSy..."] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["AIzaSyA1x", "AQ.Ab8RN6", "k1"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
