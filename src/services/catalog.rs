//! The list of models that Google offers to our keys, fetched once in a while and handed to every worker.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::prelude::*;
use actix_web::http::Method;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{debug, info};

use super::SettingsChanged;
use crate::{
    actors::Observe,
    domain::model::ModelName,
    upstream::{
        call::{AnswerKind, Call, Credential},
        dispatch::{Dispatcher, Refusal, UpstreamError, malformed},
        trail::Trail,
    },
};

const REFRESH_EVERY: Duration = Duration::from_secs(60 * 60);
/// While there is no list yet.
const RETRY_EVERY: Duration = Duration::from_secs(60);
/// Google had about 60 models in 2026; this many pages of 1,000 are a bound, not an expectation.
const MAX_PAGES: usize = 5;

/// Models as Google describes them, in Google's order.
#[derive(Debug, Default)]
pub struct ModelList {
    pub models: Vec<Value>,
    /// Those that are shown to nobody but administrators.
    pub hidden: Vec<Value>,
}

impl ModelList {
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Google's names, such as `models/gemini-2.5-flash`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().filter_map(|model| model["name"].as_str())
    }

    /// The model of that name, with or without `models/` in front.
    pub fn find(&self, name: &ModelName) -> Option<&Value> {
        let resource = name.resource();
        self.models.iter().find(|model| model["name"] == *resource)
    }
}

/// Snapshot: what the catalogue holds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CatalogSnapshot {
    pub models: usize,
    pub refreshes: u64,
    pub failures: u64,
}

pub struct Catalog {
    dispatcher: Rc<Dispatcher>,
    /// Hidden from every list.
    filtered: Vec<ModelName>,
    /// As Google told it last, hidden models included.
    all: Vec<Value>,
    published: watch::Sender<Arc<ModelList>>,
    refreshes: u64,
    failures: u64,
}

impl Catalog {
    /// `dispatcher` belongs to the thread that this actor runs on.
    pub fn new(
        dispatcher: Rc<Dispatcher>,
        filtered: Vec<ModelName>,
        published: watch::Sender<Arc<ModelList>>,
    ) -> Self {
        Self { dispatcher, filtered, all: Vec::new(), published, refreshes: 0, failures: 0 }
    }

    /// Tells all workers what is not hidden.
    fn publish(&self) -> Arc<ModelList> {
        let is_shown = |model: &Value| {
            let name = model["name"].as_str().and_then(ModelName::parse);
            name.is_some_and(|name| !self.filtered.contains(&name))
        };
        let (models, hidden) = self.all.iter().cloned().partition(is_shown);
        let list = Arc::new(ModelList { models, hidden });
        self.published.send_replace(list.clone());
        list
    }

    fn refresh_again(&mut self, ctx: &mut Context<Self>) {
        let refreshing = ctx.address().send(Refresh).into_actor(self);
        ctx.spawn(refreshing.map(|_, catalog, ctx| {
            let wait = if catalog.published.borrow().is_empty() { RETRY_EVERY } else { REFRESH_EVERY };
            ctx.run_later(wait, Self::refresh_again);
        }));
    }
}

impl Actor for Catalog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.refresh_again(ctx);
    }
}

/// Command: fetch the list now. Answers with it, or with why there is none; the old list stays then.
#[derive(Debug, Message)]
#[rtype(result = "Result<Arc<ModelList>, UpstreamError>")]
pub struct Refresh;

impl Handler<Refresh> for Catalog {
    type Result = ResponseActFuture<Self, Result<Arc<ModelList>, UpstreamError>>;

    fn handle(&mut self, _: Refresh, _: &mut Context<Self>) -> Self::Result {
        let dispatcher = self.dispatcher.clone();
        let fetching = async move { fetch_all(&dispatcher).await }.into_actor(self);
        Box::pin(fetching.map(|fetched, catalog, _| match fetched {
            Ok(models) => {
                catalog.all = models;
                catalog.refreshes += 1;
                let list = catalog.publish();
                info!(models = list.models.len(), "the list of models is here");
                Ok(list)
            }
            Err(error) => {
                catalog.failures += 1;
                debug!(%error, "the list of models could not be fetched");
                Err(error)
            }
        }))
    }
}

impl Handler<SettingsChanged> for Catalog {
    type Result = ();

    fn handle(
        &mut self,
        SettingsChanged { config, retries, proxies }: SettingsChanged,
        _: &mut Context<Self>,
    ) {
        self.dispatcher = Rc::new(self.dispatcher.renewed(&config.upstream, retries, proxies));
        if self.filtered != config.gemini.filtered_models {
            self.filtered.clone_from(&config.gemini.filtered_models);
            self.publish();
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    models: Vec<Value>,
    #[serde(default)]
    next_page_token: String,
}

async fn fetch_all(dispatcher: &Dispatcher) -> Result<Vec<Value>, UpstreamError> {
    let mut models = Vec::new();
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        let answer = dispatcher.fetch(&list_call(&token), &mut Trail::default()).await?;
        let page: Page = serde_json::from_slice(&answer.body)
            .map_err(|_| unusable("Gemini's list of models has an unknown shape"))?;
        models.extend(page.models);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    if models.is_empty() {
        return Err(unusable("Gemini's list of models is empty"));
    }
    Ok(models)
}

fn unusable(what: &str) -> UpstreamError {
    UpstreamError::Refused(Box::new(Refusal::inside(malformed(what))))
}

fn list_call(page_token: &str) -> Call {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("pageSize", "1000");
    if !page_token.is_empty() {
        query.append_pair("pageToken", page_token);
    }
    Call {
        method: Method::GET,
        target: format!("/v1beta/models?{}", query.finish()),
        model: ModelName::none(),
        headers: Vec::new(),
        body: Bytes::new(),
        credential: Credential::ApiKeyHeader,
        answer: AnswerKind::Plain,
    }
}

impl Handler<Observe<CatalogSnapshot>> for Catalog {
    type Result = MessageResult<Observe<CatalogSnapshot>>;

    fn handle(&mut self, _: Observe<CatalogSnapshot>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(CatalogSnapshot {
            models: self.published.borrow().models.len(),
            refreshes: self.refreshes,
            failures: self.failures,
        })
    }
}
