//! Gemini Balance: one endpoint in front of many Gemini API keys.

pub mod domain;
pub mod sim;
