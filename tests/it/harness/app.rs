//! A whole gateway with a scripted upstream; both end with the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use actix::Addr;
use gemini_balance::{
    actors::{
        Observe,
        key::{KeyActor, KeySnapshot},
        logger::{Flush, Logger},
        supervisor::{FindKey, PoolSnapshot, Supervisor},
    },
    app::{self, Running},
    config::{Config, Loaded, Sources},
    db::{
        Database, DbConnection, error_logs, error_logs::ErrorLog, keys, request_logs,
        request_logs::RequestLog,
    },
    domain::key::KeyId,
    secrets::{EncryptionKey, Sealer},
    services::{catalog::Catalog, recheck::Recheck, scheduler::Scheduler},
    telemetry::LevelSwitch,
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    client::{Answer, Client},
    eventually,
    host::Host,
    upstream::Upstream,
};

/// A model that the upstream has.
pub const MODEL: &str = "gemini-2.5-flash";
/// The client token of a gateway that was told no other.
pub const TOKEN: &str = "sk-of-the-tests-4f1c";
const PASSPHRASE: &str = "a passphrase for the tests";

/// How a gateway is to be started.
pub struct Builder {
    keys: Vec<String>,
    /// The usual one, if `None`.
    tokens: Option<Vec<String>>,
    settings: Vec<(String, String)>,
    folder: Arc<TempDir>,
    upstream: Option<Upstream>,
}

impl Builder {
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// A client token; the first call replaces the one that every gateway of the tests has.
    pub fn token(mut self, token: &str) -> Self {
        self.tokens.get_or_insert_default().push(token.to_owned());
        self
    }

    pub fn without_tokens(self) -> Self {
        Self { tokens: Some(Vec::new()), ..self }
    }

    /// A variable of the environment; of two the later counts.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The files of the data folder with what is in them.
    pub fn data_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = std::fs::read_dir(self.folder.path().join("data")).expect("there is a data folder");
        let paths = folder.map(|entry| entry.expect("it can be listed").path());
        paths.map(|path| (path.clone(), std::fs::read(path).expect("it can be read"))).collect()
    }

    pub async fn start(self) -> TestApp {
        let upstream = match self.upstream {
            Some(upstream) => upstream,
            None => Upstream::start().await,
        };
        let tokens = self.tokens.unwrap_or_else(|| vec![TOKEN.to_owned()]);
        let mut env = vec![
            ("API_KEYS".to_owned(), json!(self.keys).to_string()),
            ("ALLOWED_TOKENS".to_owned(), json!(tokens).to_string()),
        ];
        let has = |name: &str| self.settings.iter().any(|(known, _)| known == name);
        for (name, value) in [
            ("BASE_URL", &*format!("{}/v1beta", upstream.origin)),
            ("ENCRYPTION_KEY", PASSPHRASE),
            // One worker and no scores, so that keys take turns in their order.
            ("WORKERS", "1"),
            // Whichever is free.
            ("PORT", "0"),
            ("BALANCE_POLICY", "round_robin"),
            // What a test leaves running does not matter to it.
            ("SHUTDOWN_TIMEOUT_SECONDS", "0"),
        ] {
            if !has(name) {
                env.push((name.to_owned(), value.to_owned()));
            }
        }
        env.extend(self.settings.clone());
        let (parts, host) = launch(load(self.folder.path(), env)).await;
        TestApp {
            host: Some(host),
            parts,
            upstream,
            keys: self.keys,
            tokens,
            settings: self.settings,
            folder: self.folder,
        }
    }
}

fn load(folder: &Path, env: Vec<(String, String)>) -> Loaded {
    let sources = Sources { dir: folder.to_owned(), env };
    Config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What a test needs of a running gateway.
struct Parts {
    address: SocketAddr,
    supervisor: Addr<Supervisor>,
    logger: Addr<Logger>,
    catalog: Addr<Catalog>,
    scheduler: Addr<Scheduler>,
    recheck: Addr<Recheck>,
    database: Database,
}

async fn launch(loaded: Loaded) -> (Parts, Host) {
    Host::run(
        async move || {
            let running = app::start(loaded, LevelSwitch::default()).await;
            let running = running.unwrap_or_else(|error| panic!("{error}"));
            let parts = Parts {
                address: running.address,
                supervisor: running.supervisor.clone(),
                logger: running.logger.clone(),
                catalog: running.catalog.clone(),
                scheduler: running.scheduler.clone(),
                recheck: running.recheck.clone(),
                database: running.database.clone(),
            };
            (parts, running)
        },
        Running::stop,
    )
    .await
}

pub struct TestApp {
    /// First, so that the gateway ends before what it stands on.
    host: Option<Host>,
    parts: Parts,
    pub upstream: Upstream,
    keys: Vec<String>,
    tokens: Vec<String>,
    settings: Vec<(String, String)>,
    folder: Arc<TempDir>,
}

impl TestApp {
    pub fn builder() -> Builder {
        Builder {
            keys: vec!["k1".to_owned()],
            tokens: None,
            settings: Vec::new(),
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder can be made")),
            upstream: None,
        }
    }

    /// A gateway with these keys and nothing else that is special.
    pub async fn with_keys<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self::builder().keys(keys).start().await
    }

    pub fn address(&self) -> SocketAddr {
        self.parts.address
    }

    /// A client with the first token.
    pub fn client(&self) -> Client {
        let token = self.tokens.first().map_or("", |token| token);
        Client::new(format!("http://{}", self.parts.address), token)
    }

    /// A client with this token.
    pub fn client_with(&self, token: &str) -> Client {
        Client::new(format!("http://{}", self.parts.address), token)
    }

    /// Stops as on SIGTERM. What is returned starts the same again, over the same data.
    pub async fn stop(mut self) -> Builder {
        let host = self.host.take();
        tokio::task::spawn_blocking(|| drop(host)).await.expect("the gateway has stopped");
        Builder {
            keys: self.keys,
            tokens: Some(self.tokens),
            settings: self.settings,
            folder: self.folder,
            upstream: Some(self.upstream),
        }
    }

    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut DbConnection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> T {
        self.parts.database.read(query).await.expect("the database answers")
    }

    /// A file of the data folder.
    pub fn data_file(&self, name: &str) -> String {
        let path = self.folder.path().join("data").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The stored keys with their ids.
    pub async fn stored_keys(&self) -> Vec<(String, KeyId)> {
        let sealer = Sealer::new(&EncryptionKey::parse(PASSPHRASE).expect("it is long enough"));
        let loaded = self.read(move |conn| keys::load_keys(conn, &sealer)).await;
        loaded.keys.iter().map(|stored| (stored.key.expose().to_owned(), stored.id)).collect()
    }

    pub async fn key_id(&self, key: &str) -> KeyId {
        let stored = self.stored_keys().await;
        stored.iter().find(|(known, _)| known == key).unwrap_or_else(|| panic!("no key {key} is stored")).1
    }

    pub async fn key_actor(&self, key: &str) -> Addr<KeyActor> {
        let id = self.key_id(key).await;
        let found = self.parts.supervisor.send(FindKey(id)).await.expect("the supervisor lives");
        found.unwrap_or_else(|| panic!("no key {key} in the pool"))
    }

    /// What the key's actor holds; waits while a crashed one is away.
    pub async fn observe_key(&self, key: &str) -> KeySnapshot {
        eventually("the key answers", async || self.key_actor(key).await.send(Observe::new()).await.ok())
            .await
    }

    /// Waits until the key is as it should be.
    pub async fn key_becomes(
        &self,
        key: &str,
        what: &str,
        is_so: impl Fn(&KeySnapshot) -> bool,
    ) -> KeySnapshot {
        eventually(&format!("{key} {what}"), async || {
            Some(self.observe_key(key).await).filter(|snapshot| is_so(snapshot))
        })
        .await
    }

    /// What the key's actor holds once it has heard of every call with the key, and none is under way.
    pub async fn settled(&self, key: &str) -> KeySnapshot {
        let is_settled = |snapshot: &KeySnapshot| {
            snapshot.in_flight == 0 && snapshot.tally.attempts == self.upstream.calls_with(key)
        };
        self.key_becomes(key, "is settled", is_settled).await
    }

    /// Waits until the gateway has fetched the list of models, which it does by itself with the first key.
    pub async fn catalogue_is_fetched(&self) {
        let is_asked = async || self.upstream.was_asked_for_models().then_some(());
        eventually("the list of models is asked for", is_asked).await;
        for key in &self.keys {
            self.settled(key).await;
        }
    }

    /// Waits until the supervisor sees the pool so. Whatever it sees it has told the balancers before.
    pub async fn pool_becomes(&self, what: &str, is_so: impl Fn(&PoolSnapshot) -> bool) -> PoolSnapshot {
        eventually(what, async || Some(self.observe_pool().await).filter(|pool| is_so(pool))).await
    }

    pub async fn observe_pool(&self) -> PoolSnapshot {
        self.parts.supervisor.send(Observe::new()).await.expect("the supervisor lives")
    }

    pub fn logger(&self) -> &Addr<Logger> {
        &self.parts.logger
    }

    pub fn catalog(&self) -> &Addr<Catalog> {
        &self.parts.catalog
    }

    pub fn scheduler(&self) -> &Addr<Scheduler> {
        &self.parts.scheduler
    }

    pub fn recheck(&self) -> &Addr<Recheck> {
        &self.parts.recheck
    }

    pub async fn write<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut DbConnection) -> diesel::QueryResult<T> + Send + 'static,
    ) -> T {
        self.parts.database.write(query).await.expect("the database takes it")
    }

    /// The log row of that answer.
    pub async fn log_of(&self, answer: &Answer) -> RequestLog {
        let id = answer.request_id().to_owned();
        let rows = self.logs("the request is logged", |rows| rows.iter().any(|row| row.id == id)).await;
        rows.into_iter().find(|row| row.id == id).expect("it was just seen")
    }

    /// Waits until the request log is as it should be; newest first.
    pub async fn logs(&self, what: &str, is_so: impl Fn(&[RequestLog]) -> bool) -> Vec<RequestLog> {
        eventually(what, async || {
            self.parts.logger.send(Flush).await.expect("the logger lives");
            let rows = self.read(|conn| request_logs::list_request_logs(conn, 10_000)).await;
            Some(rows).filter(|rows| is_so(rows))
        })
        .await
    }

    /// The error log, newest first.
    pub async fn error_logs(&self) -> Vec<ErrorLog> {
        self.read(|conn| error_logs::list_error_logs(conn, 10_000)).await
    }
}
