//! Where a key stands among the others: its project, its tier, its share of the traffic, and its models.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use super::{
    key::{ApiKey, KeyId},
    quota::ModelPattern,
};

/// Google's tiers. They decide the limits that a project starts with, and free keys go first.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Free,
    Tier1,
    Tier2,
    Tier3,
    /// Nobody said; all limits are learnt.
    #[default]
    Unknown,
}

impl Tier {
    pub const ALL: [Self; 5] = [Self::Free, Self::Tier1, Self::Tier2, Self::Tier3, Self::Unknown];

    /// As settings and the database spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Tier1 => "tier1",
            Self::Tier2 => "tier2",
            Self::Tier3 => "tier3",
            Self::Unknown => "unknown",
        }
    }

    /// Keys that cost nothing go first: 0 for those, 1 for those that are paid for. One of which nobody said is taken for
    /// free, as most are.
    pub fn rank(self) -> u8 {
        match self {
            Self::Free | Self::Unknown => 0,
            Self::Tier1 | Self::Tier2 | Self::Tier3 => 1,
        }
    }

    /// Any letter case; `None` when there is no such tier.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name().eq_ignore_ascii_case(text))
    }
}

/// The name of a project: keys of one project share all its quotas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct ProjectName(Arc<str>);

impl ProjectName {
    const MAX_BYTES: usize = 64;

    /// Letters, digits, `-`, `_` and `.`, up to 64. Letter case does not count, so that no two names differ in it alone.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_plain = !text.is_empty() && text.len() <= Self::MAX_BYTES && text.bytes().all(plain);
        is_plain.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The project of a key that names none: its own. No parsed name has a slash, so the two never clash.
    pub fn of_key(id: KeyId) -> Self {
        Self(format!("key/{id}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which models a key is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ModelRules {
    /// Only these; empty is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<ModelPattern>,
    /// But none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<ModelPattern>,
}

impl ModelRules {
    pub fn allow(&self, model: &str) -> bool {
        let fits = |patterns: &[ModelPattern]| patterns.iter().any(|pattern| pattern.matches(model));
        (self.only.is_empty() || fits(&self.only)) && !fits(&self.not)
    }

    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.not.is_empty()
    }
}

/// Everything that the operator says of a key besides its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlacement {
    /// `None`: the key is a project of its own, as far as anybody knows.
    pub project: Option<ProjectName>,
    /// `None`: the default tier.
    pub tier: Option<Tier>,
    /// How much of the traffic of its tier it gets beside others, 1 to 100.
    pub weight: u8,
    pub models: ModelRules,
}

impl KeyPlacement {
    /// Most keys have the usual one, and share it.
    pub fn shared(self) -> Arc<Self> {
        static USUAL: LazyLock<Arc<KeyPlacement>> = LazyLock::new(Arc::default);
        if self == **USUAL { USUAL.clone() } else { self.into() }
    }
}

impl Default for KeyPlacement {
    fn default() -> Self {
        Self { project: None, tier: None, weight: 1, models: ModelRules::default() }
    }
}

/// A key with its placement, as `API_KEYS` lists them: `AIzaSy… project=alpha tier=free weight=2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedKey {
    pub key: ApiKey,
    pub placement: KeyPlacement,
}

impl From<ApiKey> for PlacedKey {
    fn from(key: ApiKey) -> Self {
        Self { key, placement: KeyPlacement::default() }
    }
}

/// Why the words behind a key cannot be used. They may hold another key by mistake, so only what is plainly none is
/// repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlacement {
    #[error(
        "has something behind it that is not name=value (the names are project, tier, weight, models, not-models)"
    )]
    NoPair,
    #[error("has {0} behind it; the names are project, tier, weight, models, not-models")]
    UnknownName(String),
    #[error("names {0} twice")]
    Twice(&'static str),
    #[error("has a project whose name is not 1 to 64 letters, digits, -, _ or .")]
    Project,
    #[error("has {0}, which is none of free, tier1, tier2, tier3, unknown")]
    Tier(String),
    #[error("has {0}, which is not a whole number from 1 to 100; leave a key out that is to serve nothing")]
    Weight(String),
    #[error("has models that are neither names nor patterns with *; several are separated by |")]
    Models,
}

impl KeyPlacement {
    /// Reads `project=alpha tier=free weight=2 models=gemini-2.5-*|gemma-* not-models=*-pro`, in any order.
    pub fn parse(text: &str) -> Result<Self, InvalidPlacement> {
        let mut placement = Self::default();
        let mut seen = Vec::new();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or(InvalidPlacement::NoPair)?;
            let name = placement.set(name, value)?;
            if seen.contains(&name) {
                return Err(InvalidPlacement::Twice(name));
            }
            seen.push(name);
        }
        Ok(placement)
    }

    /// Takes one value in; the answer is its name.
    fn set(&mut self, name: &str, value: &str) -> Result<&'static str, InvalidPlacement> {
        match name {
            "project" => {
                self.project = Some(ProjectName::parse(value).ok_or(InvalidPlacement::Project)?);
                Ok("project")
            }
            "tier" => {
                let tier = Tier::parse(value);
                self.tier = Some(tier.ok_or_else(|| InvalidPlacement::Tier(shown("tier", value)))?);
                Ok("tier")
            }
            "weight" => {
                let weight = value.parse().ok().filter(|weight| (1..=100).contains(weight));
                self.weight = weight.ok_or_else(|| InvalidPlacement::Weight(shown("weight", value)))?;
                Ok("weight")
            }
            "models" => {
                self.models.only = patterns(value)?;
                Ok("models")
            }
            "not-models" => {
                self.models.not = patterns(value)?;
                Ok("not-models")
            }
            _ => Err(InvalidPlacement::UnknownName(shown(name, "…"))),
        }
    }
}

fn patterns(text: &str) -> Result<Vec<ModelPattern>, InvalidPlacement> {
    text.split('|').map(|name| ModelPattern::parse(name).ok_or(InvalidPlacement::Models)).collect()
}

/// `name=value`, if neither is long enough to be a secret.
fn shown(name: &str, value: &str) -> String {
    const LONGEST: usize = 16;
    let short = |text: &str| text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
    match (short(name), short(value)) {
        (true, true) => format!("{name}={value}"),
        (true, false) => format!("{name}=…"),
        (false, _) => "a name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_said_in_any_order() {
        let placement = KeyPlacement::parse(
            " not-models=*-pro  weight=2 project=Alpha\ttier=FREE models=gemini-2.5-*|models/gemma-*",
        )
        .unwrap();

        assert_eq!(placement.project.as_ref().map(ProjectName::as_str), Some("alpha"));
        assert_eq!((placement.tier, placement.weight), (Some(Tier::Free), 2));
        let allowed = ["gemini-2.5-flash", "gemma-4", "gemini-2.5-pro", "gemini-3-flash"];
        assert_eq!(allowed.map(|model| placement.models.allow(model)), [true, true, false, false]);
        assert_eq!(KeyPlacement::parse(""), Ok(KeyPlacement::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        use InvalidPlacement::*;
        for (text, problem) in [
            ("alpha", NoPair),
            ("projekt=alpha", UnknownName("projekt=…".into())),
            ("weight=1 weight=2", Twice("weight")),
            ("project=", Project),
            ("project=key/7", Project),
            ("tier=tier4", Tier("tier=tier4".into())),
            ("weight=0", Weight("weight=0".into())),
            ("weight=101", Weight("weight=101".into())),
            ("weight=-1", Weight("weight=-1".into())),
            ("weight=99999999999999999999", Weight("weight=…".into())),
            ("models=", Models),
            ("not-models=a||b", Models),
        ] {
            assert_eq!(KeyPlacement::parse(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_there_by_mistake_is_not_repeated() {
        let secret = "AIzaSyA-1234567890-secret";
        for text in
            [format!("{secret}=x"), format!("tier={secret}"), format!("weight={secret}"), secret.into()]
        {
            let problem = KeyPlacement::parse(&text).unwrap_err().to_string();

            assert!(!problem.contains("1234567890"), "{problem}");
        }
    }

    #[test]
    fn a_key_without_a_project_has_one_that_nobody_can_name() {
        let own = ProjectName::of_key(KeyId(7));

        assert_eq!(own.to_string(), "key/7");
        assert_eq!(ProjectName::parse(own.as_str()), None);
    }
}
