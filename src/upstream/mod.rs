//! Talks to Google, in Gemini's own format.

mod affinity;
pub mod answer;
mod answer_reader;
mod attempts;
pub mod call;
pub mod classify;
pub mod client;
mod continuation;
pub mod dispatch;
pub mod events;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod glance;
pub mod google_error;
mod hedge;
mod joined;
pub mod json_array;
mod json_scan;
pub mod openai_layer;
pub mod ownership;
pub mod proxies;
mod quota_error;
pub mod redact;
pub mod relay;
pub mod retries;
mod seam;
pub mod sse;
pub mod trail;
