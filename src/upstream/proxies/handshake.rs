//! The first words with a proxy, after which the connection is one to the host behind it.

use std::{io, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::config::{Proxy, ProxyKind};

/// A head that is longer is none of a proxy's.
const LONGEST_HEAD: usize = 8 * 1024;

/// Why a proxy does not connect us. Says nothing of passwords.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("the proxy broke the connection: {0}")]
    Broken(#[from] io::Error),
    #[error("the proxy does not speak {0}")]
    Language(&'static str),
    #[error("the proxy does not take this user and password, or wants one")]
    Credentials,
    #[error("the proxy cannot connect to the host: {0}")]
    Refused(String),
    #[error("the proxy did not answer in time")]
    TimedOut,
}

/// Asks for a connection to `host`; nothing is read of what comes over it.
pub async fn ask<S>(stream: &mut S, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match proxy.kind {
        ProxyKind::Socks5 => {
            greet(stream, proxy).await?;
            ask_socks5(stream, host, port).await
        }
        ProxyKind::Http => ask_http(stream, proxy, host, port).await,
    }
}

/// Source: RFC 1928, section 3, and RFC 1929.
async fn greet<S>(stream: &mut S, proxy: &Proxy) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const NONE: u8 = 0;
    const PASSWORD: u8 = 2;
    let hello: &[u8] = if proxy.credentials.is_some() { &[5, 2, NONE, PASSWORD] } else { &[5, 1, NONE] };
    stream.write_all(hello).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, &proxy.credentials) {
        ([5, NONE], _) => Ok(()),
        ([5, PASSWORD], Some((user, password))) => {
            let mut login = vec![1];
            for text in [user.as_str(), password.expose()] {
                login.push(u8::try_from(text.len()).map_err(|_| ProxyError::Credentials)?);
                login.extend_from_slice(text.as_bytes());
            }
            stream.write_all(&login).await?;
            let mut verdict = [0; 2];
            stream.read_exact(&mut verdict).await?;
            if verdict[1] == 0 { Ok(()) } else { Err(ProxyError::Credentials) }
        }
        ([5, _], _) => Err(ProxyError::Credentials),
        _ => Err(ProxyError::Language("SOCKS5")),
    }
}

/// Source: RFC 1928, sections 4 to 6.
async fn ask_socks5<S>(stream: &mut S, host: &str, port: u16) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = vec![5, 1, 0];
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len());
            let length = length.map_err(|_| ProxyError::Refused("its name is too long".to_owned()))?;
            request.extend_from_slice(&[3, length]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await?;
    let [5, code, _, kind] = reply else { return Err(ProxyError::Language("SOCKS5")) };
    if code != 0 {
        return Err(ProxyError::Refused(reason(code).to_owned()));
    }
    let address = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(stream.read_u8().await?),
    };
    let mut bound = vec![0; address + 2];
    stream.read_exact(&mut bound).await?;
    Ok(())
}

fn reason(code: u8) -> &'static str {
    match code {
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "it took too long",
        _ => "it failed",
    }
}

/// Source: RFC 9110, section 9.3.6, and RFC 7617.
async fn ask_http<S>(stream: &mut S, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let login = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    // Byte by byte, since what follows the head is the host's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(ProxyError::Language("HTTP"));
        }
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
    match status {
        Some(200..300) => Ok(()),
        Some(401 | 407) => Err(ProxyError::Credentials),
        Some(status) => Err(ProxyError::Refused(format!("it answered {status}"))),
        None => Err(ProxyError::Language("HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What the proxy was sent, when it answers this from the start; and how that ended.
    async fn asked(proxy: &str, host: &str, answers: &[u8]) -> (Vec<u8>, Result<(), ProxyError>) {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(answers).await.unwrap();
        let result = ask(&mut ours, &Proxy::parse(proxy).unwrap(), host, 443).await;
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (sent, result)
    }

    #[tokio::test]
    async fn socks5_resolves_names_at_the_proxy_and_shows_a_password_when_asked() {
        let ok = b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let (sent, result) = asked("socks5://u:pw@h", "g.example", ok).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(sent, b"\x05\x02\x00\x02\x01\x01u\x02pw\x05\x01\x00\x03\x09g.example\x01\xbb");

        let ok = b"\x05\x00\x05\x00\x00\x03\x01h\x00\x00";
        let (sent, result) = asked("socks5://h", "127.0.0.1", ok).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(sent, b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb");
    }

    #[tokio::test]
    async fn http_asks_with_connect_and_basic_credentials() {
        let (sent, result) =
            asked("http://u:pw@h", "g.example", b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        assert!(result.is_ok(), "{result:?}");
        let expected = "CONNECT g.example:443 HTTP/1.1\r\nHost: g.example:443\r\n\
                        Proxy-Authorization: Basic dTpwdw==\r\n\r\n";
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
    }

    #[tokio::test]
    async fn what_a_proxy_refuses_is_told_without_the_password() {
        let cases: [(&str, &[u8], &str); 7] = [
            ("socks5://u:secret@h", b"\x05\x02\x01\x01", "user and password"),
            ("socks5://h", b"\x05\xff", "user and password"),
            ("socks5://h", b"\x05\x00\x05\x04\x00\x01", "the host is unreachable"),
            ("socks5://h", b"HTTP/1.1 400", "does not speak SOCKS5"),
            ("http://u:secret@h", b"HTTP/1.1 407 No\r\n\r\n", "user and password"),
            ("http://h", b"HTTP/1.0 502 Bad\r\n\r\n", "it answered 502"),
            ("http://h", b"SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
        ];
        for (proxy, answer, told) in cases {
            let (_, result) = asked(proxy, "g.example", answer).await;
            let problem = result.unwrap_err().to_string();
            assert!(problem.contains(told) && !problem.contains("secret"), "{problem}");
        }
    }
}
