//! Through what Gemini is called, if not directly.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;
use url::Url;

use super::reader::Reader;
use crate::secrets::Secret;

const NAME: &str = "PROXIES";

/// How a proxy is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// Names are resolved by the proxy.
    Socks5,
    /// `CONNECT`, over plain HTTP.
    Http,
}

/// A proxy. Prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: ProxyKind,
    pub host: String,
    pub port: u16,
    /// User and password, each 1 to 255 bytes; the password may be blank with HTTP.
    pub credentials: Option<(String, Secret)>,
}

impl Proxy {
    /// Reads `socks5://user:password@host:port`; `http` has port 80 where none is named, `socks5` 1080. Errors repeat
    /// nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not a URL such as socks5://127.0.0.1:1080")?;
        let (kind, usual_port) = match url.scheme() {
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            "http" => (ProxyKind::Http, 80),
            "https" => return Err("speaks TLS, which is not supported between the gateway and a proxy"),
            _ => return Err("is neither a socks5 nor an http URL"),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("names no host")?;
        let decode = |text: &str| percent_decoded(text).ok_or("has a user or a password that is not UTF-8");
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((decode(user)?, decode(password.unwrap_or_default())?)),
        };
        if let Some((user, password)) = &credentials {
            let fits = |text: &str| (1..=255).contains(&text.len());
            if !fits(user) || password.len() > 255 || kind == ProxyKind::Socks5 && !fits(password) {
                return Err("has a user or a password that is missing or longer than 255 bytes");
            }
        }
        Ok(Self {
            kind,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(usual_port),
            credentials: credentials.map(|(user, password)| (user, Secret::new(password))),
        })
    }
}

/// `%40` and the like; `+` stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// As it is written, with `***` in the place of a password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        write!(f, "{scheme}://")?;
        if let Some((user, _)) = &self.credentials {
            write!(f, "{user}:***@")?;
        }
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Each once, in their order.
pub(super) fn read(reader: &mut Reader) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for (text, number) in reader.list(NAME).iter().zip(1..) {
        match Proxy::parse(text) {
            Ok(proxy) if proxies.contains(&proxy) => {}
            Ok(proxy) => proxies.push(proxy),
            Err(problem) => reader.report(NAME, format!("proxy {number} {problem}")),
        }
    }
    proxies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_as_people_write_them_and_print_without_passwords() {
        for (text, printed) in [
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
            ("socks5h://proxy.example", "socks5://proxy.example:1080"),
            ("http://proxy.example/", "http://proxy.example:80"),
            ("http://[::1]:3128", "http://[::1]:3128"),
            ("http://u%40x:p%3Aw@proxy.example:8080", "http://u@x:***@proxy.example:8080"),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.to_string(), format!("{proxy:?}")), (printed.to_owned(), printed.to_owned()));
        }
        let proxy = Proxy::parse("socks5://user:p%40ss+%zz@h").unwrap();
        assert_eq!(proxy.credentials, Some(("user".to_owned(), Secret::new("p@ss+%zz"))));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_words() {
        for text in
            ["", "proxy:1080", "https://h:1", "ftp://h", "socks5://", "socks5://user@h", "http://:p@h"]
        {
            let problem = Proxy::parse(text).unwrap_err();
            assert!(text.is_empty() || !problem.contains(text), "{problem}");
        }
    }
}
