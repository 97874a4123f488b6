//! Client tokens: found without comparing secrets, named without showing them.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use hmac::Mac;
use rand::Rng;

use super::{
    Sealer, Secret,
    seal::{HmacSha256, keyed},
};
use crate::domain::client::TokenId;

/// The tokens that open the door, kept as hashes under a key that is drawn anew for every process.
///
/// A lookup hashes what the client sent and looks for that hash: whoever measures its time learns something about
/// hashes that they can neither choose nor invert, so the comparison needs no care of its own.
#[derive(Clone)]
pub struct TokenSet {
    mac: HmacSha256,
    ids: HashMap<[u8; 32], TokenId>,
}

impl TokenSet {
    /// A set of named tokens; of two equal tokens the first keeps its name.
    pub fn new(tokens: impl IntoIterator<Item = (TokenId, Secret)>) -> Self {
        let mut key = [0; 32];
        rand::rng().fill_bytes(&mut key);
        let mut set = Self { mac: keyed(&key), ids: HashMap::new() };
        for (id, token) in tokens {
            let hash = set.hash(token.expose());
            set.ids.entry(hash).or_insert(id);
        }
        set
    }

    /// The tokens of the configuration: `ALLOWED_TOKENS`, and `AUTH_TOKEN`, which opens the client API as well.
    pub fn configured(allowed: &[Secret], auth: Option<&Secret>) -> Self {
        Self::new(named_tokens(allowed, auth))
    }

    /// The name of this token; `None` when it is not ours. Costs one hash, however many tokens there are.
    pub fn find(&self, token: &str) -> Option<TokenId> {
        self.ids.get(&self.hash(token)).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    fn hash(&self, token: &str) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(token.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Whose is what is kept: a name of the token itself, which another token in its place does not inherit.
#[derive(Debug, Default)]
pub struct TokenOwners(HashMap<TokenId, Arc<str>>);

impl TokenOwners {
    /// As with [`TokenSet::configured`]; the names hold as long as the encryption key does.
    pub fn configured(allowed: &[Secret], auth: Option<&Secret>, sealer: &Sealer) -> Self {
        Self(named_tokens(allowed, auth).map(|(id, token)| (id, owner(&token, sealer))).collect())
    }

    pub fn of(&self, id: &TokenId) -> Arc<str> {
        self.0.get(id).cloned().unwrap_or_else(|| id.as_str().into())
    }
}

/// 32 hexadecimal digits.
fn owner(token: &Secret, sealer: &Sealer) -> Arc<str> {
    let print = sealer.fingerprint(&format!("client token: {}", token.expose()));
    let mut digits = String::with_capacity(32);
    for byte in &print[..16] {
        write!(digits, "{byte:02x}").expect("a string takes every write");
    }
    digits.into()
}

/// The configured tokens with the names that they go by.
pub fn named_tokens(allowed: &[Secret], auth: Option<&Secret>) -> impl Iterator<Item = (TokenId, Secret)> {
    let named =
        |(index, token): (usize, &Secret)| (TokenId::new(format!("allowed-{}", index + 1)), token.clone());
    let auth = auth.map(|token| (TokenId::new("auth"), token.clone()));
    allowed.iter().enumerate().map(named).chain(auth)
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSet({} tokens)", self.ids.len())
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

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(*text)).collect()
    }

    #[test]
    fn a_token_is_found_by_its_whole_text_only() {
        let set = TokenSet::configured(&secrets(&["sk-one", "sk-two"]), Some(&Secret::new("sk-admin")));

        assert_eq!(set.find("sk-two"), Some(TokenId::new("allowed-2")));
        assert_eq!(set.find("sk-admin"), Some(TokenId::new("auth")));
        for text in ["", "sk-tw", "sk-two ", "SK-TWO"] {
            assert_eq!(set.find(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_listed_twice_keeps_its_first_name() {
        let set = TokenSet::configured(&secrets(&["same"]), Some(&Secret::new("same")));

        assert_eq!((set.len(), set.find("same")), (1, Some(TokenId::new("allowed-1"))));
    }

    #[test]
    fn an_empty_set_lets_nobody_in() {
        let set = TokenSet::configured(&[], None);

        assert!(set.is_empty());
        assert_eq!(set.find(""), None);
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
