//! What a change of settings comes to, before anything is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Override, Overrides, Settings, Values, lay, next_version, store};
use crate::{
    config::{
        Config, Origin, closest,
        registry::{self, Applies, Setting},
    },
    db::settings::StoredSetting,
    domain::time::Now,
};

/// What is wrong with a change, by the names of settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", told(.0))]
pub struct InvalidSettings(pub BTreeMap<String, String>);

fn told(fields: &BTreeMap<String, String>) -> String {
    let told: Vec<String> = fields.iter().map(|(name, problem)| format!("{name} {problem}")).collect();
    told.join("; ")
}

/// A setting with what it was and what it is; `null` in the place of secrets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Changed {
    pub name: &'static str,
    pub from: Value,
    pub to: Value,
}

/// A change that could be made.
pub struct Change {
    /// What then holds otherwise; empty when nothing does.
    pub changed: Vec<Changed>,
    pub set: Vec<StoredSetting>,
    pub unset: Vec<String>,
    /// What its author should know, sentence by sentence.
    pub notices: Vec<String>,
    overrides: Overrides,
    values: Values,
    config: Arc<Config>,
}

impl Change {
    /// The settings as they then hold together.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}

impl Settings {
    /// Looks at new values by the names of settings; `null` goes back to what the files and the environment say. Fails
    /// with all that is wrong.
    pub fn plan(&self, changes: &BTreeMap<String, Value>) -> Result<Change, InvalidSettings> {
        let mut wrong = BTreeMap::new();
        let mut overrides = self.overrides.clone();
        let mut touched = Vec::new();
        for (name, value) in changes {
            match find(name) {
                Ok(setting) if value.is_null() => {
                    overrides.remove(setting.name);
                    touched.push(setting);
                }
                Ok(setting) => {
                    overrides.insert(setting.name, self.new_override(setting, value));
                    touched.push(setting);
                }
                Err(problem) => {
                    wrong.insert(name.clone(), problem);
                }
            }
        }
        let (values, problems) = lay(&self.base, &overrides).typed();
        // What is stored has the form that it is shown in.
        for setting in &touched {
            if let Some(set) = overrides.get_mut(setting.name) {
                set.value.clone_from(&values[setting.name]);
            }
        }
        let read = Config::of(&lay(&self.base, &overrides));
        let unfit = read.as_ref().err().map(|errors| &errors.problems).into_iter().flatten();
        for problem in problems.iter().chain(unfit) {
            wrong.entry(problem.name.clone()).or_insert_with(|| problem.problem.clone());
        }
        match read {
            Ok((config, notices)) if wrong.is_empty() => {
                Ok(self.change(&touched, overrides, values, config, notices))
            }
            _ => Err(InvalidSettings(wrong)),
        }
    }

    /// Of a document, what differs from what holds now and can be set. The names of what cannot are the second part.
    pub fn differences(
        &self,
        mut document: BTreeMap<String, Value>,
    ) -> (BTreeMap<String, Value>, Vec<String>) {
        let at_boot = |name: &String| registry::find(name).is_some_and(|it| it.applies == Applies::Boot);
        let ignored: Vec<String> = document.keys().filter(|name| at_boot(name)).cloned().collect();
        let holds = |name: &str, value: &Value| self.values.get(name) == Some(value);
        document.retain(|name, value| !ignored.contains(name) && !holds(name, value));
        (document, ignored)
    }

    /// Makes a change that was planned on these settings.
    pub fn make(&mut self, change: Change) {
        self.overrides = change.overrides;
        self.values = change.values;
        self.config = change.config;
        self.version = next_version(self.version);
    }

    fn new_override(&self, setting: &Setting, value: &Value) -> Override {
        let is_covered = self.base.origin(setting.name) != Origin::Default;
        let covered = &self.base_values[setting.name];
        Override {
            value: value.clone(),
            changed_at_ms: Now::read().unix_ms(),
            covers: is_covered.then(|| store::fingerprint(setting.name, covered, &self.sealer)),
        }
    }

    fn change(
        &self,
        touched: &[&'static Setting],
        overrides: Overrides,
        values: Values,
        config: Config,
        notices: Vec<String>,
    ) -> Change {
        let is_stored = |setting: &&&Setting| overrides.contains_key(setting.name);
        let set = touched.iter().filter(is_stored);
        let set = set.map(|setting| store::to_row(setting, &overrides[setting.name], &self.sealer)).collect();
        let unset = touched.iter().filter(|setting| !is_stored(setting));
        let unset = unset.map(|setting| setting.name.to_owned()).collect();
        let known: BTreeSet<_> = self.notices();
        let notices = notices.into_iter().filter(|notice| !known.contains(notice)).collect();
        let shown = |setting: &Setting, values: &Values| match setting.is_secret {
            true => Value::Null,
            false => values[setting.name].clone(),
        };
        let differs = touched.iter().filter(|setting| self.values[setting.name] != values[setting.name]);
        let changed = differs.map(|setting| Changed {
            name: setting.name,
            from: shown(setting, &self.values),
            to: shown(setting, &values),
        });
        Change { changed: changed.collect(), set, unset, notices, overrides, values, config: config.into() }
    }

    /// What the author of the present settings was told already.
    fn notices(&self) -> BTreeSet<String> {
        let told = Config::of(&lay(&self.base, &self.overrides));
        told.map(|(_, notices)| notices.into_iter().collect()).unwrap_or_default()
    }
}

fn find(name: &str) -> Result<&'static Setting, String> {
    match registry::find(name) {
        Some(setting) if setting.applies == Applies::Boot => Err(
            "is this node's own or needed before stored settings can be read; set it in the environment or \
                 in .env"
                .to_owned(),
        ),
        Some(setting) => Ok(setting),
        None => {
            let hint = closest(name, 3).map(|meant| format!("; did you mean {meant}?"));
            Err(format!("is not a setting{}", hint.unwrap_or_default()))
        }
    }
}
