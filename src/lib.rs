//! Gemini Balance: one endpoint in front of many Gemini API keys.
//!
//! Read the modules in this order: [`domain`] (the words), [`balance`] (the decisions), [`actors`] (who holds what),
//! [`upstream`] (talking to Google), [`api`] (talking to clients), [`app`] (how it all starts and stops).

pub mod domain;
pub mod balance;
pub mod actors;
pub mod upstream;
pub mod convert;
pub mod api;
pub mod db;
pub mod secrets;
pub mod config;
pub mod telemetry;
pub mod app;
pub mod cli;
pub mod sim;
