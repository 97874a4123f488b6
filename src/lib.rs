//! Gemini Balance: one endpoint in front of many Gemini API keys.
//!
//! Read the modules in this order: [`domain`] (the words), [`balance`] (the decisions), [`actors`] (who holds what),
//! [`upstream`] (talking to Google), [`services`] (what is done beside the requests), [`api`] (talking to clients),
//! [`app`] (how it all starts and stops).

// Nothing that arrives by network can panic, and only the command line talks to a terminal.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::panic,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

pub mod actors;
pub mod api;
pub mod app;
pub mod balance;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod convert;
pub mod db;
pub mod domain;
pub mod media;
pub mod secrets;
pub mod services;
pub mod settings;
pub mod sim;
pub mod telemetry;
pub mod upstream;
