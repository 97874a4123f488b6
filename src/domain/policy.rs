//! The names of the balancing policies; what they do is in `balance::policy`.

/// How a key is chosen among those that are ready: the value of `BALANCE_POLICY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// Each ready key in turn.
    RoundRobin,
    /// The least busy of the next few in turn.
    LeastInFlight,
}

impl PolicyKind {
    pub const ALL: [Self; 2] = [Self::RoundRobin, Self::LeastInFlight];

    /// As settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastInFlight => "least_in_flight",
        }
    }
}
