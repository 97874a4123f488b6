//! Client tokens: found without comparing secrets, named without showing them.

use std::{collections::HashSet, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng;

use super::{Sealer, Secret};
use crate::domain::client::TokenPrint;

impl Sealer {
    /// Whoever measures the time of a look-up by this learns something about hashes that they can neither choose nor
    /// invert, so the comparison needs no care of its own.
    pub fn token_fingerprint(&self, token: &str) -> TokenPrint {
        self.fingerprint_of([b"client token: ", token.as_bytes()])
    }
}

/// A new client token: 256 random bits.
pub fn new_token() -> Secret {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    token_from(bytes)
}

fn token_from(bytes: [u8; 32]) -> Secret {
    Secret::new(format!("sk-{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// What may be shown of a token, so that its holder recognises it: a few characters, and none of a short one.
pub fn shown_prefix(token: &str) -> String {
    let shown = match token.chars().count() {
        0..16 => 0,
        16..24 => 3,
        24..40 => 6,
        _ => 9,
    };
    let prefix: String = token.chars().take(shown).collect();
    format!("{prefix}…")
}

/// The administrator's tokens, as hashes.
#[derive(Clone)]
pub struct TokenSet {
    sealer: Sealer,
    prints: HashSet<TokenPrint>,
}

impl TokenSet {
    pub fn new(sealer: &Sealer, tokens: impl IntoIterator<Item = Secret>) -> Self {
        let prints = tokens.into_iter().map(|token| sealer.token_fingerprint(token.expose())).collect();
        Self { sealer: sealer.clone(), prints }
    }

    pub fn contains(&self, token: &str) -> bool {
        self.prints.contains(&self.sealer.token_fingerprint(token))
    }
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSet({} tokens)", self.prints.len())
    }
}

/// Tokens that stand in examples, images and guides, so that anybody would try them first.
///
/// Any letter case, `-` and `_` alike, with or without a number at the end.
pub fn is_example_token(token: &str) -> bool {
    const EXAMPLES: [&str; 18] = [
        "sk",
        "your_token",
        "your_auth_token",
        "your_allowed_token",
        "your_access_token",
        "your_admin_token",
        "your_api_key",
        "your_secret",
        "your_password",
        "change_me",
        "changeme",
        "admin",
        "password",
        "secret",
        "token",
        "test",
        "example",
        "sk_your_token",
    ];
    let plain = token.trim().to_ascii_lowercase().replace('-', "_");
    let stem = plain.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    let body = plain.strip_prefix("sk_").unwrap_or(&plain);
    // `sk-123456` and `sk-xxxxxx`; a long row of digits may well be random.
    let is_short_number = body.len() <= 10 && body.bytes().all(|byte| byte.is_ascii_digit());
    let is_blank_form = body.bytes().all(|byte| byte == b'x' || byte == b'*');
    is_short_number || is_blank_form || EXAMPLES.contains(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(passphrase: &str) -> Sealer {
        Sealer::new(&crate::secrets::EncryptionKey::parse(passphrase).unwrap())
    }

    #[test]
    fn a_token_is_found_by_its_whole_text_only() {
        let set = TokenSet::new(&sealer("correct horse battery"), [Secret::new("sk-admin")]);

        assert!(set.contains("sk-admin"));
        for text in ["", "sk-admi", "sk-admin ", "SK-ADMIN"] {
            assert!(!set.contains(text), "{text}");
        }
    }

    #[test]
    fn fingerprints_hold_as_long_as_the_encryption_key_does() {
        let print = |passphrase| sealer(passphrase).token_fingerprint("sk-x");

        assert_eq!(print("correct horse battery"), print("correct horse battery"));
        assert_ne!(print("correct horse battery"), print("another passphrase"));
        let sealer = sealer("correct horse battery");
        assert_eq!(sealer.token_fingerprint("sk-x"), sealer.fingerprint("client token: sk-x"));
    }

    #[test]
    fn a_new_token_is_long_and_little_of_it_is_shown() {
        let (one, other) = (new_token(), new_token());

        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 46);
        assert_eq!(shown_prefix(one.expose()), format!("{}…", &one.expose()[..9]));
        assert_eq!(["short", "sixteen-letters!"].map(shown_prefix), ["…", "six…"]);
    }

    #[test]
    fn example_tokens_are_recognised_in_any_spelling() {
        for token in [
            "sk-123456",
            "SK-123456",
            "your_token_1",
            "Your-Token-2",
            "change_me",
            "CHANGEME",
            "your_auth_token",
        ] {
            assert!(is_example_token(token), "{token}");
        }
        for token in ["123456", "sk-xxxxxxxx", "sk-", ""] {
            assert!(is_example_token(token), "{token}");
        }
    }

    #[test]
    fn real_tokens_are_not_taken_for_examples() {
        for token in
            ["sk-9f8a7b6c5d", "sk-1a", "tokens-of-appreciation", "my_token", "481516234210815", "sk-1234x"]
        {
            assert!(!is_example_token(token), "{token}");
        }
    }
}
