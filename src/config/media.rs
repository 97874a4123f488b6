//! What may be fetched for clients that name pictures by an address.

use std::{collections::BTreeSet, time::Duration};

use super::reader::Reader;

/// How remote pictures and files are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Otherwise such requests are refused.
    pub fetch_enabled: bool,
    /// For one request, in bytes.
    pub max_bytes: usize,
    /// For one address.
    pub timeout: Duration,
    /// Names and addresses that need not be public; in lower case.
    pub private_hosts: BTreeSet<String>,
}

impl Media {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let hosts = reader.list("MEDIA_FETCH_PRIVATE_HOSTS");
        Self {
            fetch_enabled: reader.flag("MEDIA_FETCH_ENABLED"),
            max_bytes: reader.number::<usize>("MEDIA_FETCH_MAX_MB") * 1_000_000,
            timeout: reader.seconds("MEDIA_FETCH_TIMEOUT_SECONDS"),
            private_hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }
}
