//! Decisions as pure state machines: no actor, no clock, no I/O. Time is always an argument.

pub mod affinity;
pub mod allowance;
pub mod breaker;
pub mod budget;
pub mod cost;
pub mod egress;
pub mod egresses;
pub mod ewma;
pub mod forecast;
pub mod gauge;
pub mod latency;
pub mod ledger;
pub mod owners;
pub mod percentile;
pub mod policy;
pub mod projects;
pub mod provisional;
pub mod quota;
pub mod ready;
pub mod storm;
pub mod table;
pub mod tally;
pub mod waiting;
