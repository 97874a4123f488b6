//! Ids of uploads that are under way. An id is all that the second request of an upload shows for itself, so it is sealed:
//! nobody can make one up, any worker can read it, and a restart forgets none.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    domain::{client::TokenId, key::KeyId},
    secrets::Sealer,
};

const CONTEXT: &str = "upload";
/// An upload must be over so many milliseconds after it began.
const LONGEST_MS: i64 = 24 * 60 * 60 * 1000;

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Path and query at Google.
    pub target: String,
    pub key: KeyId,
    pub client: TokenId,
    ends_at_ms: i64,
}

impl Upload {
    pub fn new(target: String, key: KeyId, client: TokenId, now_ms: i64) -> Self {
        Self { target, key, client, ends_at_ms: now_ms + LONGEST_MS }
    }

    pub fn seal(&self, sealer: &Sealer) -> String {
        let plain = serde_json::to_vec(self).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(sealer.seal(&plain, CONTEXT))
    }

    /// `None` for an id that we did not make, or long ago.
    pub fn open(id: &str, sealer: &Sealer, now_ms: i64) -> Option<Self> {
        let plain = sealer.open(&URL_SAFE_NO_PAD.decode(id).ok()?, CONTEXT).ok()?;
        serde_json::from_slice(&plain).ok().filter(|upload: &Self| now_ms < upload.ends_at_ms)
    }
}

/// Google's address of an upload as one of ours: its path at our host, with that id. Answers Google's path and query as
/// well. `None` when it is no such address.
pub fn readdress(address: &str, origin: &str, id: impl FnOnce(String) -> String) -> Option<String> {
    let address = Url::parse(address).ok()?;
    let path = &address.path()[address.path().find("/upload/")?..];
    address.query_pairs().find(|(name, _)| name == "upload_id")?;
    let id = id(format!("{path}?{}", address.query()?));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in address.query_pairs() {
        query.append_pair(&name, if name == "upload_id" { &id } else { &value });
    }
    Some(format!("{origin}{path}?{}", query.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::EncryptionKey;

    fn upload() -> Upload {
        Upload::new("/upload/v1beta/files?upload_id=AAA".into(), KeyId(3), TokenId::new("allowed-1"), 1_000)
    }

    #[test]
    fn an_id_is_read_by_us_alone_and_for_a_day() {
        let (ours, others) = (Sealer::new(&EncryptionKey::random()), Sealer::new(&EncryptionKey::random()));
        let id = upload().seal(&ours);

        assert_eq!(Upload::open(&id, &ours, 2_000), Some(upload()));
        assert_eq!(Upload::open(&id, &ours, 1_000 + LONGEST_MS), None);
        assert_eq!(Upload::open(&id, &others, 2_000), None);
        for made_up in ["", "AAA", "!", &id[1..], &id.replace(&id[40..44], "AAAA")] {
            assert_eq!(Upload::open(made_up, &ours, 2_000), None, "{made_up}");
        }
        assert_ne!(id, upload().seal(&ours));
    }

    #[test]
    fn googles_address_becomes_ours_and_keeps_its_path() {
        let google = "https://generativelanguage.googleapis.com/upload/v1/files?upload_id=A%2BA&upload_protocol=resumable";
        let mut target = String::new();

        let ours = readdress(google, "http://localhost:8000", |at_google| {
            target = at_google;
            "ours".to_owned()
        });

        assert_eq!(
            ours.as_deref(),
            Some("http://localhost:8000/upload/v1/files?upload_id=ours&upload_protocol=resumable")
        );
        assert_eq!(target, "/upload/v1/files?upload_id=A%2BA&upload_protocol=resumable");
        for other in ["https://g/upload/v1/files", "https://g/other?upload_id=1", "nonsense"] {
            assert_eq!(readdress(other, "http://x", |_| String::new()), None, "{other}");
        }
    }
}
