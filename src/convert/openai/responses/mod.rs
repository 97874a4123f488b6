//! OpenAI's Responses API.
//!
//! A request is read in two steps: `responses_request` reads its fields, and once the items that it refers to are there,
//! `ResponsesRequest::complete` reads its input into the messages of a chat, which is what goes to Gemini. On the way back
//! one `Reply` builds the output, event by event; a whole answer is a stream that nobody listened to.

pub mod fields;
mod ids;
mod input;
mod items;
#[cfg(test)]
mod properties;
mod reply;
pub mod request;
pub mod response;
mod seal;
pub mod stored;
pub mod stream;
mod tools;
pub mod types;

pub use ids::response_of_item;
pub use request::{Earlier, ResponsesRequest, responses_request};
pub use response::{ResponseMeta, to_response};
pub use stream::ResponseStream;
