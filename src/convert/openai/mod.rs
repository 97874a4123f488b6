//! OpenAI's chat completions, embeddings and models.

pub mod chat;
pub mod fields;
mod json;
pub mod message;
pub mod request;
pub mod thinking;
pub mod tools;

pub use chat::{ChatRequest, chat_request};
pub use request::{ChatOptions, to_gemini};
