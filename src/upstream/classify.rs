//! Whose fault is it? From the status and body of an answer that is no success to an [`Outcome`].
//!
//! Pure, and the only place that knows these rules. They are asked from the firm to the vague: `ErrorInfo.reason`,
//! then `QuotaFailure`, then the canonical status with the HTTP status, and only within one status the words of the
//! message. Google repeats what clients sent in its messages, so words count only at the beginning of a message:
//! otherwise a client could write a key's death sentence into a field name. Numbers in a message never count, as a
//! retry time such as `18.403470473s` contains `403`.

use std::sync::Arc;

use super::{
    google_error::{GoogleError, RawError},
    quota_error::judge_quota,
};
use crate::{
    config::ErrorRule,
    domain::outcome::{BillingFault, EgressFault, KeyFault, Outcome, ServerFault},
};

/// An answer that was no success, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Google's true HTTP status; for an error inside a 200 stream, its `error.code`.
    pub status: u16,
    pub outcome: Outcome,
    pub error: GoogleError,
    /// We saw it ourselves, and the words are ours: Google named no reason.
    pub is_ours: bool,
    /// The number of the key's project, where Google named it; not for clients.
    pub consumer: Option<u64>,
}

/// Judges what is no success: by the operator's rules, then by ours.
#[derive(Debug, Clone, Default)]
pub struct Classifier {
    rules: Arc<[ErrorRule]>,
}

impl Classifier {
    pub fn new(rules: &[ErrorRule]) -> Self {
        Self { rules: rules.into() }
    }

    /// Judges an answer whose status is not 2xx. The body may be of any size, encoding or shape.
    ///
    /// Redirects, which downloads answer with, are no faults: their outcome is `Success`.
    pub fn classify(&self, status: u16, body: &[u8]) -> Fault {
        self.fault(&RawError::from_body(status, body))
    }

    /// Judges an event of a stream, or the body of a 200, that holds an `error` in place of an answer; `None` when it
    /// does not.
    pub fn classify_error_event(&self, json: &[u8]) -> Option<Fault> {
        RawError::from_event(json).map(|error| self.fault(&error))
    }

    fn fault(&self, error: &RawError) -> Fault {
        Fault {
            status: error.http_status,
            outcome: self.by_rule(error).unwrap_or_else(|| judge(error)),
            error: error.to_google_error(),
            is_ours: false,
            consumer: error.consumer(),
        }
    }

    /// What the first of the operator's rules that matches says. Of a quota Google may still tell for how long.
    fn by_rule(&self, error: &RawError) -> Option<Outcome> {
        let is_meant = |rule: &&ErrorRule| rule.matches(error.http_status, error.message(), error.reason());
        let mut outcome = self.rules.iter().find(is_meant)?.outcome.clone();
        if let Outcome::Quota(exceeded) = &mut outcome {
            exceeded.retry_after = exceeded.retry_after.or_else(|| error.retry_after());
        }
        (error.http_status >= 400).then_some(outcome)
    }
}

fn judge(error: &RawError) -> Outcome {
    // A redirect is an answer, even though Google writes an `error` of status UNKNOWN into its body.
    if error.http_status < 400 {
        return Outcome::Success;
    }
    if let Some(outcome) = by_reason(error) {
        return outcome;
    }
    if error.violations().next().is_some() {
        return judge_quota(error);
    }
    match error.canonical_status().unwrap_or(error.http_status) {
        401 => Outcome::GatewayFault,
        402 => Outcome::Billing(BillingFault::PrepayDepleted),
        403 => forbidden(error),
        404 => not_found(error),
        408 => Outcome::ServerFault(ServerFault::TimedOut),
        429 => judge_quota(error),
        503 => Outcome::ServerFault(ServerFault::Overloaded),
        // The method does not exist, for any key.
        501 => Outcome::ClientFault,
        // CANCELLED is Google's doing: we would not read the answer to a request that we cancelled.
        499 | 500.. => Outcome::ServerFault(ServerFault::Failed),
        _ => bad_request(error),
    }
}

/// What `ErrorInfo.reason` settles. Source: `google/api/error_reason.proto`.
fn by_reason(error: &RawError) -> Option<Outcome> {
    let outcome = match error.reason()? {
        "API_KEY_INVALID" if error.begins_with(&["API key expired"]) => {
            Outcome::KeyInvalid(KeyFault::Expired)
        }
        "API_KEY_INVALID" => Outcome::KeyInvalid(KeyFault::NotFound),
        "CONSUMER_SUSPENDED" | "CONSUMER_INVALID" => Outcome::KeyInvalid(KeyFault::Suspended),
        "SERVICE_DISABLED" => Outcome::KeyInvalid(KeyFault::ServiceDisabled),
        "API_KEY_SERVICE_BLOCKED" => Outcome::KeyInvalid(KeyFault::ServiceBlocked),
        "API_KEY_IP_ADDRESS_BLOCKED"
        | "API_KEY_HTTP_REFERRER_BLOCKED"
        | "API_KEY_ANDROID_APP_BLOCKED"
        | "API_KEY_IOS_APP_BLOCKED" => Outcome::Egress(EgressFault::Restricted),
        "BILLING_DISABLED" => Outcome::Billing(BillingFault::PrepayDepleted),
        // Seen with keys that list models happily, hence no verdict from one of them.
        "ACCESS_TOKEN_TYPE_UNSUPPORTED" | "IAM_PERMISSION_DENIED" => Outcome::KeySuspect,
        "CREDENTIALS_MISSING" | "OVERLOADED_CREDENTIALS" => Outcome::GatewayFault,
        "RATE_LIMIT_EXCEEDED" | "RESOURCE_QUOTA_EXCEEDED" => judge_quota(error),
        _ => return None,
    };
    Some(outcome)
}

/// 403 without a reason: a dead key, a missing key, somebody else's file, or a riddle.
fn forbidden(error: &RawError) -> Outcome {
    if error.begins_with(&["Your API key was reported as leaked"]) {
        Outcome::KeyInvalid(KeyFault::Leaked)
    } else if error.begins_with(&["Permission denied: Consumer", "Your project has been denied access"]) {
        Outcome::KeyInvalid(KeyFault::Suspended)
    } else if error
        .begins_with(&["Method doesn't allow unregistered callers", "The request is missing a valid API key"])
    {
        Outcome::GatewayFault
    } else if is_about_location(error) {
        location(error)
    } else if names_resource(error.message()) {
        Outcome::NotOwner
    } else {
        Outcome::KeySuspect
    }
}

/// 404: a model that nobody has, one that only this key lacks, or somebody else's file.
fn not_found(error: &RawError) -> Outcome {
    let message = error.message();
    if error.begins_with(&["This model "]) && message.contains("no longer available to new users") {
        Outcome::ModelUnavailable
    } else if message.contains("is not found for API version") || error.begins_with(&["models/"]) {
        Outcome::ClientFault
    } else if error.begins_with(&["Requested entity was not found"]) || names_resource(message) {
        Outcome::NotOwner
    } else {
        Outcome::ClientFault
    }
}

/// Whether a 403 or 404 speaks of something that only the project that made it can see. Nothing is lost when it is
/// wrong: nobody is blamed for such an outcome.
fn names_resource(message: &str) -> bool {
    const RESOURCES: [&str; 10] = [
        "file",
        "cachedcontent",
        "cached content",
        "cache content",
        "operation",
        "batch",
        "corpus",
        "corpora",
        "interaction",
        "tuned",
    ];
    let message = message.to_ascii_lowercase();
    RESOURCES.iter().any(|resource| message.contains(resource)) || message.contains("or it may not exist")
}

/// 400 and its kin: the client's fault, but for a bad key, our own credentials and the place that we call from.
fn bad_request(error: &RawError) -> Outcome {
    if error.begins_with(&["API key not valid", "API key not found"]) {
        Outcome::KeyInvalid(KeyFault::NotFound)
    } else if error.begins_with(&["API key expired"]) {
        Outcome::KeyInvalid(KeyFault::Expired)
    } else if error
        .begins_with(&["Multiple authentication credentials", "Missing or invalid Authorization header"])
    {
        Outcome::GatewayFault
    } else if is_about_location(error) {
        location(error)
    } else {
        Outcome::ClientFault
    }
}

fn is_about_location(error: &RawError) -> bool {
    error.begins_with(&[
        "User location is not supported",
        "Gemini API free tier is not available in your country",
    ])
}

/// Where only the free tier is missing, the key of a paid project would be served.
fn location(error: &RawError) -> Outcome {
    let another_key_helps = error.message().contains("billing");
    Outcome::Egress(if another_key_helps { EgressFault::Restricted } else { EgressFault::Location })
}

#[cfg(test)]
mod blame_table;
#[cfg(test)]
mod tests;
