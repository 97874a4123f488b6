//! Google's OpenAI layer, `/v1beta/openai/…`: chat, embeddings and models over the same simulated models.
//!
//! It keeps Google's own ways: model ids begin with `models/`, thoughts stand in `<thought>` inside the content, signatures in
//! `extra_content.google.thought_signature`, and errors are Google's envelope in an array.

mod reply;
mod request;
pub mod routes;
