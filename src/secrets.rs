//! What must never be shown: texts that hide themselves, encryption at rest, client tokens, secret files.
//!
//! API keys in memory are `domain::key::ApiKey`; this module protects everything else, and keys on disk.

mod files;
mod seal;
mod tokens;

use std::{fmt, sync::Arc};

pub use files::{Kept, load_key_file, load_or_create_admin_token, load_or_create_key_file};
pub use seal::{EncryptionKey, InvalidEncryptionKey, SealError, Sealer};
pub use tokens::{TokenSet, is_example_token, new_token, shown_prefix};

/// A text that prints as `***`: tokens, passphrases, header values.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_neither_the_text_nor_its_length() {
        assert_eq!(format!("{:?}", [Secret::new("a"), Secret::new("a longer one")]), "[***, ***]");
    }
}
