//! The actors that there is one of each, started on the threads where they belong.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::watch;

use super::{StartError, live::Live, storage, storage::OpenStorage};
use crate::{
    actors::{
        archive::{Archive, Unwritten},
        balancer::Balancer,
        directory::Directory,
        logger::{LogQueue, Logger},
        registrar::{Registrar, Registry},
        supervisor::{ProjectSettings, ReportTo, Supervisor},
        tokens::{TokenKeeper, TokenStore},
    },
    balance::egress::Egress,
    services::{
        catalog::{Catalog, ModelList},
        recheck::Recheck,
        scheduler::Scheduler,
    },
    telemetry::metrics::Metrics,
    upstream::{client::UpstreamClient, dispatch::Dispatcher},
};

/// How to reach them, and what they share with the workers.
#[derive(Clone)]
pub struct Crew {
    pub supervisor: Addr<Supervisor>,
    pub logger: Addr<Logger>,
    pub archive: Addr<Archive>,
    pub registrar: Addr<Registrar>,
    pub keeper: Addr<TokenKeeper>,
    pub catalog: Addr<Catalog>,
    pub directory: Addr<Directory>,
    pub recheck: Addr<Recheck>,
    pub scheduler: Addr<Scheduler>,
    pub registry: Arc<Registry>,
    pub egress: Arc<Egress>,
    pub metrics: Arc<Metrics>,
    pub queue: Arc<LogQueue>,
    pub unwritten: Arc<Unwritten>,
    pub models: watch::Receiver<Arc<ModelList>>,
}

impl Crew {
    /// The threads end when their arbiters are stopped.
    pub fn start(
        live: &Live,
        storage: OpenStorage,
        tokens: Arc<TokenStore>,
    ) -> Result<(Self, Vec<Arbiter>), StartError> {
        let config = live.config.clone();
        let (keys_arbiter, log_arbiter, service_arbiter) = (Arbiter::new(), Arbiter::new(), Arbiter::new());
        let view_arbiter = Arbiter::new();
        let owners = storage::load_owners(&config, &storage.database)?;
        let OpenStorage { database, keys, ledgers, .. } = storage;
        let queue = Arc::<LogQueue>::default();
        let logger = {
            let (database, queue) = (database.clone(), queue.clone());
            Logger::start_in_arbiter(&log_arbiter.handle(), move |_| Logger::new(database, queue))
        };
        let unwritten = Arc::<Unwritten>::default();
        let archive = {
            let (database, unwritten) = (database.clone(), unwritten.clone());
            Archive::start_in_arbiter(&log_arbiter.handle(), move |_| Archive::new(database, unwritten))
        };
        let registrar = {
            let database = database.clone();
            Registrar::start_in_arbiter(&log_arbiter.handle(), move |_| Registrar::new(database))
        };
        let keeper = TokenKeeper::start_in_arbiter(&log_arbiter.handle(), move |_| TokenKeeper::new(tokens));
        let supervisor = {
            let max_failures = config.pool.max_failures;
            let projects = ProjectSettings {
                limits: config.pool.limits.clone(),
                default_tier: config.pool.default_tier,
                stored: ledgers,
            };
            Supervisor::start_in_arbiter(&keys_arbiter.handle(), move |_| {
                Supervisor::new(keys, max_failures, projects, database)
            })
        };
        let directory = {
            let supervisor = supervisor.clone();
            Directory::start_in_arbiter(&view_arbiter.handle(), move |_| Directory::new(supervisor))
        };
        let registry = Arc::new(Registry::new(owners, registrar.clone()));
        let egress = Arc::<Egress>::default();
        let (published, models) = watch::channel(Arc::<ModelList>::default());
        let catalog = {
            let (config, retries, supervisor) = (config.clone(), live.retries.clone(), supervisor.clone());
            let (egress, registry) = (egress.clone(), registry.clone());
            Catalog::start_in_arbiter(&service_arbiter.handle(), move |_| {
                let balancer = Balancer::new(config.pool.balancing, supervisor, egress).start();
                let client = UpstreamClient::new(&config.upstream);
                let dispatcher = Dispatcher::new(client, balancer, retries, registry).into();
                Catalog::new(dispatcher, config.gemini.filtered_models.clone(), published)
            })
        };
        let recheck = {
            let (config, supervisor) = (config.clone(), supervisor.clone());
            Recheck::start_in_arbiter(&service_arbiter.handle(), move |_| Recheck::new(supervisor, &config))
        };
        supervisor.do_send(ReportTo(recheck.clone().recipient()));
        let scheduler = {
            let (logger, archive, recheck) = (logger.clone(), archive.clone(), recheck.clone());
            let (registry, registrar) = (registry.clone(), registrar.clone());
            Scheduler::start_in_arbiter(&service_arbiter.handle(), move |_| {
                Scheduler::new(config)
                    .pruning(logger)
                    .clearing(archive)
                    .forgetting(registry, registrar)
                    .rechecking(recheck)
            })
        };
        let crew = Self {
            supervisor,
            logger,
            archive,
            registrar,
            keeper,
            catalog,
            directory,
            recheck,
            scheduler,
            registry,
            egress,
            metrics: Arc::new(Metrics::new(queue.clone())),
            queue,
            unwritten,
            models,
        };
        Ok((crew, vec![keys_arbiter, log_arbiter, service_arbiter, view_arbiter]))
    }

    /// A way to Google for the thread that calls this, with a balancer of its own.
    pub fn dispatcher(&self, live: &Live) -> Dispatcher {
        let Live { config, retries, .. } = live;
        let balancer =
            Balancer::new(config.pool.balancing, self.supervisor.clone(), self.egress.clone()).start();
        let client = UpstreamClient::new(&config.upstream);
        Dispatcher::new(client, balancer, retries.clone(), self.registry.clone())
    }
}
