//! Errors of the admin API: `{"error": {"code": "…", "message": "…"}}`.

use serde_json::json;

use crate::api::error::{ApiError, Envelope};

/// The dialect of the admin API.
#[derive(Debug)]
pub struct Admin;

impl Envelope for Admin {
    fn body(error: &ApiError, _: u16) -> Vec<u8> {
        json!({"error": {"code": error.name(), "message": error.to_string()}}).to_string().into_bytes()
    }
}
