//! The gateway as its clients meet it: over HTTP, with an upstream that follows a script.

mod failover;
mod harness;
