//! What happens to keys, in words that are stored, told and shown alike.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use super::{key::KeyId, model::ModelName};

/// The state of a key in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    Active,
    Cooling,
    HalfOpen,
    Invalid,
    Disabled,
}

/// What has happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyEventKind {
    Added,
    /// It came into another state, or is in the same for another reason.
    State,
    /// It cools for one model and serves the others.
    ModelCooling,
    /// What was held against it was forgotten.
    Reset,
    /// It seems to share a project with other keys.
    ProjectProposed,
    Deleted,
    /// It was deleted, and that was taken back.
    Restored,
}

/// On whose account it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyEventBy {
    /// Somebody in the dashboard, or a script with their token.
    Operator,
    /// `API_KEYS`.
    Config,
    /// What Google answered to a request.
    Traffic,
    /// What Google answered to a question that costs no quota.
    Recheck,
    /// Another key of the same project.
    Project,
    /// A time that was over.
    Time,
}

/// Something that has happened to a key. No secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    pub key: KeyId,
    /// Unix milliseconds.
    pub at_ms: i64,
    pub kind: KeyEventKind,
    pub from: Option<StateName>,
    pub to: Option<StateName>,
    /// Why the key is as it is now, as keys themselves tell it.
    pub reason: Option<String>,
    /// What brought it about: the name of an outcome, or what an operator did.
    pub cause: Option<String>,
    pub model: Option<ModelName>,
    /// When it ends by itself.
    pub until_ms: Option<i64>,
    pub by: KeyEventBy,
}

impl KeyEvent {
    /// One that leaves the key's state as it is.
    pub fn new(key: KeyId, at_ms: i64, kind: KeyEventKind, by: KeyEventBy) -> Self {
        Self {
            key,
            at_ms,
            kind,
            from: None,
            to: None,
            reason: None,
            cause: None,
            model: None,
            until_ms: None,
            by,
        }
    }

    /// Whether it is the same once more, at whatever time.
    pub fn repeats(&self, earlier: &Self) -> bool {
        let undated = |event: &Self| Self { at_ms: 0, until_ms: None, ..event.clone() };
        undated(self) == undated(earlier)
    }
}

/// A word as the API and the database spell it; `None` for what is no single word.
pub fn word(value: &impl Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}

/// What a word stands for; `None` for one that a newer version has written.
pub fn read_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::from(word)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_stand_for() {
        assert_eq!(word(&KeyEventKind::ModelCooling).as_deref(), Some("model_cooling"));
        assert_eq!(read_word("half_open"), Some(StateName::HalfOpen));
        assert_eq!(read_word::<KeyEventKind>("sung"), None);
        assert_eq!(word(&5), None);
    }

    #[test]
    fn the_same_at_another_time_is_a_repetition() {
        let first = KeyEvent {
            until_ms: Some(50),
            ..KeyEvent::new(KeyId(1), 5, KeyEventKind::ModelCooling, KeyEventBy::Traffic)
        };
        let later = KeyEvent { at_ms: 90, until_ms: Some(150), ..first.clone() };

        assert!(later.repeats(&first));
        assert!(!KeyEvent { key: KeyId(2), ..later.clone() }.repeats(&first));
        assert!(!KeyEvent { reason: Some("quota_day".into()), ..later }.repeats(&first));
    }
}
