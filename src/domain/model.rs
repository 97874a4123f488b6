//! Model names as clients write them and as the routing table keys them.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A model's short name, such as `gemini-2.5-flash`; `models/` in front is dropped.
///
/// Tuned and dynamic models keep their collection (`tunedModels/x`), since it is part of their path. Whatever else has a
/// slash is another resource of Google's, and no model.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct ModelName(Arc<str>);

/// No model of Google's.
const NONE: &str = "-";
/// Behind the name of a model whose tokens are counted. No name that is parsed has a colon.
const COUNTING: &str = ":countTokens";

impl ModelName {
    /// What may stand in front of a name, besides `models/`.
    const COLLECTIONS: [&str; 2] = ["tunedModels/", "dynamic/"];
    /// Longest name that is accepted, in bytes.
    const MAX_BYTES: usize = 200;

    /// Reads a client's spelling; `None` when it could not be part of a URL path of Google's.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("models/").unwrap_or(text);
        let id = Self::COLLECTIONS.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        let is_plain = !id.is_empty() && id != "." && !id.contains("..") && id.bytes().all(plain);
        (is_plain && name.len() <= Self::MAX_BYTES).then(|| Self(name.into()))
    }

    /// Stands for the model in calls that name none, such as those for files. Every key serves it.
    pub fn none() -> Self {
        Self(NONE.into())
    }

    pub fn is_none(&self) -> bool {
        &*self.0 == NONE
    }

    /// Stands for the counting of this model's tokens, which has quotas of its own at Google and uses none of the model's.
    pub fn counting(&self) -> Self {
        Self(format!("{}{COUNTING}", self.0).into())
    }

    pub fn is_counting(&self) -> bool {
        self.0.ends_with(COUNTING)
    }

    /// A model that is asked for an answer; neither the counting of its tokens nor a call that names none.
    pub fn is_asked(&self) -> bool {
        !self.is_counting() && !self.is_none()
    }

    /// The name without what is done with the model.
    pub fn plain(&self) -> &str {
        self.0.strip_suffix(COUNTING).unwrap_or(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a resource of Google's API: `models/gemini-2.5-flash`, `tunedModels/x`.
    pub fn resource(&self) -> String {
        if self.0.contains('/') { self.0.to_string() } else { format!("models/{}", self.0) }
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_is_told_from_the_model_itself() {
        let name = ModelName::parse("gemini-2.5-flash").unwrap();
        let counting = name.counting();

        assert!(counting != name && counting.is_counting() && !name.is_counting());
        assert_eq!((counting.plain(), name.plain()), ("gemini-2.5-flash", "gemini-2.5-flash"));
        assert_eq!(ModelName::parse(counting.as_str()), None, "no client can ask for it by name");
    }

    #[test]
    fn a_models_prefix_is_dropped_and_put_back_for_the_resource() {
        let name = ModelName::parse("models/gemini-2.5-flash").unwrap();

        assert_eq!(name.as_str(), "gemini-2.5-flash");
        assert_eq!(name.resource(), "models/gemini-2.5-flash");
        assert_eq!(ModelName::parse("tunedModels/x").unwrap().resource(), "tunedModels/x");
    }

    #[test]
    fn names_that_could_leave_the_path_are_refused() {
        for text in ["", "models/", "a b", "../files", "..", ".", "a?key=b", "a#b", "a%2e"] {
            assert_eq!(ModelName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_tuned_and_dynamic_models_have_a_slash_and_just_one() {
        for name in ["tunedModels/x", "dynamic/x-1"] {
            assert_eq!(ModelName::parse(name).unwrap().resource(), name);
        }
        for name in [
            "cachedContents/abc",
            "files/abc",
            "publishers/google/models/x",
            "tunedModels/",
            "tunedModels/x/operations",
            "dynamic//x",
            "dynamic/tunedModels/x",
            "/x",
            "x/",
        ] {
            assert_eq!(ModelName::parse(name), None, "{name}");
        }
    }
}
