//! Starts everything in order, and stops it in reverse with a deadline.

mod switches;

use std::{
    any::Any,
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    middleware::{Condition, from_fn},
    rt::net::TcpStream,
    web::Data,
};
use serde_json::value::{RawValue, to_raw_value};
use socket2::SockRef;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    actors::{
        archive::{Archive, PruneResponses, Unwritten},
        balancer::Balancer,
        logger::{Flush, LogQueue, Logger, Prune},
        registrar::{self, ClientMarks, Registrar, Registry, SaveOwners},
        supervisor::{Checkpoint, PoolKey, ProjectSettings, ReportTo, Supervisor},
    },
    api::{
        self,
        archive::Responses,
        gateway::{Gateway, Limits, Streams},
        health::{NO_KEYS, NO_TOKENS},
        normalize::normalize_path,
        outbox::Outbox,
        request_id::name_request,
        signatures::Signatures,
    },
    balance::{egress::Egress, owners::Owners},
    config::{self, Auth, Config, Gemini, Storage},
    convert::switches::Switches,
    db::{Database, DbError, keys, ledgers, resources},
    domain::{client::TokenId, time::Now},
    media::{self, Fetcher},
    secrets::{
        Sealer, TokenOwners, TokenSet, load_or_create_admin_token, load_or_create_key_file, named_tokens,
    },
    services::{
        catalog::{Catalog, ModelList},
        recheck::Recheck,
        scheduler::Scheduler,
    },
    telemetry::metrics::Metrics,
    upstream::{client::UpstreamClient, dispatch::Dispatcher, retries::Retries},
};

/// How long finished requests may take to reach the logger once the server has stopped.
const OUTBOX_DEADLINE: Duration = Duration::from_secs(2);
/// How long the database may take to accept what is left.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("{0}")]
    Secrets(io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
}

/// A gateway that runs. It serves on threads of its own until [`stop`](Self::stop).
pub struct Running {
    pub address: SocketAddr,
    pub supervisor: Addr<Supervisor>,
    pub logger: Addr<Logger>,
    pub archive: Addr<Archive>,
    pub registrar: Addr<Registrar>,
    pub catalog: Addr<Catalog>,
    pub scheduler: Addr<Scheduler>,
    /// On the services' thread; `None` when `CHECK_INTERVAL_HOURS` says never.
    pub recheck: Option<Addr<Recheck>>,
    pub database: Database,
    server: ServerHandle,
    /// Ends when the server has ended.
    serving: actix_web::rt::task::JoinHandle<io::Result<()>>,
    /// Open while a worker may still hold finished requests.
    outboxes: mpsc::Receiver<()>,
    outbox_guard: mpsc::Sender<()>,
    arbiters: Vec<Arbiter>,
}

/// Starts a gateway; needs a running actix system.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let listener = listen(&config)?;
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Listen { address: address_of(&config), source })?;
    let storage = open_storage(&config)?;
    let auth = &config.auth;
    let token_owners =
        TokenOwners::configured(&auth.allowed_tokens, auth.auth_token.as_ref(), &storage.sealer);
    let tokens = Arc::new(client_tokens(auth));
    let admin_tokens = Arc::new(admin_tokens(auth, &config.storage)?);
    let queue = Arc::<LogQueue>::default();
    let metrics = Arc::new(Metrics::new(queue.clone()));

    let (keys_arbiter, log_arbiter, service_arbiter) = (Arbiter::new(), Arbiter::new(), Arbiter::new());
    let supervisor = {
        let (keys, max_failures) = (storage.keys, config.pool.max_failures);
        let projects = ProjectSettings {
            limits: config.pool.limits.clone(),
            default_tier: config.pool.default_tier,
            stored: storage.ledgers,
        };
        let database = storage.database.clone();
        Supervisor::start_in_arbiter(&keys_arbiter.handle(), move |_| {
            Supervisor::new(keys, max_failures, projects, database)
        })
    };
    let logger = {
        let (database, queue) = (storage.database.clone(), queue.clone());
        Logger::start_in_arbiter(&log_arbiter.handle(), move |_| Logger::new(database, queue))
    };
    let unwritten = Arc::<Unwritten>::default();
    let archive = {
        let (database, unwritten) = (storage.database.clone(), unwritten.clone());
        Archive::start_in_arbiter(&log_arbiter.handle(), move |_| Archive::new(database, unwritten))
    };
    let marks = client_marks(&config.auth, &storage.sealer);
    let registrar = {
        let (database, marks) = (storage.database.clone(), marks.clone());
        Registrar::start_in_arbiter(&log_arbiter.handle(), move |_| Registrar::new(database, marks))
    };
    let owners = load_owners(&config, &storage.database, &marks)?;
    let registry = Arc::new(Registry::new(owners, registrar.clone()));
    let (egress, retries) = (Arc::<Egress>::default(), Arc::new(Retries::new(&config)));
    let (published, models) = watch::channel(Arc::<ModelList>::default());
    let catalog = {
        let (config, supervisor) = (config.clone(), supervisor.clone());
        let (egress, retries, registry) = (egress.clone(), retries.clone(), registry.clone());
        Catalog::start_in_arbiter(&service_arbiter.handle(), move |_| {
            let dispatcher = dispatcher(&config, &supervisor, egress, retries, registry).into();
            Catalog::new(dispatcher, config.gemini.filtered_models.clone(), published)
        })
    };
    let recheck = start_recheck(&config, &service_arbiter, &supervisor);
    if let Some(recheck) = &recheck {
        supervisor.do_send(ReportTo(recheck.clone().recipient()));
    }
    let forgetting = (registry.clone(), registrar.clone());
    let tidied = (supervisor.clone(), recheck.clone());
    let scheduler = start_schedule(&config, &service_arbiter, &logger, &archive, forgetting, tidied);

    let (outbox_guard, outboxes) = mpsc::channel(1);
    let names = Arc::new(switches::switches(&config));
    let shared = Shared {
        switches: names,
        config: Arc::new(config),
        retries,
        tokens,
        registry,
        sealer: storage.sealer,
        admin_tokens,
        metrics,
        queue,
        supervisor: supervisor.clone(),
        egress,
        logger: logger.clone(),
        archive: archive.clone(),
        unwritten,
        owners: Arc::new(token_owners),
        catalog: catalog.clone(),
        models,
        database: storage.database.clone(),
        outbox_guard: outbox_guard.downgrade(),
        signatures: Signatures::default(),
    };
    let server = serve(listener, shared)?;
    Ok(Running {
        address,
        supervisor,
        logger,
        archive,
        registrar,
        catalog,
        scheduler,
        recheck,
        database: storage.database,
        server: server.handle(),
        serving: actix_web::rt::spawn(server),
        outboxes,
        outbox_guard,
        arbiters: vec![keys_arbiter, log_arbiter, service_arbiter],
    })
}

impl Running {
    /// Ends when the server ends by itself, which it only does when it fails.
    pub async fn failed(&mut self) -> io::Result<()> {
        (&mut self.serving).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Stops accepting, lets running answers finish, then writes down what is left.
    pub async fn stop(self) {
        self.server.stop(true).await;
        let Self { outbox_guard, mut outboxes, .. } = self;
        drop(outbox_guard);
        if timeout(OUTBOX_DEADLINE, outboxes.recv()).await.is_err() {
            warn!("some finished requests did not reach the logger in time");
        }
        let saved = async {
            tokio::join!(
                self.logger.send(Flush),
                self.archive.send(Flush),
                self.supervisor.send(Checkpoint),
                self.registrar.send(SaveOwners)
            )
        };
        if timeout(FLUSH_DEADLINE, saved).await.is_err() {
            warn!("the database did not take the last log rows in time");
        }
        for arbiter in self.arbiters {
            arbiter.stop();
        }
    }
}

fn address_of(config: &Config) -> String {
    format!("{}:{}", config.server.host, config.server.port)
}

fn listen(config: &Config) -> Result<TcpListener, StartError> {
    /// Connections that the kernel holds until a worker takes them.
    const BACKLOG: i32 = 4096;
    let failed = |source| StartError::Listen { address: address_of(config), source };
    let address = (config.server.host.as_str(), config.server.port).to_socket_addrs().map_err(failed)?.next();
    let address = address.ok_or_else(|| failed(io::Error::other("the host name has no address")))?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
        .map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind(&address.into()).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket.into())
}

struct OpenStorage {
    database: Database,
    sealer: Sealer,
    keys: Vec<PoolKey>,
    ledgers: HashMap<String, String>,
}

/// Opens the database and brings its keys up to `API_KEYS`.
fn open_storage(config: &Config) -> Result<OpenStorage, StartError> {
    let database = Database::open(&config.storage.database)?;
    let sealer = Sealer::new(&match config.storage.encryption_key.clone() {
        Some(key) => key,
        None => {
            let kept = load_or_create_key_file(&config.storage.data_dir, "encryption.key")
                .map_err(StartError::Secrets)?;
            kept.value
        }
    });
    if let Some(configured) = &config.pool.api_keys {
        let now_ms = Now::read().unix_ms();
        let synced =
            database.write_blocking(|conn| keys::sync_configured(conn, &sealer, configured, now_ms))?;
        info!(
            added = synced.added,
            removed = synced.removed,
            kept = synced.kept,
            "the keys of API_KEYS are stored"
        );
    }
    let loaded = database.read_blocking(|conn| keys::load_keys(conn, &sealer))?;
    if !loaded.unreadable.is_empty() {
        warn!(
            keys = loaded.unreadable.len(),
            "stored keys cannot be opened with this encryption key and stay out of use; restore ENCRYPTION_KEY or the key file"
        );
    }
    let to_pool_key = |stored: keys::StoredKey| PoolKey {
        id: stored.id,
        secret: stored.key,
        placement: stored.placement,
        health: stored.health.and_then(|json| serde_json::from_str(&json).ok()),
    };
    let keys: Vec<_> = loaded.keys.into_iter().map(to_pool_key).collect();
    if keys.is_empty() {
        warn!("{NO_KEYS}");
    }
    let ledgers = database.read_blocking(ledgers::load_ledgers)?;
    let ledgers = ledgers.into_iter().map(|stored| (stored.project, stored.ledger)).collect();
    Ok(OpenStorage { database, sealer, keys, ledgers })
}

/// The administrator's token: the one that is set, else the one that is kept in the data folder.
fn admin_tokens(auth: &Auth, storage: &Storage) -> Result<TokenSet, StartError> {
    let token = match auth.auth_token.clone() {
        Some(token) => token,
        None => {
            let kept = load_or_create_admin_token(&storage.data_dir).map_err(StartError::Secrets)?;
            if kept.is_new {
                info!("AUTH_TOKEN is not set, so an admin token was made; it is in {}", kept.path.display());
            }
            kept.value
        }
    };
    Ok(TokenSet::new([(TokenId::new("auth"), token)]))
}

/// Who may use the gateway. A set admin token opens the client API as well, as users of gemini-balance expect.
fn client_tokens(auth: &Auth) -> TokenSet {
    let tokens = TokenSet::configured(&auth.allowed_tokens, auth.auth_token.as_ref());
    if tokens.is_empty() {
        warn!("{NO_TOKENS}");
    }
    tokens
}

fn client_marks(auth: &Auth, sealer: &Sealer) -> ClientMarks {
    let tokens = named_tokens(&auth.allowed_tokens, auth.auth_token.as_ref());
    let hex = |mark: [u8; 32]| mark[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    ClientMarks::new(tokens.map(|(client, token)| (client, hex(sealer.fingerprint(token.expose())))))
}

/// Who owns what lies at Google, as far as the last run knew.
fn load_owners(config: &Config, database: &Database, marks: &ClientMarks) -> Result<Owners, DbError> {
    let now_ms = Now::read().unix_ms();
    let stored = database.read_blocking(|conn| resources::load_resources(conn, now_ms))?;
    let mut owners = Owners::new(registrar::CAPACITY, config.gemini.isolates_clients);
    registrar::restore(&mut owners, stored, marks, now_ms);
    Ok(owners)
}

/// The re-check of suspect keys, if there is to be one.
fn start_recheck(config: &Config, arbiter: &Arbiter, supervisor: &Addr<Supervisor>) -> Option<Addr<Recheck>> {
    config.pool.check_interval?;
    let (upstream, model) = (config.upstream.clone(), config.pool.test_model.clone());
    let supervisor = supervisor.clone();
    Some(Recheck::start_in_arbiter(&arbiter.handle(), move |_| Recheck::new(supervisor, &upstream, model)))
}

fn start_schedule(
    config: &Config,
    arbiter: &Arbiter,
    logger: &Addr<Logger>,
    archive: &Addr<Archive>,
    (registry, registrar): (Arc<Registry>, Addr<Registrar>),
    (supervisor, recheck): (Addr<Supervisor>, Option<Addr<Recheck>>),
) -> Addr<Scheduler> {
    let (timezone, logger, archive) = (config.logs.timezone, logger.clone(), archive.clone());
    let clear = PruneResponses { older_than: config.responses.retention };
    let prune = Prune {
        requests_older_than: config.logs.request_retention,
        errors_older_than: config.logs.error_retention,
    };
    let hours = config.pool.check_interval.map_or(0, |interval| interval.as_secs() / 3600);
    let hours = u32::try_from(hours).unwrap_or(u32::MAX);
    Scheduler::start_in_arbiter(&arbiter.handle(), move |_| {
        let scheduler = Scheduler::new(timezone)
            .pruning(logger, prune)
            .clearing(archive, clear)
            .forgetting(registry, registrar)
            .forgetting_projects(supervisor);
        match recheck {
            Some(recheck) => scheduler.rechecking(recheck, hours),
            None => scheduler,
        }
    })
}

/// A way to Google for the thread that calls this, with a balancer of its own.
fn dispatcher(
    config: &Config,
    supervisor: &Addr<Supervisor>,
    egress: Arc<Egress>,
    retries: Arc<Retries>,
    registry: Arc<Registry>,
) -> Dispatcher {
    let balancer = Balancer::start_local(config.pool.balancing, supervisor.clone(), egress);
    Dispatcher::new(UpstreamClient::new(&config.upstream), balancer, retries, registry)
}

/// What all workers share.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    retries: Arc<Retries>,
    tokens: Arc<TokenSet>,
    registry: Arc<Registry>,
    sealer: Sealer,
    admin_tokens: Arc<TokenSet>,
    metrics: Arc<Metrics>,
    queue: Arc<LogQueue>,
    supervisor: Addr<Supervisor>,
    egress: Arc<Egress>,
    logger: Addr<Logger>,
    archive: Addr<Archive>,
    unwritten: Arc<Unwritten>,
    owners: Arc<TokenOwners>,
    catalog: Addr<Catalog>,
    models: watch::Receiver<Arc<ModelList>>,
    database: Database,
    outbox_guard: mpsc::WeakSender<()>,
    signatures: Signatures,
    switches: Arc<Switches>,
}

impl Shared {
    fn dispatcher(&self) -> Dispatcher {
        let (egress, retries) = (self.egress.clone(), self.retries.clone());
        dispatcher(&self.config, &self.supervisor, egress, retries, self.registry.clone())
    }

    /// One worker's share; made on its thread.
    fn gateway(&self) -> Gateway {
        let config = &self.config;
        Gateway {
            dispatcher: self.dispatcher().into(),
            tokens: self.tokens.clone(),
            registry: self.registry.clone(),
            sealer: self.sealer.clone(),
            admin_tokens: self.admin_tokens.clone(),
            catalog: self.catalog.clone(),
            models: self.models.clone(),
            supervisor: self.supervisor.clone(),
            database: self.database.clone(),
            outbox: Outbox::new(self.logger.clone(), self.queue.clone(), self.outbox_guard.upgrade()),
            signatures: self.signatures.clone(),
            responses: Responses {
                archive: self.archive.clone(),
                unwritten: self.unwritten.clone(),
                database: self.database.clone(),
                owners: self.owners.clone(),
                is_on: config.responses.store,
            },
            switches: self.switches.clone(),
            streams: Streams { fake: config.streams.fake, smoothing: switches::smoothing(&config.streams) },
            heartbeat: config.upstream.stream_heartbeat,
            media: fetcher(&config.media),
            metrics: self.metrics.clone(),
            limits: Limits {
                max_body_bytes: config.server.max_body_bytes,
                body_timeout: config.server.body_timeout,
            },
            safety_settings: safety_settings(&config.gemini),
            filtered_models: config.gemini.filtered_models.clone().into(),
            show_thoughts: config.gemini.show_thinking_process,
            record_request_body: config.logs.record_request_body,
            node: config.server.node_name.clone(),
        }
    }
}

/// Fetches remote media for the worker that calls this.
fn fetcher(media: &config::Media) -> Option<Rc<Fetcher>> {
    let private_hosts = Arc::new(media.private_hosts.iter().cloned().collect());
    let limits = media::Limits { max_bytes: media.max_bytes, timeout: media.timeout, private_hosts };
    media.fetch_enabled.then(|| Fetcher::new(limits))
}

fn safety_settings(gemini: &Gemini) -> Option<Box<RawValue>> {
    if gemini.safety_settings.is_empty() {
        return None;
    }
    to_raw_value(&gemini.safety_settings).ok()
}

fn serve(listener: TcpListener, shared: Shared) -> Result<Server, StartError> {
    let config = shared.config.clone();
    let failed = |source| StartError::Listen { address: address_of(&config), source };
    let factory = move || {
        App::new()
            .app_data(Data::new(shared.gateway()))
            .wrap(from_fn(name_request))
            .wrap(Condition::new(shared.config.switches.url_normalization, from_fn(normalize_path)))
            .wrap(cors(&shared.config.server.cors_allowed_origins))
            .configure(api::routes)
    };
    let unread_timeout = config.upstream.total_timeout;
    let server = HttpServer::new(factory)
        .workers(config.server.workers.unwrap_or_else(num_cpus))
        .client_request_timeout(config.server.header_timeout)
        .keep_alive(config.server.keep_alive)
        .max_connections(config.server.max_connections)
        .shutdown_timeout(config.server.shutdown_timeout.as_secs())
        // A client that reads nothing for as long as a request may take has gone, and its connection with it.
        .on_connect(move |socket, _| close_when_unread(socket, unread_timeout))
        // Events must leave at once.
        .tcp_nodelay(true)
        // A client that closes its side has hung up: its upstream call is cancelled.
        .h1_allow_half_closed(false)
        .disable_signals()
        .listen(listener)
        .map_err(failed)?;
    Ok(server.run())
}

/// The server itself waits for ever for room to write. The kernel counts from when it last could send.
fn close_when_unread(socket: &dyn Any, timeout: Duration) {
    #[cfg(target_os = "linux")]
    if let Some(stream) = socket.downcast_ref::<TcpStream>()
        && let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(timeout))
    {
        warn!(%error, "a connection may stay open for ever if its client does not read");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, timeout);
}

fn num_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Browsers may call the gateway from these origins; they send a token in a header, never a cookie.
fn cors(origins: &[String]) -> actix_cors::Cors {
    let cors = actix_cors::Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_any_header()
        .max_age(Duration::from_secs(600).as_secs() as usize);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin().send_wildcard();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
