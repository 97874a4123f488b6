//! The words that every layer shares. No I/O, no actors, no HTTP.

pub mod client;
pub mod forwarding;
pub mod key;
pub mod model;
pub mod network;
pub mod outcome;
pub mod placement;
pub mod policy;
pub mod quota;
pub mod resource;
pub mod terms;
pub mod tiers;
pub mod time;
pub mod usage;
