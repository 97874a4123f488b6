//! What an administrator says of a token, and what is wrong with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::AdminError;
use crate::{
    actors::tokens::Holder,
    db::client_tokens::StoredToken,
    domain::{
        placement::Tier,
        quota::ModelPattern,
        terms::{LimitName, RateLimits, Terms, Zone},
        tiers::TierSet,
    },
};

const LONGEST_NAME: usize = 100;
const LONGEST_NOTE: usize = 2000;
/// Of each list.
const MOST_ENTRIES: usize = 200;
/// JavaScript's numbers are whole up to here.
const LARGEST_LIMIT: u64 = 9_007_199_254_740_991;

/// Everything that can be chosen of a token. What is left out means: no restriction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSpec {
    /// 1 to 100 characters.
    pub name: String,
    pub enabled: bool,
    pub expires_at_ms: Option<i64>,
    pub rate_limits: RateLimits,
    pub max_concurrent: Option<u32>,
    /// Where days and months begin, such as `Europe/Berlin`.
    pub time_zone: String,
    /// Names of models, in which `*` stands for any text; empty is all.
    pub models: Vec<String>,
    /// Addresses and networks such as `10.0.0.0/8`; empty is anywhere.
    pub networks: Vec<String>,
    /// `free`, `tier1`, `tier2`, `tier3`, `unknown`; empty is all.
    pub tiers: Vec<String>,
    pub note: String,
}

impl Default for TokenSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            enabled: true,
            expires_at_ms: None,
            rate_limits: RateLimits::default(),
            max_concurrent: None,
            time_zone: Zone::default().into(),
            models: Vec::new(),
            networks: Vec::new(),
            tiers: Vec::new(),
            note: String::new(),
        }
    }
}

impl TokenSpec {
    /// What was said of a token.
    pub fn of(holder: &Holder) -> Self {
        let (row, terms) = (&holder.row, &holder.terms);
        Self {
            name: row.name.clone(),
            enabled: row.enabled,
            expires_at_ms: row.expires_at_ms,
            rate_limits: terms.rate_limits,
            max_concurrent: terms.max_concurrent,
            time_zone: terms.time_zone.into(),
            models: terms.models.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            networks: terms.networks.iter().map(ToString::to_string).collect(),
            tiers: Vec::from(terms.tiers).into_iter().map(|tier| tier.name().to_owned()).collect(),
            note: row.note.clone(),
        }
    }

    /// The same in the spelling in which it is kept.
    pub fn normal(&self) -> Self {
        let Ok(terms) = self.terms() else { return self.clone() };
        Self {
            name: self.name.trim().to_owned(),
            note: self.note.trim().to_owned(),
            models: terms.models.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            networks: terms.networks.iter().map(ToString::to_string).collect(),
            tiers: Vec::from(terms.tiers).into_iter().map(|tier| tier.name().to_owned()).collect(),
            ..self.clone()
        }
    }

    /// With what a body changes: of the rate limits only those that it names, of all else the whole.
    pub fn changed(&self, changes: &Map<String, Value>) -> Result<Self, AdminError> {
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        for (name, value) in changes {
            match (value, &mut whole[name.as_str()]) {
                (Value::Object(limits), Value::Object(known)) => {
                    limits.iter().for_each(|(limit, most)| {
                        known.insert(limit.clone(), most.clone());
                    });
                }
                (Value::Null, place) => *place = default_of(name),
                (value, place) => *place = value.clone(),
            }
        }
        serde_json::from_value(whole).map_err(|error| AdminError::field("body", error.to_string()))
    }

    /// What of it is stored in columns.
    pub fn row(&self) -> StoredToken {
        StoredToken {
            id: String::new(),
            name: self.name.trim().to_owned(),
            fingerprint: Vec::new(),
            prefix: String::new(),
            origin: String::new(),
            enabled: self.enabled,
            created_at_ms: 0,
            expires_at_ms: self.expires_at_ms,
            last_used_at_ms: None,
            old_fingerprint: None,
            old_valid_until_ms: None,
            terms: String::new(),
            note: self.note.trim().to_owned(),
            usage: None,
        }
    }

    /// What the workers go by; 422 with all that is wrong.
    pub fn terms(&self) -> Result<Terms, AdminError> {
        let mut problems = BTreeMap::new();
        self.check_texts(&mut problems);
        self.check_limits(&mut problems);
        let mut list = |name: &str, texts: &[String], problem: &str, is_fit: &dyn Fn(&str) -> bool| {
            if texts.len() > MOST_ENTRIES {
                problems.insert(name.to_owned(), format!("has more than {MOST_ENTRIES} entries"));
            } else if let Some(wrong) = texts.iter().find(|text| !is_fit(text)) {
                let shown: String = wrong.chars().take(60).collect();
                problems.insert(name.to_owned(), format!("has \"{shown}\", which {problem}"));
            }
        };
        list("models", &self.models, "is no name or pattern of models", &|text| {
            ModelPattern::parse(text).is_some()
        });
        list("networks", &self.networks, "is neither an address nor a network such as 10.0.0.0/8", &|text| {
            text.parse::<crate::domain::network::Network>().is_ok()
        });
        list("tiers", &self.tiers, "is none of free, tier1, tier2, tier3, unknown", &|text| {
            Tier::parse(text).is_some()
        });
        let zone = Zone::try_from(self.time_zone.clone());
        if let Err(problem) = &zone {
            problems.insert("time_zone".to_owned(), problem.clone());
        }
        if !problems.is_empty() {
            return Err(AdminError::Unprocessable(problems));
        }
        let tiers: Vec<_> = self.tiers.iter().filter_map(|text| Tier::parse(text)).collect();
        Ok(Terms {
            rate_limits: self.rate_limits,
            max_concurrent: self.max_concurrent,
            time_zone: zone.unwrap_or_default(),
            models: self.models.iter().filter_map(|text| ModelPattern::parse(text)).collect(),
            networks: self.networks.iter().filter_map(|text| text.parse().ok()).collect(),
            tiers: TierSet::from(tiers),
        })
    }

    fn check_texts(&self, problems: &mut BTreeMap<String, String>) {
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            problems.insert("name".to_owned(), format!("is not 1 to {LONGEST_NAME} characters"));
        }
        if self.note.chars().count() > LONGEST_NOTE {
            problems.insert("note".to_owned(), format!("has more than {LONGEST_NOTE} characters"));
        }
        if self.expires_at_ms.is_some_and(|end| !(1..=253_402_300_799_999).contains(&end)) {
            problems.insert("expires_at_ms".to_owned(), "is no time in Unix milliseconds".to_owned());
        }
    }

    fn check_limits(&self, problems: &mut BTreeMap<String, String>) {
        for name in LimitName::ALL {
            if self.rate_limits.of(name).is_some_and(|most| !(1..=LARGEST_LIMIT).contains(&most)) {
                let name = serde_json::to_value(name).unwrap_or_default();
                let name = format!("rate_limits.{}", name.as_str().unwrap_or_default());
                problems.insert(name, "is not at least 1; disable the token to allow nothing".to_owned());
            }
        }
        if self.max_concurrent == Some(0) {
            let problem = "is not at least 1; disable the token to allow nothing".to_owned();
            problems.insert("max_concurrent".to_owned(), problem);
        }
    }
}

/// What `null` stands for.
fn default_of(name: &str) -> Value {
    serde_json::to_value(TokenSpec::default()).unwrap_or_default()[name].take()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(spec: &TokenSpec, changes: Value) -> Result<TokenSpec, AdminError> {
        spec.changed(changes.as_object().unwrap())
    }

    #[test]
    fn a_change_touches_what_it_names() {
        let spec = TokenSpec { name: "team".into(), ..TokenSpec::default() };
        let first = changed(&spec, json!({"rate_limits": {"tokens_per_day": 5}, "models": ["a*"]})).unwrap();
        let second =
            changed(&first, json!({"rate_limits": {"requests_per_day": 7}, "models": null})).unwrap();
        let third = changed(&second, json!({"rate_limits": null, "enabled": false})).unwrap();

        assert_eq!(second.rate_limits.tokens_per_day, Some(5));
        assert_eq!((second.rate_limits.requests_per_day, second.models.len()), (Some(7), 0));
        assert_eq!((third.rate_limits, third.enabled, &*third.name), (RateLimits::default(), false, "team"));
        for wrong in [json!({"nonsense": 1}), json!({"rate_limits": {"per_year": 1}}), json!({"name": 5})] {
            assert!(changed(&spec, wrong).is_err());
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let spec = TokenSpec {
            name: "  ".into(),
            rate_limits: RateLimits { images_per_day: Some(0), ..RateLimits::default() },
            time_zone: "Mars".into(),
            models: vec!["a b".into()],
            networks: vec!["10.0.0.0/99".into()],
            tiers: vec!["gold".into()],
            max_concurrent: Some(0),
            ..TokenSpec::default()
        };

        let error = spec.terms().unwrap_err();

        let fields: Vec<_> = error.fields().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "max_concurrent",
            "models",
            "name",
            "networks",
            "rate_limits.images_per_day",
            "tiers",
            "time_zone",
        ];
        assert_eq!(fields, expected);
    }
}
