//! What a balancer may assume of a key between an answer and the verdict of the key's actor, a few microseconds later.
//!
//! The same rules as in [`super::breaker`], without its memory; the verdict replaces the assumption whatever it was.

use tokio::time::Instant;

use super::{
    breaker::{Availability, EGRESS_COOLDOWN, ModelReason},
    quota,
};
use crate::domain::{
    outcome::{EgressFault, Outcome},
    time::Now,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisional {
    Nothing,
    /// The key cools for the model that was asked for.
    Model(Instant, ModelReason),
    /// The whole key is out or cooling.
    Key(Availability),
}

pub fn provisional(outcome: &Outcome, now: Now) -> Provisional {
    match outcome {
        Outcome::Quota(exceeded) => {
            let span = quota::quota_cooldown(exceeded, now.utc).unwrap_or_else(|| quota::backoff(0, 0.0));
            Provisional::Model(now.instant + span, exceeded.window.into())
        }
        Outcome::ModelUnavailable => {
            Provisional::Model(now.instant + quota::MODEL_UNAVAILABLE_COOLDOWN, ModelReason::Unavailable)
        }
        Outcome::KeyInvalid(_) => Provisional::Key(Availability::Out),
        Outcome::Billing(fault) => {
            let until = now.instant + quota::billing_cooldown(*fault, now.utc);
            Provisional::Key(Availability::CoolingUntil(until))
        }
        Outcome::Egress(EgressFault::Restricted) => {
            Provisional::Key(Availability::CoolingUntil(now.instant + EGRESS_COOLDOWN))
        }
        Outcome::Success
        | Outcome::Abandoned
        | Outcome::KeySuspect
        | Outcome::Outlier
        | Outcome::Egress(EgressFault::Location | EgressFault::Storm)
        | Outcome::NotOwner
        | Outcome::GatewayFault
        | Outcome::ServerFault(_)
        | Outcome::Empty
        | Outcome::ClientFault => Provisional::Nothing,
    }
}
