//! Permission to make one attempt with one key.

use std::{sync::Arc, time::Duration};

use actix::Addr;

use super::balancer::{Balancer, Settled};
use crate::{
    balance::gauge::Gauge,
    domain::{
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::Outcome,
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
    model: ModelName,
    is_probe: bool,
    gauge: Arc<Gauge>,
    balancer: Addr<Balancer>,
    is_settled: bool,
}

impl Lease {
    pub(super) fn new(
        key: KeyId,
        secret: ApiKey,
        model: ModelName,
        is_probe: bool,
        gauge: Arc<Gauge>,
        balancer: Addr<Balancer>,
    ) -> Self {
        gauge.enter();
        Self { key, secret, model, is_probe, gauge, balancer, is_settled: false }
    }

    /// Gives the key back with what the attempt said about it; `latency` runs to the first byte of the answer.
    pub fn settle(mut self, outcome: Outcome, latency: Duration) {
        self.give_back(outcome, latency);
    }

    fn give_back(&mut self, outcome: Outcome, latency: Duration) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        self.gauge.leave();
        let (key, model, is_probe) = (self.key, self.model.clone(), self.is_probe);
        self.balancer.do_send(Settled { key, model, outcome, latency, is_probe });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(Outcome::Abandoned, Duration::ZERO);
    }
}
