//! Gemini's own dialect: bodies pass as they come.

mod envelope;
pub mod generate;
mod listing;
mod method;
pub mod models;
mod passing;
pub mod relay;
mod safety;
pub mod upload;
mod uploads;
mod writer;

pub use envelope::Gemini;
