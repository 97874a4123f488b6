//! Gemini Balance: one endpoint in front of many Gemini API keys.

pub mod config;
pub mod db;
pub mod domain;
pub mod secrets;
