//! The words that every layer shares. No I/O, no actors, no HTTP.

pub mod cause;
pub mod client;
pub mod figures;
pub mod forwarding;
pub mod histogram;
pub mod key;
pub mod key_event;
pub mod key_text;
pub mod model;
pub mod network;
pub mod node;
pub mod outcome;
pub mod placement;
pub mod policy;
pub mod quota;
pub mod resource;
pub mod terms;
pub mod tiers;
pub mod time;
pub mod timeline;
pub mod usage;
