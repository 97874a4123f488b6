//! `/openai/v1/*`: Google's own OpenAI layer, bodies and answers as they come. What it does not do for these keys is done here.

use std::{cell::Cell, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    web::Data,
};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

use super::{OpenAi, chat, embeddings::embed_inputs, models, writer::AsTheyCome};
use crate::{
    api::{
        address::{climbs, with_query},
        auth::ClientToken,
        body::{Body, Glance},
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        stream::{self, Opening},
    },
    domain::{client::TokenId, forwarding::Forwarding, model::ModelName, outcome::Outcome},
    upstream::{
        call::{AnswerKind, Call, Credential},
        trail::Trail,
    },
};

/// How long Google's layer is left alone once it has taken none of the keys.
const LEFT_ALONE: Duration = Duration::from_secs(600);

/// Whether requests go to Google's layer. One for each worker.
#[derive(Debug)]
pub struct Forwarder {
    wanted: Forwarding,
    left_alone_until: Cell<Option<Instant>>,
}

impl Forwarder {
    pub fn new(wanted: Forwarding) -> Self {
        Self { wanted, left_alone_until: Cell::new(None) }
    }

    /// Whether the gateway does right away what it can.
    fn converts(&self, now: Instant) -> bool {
        match self.wanted {
            Forwarding::Always => false,
            Forwarding::Never => true,
            Forwarding::Auto => self.left_alone_until.get().is_some_and(|until| now < until),
        }
    }

    /// Whether the gateway is to do what came to nothing at Google's layer: only where that took the kind of no key.
    fn takes_over(&self, trail: &Trail, now: Instant) -> bool {
        let refused = Outcome::GatewayFault.name();
        let takes_none =
            !trail.attempts.is_empty() && trail.attempts.iter().all(|attempt| attempt.outcome == refused);
        let takes_over = self.wanted == Forwarding::Auto && takes_none;
        if takes_over {
            warn!(
                "Google's OpenAI layer takes none of the keys: requests to /openai/v1 are converted for a while"
            );
            self.left_alone_until.set(Some(now + LEFT_ALONE));
        }
        takes_over
    }
}

/// What the gateway can do itself of what is asked of Google's layer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Own {
    Chat,
    Embeddings,
    Models,
    Model(String),
}

impl Own {
    fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path.trim_end_matches('/')) {
            ("POST", "chat/completions") => Some(Self::Chat),
            ("POST", "embeddings") => Some(Self::Embeddings),
            ("GET", "models") => Some(Self::Models),
            ("GET", path) => path.strip_prefix("models/").map(|id| Self::Model(id.to_owned())),
            _ => None,
        }
    }
}

/// What is asked, and by whom.
struct Wanted<'r> {
    request: &'r HttpRequest,
    owner: TokenId,
    body: Bytes,
    /// `None` for what only Google can do.
    own: Option<Own>,
}

/// Forwards any method and path. `OpenAI-Organization` and its like stay here: Google takes them for credentials.
pub async fn pass_through(
    request: HttpRequest,
    gateway: Data<Gateway>,
    token: ClientToken<OpenAi>,
    body: Body<OpenAi>,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let path = path_at_google(&request).ok_or_else(|| ApiError::unknown_path(&request))?;
    let glance = Glance::at(&body.bytes);
    let is_stream = glance.is_stream();
    let name = if glance.model.is_empty() { named_by(path) } else { &glance.model };
    let asked = Asked::of("openai", "pass-through").model(name).stream(is_stream);
    let mut journal = Journal::begin(&gateway, &request, token.holder, asked, &body.bytes);
    let is_look = body.bytes.is_empty();
    let model = match model_of(&gateway, name).and_then(|model| admitted(&mut journal, model, is_look)) {
        Ok(model) => model,
        Err(error) => return journal.conclude(Err(error)),
    };
    let own = Own::of(request.method(), path);
    let wanted = Wanted { request: &request, owner: token.id, body: body.bytes, own };
    if gateway.forwarder.converts(Instant::now())
        && let Some(own) = wanted.own.clone()
    {
        return convert(own, &gateway, wanted, journal).await;
    }
    let kept = |name| Some((name, request.headers().get(name)?.clone()));
    let call = Call {
        method: request.method().clone(),
        target: target(path, request.query_string()),
        model,
        headers: [&CONTENT_TYPE, &ACCEPT]
            .into_iter()
            .filter_map(|name| kept(name).map(|(n, v)| (n.clone(), v)))
            .collect(),
        body: wanted.body.clone(),
        credential: Credential::Bearer,
        answer: AnswerKind::OpenAi,
    };
    if is_stream {
        open_stream(&gateway, wanted, call, journal).await
    } else {
        fetch(&gateway, wanted, call, journal).await
    }
}

/// Does it as under `/v1`.
async fn convert(
    own: Own,
    gateway: &Gateway,
    wanted: Wanted<'_>,
    journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let Wanted { request, owner, body, .. } = wanted;
    match own {
        Own::Chat => chat::complete(request, gateway, owner, body, journal).await,
        Own::Embeddings => embed_inputs(request, gateway, &body, journal).await,
        Own::Models => journal.conclude(models::list(gateway).await),
        Own::Model(id) => journal.conclude(models::find(gateway, id).await),
    }
}

/// What follows `/openai/v1/`, as the client wrote it: an escaped character stays one. `None` for a path that would
/// climb out of Google's OpenAI layer.
fn path_at_google(request: &HttpRequest) -> Option<&str> {
    request.uri().path().splitn(4, '/').nth(3).filter(|path| !climbs(path))
}

/// Path and query at Google; parameters stay as they were written, but for credentials.
fn target(path: &str, query: &str) -> String {
    with_query(format!("/v1beta/openai/{path}"), query)
}

/// The model in `models/{model}`; empty for other paths.
fn named_by(path: &str) -> &str {
    path.strip_prefix("models/").unwrap_or_default()
}

/// What only looks at something, such as the list of models, costs no tokens.
fn admitted(journal: &mut Journal, model: ModelName, is_look: bool) -> Result<ModelName, ApiError> {
    if is_look {
        journal.admit_free(&ModelName::none())?
    } else {
        journal.admit(&model)?
    }
    Ok(model)
}

/// The model of that name; a stand-in for calls that name no model, such as the list of models. What could be no model's
/// name is left to Google.
fn model_of(gateway: &Gateway, name: &str) -> Result<ModelName, ApiError> {
    match gateway.model(name.strip_prefix("google/").unwrap_or(name)) {
        Err(ApiError::ModelName { .. }) => Ok(ModelName::parse("openai.other").expect("a plain name")),
        named => named,
    }
}

async fn fetch(
    gateway: &Gateway,
    wanted: Wanted<'_>,
    call: Call,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let answer = gateway.dispatcher.fetch(&call, &mut journal.trail).await;
    if let (Err(_), Some(own)) = (&answer, wanted.own.clone())
        && gateway.forwarder.takes_over(&journal.trail, Instant::now())
    {
        return convert(own, gateway, wanted, journal).await;
    }
    journal.conclude(answer.map(|answer| {
        let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK));
        if let Some(content_type) = answer.content_type {
            response.insert_header((CONTENT_TYPE, content_type));
        }
        response.body(answer.body)
    }))
}

async fn open_stream(
    gateway: &Gateway,
    wanted: Wanted<'_>,
    call: Call,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let dispatcher = gateway.dispatcher.clone();
    let mut opening: Opening = Box::pin(async move {
        let opened = dispatcher.open(&call, &mut journal.trail).await;
        (opened.map(|source| vec![source.into()]), journal)
    });
    match (stream::first(&mut opening, gateway.heartbeat).await, wanted.own.clone()) {
        (Some((Err(_), journal)), Some(own))
            if gateway.forwarder.takes_over(&journal.trail, Instant::now()) =>
        {
            convert(own, gateway, wanted, journal).await
        }
        (Some(opened), _) => stream::respond_with::<OpenAi, _>(opened, AsTheyCome, gateway.heartbeat.into()),
        (None, _) => Ok(stream::begin(opening, AsTheyCome, gateway.heartbeat.into())),
    }
}
