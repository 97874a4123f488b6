//! OpenAI's chat completions, responses, embeddings and models.
//!
//! A chat goes `chat_request` → `to_gemini` → Gemini → `to_openai`, or through a `ChatStream`; both ends of the way back are
//! fed by one `Answer`, so that a stream says what the whole answer would have said.

mod answer;
mod audio;
pub mod chat;
mod citations;
pub mod embeddings;
pub mod fields;
mod logprobs;
pub mod message;
pub mod models;
pub mod outputs;
#[cfg(test)]
mod properties;
pub mod request;
pub mod response;
pub mod responses;
pub mod stream;
pub mod thinking;
mod tool_call;
pub mod tools;
pub mod types;
mod usage;

use super::{gemini::markdown, json};
pub use chat::{ChatRequest, chat_request};
pub use embeddings::{EmbeddingsRequest, embeddings_request, embeddings_response};
pub use models::{model, models_list};
pub use request::{ChatOptions, to_gemini};
pub use response::{ChatMeta, to_openai};
pub use stream::ChatStream;
