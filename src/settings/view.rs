//! Settings as the administrator sees them: where each value comes from, and what could be set. Never a secret.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Settings;
use crate::config::{
    Origin,
    manual::{self, Entry},
    registry::{Applies, Kind, SETTINGS, Setting},
};

/// All settings with their values.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SettingList {
    /// Grows with every change.
    pub version: i64,
    pub items: Vec<SettingView>,
}

/// One setting with its value.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SettingView {
    pub name: &'static str,
    /// JSON of its type; `null` in the place of a secret.
    pub value: Value,
    /// Whether anyone but the default gave a value.
    pub is_set: bool,
    pub default: Value,
    /// `default`, `file`, `dotenv`, `environment` or `dashboard`.
    pub origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at_ms: Option<i64>,
    /// What the dashboard's value covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// Whether a restart would change what holds.
    pub restart_pending: bool,
}

/// A value of a file or the environment that does not count.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overridden {
    pub origin: &'static str,
    /// `null` in the place of a secret.
    pub value: Value,
}

/// What can be set.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SettingsSchema {
    pub groups: Vec<SettingGroup>,
    pub items: Vec<SettingSchema>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SettingGroup {
    pub id: String,
    pub title: &'static str,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SettingSchema {
    pub name: &'static str,
    /// The id of its group.
    pub group: String,
    /// `boolean`, `integer`, `number`, `choice`, `text`, `list`, `map` or `json`; of secrets `secret`, `secret_list` or
    /// `secret_map`.
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<&'static str>,
    pub help: &'static str,
    /// `live` or `restart`.
    pub applies: &'static str,
    /// Otherwise it can be set in the environment and the files only.
    pub editable: bool,
}

impl Settings {
    pub fn view(&self) -> SettingList {
        let items = SETTINGS.iter().map(|setting| self.view_of(setting)).collect();
        SettingList { version: self.version, items }
    }

    fn view_of(&self, setting: &Setting) -> SettingView {
        let name = setting.name;
        let shown = |value: &Value| if setting.is_secret { Value::Null } else { value.clone() };
        let set = self.overrides.get(name);
        let base_origin = self.base.origin(name);
        let overridden = (set.is_some() && base_origin != Origin::Default)
            .then(|| Overridden { origin: word(base_origin), value: shown(&self.base_values[name]) });
        let origin = if set.is_some() { Origin::Dashboard } else { base_origin };
        let needs_restart = setting.applies != Applies::Live;
        SettingView {
            name,
            value: shown(&self.values[name]),
            is_set: origin != Origin::Default,
            default: self.defaults[name].clone(),
            origin: word(origin),
            changed_at_ms: set.map(|set| set.changed_at_ms),
            overridden,
            restart_pending: needs_restart && self.values[name] != self.values_at_start[name],
        }
    }

    /// The values of what is set, for another gateway or a later day; secrets only if they are asked for.
    pub fn document(&self, with_secrets: bool) -> serde_json::Map<String, Value> {
        let is_set = |setting: &&Setting| {
            self.overrides.contains_key(setting.name) || self.base.origin(setting.name) != Origin::Default
        };
        let told =
            SETTINGS.iter().filter(|it| it.applies != Applies::Boot && (with_secrets || !it.is_secret));
        let told = told.filter(is_set);
        told.map(|setting| (setting.name.to_owned(), self.values[setting.name].clone())).collect()
    }
}

fn word(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::LocalToml => "file",
        Origin::Dotenv => "dotenv",
        Origin::Environment => "environment",
        Origin::Dashboard => "dashboard",
    }
}

/// Everything that can be set, in the order of the default file.
pub fn schema() -> SettingsSchema {
    let mut groups: Vec<SettingGroup> = Vec::new();
    for entry in manual::entries() {
        let group = SettingGroup { id: group_id(&entry.group), title: &entry.group };
        if groups.last() != Some(&group) {
            groups.push(group);
        }
    }
    let items = SETTINGS.iter().zip(manual::entries()).map(|(setting, entry)| schema_of(setting, entry));
    SettingsSchema { groups, items: items.collect() }
}

fn schema_of(setting: &Setting, entry: &'static Entry) -> SettingSchema {
    let (min, max) = match setting.kind {
        // No bound is so large that it would lose a digit.
        Kind::Integer { min, max } => (Some(min as f64), Some(max as f64)),
        Kind::Seconds { min, max } => (Some(min), Some(max)),
        Kind::Flag | Kind::Choice(_) | Kind::Text | Kind::List | Kind::Map | Kind::Json => (None, None),
    };
    let choices = match setting.kind {
        Kind::Choice(words) => Some(words()),
        _ => None,
    };
    SettingSchema {
        name: setting.name,
        group: group_id(&entry.group),
        r#type: type_of(setting),
        unit: setting.unit,
        min,
        max,
        choices,
        example: setting.example,
        help: &entry.help,
        applies: if setting.applies == Applies::Live { "live" } else { "restart" },
        editable: setting.applies != Applies::Boot,
    }
}

fn group_id(title: &str) -> String {
    title.to_ascii_lowercase().replace(' ', "_")
}

fn type_of(setting: &Setting) -> &'static str {
    match (setting.kind, setting.is_secret) {
        (Kind::Flag, _) => "boolean",
        (Kind::Integer { .. }, _) => "integer",
        (Kind::Seconds { .. }, _) => "number",
        (Kind::Choice(_), _) => "choice",
        (Kind::Text, false) => "text",
        (Kind::Text, true) => "secret",
        (Kind::List, false) => "list",
        (Kind::List, true) => "secret_list",
        (Kind::Map, false) => "map",
        (Kind::Map, true) => "secret_map",
        (Kind::Json, _) => "json",
    }
}
