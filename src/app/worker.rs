//! One worker's share of the gateway, made anew when the settings have changed.
//!
//! A request keeps the gateway that it began with, so it never sees half of a change. What it pays for that is a look at
//! an atomic.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix::Addr;
use actix_web::{
    dev::{Extensions, ServiceRequest},
    http::header::HeaderValue,
    web::Data,
};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, watch};

use super::{crew::Crew, live::Live, switches};
use crate::{
    actors::{cluster::Cluster, tokens::TokenStore},
    api::{
        archive::Responses,
        gateway::{AdminDoor, Gateway, Limits, Streams},
        normalize::normalize_path,
        openai::{background::Background, passthrough::Forwarder},
        outbox::Outbox,
        signatures::Signatures,
    },
    config::{self, Gemini},
    db::Database,
    media::{self, Fetcher},
    secrets::Sealer,
    settings::keeper::Keeper,
    upstream::dispatch::Dispatcher,
};

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    pub crew: Crew,
    pub tokens: Arc<TokenStore>,
    pub sealer: Sealer,
    pub admin: Arc<AdminDoor>,
    pub cluster: Addr<Cluster>,
    pub settings: Addr<Keeper>,
    pub database: Database,
    pub outbox_guard: mpsc::WeakSender<()>,
    pub signatures: Signatures,
    pub background: Arc<Background>,
}

/// Lives on the thread that it was made on.
pub struct Worker {
    shared: Shared,
    outbox: Rc<Outbox>,
    live: RefCell<watch::Receiver<Arc<Live>>>,
    current: RefCell<Current>,
}

/// The gateway as the newest settings want it.
struct Current {
    live: Arc<Live>,
    allows_all_origins: bool,
    gateway: Data<Gateway>,
    /// Holds the gateway where handlers look for it.
    data: Rc<Extensions>,
}

impl Worker {
    pub fn new(shared: Shared, mut live: watch::Receiver<Arc<Live>>) -> Self {
        let outbox =
            Outbox::new(shared.crew.logger.clone(), shared.crew.queue.clone(), shared.outbox_guard.upgrade());
        let now = live.borrow_and_update().clone();
        let dispatcher = shared.crew.dispatcher(&now);
        let media = fetcher(&now.config.media);
        let gateway = shared.gateway(&now, dispatcher, media, outbox.clone());
        let current = RefCell::new(Current::new(now, gateway));
        Self { shared, outbox, live: RefCell::new(live), current }
    }

    /// Gives a request the gateway, and the path that was meant.
    pub fn equip(&self, request: &mut ServiceRequest) {
        if self.live.borrow().has_changed().unwrap_or(false) {
            self.renew();
        }
        let current = self.current.borrow();
        request.add_data_container(current.data.clone());
        if current.live.config.switches.url_normalization {
            normalize_path(request);
        }
    }

    /// Whether web pages from there may call.
    pub fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let current = self.current.borrow();
        let allowed = &current.live.config.server.cors_allowed_origins;
        current.allows_all_origins || allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    pub fn allows_all_origins(&self) -> bool {
        self.current.borrow().allows_all_origins
    }

    /// Connections and what was learnt of latencies stay, as far as the change does not concern them.
    fn renew(&self) {
        let live = self.live.borrow_mut().borrow_and_update().clone();
        let next = {
            let before = self.current.borrow();
            let (old, new) = (&before.live.config, &live.config);
            let dispatcher =
                before.gateway.dispatcher.renewed(&new.upstream, live.retries.clone(), live.proxies.clone());
            let media =
                if old.media == new.media { before.gateway.media.clone() } else { fetcher(&new.media) };
            let gateway = self.shared.gateway(&live, dispatcher, media, self.outbox.clone());
            Current::new(live.clone(), gateway)
        };
        self.current.replace(next);
    }
}

impl Current {
    fn new(live: Arc<Live>, gateway: Gateway) -> Self {
        let gateway = Data::new(gateway);
        let mut data = Extensions::new();
        data.insert(gateway.clone());
        let allows_all_origins = live.config.server.cors_allowed_origins.iter().any(|origin| origin == "*");
        Self { live, allows_all_origins, gateway, data: data.into() }
    }
}

impl Shared {
    fn gateway(
        &self,
        live: &Live,
        dispatcher: Dispatcher,
        media: Option<Rc<Fetcher>>,
        outbox: Rc<Outbox>,
    ) -> Gateway {
        let config = &live.config;
        Gateway {
            dispatcher: dispatcher.into(),
            tokens: self.tokens.replica(),
            token_store: self.tokens.clone(),
            registry: self.crew.registry.clone(),
            sealer: self.sealer.clone(),
            admin: self.admin.clone(),
            trusted_proxies: config.server.trusted_proxies.clone().into(),
            catalog: self.crew.catalog.clone(),
            models: self.crew.models.clone(),
            supervisor: self.crew.supervisor.clone(),
            cluster: self.cluster.clone(),
            settings: self.settings.clone(),
            directory: self.crew.directory.clone(),
            recheck: self.crew.recheck.clone(),
            logger: self.crew.logger.clone(),
            scheduler: self.crew.scheduler.clone(),
            updates: self.crew.updates.clone(),
            workers: super::server::workers(&config.server),
            database: self.database.clone(),
            outbox,
            proxies: live.proxies.clone(),
            base_url: config.upstream.base_url.origin.clone(),
            signatures: self.signatures.clone(),
            responses: Responses {
                archive: self.crew.archive.clone(),
                unwritten: self.crew.unwritten.clone(),
                database: self.database.clone(),
                background: self.background.clone(),
                is_on: config.responses.store,
            },
            forwarder: Forwarder::new(config.gemini.openai_passthrough),
            switches: live.switches.clone(),
            streams: Streams { fake: config.streams.fake, smoothing: switches::smoothing(&config.streams) },
            heartbeat: config.upstream.stream_heartbeat,
            media,
            metrics: self.crew.metrics.clone(),
            traffic: self.crew.traffic.clone(),
            log_queue: self.crew.queue.clone(),
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
