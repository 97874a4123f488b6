//! The attempts of one request: which key is next, what each came to, and what the client is told at the end.

use std::time::Duration;

use actix::Addr;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    affinity::preference,
    call::Call,
    classify::Fault,
    client::TransportError,
    dispatch::{Refusal, UpstreamError, malformed},
    trail::Trail,
};
use crate::{
    actors::{
        balancer::{Acquire, Balancer, Foresee, Settled},
        lease::Lease,
    },
    balance::{
        affinity::Preference,
        table::{Cause, Unavailable},
    },
    domain::{
        key::KeyId,
        outcome::{NextStep, Outcome, ServerFault},
    },
};

/// First pause before another key is tried after a fault of Google's; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Keys that Google turns out to refuse do not count as attempts, up to so many of them in one request.
const UNCOUNTED: usize = 8;
/// Told to a client that has a good chance at once.
const SOON: Duration = Duration::from_secs(1);

/// The lease of the attempt that has an answer.
pub struct Won {
    pub lease: Lease,
    pub sent_at: Instant,
}

/// The attempts of one request, one after the other.
pub struct Attempts<'a> {
    balancer: &'a Addr<Balancer>,
    max_attempts: usize,
    call: &'a Call,
    trail: &'a mut Trail,
    preference: Option<Preference>,
    tried: Vec<KeyId>,
    /// Attempts that count against the limit.
    counted: usize,
    /// The key of the attempt under way.
    running: Option<KeyId>,
    deadline: Instant,
    sent_at: Instant,
    pauses: u32,
    pause: Option<Duration>,
    last: Option<UpstreamError>,
    /// Keys that failed by no visible fault of their own; outliers if another key then succeeds.
    unexplained: Vec<KeyId>,
}

impl<'a> Attempts<'a> {
    pub fn new(
        balancer: &'a Addr<Balancer>,
        max_attempts: usize,
        call: &'a Call,
        trail: &'a mut Trail,
        deadline: Instant,
    ) -> Self {
        Self {
            balancer,
            max_attempts,
            preference: preference(call, &trail.client),
            call,
            trail,
            tried: Vec::new(),
            counted: 0,
            running: None,
            deadline,
            sent_at: Instant::now(),
            pauses: 0,
            pause: None,
            last: None,
            unexplained: Vec::new(),
        }
    }

    /// A key that was not tried yet, or the error for the client when there is none or no attempt is left.
    pub async fn next_lease(&mut self) -> Result<Lease, UpstreamError> {
        if self.counted >= self.max_attempts || self.tried.len() >= self.max_attempts + UNCOUNTED {
            let outlook = self.balancer.send(Foresee { model: self.call.model.clone() }).await;
            return Err(self.give_up(outlook.unwrap_or(Unavailable::NoUsableKey)));
        }
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        let acquire = Acquire {
            model: self.call.model.clone(),
            tokens: self.call.estimated_tokens(),
            client: self.trail.client.clone(),
            preference: self.preference,
            tried: self.tried.clone(),
            elsewhere: None,
            deadline: self.deadline,
        };
        let acquired = self.balancer.send(acquire).await.unwrap_or(Err(Unavailable::NoUsableKey));
        match acquired {
            Ok(lease) => {
                self.tried.push(lease.key);
                self.counted += 1;
                self.sent_at = Instant::now();
                self.running = Some(lease.key);
                Ok(lease)
            }
            Err(unavailable) => Err(self.give_up(unavailable)),
        }
    }

    /// What the client is told: Google's own words where they concern the client, else when a key may be had.
    fn give_up(&mut self, unavailable: Unavailable) -> UpstreamError {
        let model = self.call.model.clone();
        match (self.last.take(), unavailable) {
            (Some(UpstreamError::Refused(refusal)), _) if is_worth_telling(&refusal.fault.outcome) => {
                UpstreamError::Refused(refusal)
            }
            (Some(error @ UpstreamError::Transport(_)), _) => error,
            (_, Unavailable::Until { at, cause }) => {
                let retry_after = at.saturating_duration_since(Instant::now());
                match cause {
                    Cause::Quota => UpstreamError::AllCooling { model, retry_after },
                    Cause::Key | Cause::Egress => UpstreamError::Busy { model, retry_after },
                    Cause::Model => UpstreamError::ModelUnavailable { model },
                }
            }
            // This request has had its share of attempts; another one may find a key at once.
            (Some(UpstreamError::Refused(refusal)), Unavailable::Soon)
                if matches!(refusal.fault.outcome, Outcome::Quota(_)) =>
            {
                UpstreamError::AllCooling { model, retry_after: SOON }
            }
            (_, Unavailable::Soon) => UpstreamError::Busy { model, retry_after: SOON },
            (_, Unavailable::NoUsableKey) => UpstreamError::NoUsableKey { model },
        }
    }

    /// Where this key succeeds, those that failed before it have something to explain.
    pub fn won(mut self, lease: Lease) -> Won {
        self.running = None;
        for key in std::mem::take(&mut self.unexplained) {
            self.balancer.do_send(Settled {
                key,
                model: self.call.model.clone(),
                outcome: Outcome::Outlier,
                latency: Duration::ZERO,
                is_probe: false,
                reservation: None,
                group: None,
                usage: None,
            });
        }
        Won { lease, sent_at: self.sent_at }
    }

    pub fn was_empty(&mut self, lease: Lease) {
        let fault = Fault { status: 200, outcome: Outcome::Empty, ..malformed("the answer had no content") };
        self.settle(lease, &fault);
    }

    pub fn refused(&mut self, lease: Lease, refusal: Refusal) -> Result<(), UpstreamError> {
        let step = refusal.fault.outcome.next_step();
        // Overload strikes at random, so it tells nothing of a key even where another one succeeds.
        if matches!(refusal.fault.outcome, Outcome::ServerFault(fault) if fault != ServerFault::Overloaded) {
            self.unexplained.push(lease.key);
        }
        self.settle(lease, &refusal.fault);
        self.proceed(step, UpstreamError::Refused(Box::new(refusal)))
    }

    pub fn broke(&mut self, lease: Lease, error: TransportError) -> Result<(), UpstreamError> {
        let outcome = Outcome::ServerFault(error.fault());
        let step = outcome.next_step();
        self.unexplained.push(lease.key);
        self.settle(lease, &Fault { status: 0, outcome, ..malformed(&error.to_string()) });
        self.proceed(step, error.into())
    }

    fn settle(&mut self, lease: Lease, fault: &Fault) {
        let spent = self.sent_at.elapsed();
        self.running = None;
        // A dead key was found out, nothing was tried with it.
        if matches!(fault.outcome, Outcome::KeyInvalid(_)) {
            self.counted -= 1;
        }
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

/// Errors of keys are never shown to clients; quotas and models that are not open are told in our own words, the same
/// for the first request and for those that no longer ask Google.
fn is_worth_telling(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::ServerFault(_)
        | Outcome::Empty
        | Outcome::ClientFault
        | Outcome::NotOwner
        | Outcome::Egress(_) => true,
        Outcome::Success
        | Outcome::Abandoned
        | Outcome::KeyInvalid(_)
        | Outcome::KeySuspect
        | Outcome::Outlier
        | Outcome::Quota(_)
        | Outcome::ModelUnavailable
        | Outcome::Billing(_)
        | Outcome::GatewayFault => false,
    }
}

impl Drop for Attempts<'_> {
    /// The client hung up while an attempt was under way; dropping its lease settles it.
    fn drop(&mut self) {
        if let Some(key) = self.running {
            self.trail.abandoned(key, self.sent_at.elapsed());
        }
    }
}
