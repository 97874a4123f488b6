//! What the administrator asks for, as JSON below `/api/admin`.

pub mod envelope;
pub mod requests;
pub mod stats;

use serde::Serialize;

pub use envelope::Admin;

/// A list as every call of the admin API answers it.
#[derive(Debug, Serialize)]
pub struct List<T> {
    pub items: Vec<T>,
    /// Where the next page begins; `null` on the last one.
    pub next_cursor: Option<String>,
    pub total: usize,
}

impl<T> List<T> {
    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { total: items.len(), items, next_cursor: None }
    }
}
