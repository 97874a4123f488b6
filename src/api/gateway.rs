//! What every handler of one worker thread works with.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::Addr;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    admin::{
        events::Listeners,
        idempotency::Replies,
        jobs::Jobs,
        session::{AdminTokens, Attempts, Sessions},
    },
    archive::Responses,
    error::ApiError,
    openai::passthrough::Forwarder,
    outbox::Outbox,
    signatures::{Remembered, Signatures},
    source::Shape,
};
use crate::{
    actors::{
        cluster::Cluster,
        directory::Directory,
        logger::{LogQueue, Logger},
        registrar::Registry,
        supervisor::Supervisor,
        tokens::{TokenReplica, TokenStore},
        traffic::Traffic,
    },
    convert::switches::{Edits, Smoothing, Switches, Wanted},
    db::Database,
    domain::{client::TokenId, model::ModelName, network::Network},
    media::Fetcher,
    secrets::{Sealer, TokenSet},
    services::{
        catalog::{Catalog, ModelList},
        recheck::Recheck,
        scheduler::Scheduler,
        updates::Updates,
    },
    settings::keeper::Keeper,
    telemetry::metrics::Metrics,
    upstream::{call::Call, dispatch::Dispatcher, proxies::Proxies},
};

/// Bounds on what clients may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_body_bytes: usize,
    /// Longest silence while a body arrives.
    pub body_timeout: Duration,
}

/// How streams are made to look.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    /// Streams are made of whole answers, with signs of life so often meanwhile.
    pub fake: Option<Duration>,
    pub smoothing: Option<Smoothing>,
}

/// A model with what its name and the settings ask for.
#[derive(Debug)]
pub struct Asked {
    pub model: ModelName,
    pub wanted: Wanted,
}

/// How administrators get in; shared by all workers.
#[derive(Debug)]
pub struct AdminDoor {
    pub tokens: AdminTokens,
    pub sessions: Sessions,
    pub attempts: Attempts,
    pub jobs: Jobs,
    /// To requests with an `Idempotency-Key`.
    pub replies: Replies,
    /// Held from reading a key to writing it, so that no change is lost to another.
    pub key_edits: tokio::sync::Mutex<()>,
    /// Pages that follow what happens.
    pub listeners: Listeners,
    pub started_at_ms: i64,
}

/// One worker's share of the gateway, under the settings of one moment. A request keeps the one that it began with.
pub struct Gateway {
    pub dispatcher: Rc<Dispatcher>,
    /// Who may come in.
    pub tokens: TokenReplica,
    /// The same, for whoever changes it.
    pub token_store: Arc<TokenStore>,
    /// Who owns what lies at Google.
    pub registry: Arc<Registry>,
    /// Makes the ids of uploads, and the hashes that tokens are known by.
    pub sealer: Sealer,
    /// The administrators' way in.
    pub admin: Arc<AdminDoor>,
    /// Whose word about a client is taken.
    pub trusted_proxies: Arc<[Network]>,
    pub catalog: Addr<Catalog>,
    pub models: watch::Receiver<Arc<ModelList>>,
    pub supervisor: Addr<Supervisor>,
    pub cluster: Addr<Cluster>,
    pub settings: Addr<Keeper>,
    /// All keys, for whoever looks at them.
    pub directory: Addr<Directory>,
    pub recheck: Addr<Recheck>,
    pub logger: Addr<Logger>,
    pub scheduler: Addr<Scheduler>,
    pub updates: Addr<Updates>,
    /// Threads that serve.
    pub workers: usize,
    pub database: Database,
    pub outbox: Rc<Outbox>,
    pub proxies: Arc<Proxies>,
    /// Where Gemini is, without the version.
    pub base_url: String,
    pub signatures: Signatures,
    /// Those that clients asked to keep.
    pub responses: Responses,
    /// Who does what is asked of `/openai/v1`.
    pub forwarder: Forwarder,
    /// What names of models and the settings ask for.
    pub switches: Arc<Switches>,
    pub streams: Streams,
    /// For pictures by their address; `None` when none are fetched.
    pub media: Option<Rc<Fetcher>>,
    pub metrics: Arc<Metrics>,
    /// What happens just now.
    pub traffic: Arc<Traffic>,
    /// What waits to be logged.
    pub log_queue: Arc<LogQueue>,
    pub limits: Limits,
    /// A silent stream gets a sign of life this often; never, if `None`.
    pub heartbeat: Option<Duration>,
    /// JSON list for generations whose client sent none.
    pub safety_settings: Option<Box<RawValue>>,
    pub filtered_models: Arc<[ModelName]>,
    pub show_thoughts: bool,
    pub record_request_body: bool,
    pub node: Option<String>,
}

impl AdminDoor {
    /// Lets in whoever shows these, and nobody who showed the tokens before: their sessions and streams end, but for a
    /// session that is spared.
    pub fn change_tokens(&self, tokens: TokenSet) {
        self.tokens.replace(tokens);
        self.sessions.close_all();
    }
}

impl Asked {
    /// Changes what is ready to be generated from, as the name and the settings ask for.
    pub fn change(&self, call: &mut Call) {
        if let Some(body) = self.wanted.changes.apply(&call.body) {
            call.body = body.into();
        }
        self.change_headers(call);
    }

    /// The same of a call that generates nothing, whose body has other fields.
    pub fn change_headers(&self, call: &mut Call) {
        let Edits { set, defaults, remove } = &self.wanted.headers;
        call.headers.retain(|(name, _)| !remove.iter().any(|removed| name == removed.as_str()));
        for (name, value) in defaults {
            if !call.headers.iter().any(|(known, _)| known == name.as_str()) {
                call.headers.extend(header(name, value));
            }
        }
        for (name, value) in set {
            call.headers.retain(|(known, _)| known != name.as_str());
            call.headers.extend(header(name, value));
        }
    }
}

/// The configuration has looked at the name; a value that no header can carry is left out.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name.parse().ok()?, value.parse().ok()?))
}

impl Gateway {
    /// How the streams of Gemini's answers look.
    pub fn shape(&self) -> Shape {
        let heartbeat = self.streams.fake.into_iter().chain(self.heartbeat).min();
        Shape { heartbeat, smoothing: self.streams.smoothing }
    }

    /// What is remembered of that client's conversations with the model.
    pub fn remembered(&self, owner: &TokenId, model: &ModelName) -> Remembered {
        self.signatures.of(owner.clone(), model.clone())
    }

    /// The model that a client's name stands for, unless it is hidden here.
    pub fn asked(&self, name: &str) -> Result<Asked, ApiError> {
        let real = self.models.borrow();
        let is_real = |name: &str| {
            // A hidden model is not taken for another one.
            let name = ModelName::parse(name);
            name.is_some_and(|name| real.find(&name).is_some() || self.filtered_models.contains(&name))
        };
        let wanted = self.switches.resolve(name, is_real);
        Ok(Asked { model: self.model(&wanted.model)?, wanted })
    }

    /// The model of that name, unless it is hidden here.
    pub fn model(&self, name: &str) -> Result<ModelName, ApiError> {
        let model = ModelName::parse(name).ok_or_else(|| ApiError::ModelName { name: name.to_owned() })?;
        if self.filtered_models.contains(&model) {
            return Err(ApiError::UnknownModel { model: name.to_owned() });
        }
        Ok(model)
    }
}
