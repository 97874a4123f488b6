//! Talks to Google, in Gemini's own format.

mod answer_reader;
pub mod classify;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod glance;
pub mod google_error;
mod joined;
pub mod json_array;
mod json_scan;
mod quota_error;
pub mod redact;
pub mod sse;
