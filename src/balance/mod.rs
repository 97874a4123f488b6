//! Decisions as pure state machines: no actor, no clock, no I/O. Time is always an argument.

pub mod breaker;
pub mod budget;
pub mod gauge;
pub mod latency;
pub mod policy;
pub mod provisional;
pub mod quota;
pub mod ready;
pub mod table;
