//! Actors that work beside the requests, with the same means: they call Google as a request does, or decide when.
//!
//! They stand above [`upstream`](crate::upstream), while the [`actors`](crate::actors) that it asks stand below it.

pub mod catalog;
pub mod recheck;
pub mod scheduler;
