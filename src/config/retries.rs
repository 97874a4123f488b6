//! How much more than one attempt a request may cost.

use super::reader::Reader;

/// What is done when one attempt does not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Share of the requests that may be retried for a fault of Google's or the network's, in percent, 0 to 100.
    pub budget_percent: u32,
}

impl Retries {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self { budget_percent: reader.number("RETRY_BUDGET_PERCENT", 0..=100) }
    }
}
