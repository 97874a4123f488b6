//! What can go wrong in the admin API alone.

use std::{collections::BTreeMap, time::Duration};

/// Each variant has a status and a code of its own.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A query parameter or body that cannot be read.
    #[error("{message}")]
    Invalid { message: String, fields: BTreeMap<String, String> },
    /// Readable, but values are not allowed; by their names.
    #[error("{}", sentence(.0))]
    Unprocessable(BTreeMap<String, String>),
    #[error(
        "the header x-csrf-token is missing or not that of this session; GET /api/admin/session tells it"
    )]
    Csrf,
    #[error("this request comes from the page of another origin")]
    CrossOrigin,
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    #[error("{0}")]
    Conflict(String),
    #[error("it was changed meanwhile; fetch it again and repeat the change")]
    Changed,
    #[error("the request body is larger than {limit_mb} MB, the limit here")]
    TooLarge { limit_mb: usize },
    #[error("too many attempts with a wrong token from this address; try again in {} s", .retry_after.as_secs().max(1))]
    TooManyAttempts { retry_after: Duration },
    #[error("{message}")]
    Busy { message: String, retry_after: Duration },
}

impl AdminError {
    /// 400: what is wrong with a query parameter.
    pub fn parameter(name: &str, problem: &str) -> Self {
        let fields = BTreeMap::from([(name.to_owned(), problem.to_owned())]);
        Self::Invalid { message: format!("`{name}` {problem}"), fields }
    }

    /// 400: what is wrong with the request as a whole.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), fields: BTreeMap::new() }
    }

    /// 422: what is wrong with one field.
    pub fn field(name: &str, problem: impl Into<String>) -> Self {
        Self::Unprocessable(BTreeMap::from([(name.to_owned(), problem.into())]))
    }

    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string().chars().take(100).collect() }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid { .. } => 400,
            Self::Csrf | Self::CrossOrigin => 403,
            Self::NotFound { .. } => 404,
            Self::Conflict(_) => 409,
            Self::Changed => 412,
            Self::TooLarge { .. } => 413,
            Self::Unprocessable(_) => 422,
            Self::TooManyAttempts { .. } | Self::Busy { .. } => 429,
        }
    }

    /// One word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_request",
            Self::Csrf => "csrf",
            Self::CrossOrigin => "cross_origin",
            Self::NotFound { .. } => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Changed => "precondition_failed",
            Self::TooLarge { .. } => "too_large",
            Self::Unprocessable(_) => "invalid",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Busy { .. } => "busy",
        }
    }

    /// What is wrong, by the names of fields.
    pub fn fields(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Invalid { fields, .. } | Self::Unprocessable(fields) => {
                Some(fields).filter(|fields| !fields.is_empty())
            }
            Self::Csrf
            | Self::CrossOrigin
            | Self::NotFound { .. }
            | Self::Conflict(_)
            | Self::Changed
            | Self::TooLarge { .. }
            | Self::TooManyAttempts { .. }
            | Self::Busy { .. } => None,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { retry_after } | Self::Busy { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

fn sentence(fields: &BTreeMap<String, String>) -> String {
    let problems: Vec<String> = fields.iter().map(|(name, problem)| format!("`{name}` {problem}")).collect();
    problems.join("; ")
}
