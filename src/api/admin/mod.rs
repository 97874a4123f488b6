//! What the administrator asks for, as JSON.

pub mod requests;
