//! Pure translation between the dialects of clients and Gemini's.
//!
//! Gemini is the hub: every other format is read into Gemini's requests and written from Gemini's answers, and the formats
//! never meet each other. Nothing here does I/O, keeps the time or draws random numbers; sending, retrying and choosing a key
//! is left to the callers.

pub mod anthropic;
pub mod cures;
pub mod error;
pub mod fate;
pub mod gemini;
mod json;
pub mod openai;
mod schemas;
pub mod switches;
pub mod traits;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod testing;

pub use error::ConvertError;
