//! Where a request comes from: the client's address, behind the proxies that are trusted, and the page that sent it.

use std::net::IpAddr;

use actix_web::{
    HttpRequest,
    http::header::{HOST, HeaderMap, ORIGIN},
};
use url::Url;

use super::{admin::error::AdminError, gateway::Gateway};
use crate::domain::network::{Network, unmapped};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub address: Option<IpAddr>,
    /// The client came by TLS.
    pub is_secure: bool,
    /// The connection is that of a trusted proxy, so its headers about the client hold.
    is_behind_proxy: bool,
}

impl Peer {
    pub fn of(request: &HttpRequest, gateway: &Gateway) -> Self {
        let socket = request.peer_addr().map(|socket| unmapped(socket.ip()));
        Self::from_headers(socket, request.headers(), &gateway.trusted_proxies)
    }

    /// Reads `X-Forwarded-For` from its end, since only what trusted proxies have added is true: the first address that
    /// is no proxy's is the client's.
    fn from_headers(socket: Option<IpAddr>, headers: &HeaderMap, proxies: &[Network]) -> Self {
        let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
        if !socket.is_some_and(is_proxy) {
            return Self { address: socket, is_secure: false, is_behind_proxy: false };
        }
        let mut address = socket;
        let hops = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = hops.flat_map(|value| value.split(',')).collect();
        for hop in hops.iter().rev() {
            let Some(hop) = hop_address(hop) else { break };
            address = Some(hop);
            if !is_proxy(hop) {
                break;
            }
        }
        let scheme = last(headers, "x-forwarded-proto");
        let is_secure = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Self { address, is_secure, is_behind_proxy: true }
    }
}

/// An address as proxies write it, perhaps with a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse().or_else(|_| text.parse().map(|socket: std::net::SocketAddr| socket.ip()));
    address.ok().map(unmapped)
}

/// What the nearest proxy said.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).last()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// Refuses what the page of another site makes a browser send. Browsers say so in `Sec-Fetch-Site`, or, over plain HTTP,
/// in `Origin`; what says neither is no browser's page.
pub fn require_same_origin(request: &HttpRequest, peer: &Peer) -> Result<(), AdminError> {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return match site.as_bytes() {
            b"same-origin" | b"none" => Ok(()),
            _ => Err(AdminError::CrossOrigin),
        };
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
    let forwarded = peer.is_behind_proxy.then(|| last(headers, "x-forwarded-host")).flatten();
    let hosts = [headers.get(HOST).and_then(|host| host.to_str().ok()), forwarded];
    let is_ours = origin.is_some_and(|origin| hosts.into_iter().flatten().any(|host| is_at(&origin, host)));
    is_ours.then_some(()).ok_or(AdminError::CrossOrigin)
}

fn is_at(origin: &Url, host: &str) -> bool {
    let Ok(ours) = Url::parse(&format!("{}://{host}", origin.scheme())) else { return false };
    ours.host() == origin.host() && ours.port_or_known_default() == origin.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn peer(socket: &str, headers: &[(&'static str, &str)]) -> Peer {
        let request =
            headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header));
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        Peer::from_headers(socket.parse().ok(), request.to_http_request().headers(), &proxies)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let forged = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        let direct = peer("203.0.113.7", &forged);

        assert_eq!((direct.address, direct.is_secure), ("203.0.113.7".parse().ok(), false));
        assert_eq!(
            (peer("10.0.0.1", &forged).address, peer("10.0.0.1", &forged).is_secure),
            ("1.2.3.4".parse().ok(), true)
        );
    }

    #[test]
    fn what_a_client_wrote_itself_in_front_of_the_proxys_word_does_not_count() {
        let told = |hops: &str| peer("10.0.0.1", &[("x-forwarded-for", hops)]).address;

        assert_eq!(told("6.6.6.6, 203.0.113.7, 10.2.2.2"), "203.0.113.7".parse().ok());
        assert_eq!(told("6.6.6.6, 203.0.113.7:4711"), "203.0.113.7".parse().ok());
        assert_eq!(told("6.6.6.6, nonsense"), "10.0.0.1".parse().ok());
        assert_eq!(told(""), "10.0.0.1".parse().ok());
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let is_let_in = |headers: &[(&'static str, &str)]| {
            let request =
                headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header));
            let request = request.append_header(("host", "gateway.example:8000")).to_http_request();
            let proxies = ["10.0.0.0/8".parse().unwrap()];
            let peer = Peer::from_headers("10.0.0.1".parse().ok(), request.headers(), &proxies);
            require_same_origin(&request, &peer).is_ok()
        };

        assert!(is_let_in(&[]));
        assert!(is_let_in(&[("origin", "http://gateway.example:8000")]));
        assert!(is_let_in(&[("origin", "https://public.example"), ("x-forwarded-host", "public.example")]));
        assert!(is_let_in(&[("sec-fetch-site", "same-origin"), ("origin", "https://renamed.example")]));
        for origin in [
            "http://gateway.example",
            "https://evil.example",
            "null",
            "http://gateway.example:8000.evil.example",
        ] {
            assert!(!is_let_in(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "anything"] {
            assert!(
                !is_let_in(&[("sec-fetch-site", site), ("origin", "http://gateway.example:8000")]),
                "{site}"
            );
        }
    }
}
