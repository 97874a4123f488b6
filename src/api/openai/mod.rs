//! OpenAI's dialect: converted under `/v1` and `/hf/v1`, passed through under `/openai/v1`.

pub mod background;
pub mod chat;
pub mod embeddings;
mod envelope;
pub mod models;
pub mod passthrough;
pub mod responses;
pub mod responses_kept;
mod responses_writer;
mod writer;

pub use envelope::OpenAi;
