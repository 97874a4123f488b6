//! Why a request went without a key, or without a further one.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{in_ms, is_zero};
use crate::balance::table::{Cause, Census, Unavailable};

/// A request wanted a key and got none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NoKey {
    pub cause: Kept,
    /// From then, until the next key can be had; absent where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovers_in_ms: Option<u64>,
    /// How long it had waited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited_ms: u64,
    /// The pool at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<Census>,
}

/// What kept a request from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Every key has used up a quota of the model.
    Quota,
    /// The model is open to no key.
    Model,
    /// The keys rest as a whole.
    Key,
    /// Nothing leaves by our address for now.
    Egress,
    /// No key could serve the model, now or later, without somebody acting.
    NoUsableKey,
    /// Those that are ready were tried before, or are being probed.
    Soon,
    /// The request has had all of its attempts.
    Attempts,
    /// The retry budget is spent.
    Budget,
    /// The client did not wait for one.
    HungUp,
}

impl From<Unavailable> for Kept {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NoUsableKey => Self::NoUsableKey,
            Unavailable::Soon => Self::Soon,
            Unavailable::Until { cause: Cause::Quota, .. } => Self::Quota,
            Unavailable::Until { cause: Cause::Model, .. } => Self::Model,
            Unavailable::Until { cause: Cause::Key, .. } => Self::Key,
            Unavailable::Until { cause: Cause::Egress, .. } => Self::Egress,
        }
    }
}

impl NoKey {
    pub fn new(cause: Kept, outlook: Unavailable, others: Option<Census>) -> Self {
        let recovers_in_ms = match outlook {
            Unavailable::Until { at, .. } => Some(in_ms(at.saturating_duration_since(Instant::now()))),
            Unavailable::Soon | Unavailable::NoUsableKey => None,
        };
        Self { cause, recovers_in_ms, waited_ms: 0, others }
    }
}
