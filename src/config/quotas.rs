//! The limits that projects start with: presets by tier, and the operator's own file before them.

use std::{fs, path::Path, sync::Arc};

use ::config::FileFormat;
use serde::Deserialize;

use super::reader::Reader;
use crate::domain::{
    placement::Tier,
    quota::{Limit, LimitSource, LimitTable, ModelLimits, ModelPattern, TierLimits},
};

const PRESETS: &str = include_str!("../../config/quotas.toml");
const NAME: &str = "QUOTA_LIMITS";

/// Presets, and before them the rows of the file that `QUOTA_LIMITS` names; relative paths start at `dir`.
pub(super) fn read(reader: &mut Reader, dir: &Path) -> TierLimits {
    let presets = rows(PRESETS).expect("config/quotas.toml is part of the program and tested");
    let by_hand = reader.optional_text(NAME).map(|path| {
        let text = fs::read_to_string(dir.join(path)).map_err(|error| format!("cannot be read: {error}"));
        text.and_then(|text| rows(&text))
    });
    let by_hand = by_hand.unwrap_or(Ok(Vec::new())).unwrap_or_else(|problem| {
        reader.report(NAME, problem);
        Vec::new()
    });
    let table = |tier| {
        let of_tier = |rows: &[Row], source| -> Vec<_> {
            let rows = rows.iter().filter(|row| row.tier.is_none_or(|named| named == tier));
            rows.map(|row| (row.models.clone(), row.limits(source))).collect()
        };
        let by_hand = of_tier(&by_hand, LimitSource::Hand);
        Arc::new(LimitTable::new(by_hand.into_iter().chain(of_tier(&presets, LimitSource::Preset))))
    };
    TierLimits::new(table)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    limits: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    tier: Option<Tier>,
    models: ModelPattern,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    requests_per_day: Option<u64>,
    #[allow(dead_code, reason = "for readers of the file; a test sees that presets have it")]
    source: Option<String>,
    #[allow(dead_code, reason = "for readers of the file; a test sees that presets have it")]
    date: Option<String>,
}

impl Row {
    fn limits(&self, source: LimitSource) -> ModelLimits {
        let limit = |value: Option<u64>| value.map(|value| Limit { value, source });
        ModelLimits {
            requests_per_minute: limit(self.requests_per_minute),
            tokens_per_minute: limit(self.tokens_per_minute),
            requests_per_day: limit(self.requests_per_day),
        }
    }
}

/// The rows of a file, or what is wrong with it.
fn rows(toml: &str) -> Result<Vec<Row>, String> {
    let source = ::config::File::from_str(toml, FileFormat::Toml);
    let values = ::config::Config::builder().add_source(source).build();
    let file: File = values
        .and_then(::config::Config::try_deserialize)
        .map_err(|error| format!("holds a mistake: {error}"))?;
    for row in &file.limits {
        let limits = [row.requests_per_minute, row.tokens_per_minute, row.requests_per_day];
        if limits.contains(&Some(0)) {
            let models = row.models.as_str();
            return Err(format!(
                "has a limit of 0 for {models}; limits are at least 1, and not-models= keeps a key from a model"
            ));
        }
    }
    Ok(file.limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_names_its_tier_source_and_date() {
        for row in rows(PRESETS).unwrap() {
            assert!(row.tier.is_some_and(|tier| tier != Tier::Unknown), "{:?}", row.models);
            assert!(row.source.is_some() && row.date.is_some(), "{:?}", row.models);
        }
    }

    #[test]
    fn tables_are_found_by_the_order_of_the_tiers() {
        for (at, tier) in Tier::ALL.into_iter().enumerate() {
            assert_eq!(tier as usize, at);
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        for (toml, problem) in [
            ("limits = 3", "holds a mistake: "),
            ("[[limits]]\nmodels = \"*\"\nrequests_per_hour = 1", "requests_per_hour"),
            ("[[limits]]\nmodels = \"a b\"", "is neither the name of a model nor a pattern"),
            ("[[limits]]\nmodels = \"*\"\ntier = \"gold\"", "gold"),
            ("[[limits]]\nmodels = \"*\"\nrequests_per_day = -1", "holds a mistake: "),
            (
                "[[limits]]\nmodels = \"m\"\nrequests_per_day = 0",
                "has a limit of 0 for m; limits are at least 1",
            ),
            ("[[limits]", "holds a mistake: "),
        ] {
            let Err(told) = rows(toml) else { panic!("{toml}") };
            assert!(told.contains(problem), "{told}");
        }
    }
}
