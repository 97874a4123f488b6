//! Errors of the admin API: `{"error": {"code": "…", "message": "…", "fields"?: {"name": "what is wrong"}}}`.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::api::error::{ApiError, Envelope};

/// The dialect of the admin API.
#[derive(Debug)]
pub struct Admin;

/// An error as the admin API writes it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// One word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// What is wrong, by the names of parameters or fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<BTreeMap<String, String>>,
}

impl Envelope for Admin {
    fn body(error: &ApiError, _: u16) -> Vec<u8> {
        let (code, fields) = match error {
            ApiError::Admin(error) => (error.code(), error.fields().cloned()),
            ApiError::NotAdmin => ("not_admin", None),
            _ => (error.name(), None),
        };
        let error = ErrorDetail { code: code.to_owned(), message: error.to_string(), fields };
        serde_json::to_vec(&ErrorBody { error }).unwrap_or_default()
    }
}
