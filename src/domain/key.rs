//! What a key is to the rest of the gateway: a number to speak of it, and a secret that hides itself.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Names a key in logs, metrics and tables; small, never reused, and no secret.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct KeyId(pub i64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The secret of a Gemini API key.
///
/// `Debug` and `Display` print a mask; the text leaves by [`ApiKey::expose`] alone, which only `upstream` and
/// `db` call.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// Longest key that is accepted, in bytes; Google's are 39 to about 60.
    const MAX_BYTES: usize = 512;

    /// Reads a key of any shape: Google changes prefixes and lengths (`AIza…`, `AQ.…`), so only what could
    /// never be sent in a header is refused. White space around it is dropped, as the SDKs do.
    pub fn parse(text: &str) -> Result<Self, InvalidApiKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidApiKey::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidApiKey::TooLong { bytes: text.len() });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidApiKey::Unprintable);
        }
        Ok(Self(text.into()))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// First and last four characters, enough for an operator to recognise the key; short keys show nothing.
    pub fn masked(&self) -> String {
        let text = &*self.0;
        if text.len() < 16 {
            return "…".to_owned();
        }
        format!("{}…{}", &text[..4], &text[text.len() - 4..])
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.masked())
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// `API_KEYS`.
    #[default]
    Config,
    /// The dashboard.
    Admin,
}

/// What operators say of a key that does not matter to its use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyAbout {
    pub label: Option<String>,
    /// In order, each once.
    pub tags: Vec<String>,
    pub origin: KeyOrigin,
    pub created_at_ms: i64,
}

/// What operators have set of a key by hand. It holds on all nodes, whatever each of them has learnt of the key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySwitches {
    pub disabled: Option<DisabledUntil>,
    /// What was held against the key before that is forgotten.
    pub reset_at_ms: Option<i64>,
}

/// A key is out of use by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledUntil {
    /// Unix milliseconds. None: until somebody enables it.
    pub until_ms: Option<i64>,
}

impl DisabledUntil {
    /// It ends later than the other.
    pub fn outlasts(self, other: Self) -> bool {
        match (self.until_ms, other.until_ms) {
            (Some(mine), Some(other)) => mine > other,
            (mine, other) => mine.is_none() && other.is_some(),
        }
    }
}

/// What an operator does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    Disable(DisabledUntil),
    Enable,
    /// Nothing is held against it any more.
    Reset,
}

impl KeySwitches {
    /// They are so after this was done.
    pub fn steer(&mut self, steering: Steering, now_ms: i64) {
        match steering {
            Steering::Disable(disabled) => self.disabled = Some(disabled),
            Steering::Enable => self.disabled = None,
            Steering::Reset => self.reset_at_ms = Some(now_ms),
        }
    }

    /// Whether the key is out of use by hand at that time.
    pub fn disabled_at(&self, now_ms: i64) -> Option<DisabledUntil> {
        self.disabled.filter(|disabled| disabled.until_ms.is_none_or(|until_ms| until_ms > now_ms))
    }
}

/// How long the deletion of a key can be taken back, and other things that are done to keys.
pub const UNDONE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// What a key has done since it was added, as it is saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// Attempts with it.
    pub requests: u64,
    /// Of these, failed through the key itself, its quotas or its project.
    pub failures: u64,
    pub last_used_at_ms: Option<i64>,
    /// The name of the outcome that last went against it.
    pub last_error: Option<String>,
}

/// Why a text cannot be an API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    #[error("is blank")]
    Empty,
    #[error("has {bytes} bytes, more than any API key")]
    TooLong { bytes: usize },
    #[error("holds a space or a character outside printable ASCII")]
    Unprintable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_shape_are_accepted_and_trimmed() {
        for text in ["AIzaSyA-1234567890", "AQ.Ab8RN6", "x", "  AQ.padded\n"] {
            assert_eq!(ApiKey::parse(text).unwrap().expose(), text.trim());
        }
    }

    #[test]
    fn what_no_header_could_carry_is_refused() {
        assert_eq!(ApiKey::parse(" \t"), Err(InvalidApiKey::Empty));
        assert_eq!(ApiKey::parse("a b"), Err(InvalidApiKey::Unprintable));
        assert_eq!(ApiKey::parse("schlüssel"), Err(InvalidApiKey::Unprintable));
        assert_eq!(ApiKey::parse(&"k".repeat(513)), Err(InvalidApiKey::TooLong { bytes: 513 }));
    }

    #[test]
    fn printing_a_key_never_shows_it() {
        let key = ApiKey::parse("AIzaSyA-secret-secret-wxyz").unwrap();

        assert_eq!(format!("{key} {key:?}"), "AIza…wxyz ApiKey(AIza…wxyz)");
        assert_eq!(ApiKey::parse("shortsecret").unwrap().to_string(), "…");
    }
}
