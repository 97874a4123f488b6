//! The keys, and when one is given up.

use std::{collections::HashSet, time::Duration};

use super::reader::Reader;
use crate::domain::{
    key::{ApiKey, InvalidApiKey},
    model::ModelName,
    policy::{Balancing, PolicyKind},
};

/// The pool of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// In their order, each once; `None` when `API_KEYS` is not set, and the stored keys are to stay.
    pub api_keys: Option<Vec<ApiKey>>,
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
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let policies = PolicyKind::ALL.map(|kind| (kind.name(), kind));
        let api_keys = api_keys(reader);
        let max_failures = reader.number("MAX_FAILURES", 1..=100);
        let max_attempts = max_attempts(reader);
        let check_interval_hours: u64 = reader.number("CHECK_INTERVAL_HOURS", 0..=8760);
        let test_model =
            reader.parsed("TEST_MODEL", |text| ModelName::parse(text).ok_or("is not the name of a model"));
        let policy = reader.choice("BALANCE_POLICY", &policies);
        let max_wait = Duration::from_secs(reader.number("MAX_WAIT_SECONDS", 0..=600));
        let max_waiting = reader.number("MAX_WAITING_REQUESTS", 0..=1_000_000);
        let balancing = Balancing { policy, max_wait, max_waiting };
        let check_interval =
            (check_interval_hours > 0).then(|| Duration::from_secs(check_interval_hours * 3600));
        let test_model = test_model?;
        Some(Self { api_keys, max_failures, max_attempts, check_interval, test_model, balancing })
    }
}

/// The original takes 0 as well and then answers nothing at all; one attempt is what it must mean.
fn max_attempts(reader: &mut Reader) -> u32 {
    let attempts = reader.number("MAX_RETRIES", 0..=10);
    if attempts == 0 && reader.is_set("MAX_RETRIES") {
        reader.notice("MAX_RETRIES is 0 and taken as 1: it counts all attempts, the first included");
    }
    attempts.max(1)
}

fn api_keys(reader: &mut Reader) -> Option<Vec<ApiKey>> {
    const NAME: &str = "API_KEYS";
    let example = r#"["AIzaSy…","AQ.…"]"#;
    let texts = reader.texts(NAME, example);
    let (mut keys, mut seen) = (Vec::new(), HashSet::new());
    let (mut blank, mut duplicate, mut placeholder) = (0, 0, 0);
    for (index, text) in texts.iter().enumerate() {
        match ApiKey::parse(text) {
            Ok(_) if is_placeholder(text.trim()) => placeholder += 1,
            Ok(key) if !seen.insert(key.clone()) => duplicate += 1,
            Ok(key) => keys.push(key),
            Err(InvalidApiKey::Empty) => blank += 1,
            Err(problem) => reader.report(NAME, format!("key {} {problem}", index + 1), example),
        }
    }
    for (count, kind) in [(blank, "blank"), (duplicate, "duplicate"), (placeholder, "placeholder")] {
        if count > 0 {
            let plural = if count == 1 { "entry was" } else { "entries were" };
            reader.notice(format!("API_KEYS: {count} {kind} {plural} left out"));
        }
    }
    reader.is_set(NAME).then_some(keys)
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
