//! Answers that are passed on as they are, and bodies that are passed on while they arrive: files are too large to be
//! held.

use std::{cell::Cell, io, pin::pin, rc::Rc};

use actix_web::http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use awc::ClientResponse;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use super::{
    affinity::Bond,
    attempts::{Attempts, Sent, Start},
    call::Call,
    client::TransportError,
    dispatch::{Dispatcher, Failure, UpstreamError, is_cut_off},
    hedge::Awaited,
    trail::Trail,
};
use crate::{actors::lease::Lease, balance::affinity::Preference, domain::key::KeyId};

/// An answer as it came, error or not.
pub struct Relayed {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The key that gave it.
    pub key: KeyId,
    pub body: RelayedBody,
}

pub enum RelayedBody {
    /// JSON, which is looked at.
    Whole(Bytes),
    /// Anything else, which may be of any size.
    Arriving(Box<Arriving>),
}

/// What one attempt got.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    body: HeadBody,
}

enum HeadBody {
    Whole(Bytes),
    Arriving(ClientResponse),
}

/// A body on its way; the lease rides inside and is settled with its end.
pub struct Arriving {
    response: ClientResponse,
    sent: Sent,
    idle_timeout: std::time::Duration,
}

impl Arriving {
    /// The bytes as they come. It ends with an error when Google breaks off or falls silent.
    pub fn into_stream(self: Box<Self>) -> impl Stream<Item = Result<Bytes, TransportError>> + 'static {
        stream::unfold(Some(self), async |arriving| {
            let mut arriving = arriving?;
            match tokio::time::timeout(arriving.idle_timeout, arriving.response.next()).await {
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(arriving))),
                Ok(Some(Err(error))) => Some((Err(TransportError::Broken(error.to_string())), None)),
                Ok(None) => {
                    let Sent { lease, .. } = arriving.sent;
                    lease.settle_whole();
                    None
                }
                Err(_) => Some((Err(TransportError::Idle(arriving.idle_timeout)), None)),
            }
        })
    }
}

/// How a client's body is doing that is passed on while it arrives.
#[derive(Debug, Clone)]
pub struct Intake(Rc<IntakeState>);

#[derive(Debug)]
struct IntakeState {
    moved_at: Cell<Instant>,
    failed: Cell<bool>,
}

impl Default for Intake {
    fn default() -> Self {
        Self(Rc::new(IntakeState { moved_at: Instant::now().into(), failed: false.into() }))
    }
}

impl Intake {
    /// The client's side broke: nobody else is to blame.
    pub fn fail(&self) {
        self.0.failed.set(true);
    }

    /// Google takes the next part of the body.
    pub fn moves(&self) {
        self.0.moved_at.set(Instant::now());
    }
}

/// A client's body, and its length where that is known.
pub struct Incoming<S> {
    pub stream: S,
    pub length: Option<u64>,
    pub intake: Intake,
}

impl Dispatcher {
    /// Gets an answer of any kind and passes it on.
    pub async fn relay(&self, call: &Call, trail: &mut Trail) -> Result<Relayed, UpstreamError> {
        let start = Start::until(self.client.deadline());
        let relay = async |lease: &Lease, deadline| self.relay_once(call, lease, deadline).await;
        let (head, sent) = self.try_keys(call, trail, start, Awaited::Whole, relay).await?;
        let sent = sent.ok_or_else(|| TransportError::Broken("there was no answer".to_owned()))?;
        Ok(self.pass_on(head, sent, trail))
    }

    /// Sends a body that cannot be sent twice, with this key or else with any; there is one attempt.
    pub async fn push<S>(
        &self,
        call: &Call,
        key: Option<KeyId>,
        incoming: Incoming<S>,
        trail: &mut Trail,
    ) -> Result<Relayed, UpstreamError>
    where
        S: Stream<Item = Result<Bytes, io::Error>> + 'static,
    {
        let bond = match key {
            Some(key) => Bond { preference: Some(Preference::Owner(key)), resource: None },
            None => self.bond(call, &trail.client)?,
        };
        let start = Start::until(self.client.deadline());
        let mut attempts = Attempts::new(&self.balancer, &self.retries, call, trail, start, bond);
        let sent = attempts.next().await?;
        let intake = incoming.intake.clone();
        match self.push_once(call, &sent.lease, incoming).await {
            Ok(head) => {
                let sent = attempts.won(sent);
                Ok(self.pass_on(head, sent, trail))
            }
            Err(Failure::Refused(refusal)) => {
                attempts.refused(sent, refusal.clone())?;
                Err(UpstreamError::Refused(Box::new(refusal)))
            }
            // Dropped, the attempt counts as abandoned.
            Err(Failure::Transport(error)) if intake.0.failed.get() => Err(error.into()),
            Err(Failure::Transport(error)) => {
                attempts.broke(sent, error.clone())?;
                Err(error.into())
            }
            Err(Failure::Empty(_)) => Err(TransportError::Broken("there was no answer".to_owned()).into()),
        }
    }

    fn pass_on(&self, Head { status, headers, body }: Head, sent: Sent, trail: &mut Trail) -> Relayed {
        let key = sent.lease.key;
        let spent = sent.mark.sent_at.elapsed();
        trail.succeeded(sent.as_sent(), status.as_u16(), spent, spent);
        let body = match body {
            HeadBody::Whole(body) => {
                sent.lease.settle_whole();
                RelayedBody::Whole(body)
            }
            HeadBody::Arriving(response) => RelayedBody::Arriving(Box::new(Arriving {
                response,
                sent,
                idle_timeout: self.client.idle_timeout,
            })),
        };
        Relayed { status, headers, key, body }
    }

    async fn relay_once(&self, call: &Call, lease: &Lease, deadline: Instant) -> Result<Head, Failure<Head>> {
        let response =
            self.client.send(call, &lease.secret, &lease.exit, deadline).await.map_err(Failure::Transport)?;
        self.head(response, lease, deadline).await
    }

    async fn push_once<S>(
        &self,
        call: &Call,
        lease: &Lease,
        incoming: Incoming<S>,
    ) -> Result<Head, Failure<Head>>
    where
        S: Stream<Item = Result<Bytes, io::Error>> + 'static,
    {
        let intake = incoming.intake.clone();
        intake.moves();
        let mut sending = pin!(self.client.push(call, lease, incoming.stream, incoming.length));
        let patience = self.client.first_byte_timeout;
        let response = loop {
            let silent_at = intake.0.moved_at.get() + patience;
            select! {
                sent = &mut sending => break sent.map_err(Failure::Transport)?,
                () = sleep_until(silent_at) => if intake.0.moved_at.get() + patience <= Instant::now() {
                    return Err(Failure::Transport(TransportError::FirstByte(patience)));
                },
            }
        };
        self.head(response, lease, self.client.deadline()).await
    }

    async fn head(
        &self,
        mut response: ClientResponse,
        lease: &Lease,
        deadline: Instant,
    ) -> Result<Head, Failure<Head>> {
        let (status, headers) = (response.status(), response.headers().clone());
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let is_json =
            content_type.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let is_error = status.is_client_error() || status.is_server_error();
        if !is_error && !is_json {
            return Ok(Head { status, headers, body: HeadBody::Arriving(response) });
        }
        let body = self.client.collect(&mut response, deadline).await.map_err(Failure::Transport)?;
        if is_error {
            return Err(Failure::Refused(self.refusal(status, &body, content_type, &lease.secret)));
        }
        if is_cut_off(&body, content_type.as_ref()) {
            return Err(Failure::Transport(TransportError::Broken("the answer broke off".to_owned())));
        }
        Ok(Head { status, headers, body: HeadBody::Whole(body) })
    }
}
