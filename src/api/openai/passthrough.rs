//! `/openai/v1/*`: Google's own OpenAI layer, bodies and answers as they come.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    web::Data,
};

use super::{OpenAi, writer::AsTheyCome};
use crate::{
    api::{
        address::{climbs, with_query},
        auth::ClientToken,
        body::{Body, Glance},
        error::{ApiError, Failure},
        gateway::Gateway,
        journal::{Asked, Journal},
        stream,
    },
    domain::model::ModelName,
    upstream::call::{AnswerKind, Call, Credential},
};

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
    let kept = |name| Some((name, request.headers().get(name)?.clone()));
    let call = Call {
        method: request.method().clone(),
        target: target(path, request.query_string()),
        model,
        headers: [&CONTENT_TYPE, &ACCEPT]
            .into_iter()
            .filter_map(|name| kept(name).map(|(n, v)| (n.clone(), v)))
            .collect(),
        body: body.bytes,
        credential: Credential::Bearer,
        answer: AnswerKind::OpenAi,
    };
    if is_stream { open_stream(&gateway, call, journal).await } else { fetch(&gateway, call, journal).await }
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

async fn fetch(gateway: &Gateway, call: Call, mut journal: Journal) -> Result<HttpResponse, Failure<OpenAi>> {
    let answer = gateway.dispatcher.fetch(&call, &mut journal.trail).await;
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
    call: Call,
    mut journal: Journal,
) -> Result<HttpResponse, Failure<OpenAi>> {
    let dispatcher = gateway.dispatcher.clone();
    let opening = Box::pin(async move {
        let opened = dispatcher.open(&call, &mut journal.trail).await;
        (opened.map(|source| vec![source.into()]), journal)
    });
    stream::respond::<OpenAi, _>(opening, AsTheyCome, gateway.heartbeat).await
}
