//! Talks to Google, in Gemini's own format.

pub mod classify;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod google_error;
mod quota_error;
pub mod redact;
