//! What every handler of one worker thread works with.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::Addr;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{error::ApiError, outbox::Outbox};
use crate::{
    actors::{registrar::Registry, supervisor::Supervisor},
    db::Database,
    domain::model::ModelName,
    secrets::{Sealer, TokenSet},
    services::catalog::{Catalog, ModelList},
    telemetry::metrics::Metrics,
    upstream::dispatch::Dispatcher,
};

/// Bounds on what clients may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_body_bytes: usize,
    /// Longest silence while a body arrives.
    pub body_timeout: Duration,
}

/// One worker's share of the gateway.
pub struct Gateway {
    pub dispatcher: Rc<Dispatcher>,
    pub tokens: Arc<TokenSet>,
    /// Who owns what lies at Google.
    pub registry: Arc<Registry>,
    /// Makes the ids of uploads.
    pub sealer: Sealer,
    pub catalog: Addr<Catalog>,
    pub models: watch::Receiver<Arc<ModelList>>,
    pub supervisor: Addr<Supervisor>,
    pub database: Database,
    pub outbox: Rc<Outbox>,
    pub metrics: Arc<Metrics>,
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

impl Gateway {
    /// The model of that name, unless it is hidden here.
    pub fn model(&self, name: &str) -> Result<ModelName, ApiError> {
        let model = ModelName::parse(name).ok_or_else(|| ApiError::ModelName { name: name.to_owned() })?;
        if self.filtered_models.contains(&model) {
            return Err(ApiError::UnknownModel { model: name.to_owned() });
        }
        Ok(model)
    }
}
