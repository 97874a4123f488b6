//! Whose request it is.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A hash that a client token is known by; the same in every process that has the encryption key.
pub type TokenPrint = [u8; 32];

/// Names a client token in logs and tables; no secret, and never another token's. Configured tokens are `allowed-1`,
/// `allowed-2`, … in the order in which they first stood in `ALLOWED_TOKENS`, and `auth` for `AUTH_TOKEN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(Arc<str>);

impl TokenId {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Maps with ids in them are asked by plain text as well.
impl Borrow<str> for TokenId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The gateway itself.
impl Default for TokenId {
    fn default() -> Self {
        Self::new("gateway")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
