//! Sends a request with one key after the other until there is an answer, and judges each answer on its way.

use std::time::Duration;

use actix::Addr;
use actix_web::http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout_at};

use super::{
    attempts::{Attempts, Won},
    call::{AnswerKind, Call},
    classify::{Classifier, Fault},
    client::{TransportError, UpstreamClient},
    events::EventStream,
    glance::{glance, is_empty_answer},
    google_error::GoogleError,
    openai_layer,
    redact::{mask_key, redact_body},
    trail::Trail,
};
use crate::{
    actors::{balancer::Balancer, lease::Lease},
    domain::{
        key::ApiKey,
        model::ModelName,
        outcome::{Outcome, ServerFault},
        usage::Usage,
    },
};

/// A body up to this size is sent again after the connection broke while it was being sent.
const LARGEST_RESENT: usize = 1024 * 1024;

/// An answer that came whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
    pub usage: Option<Usage>,
}

/// Why a request got no answer that the client could use.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Google's own refusal, of the request or of the last key that there was.
    #[error("{}", .0.fault.error.message)]
    Refused(Box<Refusal>),
    /// Every key that could serve the model has used up a quota.
    #[error("no key for model `{model}` has quota left at the moment")]
    AllCooling { model: ModelName, retry_after: Duration },
    /// A key may be had then; what keeps the others is no quota.
    #[error("no key for model `{model}` is ready at the moment")]
    Busy { model: ModelName, retry_after: Duration },
    /// Google offers the model to none of the keys.
    #[error("model `{model}` is not open to any of this gateway's keys")]
    ModelUnavailable { model: ModelName },
    /// No key could serve the model, now or later, without somebody acting.
    #[error("no usable key for model `{model}`")]
    NoUsableKey { model: ModelName },
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// What Google said, as it said it.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub fault: Fault,
    /// The body without secrets; empty when the error came inside a stream.
    pub body: Bytes,
    pub content_type: Option<HeaderValue>,
}

/// Sends requests to Google for one worker thread.
pub struct Dispatcher {
    client: UpstreamClient,
    balancer: Addr<Balancer>,
    /// `MAX_RETRIES`: attempts for one request, the first included.
    max_attempts: usize,
}

/// What went wrong with one attempt.
enum Failure<T> {
    Refused(Refusal),
    Transport(TransportError),
    /// A success without content; kept, as it is what Google says when every key says it.
    Empty(T),
}

impl Dispatcher {
    pub fn new(client: UpstreamClient, balancer: Addr<Balancer>, max_attempts: usize) -> Self {
        Self { client, balancer, max_attempts: max_attempts.max(1) }
    }

    /// Gets an answer whole.
    pub async fn fetch(&self, call: &Call, trail: &mut Trail) -> Result<Answer, UpstreamError> {
        let fetch = async |lease: &Lease, deadline| self.fetch_once(call, lease, deadline).await;
        let (answer, won) = self.try_keys(call, trail, fetch).await?;
        if let Some(Won { mut lease, sent_at }) = won {
            lease.count(answer.usage);
            let spent = sent_at.elapsed();
            trail.usage = answer.usage;
            trail.succeeded(lease.key, answer.status, spent, spent);
            lease.settle(Outcome::Success, spent);
        }
        Ok(answer)
    }

    /// Opens a stream and holds it until its first content, so that a failure or an empty answer can still move to
    /// another key unseen.
    pub async fn open(&self, call: &Call, trail: &mut Trail) -> Result<EventStream, UpstreamError> {
        let open = async |lease: &Lease, deadline| self.open_once(call, lease, deadline).await;
        let (mut events, won) = self.try_keys(call, trail, open).await?;
        if let Some(Won { lease, sent_at }) = won {
            events.carry(lease, sent_at);
        }
        Ok(events)
    }

    /// One key after the other, until one has an answer. Without a lease comes an answer that was empty with every
    /// key: it is what Google says, and its leases are settled.
    async fn try_keys<T>(
        &self,
        call: &Call,
        trail: &mut Trail,
        attempt: impl AsyncFn(&Lease, Instant) -> Result<T, Failure<T>>,
    ) -> Result<(T, Option<Won>), UpstreamError> {
        let deadline = self.client.deadline();
        let mut attempts = Attempts::new(&self.balancer, self.max_attempts, call, trail, deadline);
        let mut empty = None;
        loop {
            let lease = match attempts.next_lease().await {
                Ok(lease) => lease,
                Err(error) => return empty.map(|answer| (answer, None)).ok_or(error),
            };
            match attempt(&lease, deadline).await {
                Ok(answer) => return Ok((answer, Some(attempts.won(lease)))),
                Err(Failure::Empty(answer)) => {
                    attempts.was_empty(lease);
                    empty = Some(answer);
                }
                Err(Failure::Refused(refusal)) => attempts.refused(lease, refusal)?,
                Err(Failure::Transport(error)) => {
                    attempts.broke(lease, error.clone())?;
                    if refuses_body(&error, &call.body) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn fetch_once(
        &self,
        call: &Call,
        lease: &Lease,
        deadline: Instant,
    ) -> Result<Answer, Failure<Answer>> {
        let mut response =
            self.client.send(call, &lease.secret, deadline).await.map_err(Failure::Transport)?;
        let (status, content_type) = (response.status(), response.headers().get(CONTENT_TYPE).cloned());
        let body = self.client.collect(&mut response, deadline).await.map_err(Failure::Transport)?;
        if !status.is_success() {
            return Err(Failure::Refused(self.refusal(status, &body, content_type, &lease.secret)));
        }
        let answer = |usage| Answer {
            status: status.as_u16(),
            content_type: content_type.clone(),
            body: body.clone(),
            usage,
        };
        match call.answer {
            AnswerKind::Plain | AnswerKind::OpenAi if is_cut_off(&body, content_type.as_ref()) => {
                Err(Failure::Transport(TransportError::Broken("the answer broke off".to_owned())))
            }
            AnswerKind::Plain => Ok(answer(None)),
            AnswerKind::OpenAi => {
                match openai_layer::look_at(&body, &lease.secret, &self.client.classifier) {
                    openai_layer::Seen { fault: Some(fault), .. } => {
                        Err(Failure::Refused(Refusal::inside(fault)))
                    }
                    seen => Ok(answer(seen.usage)),
                }
            }
            AnswerKind::Generation => match judge_generation(&body, &lease.secret, &self.client.classifier) {
                Judged::Good(usage) => Ok(answer(usage)),
                Judged::Empty(usage) => Err(Failure::Empty(answer(usage))),
                Judged::Fault(fault) => Err(Failure::Refused(Refusal::inside(fault))),
            },
        }
    }

    fn refusal(
        &self,
        status: StatusCode,
        body: &Bytes,
        content_type: Option<HeaderValue>,
        key: &ApiKey,
    ) -> Refusal {
        Refusal::new(status.as_u16(), body, content_type, key, &self.client.classifier)
    }

    async fn open_once(
        &self,
        call: &Call,
        lease: &Lease,
        deadline: Instant,
    ) -> Result<EventStream, Failure<EventStream>> {
        let first_byte = Instant::now() + self.client.first_byte_timeout;
        let mut response =
            self.client.send(call, &lease.secret, deadline).await.map_err(Failure::Transport)?;
        let (status, content_type) = (response.status(), response.headers().get(CONTENT_TYPE).cloned());
        if !status.is_success() {
            let body = self.client.collect(&mut response, deadline).await.map_err(Failure::Transport)?;
            return Err(Failure::Refused(self.refusal(status, &body, content_type, &lease.secret)));
        }
        let mut events =
            EventStream::new(response, call.answer, lease.secret.clone(), &self.client, deadline);
        match timeout_at(first_byte.min(deadline), events.hold()).await {
            Ok(Ok(true)) => Ok(events),
            Ok(Ok(false)) => Err(Failure::Empty(events)),
            Ok(Err(fault)) => Err(Failure::Refused(Refusal::inside(*fault))),
            Err(_) if first_byte < deadline => {
                Err(Failure::Transport(TransportError::FirstByte(self.client.first_byte_timeout)))
            }
            Err(_) => Err(Failure::Transport(TransportError::Total(self.client.total_timeout))),
        }
    }
}

/// Whether the connection broke because Google does not want to read that much. It closes early on a body that is too
/// large, and would do so with every key.
fn refuses_body(error: &TransportError, body: &Bytes) -> bool {
    matches!(error, TransportError::Sending(_)) && body.len() > LARGEST_RESENT
}

enum Judged {
    Good(Option<Usage>),
    Empty(Option<Usage>),
    Fault(Fault),
}

fn judge_generation(body: &Bytes, key: &ApiKey, classifier: &Classifier) -> Judged {
    let Ok(seen) = glance(body) else {
        // Not JSON, or cut off: no client could read it.
        return Judged::Fault(malformed("Gemini answered 200 with a body that is not JSON"));
    };
    match seen.error.then(|| classifier.classify_error_event(&mask_key(body, key))).flatten() {
        Some(fault) => Judged::Fault(fault),
        None if is_empty_answer(&seen) => Judged::Empty(seen.usage),
        None => Judged::Good(seen.usage),
    }
}

/// Whether JSON ends in the middle. Answers come in chunks of which nobody says how many there are, and the HTTP client
/// takes a connection that ends early for the end of the body.
fn is_cut_off(body: &[u8], content_type: Option<&HeaderValue>) -> bool {
    let is_json = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    is_json
        && !body.is_empty()
        && serde_json::from_slice::<IgnoredAny>(body).is_err_and(|error| error.is_eof())
}

/// A fault that we saw in an answer which Google itself takes for a success.
pub fn malformed(message: &str) -> Fault {
    Fault {
        status: 502,
        outcome: Outcome::ServerFault(ServerFault::Failed),
        error: GoogleError {
            code: 502,
            status: "UNAVAILABLE".to_owned(),
            message: message.to_owned(),
            reason: None,
        },
        is_ours: true,
        consumer: None,
    }
}

impl Refusal {
    /// `key` is the one that was sent; neither the body nor the fault shows it.
    fn new(
        status: u16,
        body: &Bytes,
        content_type: Option<HeaderValue>,
        key: &ApiKey,
        classifier: &Classifier,
    ) -> Self {
        let body = mask_key(body, key);
        let fault = classifier.classify(status, &body);
        let body = match redact_body(&body) {
            std::borrow::Cow::Borrowed(_) => body.clone(),
            std::borrow::Cow::Owned(redacted) => redacted.into(),
        };
        Self { fault, body, content_type }
    }

    /// An error that came inside a 200.
    pub fn inside(fault: Fault) -> Self {
        Self { fault, body: Bytes::new(), content_type: None }
    }
}
