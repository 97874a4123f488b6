//! What one attempt said about the key, the model, the client or ourselves.
//!
//! `upstream::classify` alone makes outcomes from answers; key actors alone act on them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The result of one attempt, in the words that decide what happens to the key and to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer with content, or one that is rightly empty (blocked prompt, used-up token limit).
    Success,
    /// Nobody waited for the end: the client hung up, or the lease was dropped.
    Abandoned,
    /// Google refuses this key for good.
    KeyInvalid(KeyFault),
    /// Something is odd about this key; only a row of these means anything.
    KeySuspect,
    /// Failed by no visible fault of its own where another key then served the same request.
    Outlier,
    /// A quota of this key's project for this model is used up.
    Quota(QuotaExceeded),
    /// This key may not use this model at all; others may.
    ModelUnavailable,
    /// The project has not paid or may not spend more.
    Billing(BillingFault),
    /// The address that we call from is refused.
    Egress(EgressFault),
    /// The file, cache or operation belongs to another project.
    NotOwner,
    /// We sent something that Google cannot read as one credential.
    GatewayFault,
    /// Google failed, was overloaded, or could not be reached.
    ServerFault(ServerFault),
    /// A successful answer without any content and without a reason for it.
    Empty,
    /// The request itself is at fault; no key could serve it.
    ClientFault,
}

/// Why a key is of no use until an operator acts or a later re-check finds it well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyFault {
    /// Not found, or mistyped: `API_KEY_INVALID`.
    NotFound,
    Expired,
    /// Google found it published.
    Leaked,
    /// The project behind it is suspended or deleted.
    Suspended,
    /// The Generative Language API is off in its project.
    ServiceDisabled,
    /// Its restrictions leave this API out: `API_KEY_SERVICE_BLOCKED`.
    ServiceBlocked,
}

/// A used-up quota: which window, and what Google said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    pub window: QuotaWindow,
    pub metric: QuotaMetric,
    /// `RetryInfo.retryDelay`, when present and readable.
    pub retry_after: Option<Duration>,
    /// `quotaValue`: the limit of the window, in what `metric` counts.
    pub limit: Option<u64>,
}

/// The span that a quota counts over.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum QuotaWindow {
    /// Google did not say.
    Unknown,
    Minute,
    /// Ends at midnight in America/Los_Angeles.
    Day,
}

/// What a quota counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum QuotaMetric {
    /// Google did not say, or counts something that we do not.
    Unknown,
    Requests,
    /// Tokens of prompts; what is answered is not counted.
    Tokens,
    /// Pictures that were made.
    Images,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BillingFault {
    /// Prepaid credit is used up.
    PrepayDepleted,
    /// The monthly spending cap is reached.
    SpendCap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressFault {
    /// Gemini is not offered where our address is.
    Location,
    /// The key is restricted to other addresses, referrers or apps.
    Restricted,
    /// Keys of many projects were refused alike within seconds, so it was none of theirs.
    Storm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFault {
    /// 503: the model is overloaded for everyone.
    Overloaded,
    /// 500, 502, 504 and other answers that are nobody's doing.
    Failed,
    /// The connection could not be made, or broke.
    Unreachable,
    /// No first byte, or a silence in the middle, for longer than allowed.
    TimedOut,
}

/// Who is to blame, as metrics and logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    Nobody,
    Key,
    KeyModel,
    Project,
    Egress,
    Routing,
    Gateway,
    Model,
    Client,
}

/// What becomes of the request after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// The answer goes to the client, good or bad.
    Answer,
    /// Another key, at once.
    OtherKey,
    /// Another key, after a short pause that grows.
    OtherKeyAfterBackoff,
}

impl Outcome {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Success | Self::Abandoned => Blame::Nobody,
            Self::KeyInvalid(_) | Self::KeySuspect | Self::Outlier => Blame::Key,
            Self::Quota(_) | Self::ModelUnavailable => Blame::KeyModel,
            Self::Billing(_) => Blame::Project,
            Self::Egress(_) => Blame::Egress,
            Self::NotOwner => Blame::Routing,
            Self::GatewayFault => Blame::Gateway,
            Self::ServerFault(_) | Self::Empty => Blame::Model,
            Self::ClientFault => Blame::Client,
        }
    }

    pub fn next_step(&self) -> NextStep {
        match self {
            Self::Success | Self::Abandoned | Self::NotOwner | Self::ClientFault => NextStep::Answer,
            // No other key would be better off by the same address, and mostly there is no other address.
            Self::Egress(EgressFault::Location) => NextStep::Answer,
            Self::KeyInvalid(_)
            | Self::KeySuspect
            | Self::Outlier
            | Self::Quota(_)
            | Self::ModelUnavailable
            | Self::Billing(_)
            | Self::Egress(EgressFault::Restricted)
            | Self::GatewayFault
            | Self::Empty => NextStep::OtherKey,
            // The address may be let through again before the request's time is over.
            Self::Egress(EgressFault::Storm) | Self::ServerFault(_) => NextStep::OtherKeyAfterBackoff,
        }
    }

    /// Whether the other keys of the project are likely to fare no better.
    pub fn concerns_project(&self) -> bool {
        match self {
            Self::KeyInvalid(fault) => matches!(fault, KeyFault::Suspended | KeyFault::ServiceDisabled),
            outcome => outcome.blame() == Blame::Project,
        }
    }

    /// One word for logs, metrics and the request's trail of attempts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Abandoned => "abandoned",
            Self::KeyInvalid(_) => "key_invalid",
            Self::KeySuspect => "key_suspect",
            Self::Outlier => "outlier",
            Self::Quota(QuotaExceeded { window: QuotaWindow::Minute, .. }) => "quota_minute",
            Self::Quota(QuotaExceeded { window: QuotaWindow::Day, .. }) => "quota_day",
            Self::Quota(QuotaExceeded { window: QuotaWindow::Unknown, .. }) => "quota_unknown",
            Self::ModelUnavailable => "model_unavailable",
            Self::Billing(_) => "billing",
            Self::Egress(EgressFault::Storm) => "storm",
            Self::Egress(_) => "egress",
            Self::NotOwner => "not_owner",
            Self::GatewayFault => "gateway_fault",
            Self::ServerFault(ServerFault::Overloaded) => "overloaded",
            Self::ServerFault(ServerFault::Failed) => "server_fault",
            Self::ServerFault(ServerFault::Unreachable) => "unreachable",
            Self::ServerFault(ServerFault::TimedOut) => "timed_out",
            Self::Empty => "empty",
            Self::ClientFault => "client_fault",
        }
    }
}
