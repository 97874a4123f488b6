//! The names of the balancing policies; what they do is in `balance::policy`.

use std::time::Duration;

/// How a key is chosen among those that are ready: the value of `BALANCE_POLICY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Each ready key in turn.
    RoundRobin,
    /// The least busy of the next few in turn.
    LeastInFlight,
    /// The better one of two: by load, speed, recent faults and what is left of its quotas.
    P2c,
}

impl PolicyKind {
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::LeastInFlight, Self::P2c];

    /// As settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastInFlight => "least_in_flight",
            Self::P2c => "p2c",
        }
    }
}

/// How a key is found for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balancing {
    pub policy: PolicyKind,
    /// Longest wait for a key that will be ready; zero is none.
    pub max_wait: Duration,
    /// Requests that may wait at the same time.
    pub max_waiting: usize,
}
