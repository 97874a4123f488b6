//! Who does what one node has to do for all.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it is this node. A node that knows of no other way does it as well, since doing it twice harms less than not
/// doing it: one without Redis always, one that has lost it until it is back.
#[derive(Debug)]
pub struct Lead(AtomicBool);

impl Default for Lead {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Lead {
    /// At this moment.
    pub fn is_ours(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Answers whether that is new.
    pub(in crate::actors) fn set(&self, is_ours: bool) -> bool {
        self.0.swap(is_ours, Ordering::Relaxed) != is_ours
    }
}
