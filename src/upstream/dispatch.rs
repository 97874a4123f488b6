//! Sends a request with one key after the other until there is an answer, and judges each answer on its way.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::de::IgnoredAny;
use tokio::{
    select,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    affinity::{Bond, preference},
    answer::AnswerStream,
    attempts::{Attempts, Sent, Start},
    call::{AnswerKind, Call},
    classify::{Classifier, Fault},
    client::{TransportError, UpstreamClient},
    events::EventStream,
    glance::{glance, is_empty_answer},
    google_error::GoogleError,
    hedge::{Awaited, Latecomers},
    openai_layer,
    proxies::Proxies,
    redact::{mask_key, redact_body},
    retries::Retries,
    trail::{Mark, Trail},
};
use crate::{
    actors::{balancer::BalancerHandle, lease::Lease, registrar::Registry},
    balance::budget::Budget,
    config::Upstream,
    domain::{
        client::TokenId,
        key::ApiKey,
        model::ModelName,
        outcome::{Outcome, ServerFault},
        resource::ResourceName,
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
    /// It is another client's.
    #[error("`{resource}` does not exist, or is not yours")]
    NotYours { resource: ResourceName },
    #[error(
        "`{first}` and `{second}` were made with different API keys behind this gateway, so no request can use both; \
         make them again, one soon after the other"
    )]
    Apart { first: ResourceName, second: ResourceName },
    /// Only one key can see it, and that one cannot be had.
    #[error("the API key that `{resource}` was made with {}", state_of_owner(*.retry_after))]
    OwnerAway {
        resource: ResourceName,
        /// `None`: it does not come back by itself.
        retry_after: Option<Duration>,
        is_quota: bool,
    },
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Another key was left to be tried, but the retry budget is spent.
    #[error("{last}")]
    OutOfBudget { last: Box<UpstreamError>, retry_after: Duration },
}

impl UpstreamError {
    /// Google's own words, where it is Google who refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::OutOfBudget { last, .. } => last.refusal(),
            Self::AllCooling { .. }
            | Self::Busy { .. }
            | Self::ModelUnavailable { .. }
            | Self::NoUsableKey { .. }
            | Self::NotYours { .. }
            | Self::Apart { .. }
            | Self::OwnerAway { .. }
            | Self::Transport(_) => None,
        }
    }
}

fn state_of_owner(retry_after: Option<Duration>) -> &'static str {
    match retry_after {
        Some(_) => "has no quota left at the moment or rests, and no other key can see it",
        None => "is out of use, and no other key can see it; make it again",
    }
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
    pub(super) client: UpstreamClient,
    pub(super) balancer: BalancerHandle,
    pub(super) retries: Arc<Retries>,
    registry: Arc<Registry>,
    late: Rc<Latecomers>,
}

/// What went wrong with one attempt.
pub(super) enum Failure<T> {
    Refused(Refusal),
    Transport(TransportError),
    /// A success without content; kept, as it is what Google says when every key says it.
    Empty(T),
}

impl Dispatcher {
    pub fn new(
        client: UpstreamClient,
        balancer: BalancerHandle,
        retries: Arc<Retries>,
        registry: Arc<Registry>,
    ) -> Self {
        Self { client, balancer, retries, registry, late: Rc::default() }
    }

    /// The same way to Google under other settings: with its balancer, with what it has learnt, and with its connections
    /// unless the change concerns them.
    pub fn renewed(&self, config: &Upstream, retries: Arc<Retries>, proxies: Arc<Proxies>) -> Self {
        Self {
            client: self.client.renewed(config, proxies),
            balancer: self.balancer.clone(),
            retries,
            registry: self.registry.clone(),
            late: self.late.clone(),
        }
    }

    /// Which key it has to be or had better be.
    pub(super) fn bond(&self, call: &Call, client: &TokenId) -> Result<Bond, UpstreamError> {
        preference(call, client, &self.registry)
    }

    /// Gets an answer whole.
    pub async fn fetch(&self, call: &Call, trail: &mut Trail) -> Result<Answer, UpstreamError> {
        let start = Start::until(self.client.deadline());
        let fetch = async |lease: &Lease, deadline| self.fetch_once(call, lease, deadline).await;
        let (answer, won) = self.try_keys(call, trail, start, Awaited::Whole, fetch).await?;
        if let Some(sent) = won {
            let mark = sent.as_sent();
            let mut lease = sent.lease;
            lease.count(answer.usage);
            let spent = mark.sent_at.elapsed();
            trail.usage = answer.usage;
            trail.succeeded(mark, answer.status, spent, spent);
            lease.settle_whole();
        }
        Ok(answer)
    }

    /// Opens a stream and holds it until its first content, so that a failure or an empty answer can still move to
    /// another key unseen.
    pub async fn open(
        self: &Rc<Self>,
        call: &Call,
        trail: &mut Trail,
    ) -> Result<AnswerStream, UpstreamError> {
        let events = self.open_part(call, trail, Start::until(self.client.deadline())).await?;
        let answer = AnswerStream::new(events);
        let may_go_on = self.retries.continues_streams && call.answer == AnswerKind::Generation;
        Ok(if may_go_on { answer.resuming(self.clone(), call.clone(), trail) } else { answer })
    }

    /// The same for one part of an answer.
    pub(super) async fn open_part(
        &self,
        call: &Call,
        trail: &mut Trail,
        start: Start,
    ) -> Result<EventStream, UpstreamError> {
        let open = async |lease: &Lease, deadline| self.open_once(call, lease, deadline).await;
        let (mut events, won) = self.try_keys(call, trail, start, Awaited::FirstContent, open).await?;
        if let Some(sent) = won {
            events.carry(sent);
        }
        Ok(events)
    }

    /// One key after the other, until one has an answer; a generation that is late gets one more beside it, and the
    /// first of them that has an answer wins. Without a lease comes an answer that was empty with every key: it is what
    /// Google says, and its leases are settled.
    pub(super) async fn try_keys<T>(
        &self,
        call: &Call,
        trail: &mut Trail,
        start: Start,
        awaited: Awaited,
        attempt: impl AsyncFn(&Lease, Instant) -> Result<T, Failure<T>>,
    ) -> Result<(T, Option<Sent>), UpstreamError> {
        let deadline = start.deadline;
        let send = async |sent: Sent| {
            let ended = attempt(&sent.lease, deadline).await;
            (sent, ended)
        };
        let mut patience = self.patience(call, awaited);
        let bond = self.bond(call, &trail.client)?;
        let mut attempts = Attempts::new(&self.balancer, &self.retries, call, trail, start, bond);
        // Dropping one cancels it: its connection is closed and its key given back.
        let mut running = FuturesUnordered::new();
        let mut hedge_at = deadline;
        let mut empty = None;
        loop {
            if running.is_empty() {
                match attempts.next().await {
                    Ok(sent) => running.push(send(sent)),
                    Err(error) => return empty.map(|answer| (answer, None)).ok_or(error),
                }
                hedge_at = patience.map_or(deadline, |patience| Instant::now() + patience);
            }
            let (sent, ended) = select! {
                Some(ended) = running.next() => ended,
                () = sleep_until(hedge_at), if patience.is_some() => {
                    patience = None;
                    if let Some(sent) = attempts.hedge().await {
                        running.push(send(sent));
                    }
                    continue;
                }
            };
            match ended {
                Ok(answer) => {
                    self.learn(call, awaited, sent.mark.sent_at, attempts.running());
                    return Ok((answer, Some(attempts.won(sent))));
                }
                Err(Failure::Empty(answer)) => {
                    attempts.was_empty(sent);
                    empty = Some(answer);
                }
                Err(Failure::Refused(refusal)) => attempts.refused(sent, refusal)?,
                Err(Failure::Transport(error)) => {
                    attempts.broke(sent, error.clone())?;
                    if refuses_body(&error, &call.body) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// How long a generation may take before a second one is sent; `None` is for ever.
    fn patience(&self, call: &Call, awaited: Awaited) -> Option<Duration> {
        self.hedges(call)?.note_request(Instant::now());
        self.late.patience(&call.model, awaited)
    }

    /// What pays for a second attempt beside the first. Only generations have one: they leave nothing behind at Google.
    fn hedges(&self, call: &Call) -> Option<&Budget> {
        self.retries.hedges.as_ref().filter(|_| call.answer == AnswerKind::Generation)
    }

    /// This attempt has an answer now; those that were sent before it would have taken longer still.
    fn learn(&self, call: &Call, awaited: Awaited, won_sent_at: Instant, running: &[Mark]) {
        if self.hedges(call).is_some() {
            for mark in running.iter().filter(|mark| mark.sent_at <= won_sent_at) {
                self.late.record(&call.model, awaited, mark.sent_at.elapsed());
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
            self.client.send(call, &lease.secret, &lease.exit, deadline).await.map_err(Failure::Transport)?;
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

    pub(super) fn refusal(
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
            self.client.send(call, &lease.secret, &lease.exit, deadline).await.map_err(Failure::Transport)?;
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
pub(super) fn is_cut_off(body: &[u8], content_type: Option<&HeaderValue>) -> bool {
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
