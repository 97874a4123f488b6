//! The actors that there is one of each, started on the threads where they belong.

use std::sync::{Arc, mpsc};

use actix::prelude::*;
use tokio::sync::watch;

use super::{StartError, live::Live, storage};
use crate::{
    actors::{
        archive::{Archive, Unwritten},
        balancer::{Balancer, BalancerHandle},
        cluster::{Lead, News},
        directory::Directory,
        key::AllowFailures,
        logger::{LogQueue, Logger},
        registrar::{Registrar, Registry},
        supervisor::{ProjectSettings, ReportTo, Supervisor},
        tokens::{TokenKeeper, TokenStore},
        traffic::Traffic,
    },
    db::Database,
    secrets::Sealer,
    services::{
        SettingsChanged,
        catalog::{Catalog, ModelList},
        recheck::Recheck,
        scheduler::Scheduler,
        updates::Updates,
    },
    telemetry::metrics::Metrics,
    upstream::{client::UpstreamClient, dispatch::Dispatcher},
};

/// Keys that are read and have no actor yet.
const KEYS_AT_ONCE: usize = 1_000;

/// How to reach them, and what they share with the workers.
#[derive(Clone)]
pub struct Crew {
    pub supervisor: Addr<Supervisor>,
    pub balancer: BalancerHandle,
    pub logger: Addr<Logger>,
    pub archive: Addr<Archive>,
    pub registrar: Addr<Registrar>,
    pub keeper: Addr<TokenKeeper>,
    pub catalog: Addr<Catalog>,
    pub directory: Addr<Directory>,
    pub recheck: Addr<Recheck>,
    pub scheduler: Addr<Scheduler>,
    pub updates: Addr<Updates>,
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
    pub queue: Arc<LogQueue>,
    pub traffic: Arc<Traffic>,
    pub unwritten: Arc<Unwritten>,
    pub models: watch::Receiver<Arc<ModelList>>,
}

/// What ties them to other nodes.
pub struct Nodes {
    /// None if there are no others.
    pub news: Option<Arc<News>>,
    pub lead: Arc<Lead>,
}

/// Where they live; the threads end when they are stopped.
pub struct Threads {
    keys: Arbiter,
    log: Arbiter,
    pub services: Arbiter,
    /// For whoever looks at keys.
    view: Arbiter,
    /// For what goes to and fro between nodes.
    pub cluster: Arbiter,
}

impl Threads {
    pub fn stop(self) {
        for arbiter in [self.keys, self.log, self.services, self.view, self.cluster] {
            arbiter.stop();
        }
    }
}

impl Crew {
    pub fn start(
        live: &Live,
        database: &Database,
        sealer: &Sealer,
        tokens: Arc<TokenStore>,
        nodes: Nodes,
    ) -> Result<(Self, Threads), StartError> {
        let config = live.config.clone();
        let owners = storage::load_owners(&config, database)?;
        let threads = Threads {
            keys: Arbiter::new(),
            log: Arbiter::new(),
            services: Arbiter::new(),
            view: Arbiter::new(),
            cluster: Arbiter::new(),
        };
        let ledgers = storage::load_ledgers(database)?;
        let (to_pool, keys) = mpsc::sync_channel(KEYS_AT_ONCE);
        let queue = Arc::<LogQueue>::default();
        let traffic = Arc::<Traffic>::default();
        let logger = {
            let (database, queue, traffic) = (database.clone(), queue.clone(), traffic.clone());
            Logger::start_in_arbiter(&threads.log.handle(), move |_| Logger::new(database, queue, traffic))
        };
        let unwritten = Arc::<Unwritten>::default();
        let archive = {
            let (database, unwritten) = (database.clone(), unwritten.clone());
            Archive::start_in_arbiter(&threads.log.handle(), move |_| Archive::new(database, unwritten))
        };
        let registrar = {
            let database = database.clone();
            Registrar::start_in_arbiter(&threads.log.handle(), move |_| Registrar::new(database))
        };
        let keeper = TokenKeeper::start_in_arbiter(&threads.log.handle(), move |_| TokenKeeper::new(tokens));
        let supervisor = {
            let (database, max_failures) = (database.clone(), config.pool.max_failures);
            let logger = logger.clone().recipient();
            let projects = ProjectSettings {
                limits: config.pool.limits.clone(),
                default_tier: config.pool.default_tier,
                stored: ledgers,
            };
            Supervisor::start_in_arbiter(&threads.keys.handle(), move |_| {
                Supervisor::new(keys, max_failures, projects, database).telling(logger).sharing(nodes.news)
            })
        };
        storage::read_pool(database, sealer, &to_pool)?;
        drop(to_pool);
        let directory = {
            let supervisor = supervisor.clone();
            Directory::start_in_arbiter(&threads.view.handle(), move |_| Directory::new(supervisor))
        };
        let registry = Arc::new(Registry::new(owners, registrar.clone()));
        let (published, models) = watch::channel(Arc::<ModelList>::default());
        let balancer = {
            let (supervisor, egresses) = (supervisor.clone(), live.proxies.egresses());
            Balancer::start_on(&threads.keys.handle(), config.pool.balancing, supervisor, egresses)
        };
        let catalog = {
            let (config, retries, balancer) = (config.clone(), live.retries.clone(), balancer.clone());
            let (proxies, registry) = (live.proxies.clone(), registry.clone());
            Catalog::start_in_arbiter(&threads.services.handle(), move |_| {
                let client = UpstreamClient::new(&config.upstream, proxies);
                let dispatcher = Dispatcher::new(client, balancer, retries, registry).into();
                Catalog::new(dispatcher, config.gemini.filtered_models.clone(), published)
            })
        };
        let recheck = {
            let (config, supervisor) = (config.clone(), supervisor.clone());
            let proxies = live.proxies.clone();
            Recheck::start_in_arbiter(&threads.services.handle(), move |_| {
                Recheck::new(supervisor, &config, proxies)
            })
        };
        supervisor.do_send(ReportTo(recheck.clone().recipient()));
        let updates = {
            let wanted = config.updates.clone();
            Updates::start_in_arbiter(&threads.services.handle(), move |_| Updates::new(wanted))
        };
        let scheduler = {
            let updates = updates.clone();
            let (logger, archive, recheck) = (logger.clone(), archive.clone(), recheck.clone());
            let (registry, registrar, supervisor) = (registry.clone(), registrar.clone(), supervisor.clone());
            Scheduler::start_in_arbiter(&threads.services.handle(), move |_| {
                Scheduler::new(config, nodes.lead)
                    .pruning(logger.clone())
                    .sampling(supervisor.clone(), logger)
                    .clearing(archive)
                    .forgetting(registry, registrar)
                    .purging(supervisor.clone())
                    .forgetting_projects(supervisor)
                    .rechecking(recheck)
                    .updating(updates)
            })
        };
        let crew = Self {
            supervisor,
            balancer,
            logger,
            archive,
            registrar,
            keeper,
            catalog,
            directory,
            recheck,
            scheduler,
            updates,
            registry,
            metrics: Arc::new(Metrics::new(queue.clone())),
            queue,
            traffic,
            unwritten,
            models,
        };
        Ok((crew, threads))
    }

    /// Tells all of them of other settings.
    pub fn follow(&self, live: &Live) {
        let config = live.config.clone();
        self.supervisor.do_send(AllowFailures(config.pool.max_failures));
        self.balancer.rebalance(config.pool.balancing, live.proxies.egresses());
        self.registry.isolate(config.gemini.isolates_clients);
        let changed =
            SettingsChanged { config, retries: live.retries.clone(), proxies: live.proxies.clone() };
        self.catalog.do_send(changed.clone());
        self.recheck.do_send(changed.clone());
        self.updates.do_send(changed.clone());
        self.scheduler.do_send(changed);
    }

    /// A way to Google for the thread that calls this.
    pub fn dispatcher(&self, live: &Live) -> Dispatcher {
        let Live { config, retries, proxies, .. } = live;
        let client = UpstreamClient::new(&config.upstream, proxies.clone());
        Dispatcher::new(client, self.balancer.clone(), retries.clone(), self.registry.clone())
    }
}
