//! Anthropic's messages, token counts and models.
//!
//! A request goes `messages_request` → `to_gemini` → Gemini → `to_anthropic`, or through a `MessageStream`; both ends of the
//! way back are fed by the same steps of one `Answer`, so that a stream says what the whole answer would have said.

mod answer;
mod catalogue;
mod citations;
pub mod content;
pub mod fields;
pub mod messages;
pub mod models;
#[cfg(test)]
mod properties;
pub mod request;
pub mod response;
mod signature;
mod source;
pub mod stream;
pub mod thinking;
pub mod tools;
pub mod types;
pub mod words;

use super::json;

pub use messages::{MessagesRequest, count_request, interleaved_request, interleaves, messages_request};
pub use request::{MessagesOptions, to_count, to_gemini};
pub use response::{MessageMeta, to_anthropic};
pub use stream::MessageStream;
