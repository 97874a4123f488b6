//! The attempts of one request: which key is next, what each came to, and what the client is told at the end.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    affinity::Bond,
    call::Call,
    classify::Fault,
    client::TransportError,
    dispatch::{Refusal, UpstreamError, malformed},
    retries::Retries,
    trail::{Extra, Kept, Mark, NoKey, Trail},
};
use crate::{
    actors::{
        balancer::{Acquire, BalancerHandle},
        lease::Lease,
    },
    balance::{
        affinity::Preference,
        egress::Egress,
        ledger::Ledger,
        storm::Sign,
        table::{Cause, Census, Unavailable},
    },
    domain::{
        key::KeyId,
        outcome::{Blame, EgressFault, NextStep, Outcome, ServerFault},
        resource::ResourceName,
    },
};

/// First pause before another key is tried after a fault of Google's; it doubles with each.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Keys that Google turns out to refuse do not count as attempts, up to so many of them in one request.
const UNCOUNTED: usize = 8;
/// Told to a client that has a good chance at once.
const SOON: Duration = Duration::from_secs(1);
/// Told to a client when Google fails so often that no retry is left.
const ONCE_CALM: Duration = Duration::from_secs(5);

/// An attempt under way, on the key that it borrowed.
pub struct Sent {
    pub lease: Lease,
    pub mark: Mark,
}

impl Sent {
    /// With what it left by in the end: another proxy where the first did not connect.
    pub fn as_sent(&self) -> Mark {
        Mark { egress: self.lease.exit.get(), ..self.mark.clone() }
    }
}

/// Where a request stands when its attempts begin.
pub struct Start {
    pub deadline: Instant,
    /// Keys that it must not meet again.
    pub tried: Vec<KeyId>,
    /// What its attempts are for, and so no traffic of the client's own.
    pub extra: Option<Extra>,
}

impl Start {
    /// The client's own request, at its beginning.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, tried: Vec::new(), extra: None }
    }
}

/// The attempts of one request: one after the other, and at most one beside another.
pub struct Attempts<'a> {
    balancer: &'a BalancerHandle,
    retries: &'a Retries,
    call: &'a Call,
    trail: &'a mut Trail,
    preference: Option<Preference>,
    /// What only one key can see.
    resource: Option<ResourceName>,
    tried: Vec<KeyId>,
    /// Attempts that count against the limit.
    counted: usize,
    running: Vec<Mark>,
    /// While no key is had.
    waiting_since: Option<Instant>,
    /// Of the attempt that was sent last.
    project: Option<Arc<Ledger>>,
    /// Of a key that fell together with its project.
    fallen: Option<Arc<Ledger>>,
    /// What an attempt left by that may have been refused for that.
    refused_by: Option<Arc<Egress>>,
    deadline: Instant,
    extra: Option<Extra>,
    pauses: u32,
    pause: Option<Duration>,
    /// The next attempt is a retry that the retry budget pays for.
    costs_budget: bool,
    last: Option<UpstreamError>,
    /// Keys that failed by no visible fault of their own; outliers if another key then succeeds.
    unexplained: Vec<KeyId>,
}

impl<'a> Attempts<'a> {
    pub fn new(
        balancer: &'a BalancerHandle,
        retries: &'a Retries,
        call: &'a Call,
        trail: &'a mut Trail,
        start: Start,
        bond: Bond,
    ) -> Self {
        let Start { deadline, tried, extra } = start;
        if extra.is_none() {
            retries.budget.note_request(Instant::now());
        }
        Self {
            balancer,
            retries,
            preference: bond.preference,
            resource: bond.resource,
            call,
            trail,
            tried,
            counted: 0,
            running: Vec::new(),
            waiting_since: None,
            project: None,
            fallen: None,
            refused_by: None,
            deadline,
            extra,
            pauses: 0,
            pause: None,
            costs_budget: extra.is_some(),
            last: None,
            unexplained: Vec::new(),
        }
    }

    /// A key that was not tried yet, or the error for the client when there is none or no attempt is left.
    pub async fn next(&mut self) -> Result<Sent, UpstreamError> {
        if !self.is_one_left() {
            let (outlook, others) = self.foresee();
            self.trail.no_key(NoKey::new(Kept::Attempts, outlook, Some(others)), Duration::ZERO);
            return Err(self.give_up(outlook));
        }
        let paid_at = mem::take(&mut self.costs_budget).then(Instant::now);
        if paid_at.is_some_and(|now| !self.retries.budget.try_spend(now)) {
            return Err(self.out_of_budget());
        }
        if let Some(pause) = self.pause.take() {
            sleep(pause).await;
        }
        let since = *self.waiting_since.insert(Instant::now());
        let acquired = self.acquire_next(since).await;
        self.waiting_since = None;
        match acquired {
            Ok(lease) => Ok(self.begin(lease, self.extra, since.elapsed())),
            Err(unavailable) => {
                if let Some(taken_at) = paid_at {
                    self.retries.budget.give_back(taken_at);
                }
                let waited = since.elapsed();
                let (_, others) = self.foresee();
                self.trail.no_key(NoKey::new(unavailable.into(), unavailable, Some(others)), waited);
                Err(self.give_up(unavailable))
            }
        }
    }

    /// When another key may be had, and what keeps them all.
    fn foresee(&self) -> (Unavailable, Census) {
        self.balancer.foresee(&self.call.metered_as(), self.tried.len())
    }

    /// A second attempt beside the one under way, if there is a key for it and both budgets pay.
    pub async fn hedge(&mut self) -> Option<Sent> {
        let (hedges, retries) = (self.retries.hedges.as_ref()?, &self.retries.budget);
        let now = Instant::now();
        if !self.is_one_left() || !hedges.try_spend(now) {
            return None;
        }
        if retries.try_spend(now) {
            // For one that would have to be waited for, the first attempt may as well be waited for.
            if let Ok(lease) = self.acquire(self.project.clone(), now).await {
                return Some(self.begin(lease, Some(Extra::Hedge), Duration::ZERO));
            }
            retries.give_back(now);
        }
        hedges.give_back(now);
        None
    }

    fn is_one_left(&self) -> bool {
        let max_attempts = self.retries.max_attempts;
        self.counted < max_attempts && self.tried.len() < max_attempts + UNCOUNTED
    }

    /// Siblings of a key whose project fell come last.
    async fn acquire_next(&self, now: Instant) -> Result<Lease, Unavailable> {
        if self.fallen.is_some()
            && let Ok(lease) = self.acquire(self.fallen.clone(), now).await
        {
            return Ok(lease);
        }
        self.acquire(None, self.deadline).await
    }

    /// A key by then, of another project than this.
    async fn acquire(&self, elsewhere: Option<Arc<Ledger>>, deadline: Instant) -> Result<Lease, Unavailable> {
        let acquire = Acquire {
            model: self.call.metered_as(),
            tokens: self.call.estimated_tokens(),
            client: self.trail.client.clone(),
            preference: self.preference,
            tried: self.tried.clone(),
            elsewhere,
            other_than: self.refused_by.clone(),
            tiers: self.trail.tiers,
            deadline,
        };
        self.balancer.acquire(acquire).await
    }

    /// `waited` is how long it took to get the key.
    fn begin(&mut self, lease: Lease, extra: Option<Extra>, waited: Duration) -> Sent {
        self.tried.push(lease.key);
        self.counted += 1;
        self.project = Some(lease.ledger.clone());
        let mark = Mark {
            key: lease.key,
            egress: lease.exit.get(),
            extra,
            sent_at: Instant::now(),
            choice: lease.choice,
            waited,
        };
        self.running.push(mark.clone());
        Sent { lease, mark }
    }

    /// The attempts under way.
    pub fn running(&self) -> &[Mark] {
        &self.running
    }

    /// The last error as it is, and when to come back: another key might do no better than those that were tried.
    fn out_of_budget(&mut self) -> UpstreamError {
        self.trail.retries_refused += 1;
        self.trail.no_key(NoKey::new(Kept::Budget, Unavailable::Soon, None), Duration::ZERO);
        let last = Box::new(self.give_up(Unavailable::Soon));
        UpstreamError::OutOfBudget { last, retry_after: ONCE_CALM }
    }

    /// What the client is told: Google's own words where they concern the client, else when a key may be had.
    fn give_up(&mut self, unavailable: Unavailable) -> UpstreamError {
        let model = self.call.model.clone();
        match (self.last.take(), unavailable, self.resource.clone()) {
            (Some(UpstreamError::Refused(refusal)), _, _) if is_worth_telling(&refusal.fault.outcome) => {
                UpstreamError::Refused(refusal)
            }
            (Some(error @ UpstreamError::Transport(_)), _, _) => error,
            (_, unavailable, Some(resource)) => owner_away(resource, unavailable),
            (_, Unavailable::Until { at, cause }, None) => {
                let retry_after = at.saturating_duration_since(Instant::now());
                match cause {
                    Cause::Quota => UpstreamError::AllCooling { model, retry_after },
                    Cause::Key | Cause::Egress => UpstreamError::Busy { model, retry_after },
                    Cause::Model => UpstreamError::ModelUnavailable { model },
                }
            }
            // This request has had its share of attempts; another one may find a key at once.
            (Some(UpstreamError::Refused(refusal)), Unavailable::Soon, None)
                if matches!(refusal.fault.outcome, Outcome::Quota(_)) =>
            {
                UpstreamError::AllCooling { model, retry_after: SOON }
            }
            (_, Unavailable::Soon, None) => UpstreamError::Busy { model, retry_after: SOON },
            (_, Unavailable::NoUsableKey, None) => UpstreamError::NoUsableKey { model },
        }
    }

    /// Where this key succeeds, those that failed before it have something to explain, and those still under way have
    /// lost.
    pub fn won(mut self, sent: Sent) -> Sent {
        self.ended(&sent);
        self.cancel_rest(sent.mark.sent_at);
        for key in mem::take(&mut self.unexplained) {
            self.balancer.is_outlier(key, &self.call.metered_as());
        }
        sent
    }

    pub fn was_empty(&mut self, sent: Sent) {
        let fault = Fault { status: 200, outcome: Outcome::Empty, ..malformed("the answer had no content") };
        self.settle(sent, &fault);
    }

    pub fn refused(&mut self, sent: Sent, refusal: Refusal) -> Result<(), UpstreamError> {
        let outcome = refusal.fault.outcome.clone();
        // Overload strikes at random, so it tells nothing of a key even where another one succeeds.
        if matches!(outcome, Outcome::ServerFault(fault) if fault != ServerFault::Overloaded) {
            self.unexplained.push(sent.lease.key);
        }
        let extra = sent.mark.extra;
        self.settle(sent, &refusal.fault);
        let step = match outcome {
            // The address that this one left by is passed over from now on.
            Outcome::Egress(EgressFault::Location)
                if self.balancer.has_open_egress(&self.call.metered_as()) =>
            {
                NextStep::OtherKey
            }
            outcome => outcome.next_step(),
        };
        self.proceed(extra, step, UpstreamError::Refused(Box::new(refusal)))
    }

    pub fn broke(&mut self, sent: Sent, error: TransportError) -> Result<(), UpstreamError> {
        let outcome = Outcome::ServerFault(error.fault());
        let step = outcome.next_step();
        self.unexplained.push(sent.lease.key);
        let extra = sent.mark.extra;
        self.settle(sent, &Fault { status: 0, outcome, ..malformed(&error.to_string()) });
        self.proceed(extra, step, error.into())
    }

    fn settle(&mut self, sent: Sent, fault: &Fault) {
        self.ended(&sent);
        self.may_come_back(&sent, &fault.outcome);
        if fault.outcome.concerns_project() {
            self.fallen = Some(sent.lease.ledger.clone());
        }
        if Sign::of(&fault.outcome).is_some() || matches!(fault.outcome, Outcome::Egress(_)) {
            self.refused_by = Some(sent.lease.exit.get());
        }
        let mark = sent.as_sent();
        let mut lease = sent.lease;
        lease.name_consumer(fault.consumer);
        let spent = mark.sent_at.elapsed();
        // Keys that are found out are out of the running; trying again after anything else adds to Google's load.
        self.costs_budget |= fault.outcome.blame() == Blame::Model;
        // A dead key was found out, nothing was tried with it.
        if matches!(fault.outcome, Outcome::KeyInvalid(_)) {
            self.counted -= 1;
        }
        debug!(key.id = %lease.key, model = %self.call.model, outcome = fault.outcome.name(), "an attempt failed");
        self.trail.failed(mark, fault, spent);
        lease.settle(fault.outcome.clone(), spent);
    }

    /// Another try of an owner is all that is left, once its quota is back or Google is.
    fn may_come_back(&mut self, sent: &Sent, outcome: &Outcome) {
        let is_owner = matches!(self.preference, Some(Preference::Owner(_)));
        if is_owner && matches!(outcome, Outcome::Quota(_) | Outcome::ServerFault(_)) {
            self.tried.retain(|key| *key != sent.lease.key);
        }
    }

    fn ended(&mut self, sent: &Sent) {
        self.running.retain(|mark| mark.key != sent.mark.key);
    }

    /// What is still under way ends with the attempt that was sent then.
    fn cancel_rest(&mut self, sent_at: Instant) {
        for mark in self.running.drain(..) {
            let waited = sent_at.saturating_duration_since(mark.sent_at);
            let spent = mark.sent_at.elapsed();
            self.trail.cancelled(mark, spent, waited);
        }
    }

    fn proceed(
        &mut self,
        extra: Option<Extra>,
        step: NextStep,
        error: UpstreamError,
    ) -> Result<(), UpstreamError> {
        if extra == Some(Extra::Hedge) && !self.running.is_empty() {
            // Whatever this key lacks, the first one may have it.
            return Ok(());
        }
        if step == NextStep::Answer || Instant::now() >= self.deadline {
            self.cancel_rest(Instant::now());
            return Err(error);
        }
        if step == NextStep::OtherKeyAfterBackoff {
            self.pause = Some(backoff(self.pauses, rand::random()));
            self.pauses += 1;
        }
        self.last = Some(error);
        Ok(())
    }
}

/// What a client hears that needs the one key which cannot be had.
fn owner_away(resource: ResourceName, unavailable: Unavailable) -> UpstreamError {
    let (retry_after, is_quota) = match unavailable {
        Unavailable::Until { at, cause } => {
            (Some(at.saturating_duration_since(Instant::now())), cause == Cause::Quota)
        }
        Unavailable::Soon => (Some(SOON), false),
        Unavailable::NoUsableKey => (None, false),
    };
    UpstreamError::OwnerAway { resource, retry_after, is_quota }
}

/// How long to wait after `pauses` earlier pauses: twice as long each time, less up to a half by `chance` (0 to 1), so
/// that requests that failed together do not come back together.
fn backoff(pauses: u32, chance: f64) -> Duration {
    let longest = FIRST_BACKOFF * 2u32.pow(pauses.min(6));
    longest.mul_f64(1.0 - chance / 2.0)
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
    /// The client hung up while attempts were under way; dropping their leases settles them.
    fn drop(&mut self) {
        for mark in self.running.drain(..) {
            let spent = mark.sent_at.elapsed();
            self.trail.abandoned(mark, spent);
        }
        if let Some(since) = self.waiting_since {
            self.trail.no_key(NoKey::new(Kept::HungUp, Unavailable::Soon, None), since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_never_the_same() {
        let ms = |pauses, chance| backoff(pauses, chance).as_millis();

        assert_eq!((ms(0, 0.0), ms(1, 0.0), ms(2, 0.0)), (100, 200, 400));
        assert_eq!((ms(0, 1.0), ms(1, 1.0), ms(2, 0.5)), (50, 100, 300));
        assert_eq!(ms(u32::MAX, 0.0), ms(6, 0.0));
    }
}
