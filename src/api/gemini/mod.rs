//! Gemini's own dialect: bodies pass as they come.

mod envelope;
pub mod generate;
mod method;
pub mod models;
mod safety;
mod writer;

pub use envelope::Gemini;
