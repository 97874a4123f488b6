//! Encryption at rest: sealed bytes for the database, fingerprints to find duplicates without opening them.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// First byte of everything sealed, so that a later format can be told apart.
const VERSION: u8 = 1;
/// Bytes of an XChaCha20 nonce: long enough to be drawn at random for every message.
const NONCE_BYTES: usize = 24;
/// Shortest passphrase, in characters.
const MIN_PASSPHRASE_CHARS: usize = 16;

/// HMAC-SHA256 of `message` under `key`.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 with its key already absorbed; cloning it is cheaper than keying it again.
fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The 256 bits that everything at rest is protected with.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    /// A fresh key from the system's random source.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads base64 of 32 bytes, or else a passphrase of at least 16 characters.
    ///
    /// A passphrase is condensed by HMAC-SHA256 (the extract step of RFC 5869). That does not slow down guessing,
    /// so a passphrase should be long and random.
    pub fn parse(text: &str) -> Result<Self, InvalidEncryptionKey> {
        let text = text.trim();
        if let Some(key) = Self::from_base64(text) {
            return Ok(key);
        }
        if text.chars().count() < MIN_PASSPHRASE_CHARS {
            return Err(InvalidEncryptionKey);
        }
        Ok(Self(hmac(b"gemini-balance encryption key", text.as_bytes())))
    }

    /// Base64 of 32 bytes, nothing else.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// The form that [`EncryptionKey::parse`] reads, for the key file.
    pub(super) fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(***)")
    }
}

/// The text is neither base64 of 32 bytes nor a passphrase of 16 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither base64 of 32 bytes nor a passphrase of at least {MIN_PASSPHRASE_CHARS} characters")]
pub struct InvalidEncryptionKey;

/// Seals and opens what is stored, under subkeys of one [`EncryptionKey`].
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    fingerprints: HmacSha256,
}

impl Sealer {
    pub fn new(key: &EncryptionKey) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(&hmac(&key.0, b"seal").into()),
            fingerprints: keyed(&hmac(&key.0, b"fingerprint")),
        }
    }

    /// Encrypts `plain` for one purpose: version byte, nonce, ciphertext with tag.
    ///
    /// `context` is authenticated and not stored; [`Sealer::open`] must be given the same, so that a sealed value
    /// cannot be moved to another place.
    pub fn seal(&self, plain: &[u8], context: &str) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let ciphertext =
            self.cipher.encrypt(&XNonce::from(nonce), payload).expect("sealing fails only above 256 GiB");
        [&[VERSION], &nonce[..], &ciphertext].concat()
    }

    /// Decrypts what [`Sealer::seal`] made for the same `context`.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError::Truncated)?;
        if version != VERSION {
            return Err(SealError::UnknownVersion(version));
        }
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Truncated)?;
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Refused)
    }

    /// The same for the same text under the same key, and of no use without that key.
    pub fn fingerprint(&self, text: &str) -> [u8; 32] {
        self.fingerprint_of([text.as_bytes()])
    }

    /// The same of a text in pieces.
    pub(super) fn fingerprint_of<const N: usize>(&self, pieces: [&[u8]; N]) -> [u8; 32] {
        let mut mac = self.fingerprints.clone();
        pieces.iter().for_each(|piece| mac.update(piece));
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

/// Why sealed bytes could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealed value is cut short")]
    Truncated,
    #[error("the sealed value has format {0}, which this version does not know")]
    UnknownVersion(u8),
    /// The tag does not fit: another key, another context, or changed bytes; these cannot be told apart.
    #[error("the encryption key does not fit, or the value was changed")]
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(passphrase: &str) -> Sealer {
        Sealer::new(&EncryptionKey::parse(passphrase).unwrap())
    }

    #[test]
    fn what_is_sealed_opens_again_with_the_same_key_and_context() {
        let sealer = sealer("correct horse battery");
        let sealed = sealer.seal(b"AIza-secret", "keys/1");

        assert_eq!(sealer.open(&sealed, "keys/1").unwrap(), b"AIza-secret");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let sealer = sealer("correct horse battery");

        assert_ne!(sealer.seal(b"x", "a"), sealer.seal(b"x", "a"));
    }

    #[test]
    fn another_key_context_or_byte_is_refused() {
        let sealer = sealer("correct horse battery");
        let sealed = sealer.seal(b"secret", "a");
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;

        assert_eq!(sealer.open(&sealed, "b"), Err(SealError::Refused));
        assert_eq!(sealer.open(&changed, "a"), Err(SealError::Refused));
        assert_eq!(super::tests::sealer("another passphrase").open(&sealed, "a"), Err(SealError::Refused));
    }

    #[test]
    fn any_cut_of_a_sealed_value_is_an_error_and_no_panic() {
        let sealer = sealer("correct horse battery");
        let sealed = sealer.seal(b"secret", "a");

        for length in 0..sealed.len() {
            assert!(sealer.open(&sealed[..length], "a").is_err(), "{length}");
        }
        assert_eq!(sealer.open(&[9, 0, 0], "a"), Err(SealError::UnknownVersion(9)));
    }

    #[test]
    fn fingerprints_depend_on_the_text_and_on_the_key() {
        let (one, other) = (sealer("correct horse battery"), sealer("another passphrase"));

        assert_eq!(one.fingerprint("k"), one.fingerprint("k"));
        assert_ne!(one.fingerprint("k"), one.fingerprint("l"));
        assert_ne!(one.fingerprint("k"), other.fingerprint("k"));
    }

    #[test]
    fn a_key_is_read_as_base64_or_as_a_passphrase() {
        let key = EncryptionKey::random();

        assert_eq!(EncryptionKey::parse(&format!(" {}\n", key.to_base64())), Ok(key));
        assert!(EncryptionKey::parse("sixteen chars ok").is_ok());
        assert_eq!(EncryptionKey::parse("too short"), Err(InvalidEncryptionKey));
    }
}
