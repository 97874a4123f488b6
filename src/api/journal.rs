//! The record of one client request, from its head to the last byte of its answer.

use std::{mem::take, rc::Rc, sync::Arc, time::Duration};

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web::Data};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    error::{ApiError, Envelope, Failure},
    gateway::Gateway,
    outbox::Outbox,
    peer::Peer,
    request_id::RequestId,
};
use crate::{
    actors::tokens::{Admission, Holder},
    balance::allowance::Need,
    convert::traits::makes_pictures,
    db::{error_logs::NewErrorLog, request_logs::RequestLog},
    domain::{model::ModelName, time::Now},
    telemetry::metrics::{DialectLabel, ExtraLabels, Metrics, OutcomeLabel, RequestLabels},
    upstream::{call::estimate_tokens, trail::Trail},
};

/// What the client of a cut-off answer got; nginx's code for a client that hung up.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// Request bodies are kept up to here in the error log.
const LARGEST_RECORDED_BODY: usize = 64 * 1024;

/// Names of models are kept up to here, in characters; clients make some up.
const LONGEST_MODEL: usize = 200;

/// What a request asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub dialect: &'static str,
    pub endpoint: &'static str,
    /// As far as it is known: what the client wrote, once it is read, without its prefix.
    model: String,
    is_stream: bool,
}

impl Asked {
    /// Of a request that says the rest in its body, or has no more to say.
    pub fn of(dialect: &'static str, endpoint: &'static str) -> Self {
        Self { dialect, endpoint, model: String::new(), is_stream: false }
    }

    #[must_use]
    pub fn model(mut self, name: &str) -> Self {
        let name = ["google/", "models/"]
            .iter()
            .fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
        self.model = name.chars().take(LONGEST_MODEL).collect();
        self
    }

    #[must_use]
    pub fn stream(self, is_stream: bool) -> Self {
        Self { is_stream, ..self }
    }
}

/// Marks a request that has a journal, and so its own count in the metrics.
pub struct Journaled;

/// Written down exactly once: by [`finish`](Self::finish), or when it is dropped because the client hung up.
pub struct Journal {
    asked: Asked,
    request_id: String,
    holder: Arc<Holder>,
    /// Of the prompt, by estimate; 0 where nothing is counted.
    tokens: u64,
    /// Pictures that an answer counts as.
    images: u64,
    /// While the request counts against the holder's limits.
    admission: Option<Admission>,
    client_ip: Option<String>,
    node: Option<String>,
    /// Kept for the error log, if the operator wants it.
    body: Option<Bytes>,
    started: Instant,
    started_at_ms: i64,
    first_content: Option<Instant>,
    pub trail: Trail,
    /// What is done side by side for the same request.
    branches: Vec<Trail>,
    status: u16,
    error: Option<&'static str>,
    outbox: Rc<Outbox>,
    metrics: Arc<Metrics>,
}

impl Journal {
    /// For a client that was let in and whose body has arrived, before anything else can be refused.
    pub fn begin(
        gateway: &Data<Gateway>,
        request: &HttpRequest,
        holder: Arc<Holder>,
        asked: Asked,
        body: &Bytes,
    ) -> Self {
        request.extensions_mut().insert(Journaled);
        let request_id =
            request.extensions().get::<RequestId>().map(RequestId::to_string).unwrap_or_default();
        Self {
            asked,
            request_id,
            client_ip: Peer::of(request, gateway).address.map(|address| address.to_string()),
            node: gateway.node.clone(),
            body: gateway.record_request_body.then(|| body.clone()),
            started: request.extensions().get::<RequestId>().map_or_else(Instant::now, RequestId::started),
            started_at_ms: Now::read().unix_ms(),
            first_content: None,
            trail: Trail::of(holder.id.clone()).within(holder.terms.tiers),
            tokens: if holder.terms.has_limits() { estimate_tokens(body) } else { 0 },
            holder,
            images: 0,
            admission: None,
            branches: Vec::new(),
            status: CLIENT_CLOSED_REQUEST,
            error: Some("client_closed_request"),
            outbox: gateway.outbox.clone(),
            metrics: gateway.metrics.clone(),
        }
    }

    /// A trail for each of so many calls side by side; they are part of this record however the calls end.
    pub fn branches(&mut self, count: usize) -> &mut [Trail] {
        let Trail { client, tiers, .. } = &self.trail;
        self.branches.resize_with(count, || Trail::of(client.clone()).within(*tiers));
        &mut self.branches
    }

    /// The calls side by side are over; what follows comes after them.
    pub fn join(&mut self) {
        for branch in self.branches.drain(..) {
            self.trail.merge(branch);
        }
    }

    /// The body is read now.
    pub fn asks_for(&mut self, model: &str, is_stream: bool) {
        self.asked = Asked::of(self.asked.dialect, self.asked.endpoint).model(model).stream(is_stream);
    }

    /// Lets the request in, if its holder may use the model and has something left; to be asked before Google is.
    pub fn admit(&mut self, model: &ModelName) -> Result<(), ApiError> {
        let images = u64::from(makes_pictures(model.as_str()));
        self.admit_as(model, Need { tokens: self.tokens, images })
    }

    /// The same for what costs no tokens: counting them, lists, files.
    pub fn admit_free(&mut self, model: &ModelName) -> Result<(), ApiError> {
        self.admit_as(model, Need::default())
    }

    fn admit_as(&mut self, model: &ModelName, need: Need) -> Result<(), ApiError> {
        self.require_model(model)?;
        // One request is one, however often it is let in.
        self.admission = None;
        self.admission = Some(self.holder.admit(need, Now::read()).map_err(ApiError::OverLimit)?);
        self.images = need.images;
        Ok(())
    }

    /// Whatever names a model may be used only for those that the token is for.
    pub fn require_model(&self, model: &ModelName) -> Result<(), ApiError> {
        if model.is_none() || self.holder.terms.allow_model(model.as_str()) {
            return Ok(());
        }
        Err(ApiError::ModelNotAllowed { model: model.as_str().to_owned() })
    }

    /// The same of what a client wrote.
    pub fn require_named(&self, name: &str) -> Result<(), ApiError> {
        let model = ModelName::parse(name).ok_or_else(|| ApiError::ModelName { name: name.to_owned() })?;
        self.require_model(&model)
    }

    pub fn is_bound_to_models(&self) -> bool {
        !self.holder.terms.models.is_empty()
    }

    /// What was never sent does not count, and what failed used no tokens. Of a client that hung up before there was an
    /// answer nobody knows what it used.
    fn settle(&mut self) {
        let Some(admission) = self.admission.take() else { return };
        let usage = self.trail.usage.map(|usage| usage.input() + usage.output());
        if self.trail.answered_by.is_some() {
            admission.settle(usage, self.images);
        } else if self.status == CLIENT_CLOSED_REQUEST {
            admission.settle(usage, 0);
        } else if !self.trail.attempts.is_empty() {
            admission.settle(Some(usage.unwrap_or(0)), 0);
        }
    }

    /// The first byte of content goes to the client now.
    pub fn content_begins(&mut self) {
        self.first_content.get_or_insert_with(Instant::now);
    }

    /// Writes down what the client gets, and hands it on.
    pub fn conclude<F: Envelope>(
        self,
        result: Result<HttpResponse, impl Into<ApiError>>,
    ) -> Result<HttpResponse, Failure<F>> {
        match result {
            Ok(response) => {
                self.finish(response.status().as_u16());
                Ok(response)
            }
            Err(error) => {
                let failure = Failure::from(error);
                self.fail(failure.status(), &failure.error);
                Err(failure)
            }
        }
    }

    /// The answer is complete.
    pub fn finish(mut self, status: u16) {
        self.content_begins();
        (self.status, self.error) = (status, None);
    }

    /// The client was told an error; `status` is 200 when the answer had begun before.
    pub fn fail(mut self, status: u16, error: &ApiError) {
        (self.status, self.error) = (status, Some(error.name()));
    }

    fn measure(&self, now: Instant) {
        let Asked { dialect, endpoint, .. } = self.asked;
        self.metrics.requests.get_or_create(&RequestLabels { dialect, endpoint, status: self.status }).inc();
        let label = DialectLabel { dialect };
        self.metrics.duration.get_or_create(&label).observe((now - self.started).as_secs_f64());
        if let Some(first) = self.first_content {
            let waited = first - self.started;
            self.metrics.first_byte.get_or_create(&label).observe(waited.as_secs_f64());
            let own = waited.saturating_sub(self.trail.upstream);
            self.metrics.overhead.get_or_create(&label).observe(own.as_secs_f64());
        }
        for attempt in &self.trail.attempts {
            self.metrics.count_wait(attempt.waited_ms, "served");
            let outcome = attempt.outcome.clone();
            self.metrics.attempts.get_or_create(&OutcomeLabel { outcome: outcome.clone() }).inc();
            if let Some(extra) = attempt.extra {
                let label = ExtraLabels { kind: extra.name(), outcome };
                self.metrics.extra_attempts.get_or_create(&label).inc();
            }
        }
        for no_key in &self.trail.no_keys {
            self.metrics.count_wait(no_key.waited_ms, "refused");
        }
        self.metrics.retries_refused.inc_by(self.trail.retries_refused);
        if let Some(usage) = &self.trail.usage {
            self.metrics.count_tokens(usage);
        }
    }

    /// Takes what it can from the journal; nothing else is written after it.
    fn take_row(&mut self, now: Instant) -> RequestLog {
        let usage = self.trail.usage.unwrap_or_default();
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        RequestLog {
            id: take(&mut self.request_id),
            started_at_ms: self.started_at_ms,
            duration_ms: ms(now - self.started),
            dialect: self.asked.dialect.into(),
            endpoint: self.asked.endpoint.into(),
            model: take(&mut self.asked.model),
            stream: self.asked.is_stream,
            status: self.status.into(),
            key_id: self.trail.answered_by.map(|key| key.0),
            token_id: Some(self.holder.id.as_str().to_owned()),
            client_ip: self.client_ip.take(),
            attempts: i32::try_from(self.trail.attempts.len()).unwrap_or(i32::MAX),
            trail: self.trail.to_json(),
            first_byte_ms: self.first_content.map(|first| ms(first - self.started)),
            prompt_tokens: count(usage.input()),
            cached_tokens: count(usage.cached_content_token_count),
            output_tokens: count(usage.candidates_token_count),
            thoughts_tokens: count(usage.thoughts_token_count),
            error: self.error.map(Into::into),
            node: self.node.take(),
        }
    }

    fn error_rows(&self) -> Vec<NewErrorLog> {
        if self.trail.failures.is_empty() {
            return Vec::new();
        }
        let body = self.body.as_ref().map(|body| {
            let kept = &body[..body.len().min(LARGEST_RECORDED_BODY)];
            String::from_utf8_lossy(kept).into_owned()
        });
        let at_ms = Now::read().unix_ms();
        let row = |failure: &crate::upstream::trail::FailedAttempt| NewErrorLog {
            request_id: self.request_id.clone(),
            at_ms,
            key_id: Some(failure.key_id.0),
            model: self.asked.model.clone(),
            status: Some(failure.status).filter(|status| *status != 0).map(i32::from),
            kind: failure.outcome.to_owned(),
            message: failure.message.clone(),
            request_body: body.clone(),
        };
        self.trail.failures.iter().map(row).collect()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.join();
        self.settle();
        let now = Instant::now();
        self.measure(now);
        let errors = self.error_rows();
        let row = self.take_row(now);
        self.outbox.put(row, errors);
    }
}
