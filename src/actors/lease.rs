//! Permission to make one attempt with one key.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::balancer::{BalancerHandle, Settled};
use crate::{
    balance::{
        affinity::Group,
        egresses::Exit,
        gauge::Gauge,
        ledger::{Ledger, Reservation},
        table::Choice,
    },
    domain::{
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::Outcome,
        usage::Usage,
    },
};

/// A key on loan for one attempt.
///
/// It is settled exactly once: by [`settle`](Self::settle), or as abandoned when it is dropped, so that a client who
/// hangs up gives its slot back. It rides inside the response body of a stream.
#[derive(Debug)]
pub struct Lease {
    pub key: KeyId,
    pub secret: ApiKey,
    /// What it leaves by.
    pub exit: Exit,
    /// Why it was this key.
    pub choice: Choice,
    /// The quotas of the key's project.
    pub ledger: Arc<Ledger>,
    pub(super) model: ModelName,
    pub(super) leased_at: Instant,
    pub(super) is_probe: bool,
    pub(super) gauge: Arc<Gauge>,
    pub(super) balancer: BalancerHandle,
    /// Room in the ledger; none once it was given back.
    pub(super) reservation: Option<Reservation>,
    /// For a request that would rather have one key than another.
    pub(super) group: Option<Group>,
    /// What Google counted, once it is known.
    pub(super) usage: Option<Usage>,
    /// The number of the key's project, once Google named it.
    pub(super) consumer: Option<u64>,
    /// Nothing was sent.
    pub(super) is_unused: bool,
    pub(super) is_settled: bool,
}

impl Lease {
    /// Notes what Google counted for this attempt; until then the estimate holds.
    pub fn count(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    /// Notes whose key it is by Google's word, for finding keys that share a project.
    pub fn name_consumer(&mut self, consumer: Option<u64>) {
        self.consumer = consumer.or(self.consumer);
    }

    /// Gives the key back with what the attempt said about it; `latency` runs to the first byte of the answer.
    pub fn settle(mut self, outcome: Outcome, latency: Duration) {
        self.give_back(outcome, Some(latency));
    }

    /// The same of an answer that came whole.
    pub fn settle_whole(mut self) {
        self.give_back(Outcome::Success, None);
    }

    /// Gives the key back unused: nothing was sent, so nothing counts.
    pub fn cancel(mut self) {
        self.is_unused = true;
    }

    /// As [`cancel`](Self::cancel), for the balancer itself while it is at work.
    pub(super) fn into_unused(mut self) -> Settled {
        self.is_unused = true;
        self.is_settled = true;
        self.settled(Outcome::Abandoned, None)
    }

    fn give_back(&mut self, outcome: Outcome, latency: Option<Duration>) {
        if !std::mem::replace(&mut self.is_settled, true) {
            let settled = self.settled(outcome, latency);
            self.balancer.settle(settled);
        }
    }

    fn settled(&mut self, outcome: Outcome, latency: Option<Duration>) -> Settled {
        self.gauge.leave();
        Settled {
            key: self.key,
            model: self.model.clone(),
            outcome,
            latency,
            leased_at: self.leased_at,
            is_probe: self.is_probe,
            reservation: self.reservation.take(),
            ledger: Some(self.ledger.clone()),
            is_unused: self.is_unused,
            group: self.group,
            usage: self.usage,
            consumer: self.consumer,
            egress: Some(self.exit.get()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(Outcome::Abandoned, None);
    }
}
