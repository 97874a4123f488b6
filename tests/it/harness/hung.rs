//! A client that holds its connection itself, to hang up when the test says so.

use std::time::Instant;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request that was sent, with whatever has come back.
pub struct Caller {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Caller {
    pub(super) async fn post(origin: &str, path: &str, token: &str, body: &Value) -> Self {
        let address = origin.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).await.expect("the gateway listens");
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(format!("{head}{body}").as_bytes()).await.expect("the gateway reads");
        Self { socket, received: Vec::new() }
    }

    /// Reads until that text has come, chunk sizes and all.
    pub async fn until(&mut self, text: &str) {
        let mut searched = 0;
        while !String::from_utf8_lossy(&self.received[searched..]).contains(text) {
            searched = self.received.len().saturating_sub(text.len());
            let count = self.socket.read_buf(&mut self.received).await.expect("the connection is open");
            let end = || String::from_utf8_lossy(&self.received[searched..]);
            assert!(count > 0, "{text:?} did not come, but at the end {:?}", end());
        }
    }

    /// Reads so much of what has come, and throws it away.
    pub async fn read_up_to(&mut self, bytes: usize) {
        let mut piece = vec![0; bytes];
        let count = self.socket.read(&mut piece).await.expect("the connection is open");
        assert!(count > 0, "the gateway closed the connection");
    }

    /// Closes the connection; tells when.
    pub fn hang_up(self) -> Instant {
        drop(self.socket);
        Instant::now()
    }
}
