//! The way to a real Redis, which a test can cut.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use gemini_balance::secrets::{EncryptionKey, Sealer};

/// The server of the tests, which is never stopped or emptied.
pub fn server() -> String {
    std::env::var("TEST_REDIS").unwrap_or_else(|_| "127.0.0.1:6379".to_owned())
}

/// Stands between nodes and Redis.
pub struct Relay {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (is_cut, open) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<TcpStream>>>::default());
        let (cut, streams) = (is_cut.clone(), open.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // What is dropped is closed.
                if !cut.load(Ordering::SeqCst) {
                    join(client, &streams);
                }
            }
        });
        Self { address, is_cut, open }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().expect("no panic").drain(..) {
            // The other side may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn join(client: TcpStream, open: &Mutex<Vec<TcpStream>>) {
    let server = TcpStream::connect(server()).expect("a Redis server for the tests; see CONTRIBUTING.md");
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
        open.lock().expect("no panic").push(from.try_clone().expect("a socket"));
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// Hears whatever nodes tell each other, as anybody who may use the server could.
pub struct Eavesdropper(Receiver<String>);

impl Eavesdropper {
    pub fn start() -> Self {
        let client = redis::Client::open(format!("redis://{}/0", server())).expect("an address");
        let mut connection = client.get_connection().expect("Redis answers");
        let (tell, told) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            let mut hearing = connection.as_pubsub();
            hearing.psubscribe("gemini-balance:*").expect("it subscribes");
            ready.send(()).expect("somebody waits");
            while let Ok(word) = hearing.get_message().and_then(|message| message.get_payload()) {
                if tell.send(word).is_err() {
                    return;
                }
            }
        });
        is_ready.recv().expect("it subscribes");
        Self(told)
    }

    /// Everything so far.
    pub fn heard(&self) -> String {
        self.0.try_iter().collect::<Vec<_>>().join("\n")
    }
}

/// Takes away what nodes with this key have written, at the end.
pub struct Cleaner {
    pub encryption_key: String,
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        let key = EncryptionKey::parse(&self.encryption_key).expect("a key");
        let print = Sealer::new(&key).fingerprint("nodes of one gateway");
        let namespace: String = print[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let client = redis::Client::open(format!("redis://{}/0", server())).expect("an address");
        let mut connection = client.get_connection().expect("Redis answers");
        let pattern = format!("gemini-balance:{namespace}:*");
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).expect("keys");
        if !keys.is_empty() {
            let _: () = redis::cmd("DEL").arg(keys).query(&mut connection).expect("they are gone");
        }
    }
}
