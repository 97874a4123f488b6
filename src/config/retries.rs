//! How much more than one attempt a request may cost.

use super::reader::Reader;

/// What is done when one attempt does not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Share of the requests that may be retried for a fault of Google's or the network's, in percent, 0 to 1000.
    pub budget_percent: u32,
    /// Share of the generations that may be sent a second time because the first is late, in percent, 1 to 50; `None` is
    /// never.
    pub hedged_percent: Option<u32>,
    /// Whether a text that is cut goes on with another key.
    pub continues_streams: bool,
}

impl Retries {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let hedged_percent = reader.number("HEDGING_MAX_PERCENT");
        Self {
            budget_percent: reader.number("RETRY_BUDGET_PERCENT"),
            hedged_percent: reader.flag("HEDGING").then_some(hedged_percent),
            continues_streams: reader.flag("STREAM_CONTINUATION"),
        }
    }
}
