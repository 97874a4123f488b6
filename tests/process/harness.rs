//! Starts the real program over a simulated Gemini, each in a folder of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use gemini_balance::sim::{self, Plan, Sim};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const TOKEN: &str = "sk-client-token-of-the-tests-1f2e3d";

/// A folder and an environment to start the program in.
pub struct Place {
    pub folder: Arc<TempDir>,
    variables: Vec<(String, String)>,
}

impl Place {
    /// An empty folder, and an environment with nothing of ours but the port.
    pub fn empty() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self { folder, variables: vec![("PORT".to_owned(), "0".to_owned())] }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
        self
    }

    /// These keys, one client token, and the simulation as Google.
    pub fn serving(self, sim: &Sim, keys: &[&str]) -> Self {
        self.with("API_KEYS", json!(keys))
            .with("ALLOWED_TOKENS", json!([TOKEN]))
            .with("BASE_URL", format!("{}/v1beta", sim.base_url))
            .with("LOG_LEVEL", "DEBUG")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gemini-balance"));
        command
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program until it ends by itself.
    pub fn run(&self) -> (ExitStatus, String) {
        let mut program = Program::spawn(self);
        let status = program.wait();
        (status, program.log())
    }

    /// Runs a command of the program until it ends: its status, and what it printed.
    pub fn command_with(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let output = self.command().args(arguments).output().expect("the program runs");
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status, String::from_utf8(text).expect("it prints text"))
    }

    /// Starts the program and waits until it listens.
    pub fn start(&self) -> Program {
        let mut program = Program::spawn(self);
        let listening = program.wait_for("listening on http://");
        let address = listening.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        program.address = address.and_then(|address| address.parse().ok());
        program
    }
}

/// The running program; killed when it is dropped.
pub struct Program {
    child: Child,
    lines: Mutex<Receiver<String>>,
    log: Arc<Mutex<String>>,
    address: Option<SocketAddr>,
}

impl Program {
    fn spawn(place: &Place) -> Self {
        let mut child = place.command().spawn().expect("the program starts");
        let (send, lines) = mpsc::channel();
        let log = Arc::<Mutex<String>>::default();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stderr.take().expect("a pipe")), Box::new(child.stdout.take().expect("a pipe"))];
        for output in outputs {
            let (send, log) = (send.clone(), log.clone());
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    log.lock().expect("no panic").push_str(&format!("{line}\n"));
                    // Nobody may be waiting for a line any more.
                    let _ = send.send(line);
                }
            });
        }
        Self { child, lines: Mutex::new(lines), log, address: None }
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("the program listens")
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    fn next_line(&self, patience: Duration) -> Result<String, RecvTimeoutError> {
        self.lines.lock().expect("no panic").recv_timeout(patience)
    }

    /// The next line that contains this text.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with `{text}` ({error}); the log:\n{}", self.log()),
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.process_id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                // What it printed last is on its way through the pipes.
                while self.next_line(Duration::from_secs(1)).is_ok() {}
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end; the log:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address()).expect("the program accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Connection(stream)
    }

    /// Sends one request on a connection of its own.
    pub fn send(&self, request: &[u8]) -> Reply {
        let mut connection = self.connect();
        connection.write(request);
        connection.reply()
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send(&post(path, TOKEN, body.as_ref()))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send(
            format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\n\r\n").as_bytes(),
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A JSON request with the token in every place that a dialect knows.
pub fn post(path: &str, token: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\nx-goog-api-key: {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A raw connection.
pub struct Connection(pub TcpStream);

impl Connection {
    pub fn write(&mut self, bytes: &[u8]) {
        // A server that has refused the head may close before it has read the rest.
        let _ = self.0.write_all(bytes);
    }

    /// Reads until something matches, or the end.
    pub fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 16_384]);
        while !enough(&all) {
            match self.0.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
            }
        }
        all
    }

    /// Reads one answer with a length, or until the connection ends.
    pub fn reply(&mut self) -> Reply {
        Reply(self.read_until(|bytes| Reply(bytes.to_vec()).is_complete()))
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply(pub Vec<u8>);

impl Reply {
    fn split(&self) -> Option<(String, &[u8])> {
        let end = self.0.windows(4).position(|window| window == b"\r\n\r\n")?;
        Some((String::from_utf8_lossy(&self.0[..end]).to_lowercase(), &self.0[end + 4..]))
    }

    fn is_complete(&self) -> bool {
        let Some((head, body)) = self.split() else { return false };
        match head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok())
        {
            Some(length) => body.len() >= length,
            None => body.ends_with(b"0\r\n\r\n"),
        }
    }

    /// 0 when the connection ended without an answer.
    pub fn status(&self) -> u16 {
        let text = String::from_utf8_lossy(&self.0);
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.split()?;
        let value = head.split(&format!("\r\n{name}: ")).nth(1)?.split("\r\n").next()?;
        Some(value.to_owned())
    }

    pub fn json(&self) -> Value {
        let (_, body) = self.split().unwrap_or_else(|| panic!("no answer: {self:?}"));
        serde_json::from_slice(body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
    }
}

pub async fn healthy_sim(keys: &[&str]) -> Sim {
    sim::start(Plan::healthy(keys.iter().copied())).await.expect("the simulation starts")
}

/// Asks again until the answer is yes.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub fn chat(prompt: &str) -> String {
    json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": prompt}]}).to_string()
}

pub fn native(prompt: &str) -> String {
    json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}).to_string()
}

pub const CHAT: &str = "/v1/chat/completions";
pub const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
pub const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
