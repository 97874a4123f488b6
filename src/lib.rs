//! Gemini Balance: one endpoint in front of many Gemini API keys.

pub mod convert;
pub mod domain;
