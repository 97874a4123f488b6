//! A proxy that speaks SOCKS5 and HTTP CONNECT, and remembers whom it connected to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use actix_web::rt::{spawn, task::JoinHandle};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

pub const USER: &str = "user";
pub const PASSWORD: &str = "hunter2-of-the-proxy";

/// Ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    served: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn start() -> Self {
        Self::run(None).await
    }

    /// One that leads to this origin, wherever it is asked to connect to: Google as it is behind another address.
    pub async fn start_towards(origin: &str) -> Self {
        Self::run(Some(origin.trim_start_matches("http://").to_owned())).await
    }

    async fn run(target: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let served = Arc::<Mutex<Vec<String>>>::default();
        let remembered = served.clone();
        let accepting = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (remembered, target) = (remembered.clone(), target.clone());
                spawn(async move {
                    // A client that breaks off is none of the proxy's concern.
                    let _ = serve(stream, target, &remembered).await;
                });
            }
        });
        Self { address, served, accepting }
    }

    /// Its URL with user and password.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{USER}:{PASSWORD}@{}", self.address)
    }

    /// Whom it connected to, as `scheme host:port`.
    pub fn served(&self) -> Vec<String> {
        self.served.lock().expect("no test panics while it holds this").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    towards: Option<String>,
    served: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (scheme, target) = match stream.read_u8().await? {
        5 => ("socks5", socks5(&mut stream).await?),
        first => ("http", http(&mut stream, first).await?),
    };
    let Some(target) = target else { return Ok(()) };
    let mut behind = TcpStream::connect(towards.as_ref().unwrap_or(&target)).await?;
    served.lock().expect("no test panics while it holds this").push(format!("{scheme} {target}"));
    let accepted: &[u8] = match scheme {
        "socks5" => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        _ => b"HTTP/1.1 200 Connection established\r\n\r\n",
    };
    stream.write_all(accepted).await?;
    copy_bidirectional(&mut stream, &mut behind).await?;
    Ok(())
}

/// The target, for whoever knows the password.
async fn socks5(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let methods = usize::from(stream.read_u8().await?);
    let mut offered = vec![0; methods];
    stream.read_exact(&mut offered).await?;
    if !offered.contains(&2) {
        stream.write_all(&[5, 255]).await?;
        return Ok(None);
    }
    stream.write_all(&[5, 2]).await?;
    stream.read_u8().await?;
    let (user, password) = (text(stream).await?, text(stream).await?);
    let is_known = user == USER && password == PASSWORD;
    stream.write_all(&[1, u8::from(!is_known)]).await?;
    if !is_known {
        return Ok(None);
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = if request[3] == 1 {
        let mut address = [0; 4];
        stream.read_exact(&mut address).await?;
        std::net::Ipv4Addr::from(address).to_string()
    } else {
        text(stream).await?
    };
    Ok(Some(format!("{host}:{}", stream.read_u16().await?)))
}

/// A text behind its length.
async fn text(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The target, for whoever knows the password.
async fn http(stream: &mut TcpStream, first: u8) -> std::io::Result<Option<String>> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")));
    if !head.contains(&login) {
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await?;
        return Ok(None);
    }
    Ok(head.split(' ').nth(1).map(str::to_owned))
}
