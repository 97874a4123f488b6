//! Fetches what an address names. The address that is connected to is the one that was looked at: names are resolved by us,
//! and only public addresses are handed to the connector. Redirects are followed here, each looked at anew.

use std::{collections::HashSet, error::Error, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_tls::connect::{Connector as TcpConnector, Resolve, Resolver};
use awc::{
    Client, Connector,
    error::{ConnectError, SendRequestError},
    http::{
        StatusCode, Version,
        header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT},
    },
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::LocalBoxFuture};
use tokio::{net::lookup_host, time::timeout};
use url::{Host, Url};

use super::address::is_public;

const MAX_REDIRECTS: usize = 3;

/// What may be fetched, and how much of it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For everything that one request names, together.
    pub max_bytes: usize,
    /// For each address, redirects included.
    pub timeout: Duration,
    /// Names and addresses, in lower case, that may be private: the operator's own.
    pub private_hosts: Arc<HashSet<String>>,
}

/// What was there.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub bytes: Bytes,
    /// As the server told it; not to be believed.
    pub content_type: String,
}

/// Why nothing was fetched, in words for the client. They tell nothing of what is behind an address that is not public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("the address is neither http nor https, or holds a password")]
    Address,
    #[error("the address is not on the public internet, and no other is fetched")]
    NotPublic,
    #[error("the port {0} is not one that pages are served at: 80, 443, or above 1023")]
    Port(u16),
    #[error("the address could not be reached")]
    Unreachable,
    #[error("the server answered {0}")]
    Status(u16),
    #[error("the server sent nothing")]
    Empty,
    #[error("the server redirected more than {MAX_REDIRECTS} times, or to nowhere")]
    Redirects,
    #[error("what is there is larger than the {limit_mb} MB that may be fetched for one request")]
    TooLarge { limit_mb: usize },
    #[error("the server took longer than {} s", .0.as_secs_f32())]
    TimedOut(Duration),
}

/// Fetches for one worker thread.
pub struct Fetcher {
    client: Client,
    limits: Limits,
}

/// Resolves names to public addresses only.
struct Guard {
    private_hosts: Arc<HashSet<String>>,
}

/// What the guard says of a name that has no public address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no public address")]
struct NoPublicAddress;

impl Resolve for Guard {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, Box<dyn Error>>> {
        Box::pin(async move {
            let found = lookup_host((host, port)).await?;
            let may_be_private = self.private_hosts.contains(&host.to_ascii_lowercase());
            Ok(allowed(found, may_be_private)?)
        })
    }
}

/// What of the addresses of a name may be connected to. The connector gets these and asks nobody again, so that a name that
/// means something else a moment later leads nowhere else.
fn allowed(
    found: impl Iterator<Item = SocketAddr>,
    may_be_private: bool,
) -> Result<Vec<SocketAddr>, NoPublicAddress> {
    let allowed: Vec<_> = found.filter(|found| may_be_private || is_public(found.ip())).collect();
    if allowed.is_empty() { Err(NoPublicAddress) } else { Ok(allowed) }
}

/// Services of the system's own (mail, shells, directories) listen below 1024, and understand a request in their own way.
fn serves_pages(port: u16) -> bool {
    matches!(port, 80 | 443 | 1024..)
}

impl Fetcher {
    /// Must be made on the thread that uses it.
    pub fn new(limits: Limits) -> Rc<Self> {
        let guard = Guard { private_hosts: limits.private_hosts.clone() };
        let connector = Connector::new()
            .connector(TcpConnector::new(Resolver::custom(guard)).service())
            .timeout(limits.timeout)
            .handshake_timeout(limits.timeout)
            .max_http_version(Version::HTTP_11);
        let client = Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Rc::new(Self { client, limits })
    }

    /// What all addresses of one request may have together, in bytes.
    pub fn budget(&self) -> usize {
        self.limits.max_bytes
    }

    /// Fetches one; `left` is what is left of the request's budget, in bytes.
    pub async fn fetch(&self, url: &str, left: usize) -> Result<Fetched, FetchError> {
        let all = timeout(self.limits.timeout, self.follow(url, left)).await;
        all.unwrap_or(Err(FetchError::TimedOut(self.limits.timeout)))
    }

    async fn follow(&self, url: &str, left: usize) -> Result<Fetched, FetchError> {
        let mut url = Url::parse(url).map_err(|_| FetchError::Address)?;
        for _ in 0..=MAX_REDIRECTS {
            self.look_at(&url)?;
            let request = self.client.get(url.as_str()).no_decompress();
            let request =
                request.insert_header((USER_AGENT, "gemini-balance")).insert_header((ACCEPT, "*/*"));
            let mut response = request.send().await.map_err(|error| failed(&error))?;
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                url = location.and_then(|to| url.join(to).ok()).ok_or(FetchError::Redirects)?;
                continue;
            }
            if !status.is_success() {
                return Err(FetchError::Status(status.as_u16()));
            }
            let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            let content_type = text(CONTENT_TYPE).unwrap_or_default().to_owned();
            if text(CONTENT_LENGTH)
                .and_then(|length| length.parse().ok())
                .is_some_and(|length: usize| length > left)
            {
                return Err(self.too_large());
            }
            let mut bytes = BytesMut::new();
            while let Some(chunk) = response.next().await {
                let chunk = chunk.map_err(|_| FetchError::Unreachable)?;
                if bytes.len() + chunk.len() > left {
                    return Err(self.too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            if bytes.is_empty() {
                return Err(FetchError::Empty);
            }
            return Ok(Fetched { bytes: bytes.freeze(), content_type });
        }
        Err(FetchError::Redirects)
    }

    /// The connector does not resolve what is an address already, so addresses are looked at here.
    fn look_at(&self, url: &Url) -> Result<(), FetchError> {
        let has_password = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || has_password {
            return Err(FetchError::Address);
        }
        let is_allowed = |host: &str| self.limits.private_hosts.contains(host);
        let is_own = url.host_str().is_some_and(|host| is_allowed(host.trim_matches(['[', ']'])));
        let port = url.port_or_known_default().filter(|port| !serves_pages(*port) && !is_own);
        match url.host() {
            None => Err(FetchError::Address),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) if is_public(address.into()) || is_allowed(&address.to_string()) => {
                Ok(())
            }
            Some(Host::Ipv6(address)) if is_public(address.into()) || is_allowed(&address.to_string()) => {
                Ok(())
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(FetchError::NotPublic),
        }?;
        port.map_or(Ok(()), |port| Err(FetchError::Port(port)))
    }

    fn too_large(&self) -> FetchError {
        FetchError::TooLarge { limit_mb: self.limits.max_bytes / 1_000_000 }
    }
}

fn failed(error: &SendRequestError) -> FetchError {
    match error {
        SendRequestError::Connect(ConnectError::Resolver(cause)) if cause.is::<NoPublicAddress>() => {
            FetchError::NotPublic
        }
        _ => FetchError::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetcher() -> Rc<Fetcher> {
        let private_hosts = Arc::default();
        Fetcher::new(Limits { max_bytes: 1000, timeout: Duration::from_secs(5), private_hosts })
    }

    #[actix_web::test]
    async fn addresses_that_are_not_public_are_never_called() {
        let fetcher = fetcher();
        for url in [
            "http://127.0.0.1:1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.1:8080/x.png",
            "https://100.64.0.1/",
            "http://localhost:8080/",
            "http://LOCALHOST/",
            "http://0.0.0.0/",
            "http://0/",
            "http://127.1:22/",
            "http://0x7f.0.0.2/",
            "http://017700000002/",
            "http://[::]/",
            "http://[::ffff:0:127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fe80::1]/",
            "http://168.63.129.16/metadata/instance",
        ] {
            assert_eq!(fetcher.fetch(url, 1000).await.unwrap_err(), FetchError::NotPublic, "{url}");
        }
    }

    #[actix_web::test]
    async fn only_plain_web_addresses_are_fetched() {
        let fetcher = fetcher();
        for url in [
            "file:///etc/passwd",
            "ftp://example.com/",
            "https://user:secret@example.com/",
            "http://user@example.com/",
            "nonsense",
        ] {
            assert_eq!(fetcher.fetch(url, 1000).await.unwrap_err(), FetchError::Address, "{url}");
        }
    }

    #[actix_web::test]
    async fn ports_of_other_services_are_not_asked_but_for_the_operators_own() {
        let fetcher = fetcher();
        for (url, port) in [("http://example.com:22/x", 22), ("https://8.8.8.8:25/x", 25)] {
            assert_eq!(fetcher.fetch(url, 1000).await.unwrap_err(), FetchError::Port(port), "{url}");
        }

        let private_hosts = Arc::new(HashSet::from(["127.0.0.1".to_owned()]));
        let own = Fetcher::new(Limits { max_bytes: 1000, timeout: Duration::from_secs(5), private_hosts });
        // Nothing listens there.
        assert_eq!(own.fetch("http://127.0.0.1:9/x", 1000).await.unwrap_err(), FetchError::Unreachable);
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_a_name_with_several_addresses_only_the_public_ones_are_used() {
        let mixed = addresses(&["127.0.0.1:80", "93.184.216.34:80", "[::1]:80", "[2606:4700::1]:80"]);
        let private = addresses(&["10.0.0.1:80", "[::ffff:169.254.169.254]:80", "0.0.0.0:80"]);

        assert_eq!(
            allowed(mixed.clone().into_iter(), false),
            Ok(addresses(&["93.184.216.34:80", "[2606:4700::1]:80"]))
        );
        assert_eq!(allowed(mixed.clone().into_iter(), true), Ok(mixed));
        assert_eq!(allowed(private.into_iter(), false), Err(NoPublicAddress));
    }
}
