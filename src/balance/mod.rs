//! Decisions as pure state machines; time is an argument.

pub mod quota;
