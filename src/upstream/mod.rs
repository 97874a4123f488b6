//! Talks to Google, in Gemini's own format.

<<<<<<< HEAD
pub mod call;
=======
mod answer_reader;
>>>>>>> judge
pub mod classify;
pub mod client;
pub mod dispatch;
pub mod events;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod glance;
pub mod google_error;
mod joined;
pub mod json_array;
mod json_scan;
mod quota_error;
pub mod openai_layer;
pub mod redact;
pub mod sse;
pub mod trail;
