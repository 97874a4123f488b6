//! What of the stored settings still counts at a start: the newest change does, wherever it was made.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::{Overrides, Settings, Values, lay, next_version, store};
use crate::{
    config::{
        Config, ConfigErrors, Layers, Origin,
        registry::{self, Applies},
    },
    db::settings::StoredSetting,
    secrets::Sealer,
};

/// The settings of a process that starts, and what is to be changed of the rows.
pub struct Restored {
    pub settings: Settings,
    /// What its author should know of the settings, sentence by sentence.
    pub notices: Vec<String>,
    pub set: Vec<StoredSetting>,
    pub unset: Vec<String>,
}

impl Settings {
    /// Lays the rows over `base`. A row loses, and is to be deleted, if its variable has changed since the row was
    /// written; a row that is of no use is left out and stays where it is. Fails when `base` alone is wrong.
    pub fn restore(base: Layers, rows: Vec<StoredSetting>, sealer: Sealer) -> Result<Restored, ConfigErrors> {
        let (base_values, _) = base.typed();
        let mut sorted = sort(&base, &base_values, rows, &sealer);
        let (config, notices) = settle(&base, &mut sorted.overrides)?;
        let (values, _) = lay(&base, &sorted.overrides).typed();
        let settings = Self {
            defaults: Layers::of_defaults().typed().0,
            base,
            sealer,
            overrides: sorted.overrides,
            base_values,
            values_at_start: values.clone(),
            values,
            version: next_version(0),
            config: config.into(),
        };
        Ok(Restored { settings, notices, set: sorted.set, unset: sorted.unset })
    }

    /// The settings as they are stored by now. Fails when the files and the environment alone are wrong.
    pub fn reread(&self, rows: Vec<StoredSetting>) -> Result<Self, ConfigErrors> {
        let mut sorted = sort(&self.base, &self.base_values, rows, &self.sealer);
        let (config, _) = settle(&self.base, &mut sorted.overrides)?;
        let (values, _) = lay(&self.base, &sorted.overrides).typed();
        let version = next_version(self.version);
        Ok(Self { overrides: sorted.overrides, values, version, config: config.into(), ..self.clone() })
    }
}

#[derive(Default)]
struct Sorted {
    overrides: Overrides,
    set: Vec<StoredSetting>,
    unset: Vec<String>,
}

fn sort(base: &Layers, base_values: &Values, rows: Vec<StoredSetting>, sealer: &Sealer) -> Sorted {
    let mut sorted = Sorted::default();
    for row in rows {
        let name = row.name.clone();
        let known = registry::find(&name).filter(|setting| setting.applies != Applies::Boot);
        let Some(setting) = known else {
            warn!(setting = %name, "a stored setting is not one of this version's and is left out");
            continue;
        };
        let mut set = match store::from_row(row, sealer) {
            Ok(set) => set,
            Err(problem) => {
                warn!(setting = %name, "a stored setting cannot be read and is left out: {problem}");
                continue;
            }
        };
        let origin = base.origin(&name);
        let covers = (origin != Origin::Default)
            .then(|| store::fingerprint(setting.name, &base_values[setting.name], sealer));
        if covers.is_some() && covers != set.covers {
            info!(
                setting = %name,
                "{name} was changed in {origin} after it was set in the dashboard, so {origin} counts"
            );
            sorted.unset.push(name);
            continue;
        }
        if covers != set.covers {
            // The variable is gone; if it comes back, that is a change.
            set.covers = None;
            sorted.set.push(store::to_row(setting, &set, sealer));
        }
        sorted.overrides.insert(setting.name, set);
    }
    sorted
}

/// Leaves out, one round after the other, what no longer fits.
fn settle(base: &Layers, overrides: &mut Overrides) -> Result<(Config, Vec<String>), ConfigErrors> {
    loop {
        let errors = match Config::of(&lay(base, overrides)) {
            Ok(fitting) => return Ok(fitting),
            Err(errors) if overrides.is_empty() => return Err(errors),
            Err(errors) => errors,
        };
        let wrong: BTreeMap<_, _> =
            errors.problems.iter().map(|problem| (problem.name.as_str(), problem)).collect();
        let before = overrides.len();
        overrides.retain(|name, _| match wrong.get(name) {
            Some(problem) => {
                warn!(setting = name, "a stored setting does not fit and is left out: {}", problem.problem);
                false
            }
            None => true,
        });
        if overrides.len() == before {
            warn!("the stored settings do not fit together and are left out: {errors}");
            overrides.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{config::Sources, secrets::EncryptionKey, settings::Change};

    struct Place {
        dir: tempfile::TempDir,
        sealer: Sealer,
        rows: Vec<StoredSetting>,
    }

    impl Place {
        fn new() -> Self {
            let sealer = Sealer::new(&EncryptionKey::random());
            Self { dir: tempfile::tempdir().unwrap(), sealer, rows: Vec::new() }
        }

        /// Starts with that environment, and keeps the rows as a database would.
        fn start(&mut self, env: &[(&str, &str)]) -> Settings {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let base = Layers::read(&Sources { dir: self.dir.path().to_owned(), env });
            let restored = Settings::restore(base, self.rows.clone(), self.sealer.clone()).unwrap();
            self.keep(&restored.set, &restored.unset);
            restored.settings
        }

        fn keep(&mut self, set: &[StoredSetting], unset: &[String]) {
            let is_new = |row: &StoredSetting| set.iter().any(|new| new.name == row.name);
            self.rows.retain(|row| !is_new(row) && !unset.contains(&row.name));
            self.rows.extend(set.iter().cloned());
        }

        fn set(&mut self, settings: &Settings, name: &str, value: Value) {
            let Change { set, unset, .. } = settings.plan(&[(name.to_owned(), value)].into()).unwrap();
            self.keep(&set, &unset);
        }
    }

    fn max_failures(settings: &Settings) -> u32 {
        settings.config().pool.max_failures
    }

    #[test]
    fn a_stored_value_stays_while_its_variable_does() {
        let mut place = Place::new();
        let settings = place.start(&[("MAX_FAILURES", "2")]);
        place.set(&settings, "MAX_FAILURES", json!(7));

        for _ in 0..2 {
            assert_eq!(max_failures(&place.start(&[("MAX_FAILURES", "2")])), 7);
        }
    }

    #[test]
    fn a_variable_that_has_changed_wins_from_then_on() {
        let mut place = Place::new();
        let settings = place.start(&[("MAX_FAILURES", "2")]);
        place.set(&settings, "MAX_FAILURES", json!(7));

        assert_eq!(max_failures(&place.start(&[("MAX_FAILURES", "4")])), 4);
        assert_eq!(max_failures(&place.start(&[("MAX_FAILURES", "2")])), 2);
    }

    #[test]
    fn a_variable_that_was_not_set_before_is_a_change() {
        let mut place = Place::new();
        let settings = place.start(&[]);
        place.set(&settings, "MAX_FAILURES", json!(7));

        assert_eq!(max_failures(&place.start(&[])), 7);
        assert_eq!(max_failures(&place.start(&[("MAX_FAILURES", "4")])), 4);
    }

    #[test]
    fn a_variable_that_went_away_changes_nothing_until_it_comes_back() {
        let mut place = Place::new();
        let settings = place.start(&[("MAX_FAILURES", "2")]);
        place.set(&settings, "MAX_FAILURES", json!(7));

        assert_eq!(max_failures(&place.start(&[])), 7);
        assert_eq!(max_failures(&place.start(&[("MAX_FAILURES", "2")])), 2);
    }

    #[test]
    fn the_same_value_written_in_another_way_is_no_change() {
        let mut place = Place::new();
        let settings = place.start(&[("FILTERED_MODELS", "a,b")]);
        place.set(&settings, "FILTERED_MODELS", json!(["c"]));

        let settings = place.start(&[("FILTERED_MODELS", r#"["a", "b"]"#)]);

        assert_eq!(settings.config().gemini.filtered_models.len(), 1);
    }

    #[test]
    fn what_is_of_no_use_does_not_stop_the_start() {
        let mut place = Place::new();
        let settings = place.start(&[]);
        for (name, value) in [("MAX_RETRIES", json!(5)), ("MAX_FAILURES", json!(7)), ("TIME_OUT", json!(9))] {
            place.set(&settings, name, value);
        }
        let row = |place: &mut Place, name: &str, value: &str| {
            let row = place.rows.iter_mut().find(|row| row.name == name).unwrap();
            row.value = Some(value.to_owned());
        };
        row(&mut place, "MAX_FAILURES", "{");
        row(&mut place, "TIME_OUT", "-1");
        let gone = StoredSetting { name: "NO_LONGER_HERE".to_owned(), ..place.rows[0].clone() };
        place.rows.push(gone);

        let config = place.start(&[]).config();

        assert_eq!((config.pool.max_attempts, config.pool.max_failures), (5, 3));
        assert_eq!(config.upstream.total_timeout.as_secs(), 300);
        assert_eq!(place.rows.len(), 4, "nothing is thrown away");
    }
}
