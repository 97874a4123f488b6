//! The hub: Gemini's own requests and answers, and the rules that they must obey.
//!
//! Requests are what we build, so they hold what some dialect can express; answers are what we read, so they name the fields
//! that matter and pass over the rest. Both borrow their texts, as pictures of several megabytes go through here. A native
//! Gemini request never does: it is forwarded as it came.

pub mod audio;
pub mod call_ids;
pub mod count_tokens;
pub mod effort;
pub mod embeddings;
pub mod finish;
pub mod hosted;
pub mod markdown;
pub mod media;
pub mod memory;
pub mod references;
pub mod request;
pub mod response;
pub mod schema;
pub mod signatures;
pub mod sniff;
pub mod stops;
pub mod tool_names;
pub mod turns;
pub mod voices;

pub use request::{Content, GenerateContentRequest, Part, Role};
pub use response::GenerateContentResponse;
