//! Starts everything in order, and stops it in reverse with a deadline.

mod access;
mod cluster;
mod cors;
mod crew;
mod enforcer;
mod live;
mod server;
mod storage;
mod switches;
mod worker;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web::dev::ServerHandle;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::warn;

use self::{
    crew::{Crew, Nodes, Threads},
    enforcer::Enforcer,
    live::Live,
    worker::Shared,
};
use crate::{
    actors::{
        Observe,
        archive::Archive,
        cluster::{Cluster, Lead, Leave, News},
        follower::KeyFollower,
        logger::{Flush, Logger},
        registrar::{Registrar, SaveOwners},
        supervisor::{Checkpoint, PoolSnapshot, Supervisor},
        tokens::{SaveUse, TokenKeeper},
    },
    api::{gateway::AdminDoor, signatures::Signatures},
    cluster::{Change, ChangedKeys},
    config::{ConfigErrors, Loaded},
    db::{Database, DbError},
    services::{catalog::Catalog, recheck::Recheck, scheduler::Scheduler},
    settings::keeper::Keeper,
    telemetry::LevelSwitch,
};

/// How long finished requests may take to reach the logger once the server has stopped.
const OUTBOX_DEADLINE: Duration = Duration::from_secs(2);
/// How long the database may take to accept what is left.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
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
    pub keeper: Addr<TokenKeeper>,
    pub catalog: Addr<Catalog>,
    pub scheduler: Addr<Scheduler>,
    pub recheck: Addr<Recheck>,
    pub cluster: Addr<Cluster>,
    pub database: Database,
    admin: Arc<AdminDoor>,
    server: ServerHandle,
    /// Ends when the server has ended.
    serving: actix_web::rt::task::JoinHandle<io::Result<()>>,
    /// Open while a worker may still hold finished requests.
    outboxes: mpsc::Receiver<()>,
    outbox_guard: mpsc::Sender<()>,
    threads: Threads,
}

/// Starts a gateway; needs a running actix system. `log_level` follows the settings.
pub async fn start(loaded: Loaded, log_level: LevelSwitch) -> Result<Running, StartError> {
    let (database, sealer) = storage::open(&loaded.config.storage)?;
    let settings = storage::restore_settings(loaded, &database, &sealer)?;
    let config = settings.config();
    log_level.set(config.logs.level);
    let listener = server::listen(&config)?;
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Listen { address: server::address_of(&config), source })?;
    storage::sync_pool(&config, &database, &sealer)?;
    let news = Arc::<News>::default();
    let told = config.cluster.redis.is_some().then(|| news.clone());
    let tokens = Arc::new(access::client_tokens(&config.auth, &sealer, &database, told.clone())?);
    let admin = Arc::new(access::admin_door(&config.auth, &config.storage, &sealer)?);
    let (live, states) = watch::channel(Arc::new(Live::new(config.clone())));

    let lead = Arc::<Lead>::default();
    let nodes = Nodes { news: told.clone(), lead: lead.clone() };
    let (crew, threads) = Crew::start(&states.borrow(), &database, &sealer, tokens.clone(), nodes)?;
    let keeper = {
        let (crew, database, sealer) = (crew.clone(), database.clone(), sealer.clone());
        let (tokens, admin) = (tokens.clone(), admin.clone());
        let enforcer = Enforcer { live, log_level, crew, sealer, tokens, admin };
        let on_change = move || told.iter().for_each(|news| news.change(Change::Settings));
        Keeper::start_in_arbiter(&threads.services.handle(), move |_| {
            Keeper::new(settings, database, enforcer.prepare()).telling(Box::new(on_change))
        })
    };
    let cluster = {
        let (redis, card) = (cluster::redis(&config, &sealer), cluster::card(&config, &admin));
        let follower = {
            let (database, find) = (database.clone(), cluster::find_keys(sealer.clone()));
            let supervisor = crew.supervisor.clone();
            KeyFollower::start_in_arbiter(&threads.cluster.handle(), move |_| {
                KeyFollower::new(database, find, supervisor)
            })
        };
        let on_change = cluster::on_change(keeper.clone(), follower);
        // What has become of `API_KEYS` since the last run.
        news.change_keys(ChangedKeys::All);
        let tokens = tokens.clone();
        Cluster::start_in_arbiter(&threads.cluster.handle(), move |_| {
            Cluster::new(card, redis, tokens, news, lead, on_change)
        })
    };
    let (outbox_guard, outboxes) = mpsc::channel(1);
    let shared = Shared {
        crew: crew.clone(),
        tokens,
        sealer,
        admin: admin.clone(),
        cluster: cluster.clone(),
        settings: keeper,
        database: database.clone(),
        outbox_guard: outbox_guard.downgrade(),
        signatures: Signatures::default(),
        background: Arc::default(),
    };
    let server = server::serve(listener, shared, states)?;
    Ok(Running {
        address,
        supervisor: crew.supervisor,
        logger: crew.logger,
        archive: crew.archive,
        registrar: crew.registrar,
        keeper: crew.keeper,
        catalog: crew.catalog,
        scheduler: crew.scheduler,
        recheck: crew.recheck,
        cluster,
        database,
        admin,
        server: server.handle(),
        serving: actix_web::rt::spawn(server),
        outboxes,
        outbox_guard,
        threads,
    })
}

impl Running {
    /// Ends when the server ends by itself, which it only does when it fails.
    pub async fn failed(&mut self) -> io::Result<()> {
        (&mut self.serving).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Stops accepting, lets running answers finish, then writes down what is left.
    pub async fn stop(self) {
        self.admin.listeners.close();
        self.server.stop(true).await;
        let Self { outbox_guard, mut outboxes, .. } = self;
        drop(outbox_guard);
        if timeout(OUTBOX_DEADLINE, outboxes.recv()).await.is_err() {
            warn!("some finished requests did not reach the logger in time");
        }
        let saved = async {
            let checkpoint = self.supervisor.send(Checkpoint);
            let last_rows = async {
                // With the checkpoint it tells the logger what has happened to keys; it has done so when it answers.
                let _ = self.supervisor.send(Observe::<PoolSnapshot>::new()).await;
                self.logger.send(Flush).await
            };
            tokio::join!(
                checkpoint,
                last_rows,
                self.archive.send(Flush),
                self.registrar.send(SaveOwners),
                self.keeper.send(SaveUse),
                self.cluster.send(Leave)
            )
        };
        if timeout(FLUSH_DEADLINE, saved).await.is_err() {
            warn!("the database did not take the last log rows in time");
        }
        self.threads.stop();
    }
}
