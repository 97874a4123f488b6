//! Anthropic's dialect, converted: messages, token counts and models.

pub mod count_tokens;
mod envelope;
pub mod hello;
pub mod messages;
pub mod models;
pub mod naming;
mod writer;

pub use envelope::Anthropic;
