//! What is kept of answers for those that follow them.

use std::time::Duration;

use super::reader::Reader;

/// Responses that clients ask to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    /// Otherwise nothing is kept, whatever a client asks for.
    pub store: bool,
    /// Age at which they are deleted, in whole days.
    pub retention: Duration,
}

impl Responses {
    pub(super) fn read(reader: &mut Reader) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            store: reader.flag("STORE_RESPONSES"),
            retention: DAY * reader.number("STORED_RESPONSES_DAYS"),
        }
    }
}
