//! Acquire, send, classify, settle; the next key when that is right.

use std::{rc::Rc, time::Duration};

use actix::Addr;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::{
    call::{AnswerKind, Call},
    classify::{Fault, classify, classify_error_event},
    client::{TransportError, UpstreamClient},
    events::EventStream,
    glance::{glance, is_empty_answer},
    google_error::GoogleError,
    openai_layer,
    redact::redact_body,
    trail::Trail,
};
use crate::{
    actors::{
        balancer::{Acquire, AwaitKeys, Balancer, Settled},
        lease::Lease,
    },
    balance::table::Unavailable,
    domain::{
        key::KeyId,
        model::ModelName,
        outcome::{NextStep, Outcome, ServerFault},
        usage::Usage,
    },
};

/// First pause before another key is tried after a fault of Google's; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

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
    #[error("all keys for model `{model}` are cooling down")]
    AllCooling { model: ModelName, retry_after: Duration },
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

    /// Waits until this worker knows the keys.
    pub async fn ready(&self) {
        // Fails only when the balancer has ended, as the process does.
        let _ = self.balancer.send(AwaitKeys).await;
    }

    /// Until when a request that starts now may run.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.client.total_timeout
    }

    /// Gets an answer whole.
    pub async fn fetch(&self, call: &Call, trail: &mut Trail) -> Result<Answer, UpstreamError> {
        let mut attempts = Attempts::new(self, call, trail);
        let mut empty = None;
        loop {
            let lease = match attempts.next_lease().await {
                Ok(lease) => lease,
                Err(error) => return empty.map_or(Err(error), Ok),
            };
            match self.fetch_once(call, &lease, attempts.deadline).await {
                Ok(answer) => {
                    attempts.succeeded(lease, &answer);
                    return Ok(answer);
                }
                Err(Failure::Empty(answer)) => {
                    attempts.was_empty(lease, answer.status);
                    empty = Some(answer);
                }
                Err(Failure::Refused(refusal)) => attempts.refused(lease, refusal)?,
                Err(Failure::Transport(error)) => attempts.broke(lease, error)?,
            }
        }
    }

    /// Opens a stream and holds it until its first content, so that a failure or an empty answer can still move to
    /// another key unseen.
    pub async fn open(self: &Rc<Self>, call: &Call, trail: &mut Trail) -> Result<EventStream, UpstreamError> {
        let mut attempts = Attempts::new(self, call, trail);
        let mut empty = None;
        loop {
            let lease = match attempts.next_lease().await {
                Ok(lease) => lease,
                Err(error) => return empty.map_or(Err(error), Ok),
            };
            match self.open_once(call, &lease, attempts.deadline).await {
                Ok(mut events) => {
                    attempts.opened();
                    events.carry(lease, attempts.sent_at);
                    return Ok(events);
                }
                Err(Failure::Empty(events)) => {
                    attempts.was_empty(lease, 200);
                    empty = Some(events);
                }
                Err(Failure::Refused(refusal)) => attempts.refused(lease, refusal)?,
                Err(Failure::Transport(error)) => attempts.broke(lease, error)?,
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
            return Err(Failure::Refused(Refusal::new(status.as_u16(), body, content_type)));
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
            AnswerKind::OpenAi => Ok(answer(openai_layer::look_at(&body).usage)),
            AnswerKind::Generation => match judge_generation(&body) {
                Judged::Good(usage) => Ok(answer(usage)),
                Judged::Empty(usage) => Err(Failure::Empty(answer(usage))),
                Judged::Fault(fault) => Err(Failure::Refused(Refusal::inside(fault))),
            },
        }
    }

    async fn open_once(
        &self,
        call: &Call,
        lease: &Lease,
        deadline: Instant,
    ) -> Result<EventStream, Failure<EventStream>> {
        let mut response =
            self.client.send(call, &lease.secret, deadline).await.map_err(Failure::Transport)?;
        let (status, content_type) = (response.status(), response.headers().get(CONTENT_TYPE).cloned());
        if !status.is_success() {
            let body = self.client.collect(&mut response, deadline).await.map_err(Failure::Transport)?;
            return Err(Failure::Refused(Refusal::new(status.as_u16(), body, content_type)));
        }
        let mut events = EventStream::new(response, call.answer, self.client.idle_timeout, deadline);
        let first_byte = Instant::now() + self.client.first_byte_timeout;
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

enum Judged {
    Good(Option<Usage>),
    Empty(Option<Usage>),
    Fault(Fault),
}

fn judge_generation(body: &[u8]) -> Judged {
    let Ok(seen) = glance(body) else {
        // Not JSON, or cut off: no client could read it.
        return Judged::Fault(malformed("Gemini answered 200 with a body that is not JSON"));
    };
    match seen.error.then(|| classify_error_event(body)).flatten() {
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
    }
}

impl Refusal {
    fn new(status: u16, body: Bytes, content_type: Option<HeaderValue>) -> Self {
        let fault = classify(status, &body);
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

/// The attempts of one request, one after the other.
struct Attempts<'a> {
    dispatcher: &'a Dispatcher,
    call: &'a Call,
    trail: &'a mut Trail,
    tried: Vec<KeyId>,
    deadline: Instant,
    sent_at: Instant,
    pauses: u32,
    pause: Option<Duration>,
    last: Option<UpstreamError>,
    /// Keys that failed by no visible fault of their own; outliers if another key then succeeds.
    unexplained: Vec<KeyId>,
}

impl<'a> Attempts<'a> {
    fn new(dispatcher: &'a Dispatcher, call: &'a Call, trail: &'a mut Trail) -> Self {
        Self {
            dispatcher,
            call,
            trail,
            tried: Vec::new(),
            deadline: dispatcher.deadline(),
            sent_at: Instant::now(),
            pauses: 0,
            pause: None,
            last: None,
            unexplained: Vec::new(),
        }
    }

    /// A key that was not tried yet, or the error for the client when there is none or no attempt is left.
    async fn next_lease(&mut self) -> Result<Lease, UpstreamError> {
        if self.tried.len() >= self.dispatcher.max_attempts {
            return Err(self.give_up(Unavailable::AllTried));
        }
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        let acquire = Acquire { model: self.call.model.clone(), tried: self.tried.clone() };
        let acquired = self.dispatcher.balancer.send(acquire).await.unwrap_or(Err(Unavailable::NoUsableKey));
        match acquired {
            Ok(lease) => {
                self.tried.push(lease.key);
                self.sent_at = Instant::now();
                Ok(lease)
            }
            Err(unavailable) => Err(self.give_up(unavailable)),
        }
    }

    fn give_up(&mut self, unavailable: Unavailable) -> UpstreamError {
        let model = self.call.model.clone();
        match (self.last.take(), unavailable) {
            // Google itself has something to tell the client.
            (Some(UpstreamError::Refused(refusal)), _) if is_worth_telling(&refusal.fault.outcome) => {
                UpstreamError::Refused(refusal)
            }
            (Some(error @ UpstreamError::Transport(_)), _) => error,
            (_, Unavailable::CoolingUntil(until)) => UpstreamError::AllCooling {
                model,
                retry_after: until.saturating_duration_since(Instant::now()),
            },
            (Some(UpstreamError::Refused(refusal)), Unavailable::AllTried)
                if matches!(refusal.fault.outcome, Outcome::Quota(_)) =>
            {
                // Other keys are ready, but this request has had its share of attempts.
                UpstreamError::AllCooling { model, retry_after: Duration::from_secs(1) }
            }
            (None, Unavailable::AllTried) => {
                UpstreamError::AllCooling { model, retry_after: Duration::from_secs(1) }
            }
            (_, Unavailable::AllTried | Unavailable::NoUsableKey) => UpstreamError::NoUsableKey { model },
        }
    }

    fn succeeded(&mut self, lease: Lease, answer: &Answer) {
        let spent = self.sent_at.elapsed();
        self.trail.usage = answer.usage;
        self.trail.succeeded(lease.key, answer.status, spent, spent);
        lease.settle(Outcome::Success, spent);
        self.opened();
    }

    /// Where this key succeeds, those that failed before it have something to explain.
    fn opened(&mut self) {
        for key in self.unexplained.drain(..) {
            self.dispatcher.balancer.do_send(Settled {
                key,
                model: self.call.model.clone(),
                outcome: Outcome::Outlier,
                latency: Duration::ZERO,
                is_probe: false,
            });
        }
    }

    fn was_empty(&mut self, lease: Lease, status: u16) {
        let fault = Fault { status, outcome: Outcome::Empty, ..malformed("the answer had no content") };
        self.settle(lease, &fault);
    }

    fn refused(&mut self, lease: Lease, refusal: Refusal) -> Result<(), UpstreamError> {
        let step = refusal.fault.outcome.next_step();
        // Overload strikes at random, so it tells nothing of a key even where another one succeeds.
        if matches!(refusal.fault.outcome, Outcome::ServerFault(fault) if fault != ServerFault::Overloaded) {
            self.unexplained.push(lease.key);
        }
        self.settle(lease, &refusal.fault);
        self.proceed(step, UpstreamError::Refused(Box::new(refusal)))
    }

    fn broke(&mut self, lease: Lease, error: TransportError) -> Result<(), UpstreamError> {
        let outcome = Outcome::ServerFault(error.fault());
        let step = outcome.next_step();
        self.unexplained.push(lease.key);
        self.settle(lease, &Fault { status: 0, outcome, ..malformed(&error.to_string()) });
        self.proceed(step, error.into())
    }

    fn settle(&mut self, lease: Lease, fault: &Fault) {
        let spent = self.sent_at.elapsed();
        debug!(key.id = %lease.key, model = %self.call.model, outcome = fault.outcome.name(), "an attempt failed");
        self.trail.failed(lease.key, fault, spent);
        lease.settle(fault.outcome.clone(), spent);
    }

    fn proceed(&mut self, step: NextStep, error: UpstreamError) -> Result<(), UpstreamError> {
        if step == NextStep::Answer || Instant::now() >= self.deadline {
            return Err(error);
        }
        if step == NextStep::OtherKeyAfterBackoff {
            let longest = FIRST_BACKOFF * 2u32.saturating_pow(self.pauses.min(6));
            self.pause = Some(longest.mul_f64(0.5 + rand::random::<f64>() / 2.0));
            self.pauses += 1;
        }
        self.last = Some(error);
        Ok(())
    }
}

/// Errors of keys are never shown to clients, and quotas are told as a time to wait.
fn is_worth_telling(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::ServerFault(_)
        | Outcome::Empty
        | Outcome::ClientFault
        | Outcome::NotOwner
        | Outcome::ModelUnavailable
        | Outcome::Egress(_) => true,
        Outcome::Success
        | Outcome::Abandoned
        | Outcome::KeyInvalid(_)
        | Outcome::KeySuspect
        | Outcome::Outlier
        | Outcome::Quota(_)
        | Outcome::Billing(_)
        | Outcome::GatewayFault => false,
    }
}
