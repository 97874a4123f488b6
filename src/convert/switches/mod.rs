//! What the name of a model and the settings ask for, beside what the client's request says.
//!
//! Everything here works on Gemini's own JSON, on its way in and on its way out, so that every dialect has it: a request is
//! translated first, and changed then. A native request of which nothing is asked is not touched.

pub mod body;
pub mod links;
pub mod names;
#[cfg(test)]
mod properties;
pub mod rules;
pub mod smooth;

pub use body::Changes;
pub use links::SearchLinks;
pub use names::{Switches, Wanted};
pub use rules::{Edits, ModelRule};
pub use smooth::{Smoother, Smoothing};
