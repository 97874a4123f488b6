//! The way from node to node: what they tell each other, and Redis, through which they do.
//!
//! Nobody waits for an answer here but the one actor that holds the [`Link`]; what to do without one is its business too.

mod link;
mod message;

pub use link::{Hearing, Link, LinkError, Redis};
pub use message::{Change, ChangedKeys, NodeCard, Seen, Word};
