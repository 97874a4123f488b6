//! How Gemini is reached, and how long we wait for it.

use std::time::Duration;

use url::Url;

use super::{
    error_rules::{self, ErrorRule},
    proxies::{self, Proxy},
    reader::Reader,
};
use crate::secrets::Secret;

/// The way to Google. Durations are positive unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    pub base_url: BaseUrl,
    /// For one request, from its first attempt to the last byte of its answer: `TIME_OUT`.
    pub total_timeout: Duration,
    /// TLS included.
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    /// Longest silence within an answer.
    pub idle_timeout: Duration,
    /// Silence after which a streaming client gets a sign of life; `None` is never.
    pub stream_heartbeat: Option<Duration>,
    /// Added to every call; names in lower case. Values may be credentials.
    pub custom_headers: Vec<(String, Secret)>,
    /// Open connections per worker.
    pub max_connections: usize,
    /// Gemini is called through them; directly, if there are none.
    pub proxies: Vec<Proxy>,
    /// A key has its own one of them; otherwise they take turns.
    pub proxies_by_key: bool,
    /// Asked before our own rules; the first that matches counts.
    pub error_rules: Vec<ErrorRule>,
}

/// Where Gemini's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme, host, port and path prefix, without a slash at the end and without the version, which clients choose.
    pub origin: String,
    /// The version that stood at the end, such as `v1beta`.
    pub version: Option<String>,
}

impl BaseUrl {
    /// Reads `https://host/prefix/v1beta`, with or without version and with or without a slash at the end.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not a URL")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("is not an http or https URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user or a password, which are not sent");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a part after ? or #");
        }
        let whole = url.as_str().trim_end_matches('/');
        Ok(match whole.rsplit_once('/') {
            Some((origin, version)) if is_version(version) => {
                Self { origin: origin.trim_end_matches('/').to_owned(), version: Some(version.to_owned()) }
            }
            _ => Self { origin: whole.to_owned(), version: None },
        })
    }
}

/// `v1`, `v1beta`, `v1alpha`, `v1beta1`, `v2`…
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else { return false };
    let name = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let channel = name.trim_end_matches(|c: char| c.is_ascii_digit());
    name.len() < rest.len() && matches!(channel, "" | "alpha" | "beta")
}

impl Upstream {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let base_url = reader.parsed("BASE_URL", BaseUrl::parse);
        let total_timeout = reader.seconds("TIME_OUT");
        let connect_timeout = reader.seconds("CONNECT_TIMEOUT_SECONDS");
        let first_byte_timeout = reader.seconds("FIRST_BYTE_TIMEOUT_SECONDS");
        let idle_timeout = reader.seconds("IDLE_TIMEOUT_SECONDS");
        let stream_heartbeat = reader.seconds("STREAM_HEARTBEAT_SECONDS");
        let custom_headers = custom_headers(reader);
        let max_connections = reader.number("MAX_UPSTREAM_CONNECTIONS");
        let proxies = proxies::read(reader);
        let proxies_by_key = reader.flag("PROXIES_USE_CONSISTENCY_HASH_BY_API_KEY");
        let error_rules = error_rules::read(reader);
        // Only now may it end early: every other problem has been told.
        Some(Self {
            base_url: base_url?,
            total_timeout,
            connect_timeout,
            first_byte_timeout,
            idle_timeout,
            stream_heartbeat: Some(stream_heartbeat).filter(|interval| !interval.is_zero()),
            custom_headers,
            max_connections,
            proxies,
            proxies_by_key,
            error_rules,
        })
    }
}

fn custom_headers(reader: &mut Reader) -> Vec<(String, Secret)> {
    const NAME: &str = "CUSTOM_HEADERS";
    let mut headers = Vec::new();
    for (index, (name, value)) in reader.map(NAME).into_iter().enumerate() {
        let name = name.to_ascii_lowercase();
        let number = index + 1;
        if !is_header_name(&name) {
            reader.report(NAME, format!("header {number} has a name that no header can have"));
        } else if OURS.contains(&&*name) {
            reader.report(NAME, format!("the header {name} is the gateway's own"));
        } else if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            reader.report(NAME, format!("the value of {name} holds a character that no header can carry"));
        } else {
            headers.push((name, Secret::new(value)));
        }
    }
    headers
}

/// Headers that frame the request or carry the key.
const OURS: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-goog-api-key",
];

/// Whether a header may be set by a rule; `name` is one and not the gateway's own.
pub(super) fn is_settable_header(name: &str) -> bool {
    is_header_name(name) && !OURS.contains(&&*name.to_ascii_lowercase())
}

/// A token of RFC 9110, section 5.6.2.
fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_split_off_and_a_prefix_kept() {
        let cases = [
            (
                "https://generativelanguage.googleapis.com/v1beta",
                "https://generativelanguage.googleapis.com",
                Some("v1beta"),
            ),
            (
                "https://generativelanguage.googleapis.com/v1beta/",
                "https://generativelanguage.googleapis.com",
                Some("v1beta"),
            ),
            ("http://localhost:9000", "http://localhost:9000", None),
            ("https://proxy.example/gemini/v1", "https://proxy.example/gemini", Some("v1")),
            ("https://proxy.example/gemini/", "https://proxy.example/gemini", None),
            ("https://proxy.example/v1beta/google", "https://proxy.example/v1beta/google", None),
        ];
        for (text, origin, version) in cases {
            let expected = BaseUrl { origin: origin.into(), version: version.map(str::to_owned) };
            assert_eq!(BaseUrl::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for text in
            ["", "example.com/v1beta", "ftp://example.com", "https://u:p@example.com", "https://e.com/?key=x"]
        {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_versions_look_like_versions() {
        assert!(["v1", "v1beta", "v1alpha", "v1beta1", "v2"].into_iter().all(is_version));
        assert!(!["v", "vertex", "1", "v1gamma", "beta", ""].into_iter().any(is_version));
    }
}
