//! What several nodes share besides the database.

use std::{fmt, fs, path::Path};

use redis::{Client, IntoConnectionInfo, RedisResult, TlsCertificates};
use url::Url;

use super::reader::Reader;
use crate::secrets::Secret;

const NAME: &str = "REDIS_URL";
const CA_FILE: &str = "REDIS_CA_FILE";

/// What stands in front of each certificate of a file.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Where nodes meet.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// `None`: this node is alone.
    pub redis: Option<RedisUrl>,
}

impl Cluster {
    /// Relative paths start at `dir`.
    pub(super) fn read(reader: &mut Reader, dir: &Path) -> Self {
        let text = reader.optional_text(NAME);
        let parsed = text.map(|text| RedisUrl::parse(&text)).transpose();
        let redis = parsed.unwrap_or_else(|problem| {
            reader.report(NAME, problem);
            None
        });
        let path = reader.optional_text(CA_FILE);
        let trusting = match (redis, path) {
            (Some(redis), Some(path)) => redis.trusting(&dir.join(path)).map(Some),
            (redis, _) => Ok(redis),
        };
        Self {
            redis: trusting.unwrap_or_else(|problem| {
                reader.report(CA_FILE, problem);
                None
            }),
        }
    }
}

/// The address of a Redis server. Prints without user and password.
#[derive(Clone, PartialEq)]
pub struct RedisUrl {
    text: Secret,
    shown: String,
    /// Certificates that one of the server's must come from, in PEM; `None`: those that browsers trust.
    ca: Option<Vec<u8>>,
}

impl RedisUrl {
    /// Reads `redis://user:password@host:port/database`. Errors repeat nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut url = Url::parse(text).map_err(|_| "is not a URL such as redis://127.0.0.1:6379/0")?;
        if !matches!(url.scheme(), "redis" | "rediss" | "valkey" | "valkeys") {
            return Err("does not start with redis:// or, for TLS, rediss://");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("names no host");
        }
        let database = url.path().trim_matches('/');
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err("has something else than the number of a database behind the host");
        }
        text.into_connection_info().map_err(|_| "is not an address that Redis could have")?;
        let has_password = url.password().is_some();
        // Only URLs without a host refuse these.
        let _ = url.set_username("");
        let _ = url.set_password(has_password.then_some("***"));
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { text: Secret::new(text), shown: url.into(), ca: None })
    }

    /// Trusts a server whose certificate one of this file has signed, and no other.
    fn trusting(self, path: &Path) -> Result<Self, String> {
        let pem = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        if !pem.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) {
            return Err("holds no certificate in PEM".to_owned());
        }
        let trusting = Self { ca: Some(pem), ..self };
        match trusting.client() {
            Ok(_) => Ok(trusting),
            Err(_) if !trusting.shown.contains("s://") => {
                Err("is of use only where REDIS_URL begins with rediss://".to_owned())
            }
            Err(_) => Err("holds a certificate that cannot be read".to_owned()),
        }
    }

    /// Opens connections to the server; with user and password.
    pub fn client(&self) -> RedisResult<Client> {
        match &self.ca {
            None => Client::open(self.text.expose()),
            Some(ca) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
                Client::build_with_tls(self.text.expose(), certificates)
            }
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url = RedisUrl::parse("rediss://us:hun%40ter2@redis.internal:6380/3?timeout=1").unwrap();

        assert_eq!(url.to_string(), "rediss://:***@redis.internal:6380/3");
        assert_eq!(format!("{url:?}"), "RedisUrl(rediss://:***@redis.internal:6380/3)");
        assert_eq!(RedisUrl::parse("redis://localhost").unwrap().to_string(), "redis://localhost");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_address() {
        for (text, problem) in [
            ("127.0.0.1:6379", "is not a URL"),
            ("http://hunter2@host", "does not start with redis://"),
            ("redis://", "names no host"),
            ("redis://:hunter2@/0", "is not a URL"),
            ("redis://host/hunter2", "number of a database"),
        ] {
            let said = RedisUrl::parse(text).unwrap_err();
            assert!(said.contains(problem) && !said.contains("hunter2"), "{text}: {said}");
        }
    }
}
