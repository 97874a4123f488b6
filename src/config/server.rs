//! The HTTP edge: where it listens and what it bears.

use std::time::Duration;

use url::Url;

use super::reader::Reader;
use crate::domain::network::Network;

/// Limits of the server. Durations are positive unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// An address or a host name.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
    /// Worker threads; `None` is one per core.
    pub workers: Option<usize>,
    /// How long running answers may go on after a stop; may be zero.
    pub shutdown_timeout: Duration,
    pub max_body_bytes: usize,
    /// For the whole head of a request.
    pub header_timeout: Duration,
    /// Longest silence while a body arrives.
    pub body_timeout: Duration,
    /// For idle connections; zero closes them at once.
    pub keep_alive: Duration,
    /// Per worker.
    pub max_connections: usize,
    /// `*` is all.
    pub cors_allowed_origins: Vec<String>,
    /// Whose word about a client is taken.
    pub trusted_proxies: Vec<Network>,
    /// Of this process, for logs.
    pub node_name: Option<String>,
}

impl Server {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            host: reader.parsed("HOST", host).unwrap_or_default(),
            port: reader.number("PORT"),
            workers: Some(reader.number("WORKERS")).filter(|workers| *workers > 0),
            shutdown_timeout: reader.seconds("SHUTDOWN_TIMEOUT_SECONDS"),
            max_body_bytes: reader.number::<usize>("MAX_BODY_MB") * 1_000_000,
            header_timeout: reader.seconds("HEADER_TIMEOUT_SECONDS"),
            body_timeout: reader.seconds("BODY_TIMEOUT_SECONDS"),
            keep_alive: reader.seconds("KEEP_ALIVE_SECONDS"),
            max_connections: reader.number("MAX_CONNECTIONS"),
            cors_allowed_origins: origins(reader),
            trusted_proxies: proxies(reader),
            node_name: node_name(reader),
        }
    }
}

fn host(text: &str) -> Result<String, &'static str> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
    if text.contains("://") || !text.chars().all(is_host) {
        return Err("is not an address or a host name");
    }
    Ok(text.trim_matches(['[', ']']).to_owned())
}

fn origins(reader: &mut Reader) -> Vec<String> {
    const NAME: &str = "CORS_ALLOWED_ORIGINS";
    let origins = reader.list(NAME);
    for origin in &origins {
        if origin != "*" && !is_origin(origin) {
            reader.report(NAME, format!("\"{origin}\" is not an origin (scheme, host and port alone)"));
        }
    }
    origins
}

/// As browsers write it; source: RFC 6454, section 6.2.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

fn proxies(reader: &mut Reader) -> Vec<Network> {
    const NAME: &str = "TRUSTED_PROXIES";
    let mut proxies = Vec::new();
    for text in reader.list(NAME) {
        match text.parse() {
            Ok(network) => proxies.push(network),
            Err(problem) => reader.report(NAME, format!("\"{text}\" {problem}")),
        }
    }
    proxies
}

fn node_name(reader: &mut Reader) -> Option<String> {
    let name = reader.optional_text("NODE_NAME")?;
    if name.chars().count() > 64 || name.chars().any(char::is_control) {
        reader.report("NODE_NAME", "is longer than 64 characters or not printable");
    }
    Some(name)
}
