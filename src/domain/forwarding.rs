//! What becomes of requests to `/openai/v1`, for which Google has a layer of its own.

/// `OPENAI_PASSTHROUGH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// Google's layer does it, unless it does not take the keys.
    Auto,
    Always,
    /// The gateway does what it can by conversion.
    Never,
}
