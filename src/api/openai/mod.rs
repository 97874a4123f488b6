//! OpenAI's dialect: converted under `/v1` and `/hf/v1`, passed through under `/openai/v1`.

pub mod chat;
pub mod embeddings;
mod envelope;
pub mod models;
pub mod passthrough;
mod writer;

pub use envelope::OpenAi;
