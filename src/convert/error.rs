//! Why a client's request cannot be translated: always the client's fault, always status 400.

/// What was wrong, where, and in the words that OpenAI's own server uses for it.
///
/// The message goes to the client as it is, hence the capitals and full stops. A `param` is a path into the request, such as
/// `messages[2].content[0].image_url`. Source of the wordings: recorded and reported answers of api.openai.com.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error(
        "We could not parse the JSON body of your request: {reason}. The API expects a JSON payload, \
         but what was sent was not valid JSON."
    )]
    InvalidJson { reason: String },

    #[error("Missing required parameter: '{param}'.")]
    Missing { param: String },

    #[error("Invalid type for '{param}': expected {expected}, but got {got} instead.")]
    InvalidType { param: String, expected: &'static str, got: &'static str },

    #[error("Invalid value: '{value}'. Supported values are: {supported}.")]
    UnknownValue { param: String, value: String, supported: &'static str },

    #[error("Invalid '{param}': {reason}")]
    InvalidValue { param: String, reason: String },

    #[error("Invalid '{param}': {reason}")]
    OutOfRange { param: String, reason: String, code: &'static str },

    #[error(
        "Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    )]
    EmptyArray { param: String },

    #[error(
        "Invalid '{param}': array too long. Expected an array with maximum length {max}, \
         but got an array with length {length} instead."
    )]
    ArrayTooLong { param: String, max: usize, length: usize },

    #[error("Unsupported parameter: '{param}' is not supported {reason}")]
    Unsupported { param: String, reason: String },

    /// A medium that was to be fetched from its address, and was not.
    #[error("Invalid '{param}': {reason}")]
    RemoteMedia { param: String, reason: String },

    #[error(
        "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls': \
         no tool call '{id}' was made before '{param}'."
    )]
    OrphanToolResult { param: String, id: String },
}

impl ConvertError {
    /// Where in the request the fault is; `None` when the body as a whole is unreadable.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::InvalidJson { .. } => None,
            Self::Missing { param }
            | Self::InvalidType { param, .. }
            | Self::UnknownValue { param, .. }
            | Self::InvalidValue { param, .. }
            | Self::OutOfRange { param, .. }
            | Self::EmptyArray { param }
            | Self::ArrayTooLong { param, .. }
            | Self::Unsupported { param, .. }
            | Self::RemoteMedia { param, .. }
            | Self::OrphanToolResult { param, .. } => Some(param),
        }
    }

    /// The `code` of OpenAI's error object, by which its clients branch.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::InvalidJson { .. } | Self::OrphanToolResult { .. } => None,
            Self::Missing { .. } => Some("missing_required_parameter"),
            Self::InvalidType { .. } => Some("invalid_type"),
            Self::UnknownValue { .. } | Self::InvalidValue { .. } => Some("invalid_value"),
            Self::OutOfRange { code, .. } => Some(code),
            Self::EmptyArray { .. } => Some("empty_array"),
            Self::ArrayTooLong { .. } => Some("array_above_max_length"),
            Self::Unsupported { .. } => Some("unsupported_parameter"),
            Self::RemoteMedia { .. } => Some("invalid_image_url"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_error_reads_as_openais_own_server_words_it() {
        let error =
            ConvertError::InvalidType { param: "model".into(), expected: "a string", got: "an integer" };

        assert_eq!(
            error.to_string(),
            "Invalid type for 'model': expected a string, but got an integer instead."
        );
        assert_eq!((error.param(), error.code()), (Some("model"), Some("invalid_type")));
    }

    #[test]
    fn unreadable_json_blames_no_parameter() {
        let error = ConvertError::InvalidJson { reason: "EOF at line 1 column 9".into() };

        assert_eq!((error.param(), error.code()), (None, None));
        assert!(error.to_string().contains("line 1 column 9"));
    }
}
