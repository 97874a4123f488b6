//! Whose fault is it? From the status and body of an answer that is no success to an [`Outcome`].
//!
//! Pure, and the only place that knows these rules. They are asked from the firm to the vague: `ErrorInfo.reason`,
//! then `QuotaFailure`, then the canonical status with the HTTP status, and only within one status the words of the
//! message. Google repeats what clients sent in its messages, so words count only at the beginning of a message:
//! otherwise a client could write a key's death sentence into a field name. Numbers in a message never count, as a
//! retry time such as `18.403470473s` contains `403`.

use super::{
    google_error::{GoogleError, RawError},
    quota_error::judge_quota,
};
use crate::domain::outcome::{BillingFault, EgressFault, KeyFault, Outcome, ServerFault};

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

/// Judges an answer whose status is not 2xx. The body may be of any size, encoding or shape.
///
/// Redirects, which downloads answer with, are no faults: their outcome is `Success`.
pub fn classify(status: u16, body: &[u8]) -> Fault {
    Fault::from(RawError::from_body(status, body))
}

/// Judges an event of a stream, or the body of a 200, that holds an `error` in place of an answer; `None` when it
/// does not.
pub fn classify_error_event(json: &[u8]) -> Option<Fault> {
    RawError::from_event(json).map(Fault::from)
}

impl From<RawError> for Fault {
    fn from(error: RawError) -> Self {
        Self {
            status: error.http_status,
            outcome: judge(&error),
            error: error.to_google_error(),
            is_ours: false,
            consumer: error.consumer(),
        }
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
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        domain::outcome::{Blame, QuotaExceeded, QuotaMetric, QuotaWindow},
        upstream::fixtures,
    };

    const NOT_FOUND: Outcome = Outcome::KeyInvalid(KeyFault::NotFound);
    const FAILED: Outcome = Outcome::ServerFault(ServerFault::Failed);
    const OVERLOADED: Outcome = Outcome::ServerFault(ServerFault::Overloaded);

    /// As Google refuses it that counts requests, where it says what it counts.
    fn quota(window: QuotaWindow, retry_after: Option<u64>, limit: Option<u64>) -> Outcome {
        let known = window != QuotaWindow::Unknown;
        let metric = if known { QuotaMetric::Requests } else { QuotaMetric::Unknown };
        counted(window, metric, retry_after, limit)
    }

    fn counted(
        window: QuotaWindow,
        metric: QuotaMetric,
        retry_after: Option<u64>,
        limit: Option<u64>,
    ) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome::Quota(QuotaExceeded { window, metric, retry_after, limit })
    }

    fn message(status: u16, message: &str) -> Outcome {
        classify(status, json!({"error": {"message": message}}).to_string().as_bytes()).outcome
    }

    fn reason(status: u16, reason: &str) -> Outcome {
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason});
        classify(status, json!({"error": {"details": [info]}}).to_string().as_bytes()).outcome
    }

    /// What every recorded error must be judged as, and who is blamed for it.
    fn verdicts() -> Vec<(&'static str, Outcome, Blame)> {
        use QuotaMetric::Tokens;
        use QuotaWindow::{Day, Minute, Unknown};
        let client = [
            "400-ends-with-model-turn",
            "400-function-response-count",
            "400-interactions-thinking-level",
            "400-invalid-argument-bare",
            "400-logprobs-not-enabled",
            "400-multiple-candidates",
            "400-penalty-not-enabled",
            "400-thinking-level",
            "400-thought-signature-corrupted",
            "400-thought-signature-missing",
            "400-too-many-tokens",
            "400-unknown-field",
            "404-unknown-model",
        ];
        let mut verdicts = vec![
            ("400-api-key-expired", Outcome::KeyInvalid(KeyFault::Expired), Blame::Key),
            ("400-api-key-invalid", NOT_FOUND, Blame::Key),
            ("400-location-not-supported", Outcome::Egress(EgressFault::Location), Blame::Egress),
            ("400-multiple-credentials", Outcome::GatewayFault, Blame::Gateway),
            ("401-access-token-type-unsupported", Outcome::KeySuspect, Blame::Key),
            ("401-unauthenticated-plain", Outcome::GatewayFault, Blame::Gateway),
            ("403-api-key-service-blocked", Outcome::KeyInvalid(KeyFault::ServiceBlocked), Blame::Key),
            ("403-consumer-suspended", Outcome::KeyInvalid(KeyFault::Suspended), Blame::Key),
            ("403-file-not-accessible", Outcome::NotOwner, Blame::Routing),
            ("403-key-leaked", Outcome::KeyInvalid(KeyFault::Leaked), Blame::Key),
            ("403-no-credentials", Outcome::GatewayFault, Blame::Gateway),
            ("403-service-disabled", Outcome::KeyInvalid(KeyFault::ServiceDisabled), Blame::Key),
            ("404-model-closed-to-new-users", Outcome::ModelUnavailable, Blame::KeyModel),
            ("429-bare", quota(Unknown, None, None), Blame::KeyModel),
            (
                "429-free-tier-input-tokens-minute",
                counted(Minute, Tokens, Some(34), Some(250_000)),
                Blame::KeyModel,
            ),
            ("429-free-tier-limit-zero", Outcome::ModelUnavailable, Blame::KeyModel),
            ("429-free-tier-per-day", quota(Day, Some(41), Some(20)), Blame::KeyModel),
            ("429-free-tier-per-minute", quota(Minute, Some(12), Some(5)), Blame::KeyModel),
            ("429-legacy-error-info", Outcome::ModelUnavailable, Blame::KeyModel),
            (
                "429-paid-input-tokens-minute",
                counted(Minute, Tokens, Some(48), Some(1_000_000)),
                Blame::KeyModel,
            ),
            ("429-paid-requests-per-day", quota(Day, Some(6776), Some(100)), Blame::KeyModel),
            ("429-prepay-depleted", Outcome::Billing(BillingFault::PrepayDepleted), Blame::Project),
            ("429-spend-cap", Outcome::Billing(BillingFault::SpendCap), Blame::Project),
            ("499-cancelled", FAILED, Blame::Model),
            ("500-internal", FAILED, Blame::Model),
            ("502-html", FAILED, Blame::Model),
            ("503-high-demand", OVERLOADED, Blame::Model),
            ("503-high-demand-array", OVERLOADED, Blame::Model),
            ("503-overloaded", OVERLOADED, Blame::Model),
            ("504-deadline-exceeded", FAILED, Blame::Model),
        ];
        verdicts.extend(client.map(|file| (file, Outcome::ClientFault, Blame::Client)));
        verdicts
    }

    #[test]
    fn every_recorded_error_is_judged_as_its_index_says() {
        let Some(folder) = fixtures::folder("gemini/errors") else { return };
        let verdicts = verdicts();

        for (file, outcome, blame) in &verdicts {
            let sample = fixtures::json(&folder.join(format!("{file}.json")));
            let status = sample["http_status"].as_u64().unwrap() as u16;
            let body = match sample["body_text"].as_str() {
                Some(text) => text.to_owned(),
                None => sample["body"].to_string(),
            };
            let fault = classify(status, body.as_bytes());

            assert_eq!(
                (&fault.outcome, fault.outcome.blame(), fault.status),
                (outcome, *blame, status),
                "{file}"
            );
        }
        assert_eq!(verdicts.len(), fixtures::files(&folder, "json").len(), "each sample has its row");
    }

    #[test]
    fn the_consumer_is_read_where_google_names_it_and_never_told_to_clients() {
        let Some(folder) = fixtures::folder("gemini/errors") else { return };
        for (file, consumer) in [
            ("403-consumer-suspended", Some(123_456_789_012)),
            ("429-legacy-error-info", Some(348_715_329_010)),
            ("429-bare", None),
        ] {
            let sample = fixtures::json(&folder.join(format!("{file}.json")));

            let fault = classify(429, sample["body"].to_string().as_bytes());

            assert_eq!(fault.consumer, consumer, "{file}");
            let told = String::from_utf8(fault.error.to_json()).unwrap();
            assert!(consumer.is_none_or(|number| !told.contains(&number.to_string())), "{told}");
        }
    }

    #[test]
    fn errors_recorded_elsewhere_are_judged_too() {
        let Some(folder) = fixtures::folder("gemini") else { return };
        for (file, status, outcome) in [
            ("firebase/googleai/unary-failure-api-key.json", 400, NOT_FOUND),
            ("firebase/vertexai/streaming-failure-api-key.txt", 400, NOT_FOUND),
            ("firebase/googleai/unary-failure-unknown-model.json", 404, Outcome::ClientFault),
            ("firebase/vertexai/unary-failure-context-cache-not-found.json", 404, Outcome::NotOwner),
            (
                "firebase/vertexai/unary-failure-invalid-location-url-not-found.html",
                404,
                Outcome::ClientFault,
            ),
            ("firebase/vertexai/unary-failure-image-rejected.json", 400, Outcome::ClientFault),
            ("vercel/google/google-429-retry-info.json", 429, quota(QuotaWindow::Minute, Some(34), None)),
        ] {
            let mut fault = classify(status, &std::fs::read(folder.join(file)).unwrap());
            if let Outcome::Quota(QuotaExceeded { retry_after: Some(told), .. }) = &mut fault.outcome {
                *told = Duration::from_secs(told.as_secs());
            }
            assert_eq!(fault.outcome, outcome, "{file}");
            assert!(!fault.error.message.contains("AIz"), "{file}");
        }
    }

    #[test]
    fn a_restriction_to_other_addresses_is_the_egress_s_fault_and_never_the_key_s() {
        for name in ["IP_ADDRESS", "HTTP_REFERRER", "ANDROID_APP", "IOS_APP"] {
            let outcome = reason(403, &format!("API_KEY_{name}_BLOCKED"));
            assert_eq!(outcome, Outcome::Egress(EgressFault::Restricted));
        }
    }

    #[test]
    fn what_no_recording_shows_is_judged_by_reason_then_status_then_words() {
        for (outcome, expected) in [
            (reason(403, "CONSUMER_INVALID"), Outcome::KeyInvalid(KeyFault::Suspended)),
            (reason(403, "BILLING_DISABLED"), Outcome::Billing(BillingFault::PrepayDepleted)),
            (reason(400, "SOMETHING_NEW"), Outcome::ClientFault),
            (message(400, "API Key not found. Please pass a valid API key."), NOT_FOUND),
            (message(400, "Missing or invalid Authorization header."), Outcome::GatewayFault),
            (message(400, "Request payload size exceeds the limit: 20971520 bytes."), Outcome::ClientFault),
            (message(402, ""), Outcome::Billing(BillingFault::PrepayDepleted)),
            (
                message(403, "Your project has been denied access. Please contact support."),
                Outcome::KeyInvalid(KeyFault::Suspended),
            ),
            (message(403, "CachedContent not found (or permission denied)"), Outcome::NotOwner),
            (message(403, "You do not have permission to access tuned model x."), Outcome::NotOwner),
            (message(403, "The caller does not have permission"), Outcome::KeySuspect),
            (message(404, "Requested entity was not found."), Outcome::NotOwner),
            (message(404, "models/my-file-batch is not found for API version v1"), Outcome::ClientFault),
            (message(404, ""), Outcome::ClientFault),
            (message(408, ""), Outcome::ServerFault(ServerFault::TimedOut)),
            (message(409, "exists"), Outcome::ClientFault),
            (message(413, ""), Outcome::ClientFault),
            (message(418, ""), Outcome::ClientFault),
            (message(501, ""), Outcome::ClientFault),
            (message(529, ""), FAILED),
        ] {
            assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn a_missing_free_tier_leaves_other_keys_a_chance() {
        let words = "User location is not supported for the API use without a billing account linked.";

        assert_eq!(message(400, words), Outcome::Egress(EgressFault::Restricted));
    }

    #[test]
    fn words_that_a_client_smuggled_into_a_message_condemn_no_key() {
        for words in
            ["API key expired", "Your API key was reported as leaked", "User location is not supported"]
        {
            let echo = format!("Invalid JSON payload received. Unknown name \"{words}\": Cannot find field.");

            assert_eq!(message(400, &echo), Outcome::ClientFault);
        }
    }

    #[test]
    fn a_redirect_is_a_success_whatever_its_body_says() {
        let body = br#"{"error":{"code":302,"message":"Unknown Error.","status":"UNKNOWN"}}"#;

        assert_eq!(classify(302, body).outcome, Outcome::Success);
    }

    #[test]
    fn numbers_in_a_message_are_never_taken_for_a_status() {
        assert_eq!(message(500, "took 18.403470473s, then 429"), FAILED);
    }

    #[test]
    fn an_error_inside_a_stream_is_judged_by_its_own_code() {
        let cancelled =
            br#"{"error":{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}}"#;
        let interactions =
            br#"{"event_type":"error","error":{"code":"not_found","message":"Interaction x"}}"#;

        let fault = classify_error_event(cancelled).unwrap();
        assert_eq!((fault.status, fault.outcome), (499, FAILED));
        let fault = classify_error_event(interactions).unwrap();
        assert_eq!((fault.status, fault.outcome), (404, Outcome::NotOwner));
    }

    #[test]
    fn what_is_no_error_event_is_left_alone() {
        for event in [
            r#"{"candidates":[],"error":{"code":500}}"#,
            r#"{"name":"operations/x","done":true,"error":{"code":3}}"#,
            r#"{"error":null}"#,
            "{}",
            "data",
        ] {
            assert_eq!(classify_error_event(event.as_bytes()), None, "{event}");
        }
    }

    #[test]
    fn huge_and_deep_bodies_are_judged_by_their_status() {
        for body in [vec![b'['; 10_000_000], b"[{\"error\":".repeat(50_000), vec![b'x'; 10_000_000]] {
            assert_eq!(classify(500, &body).outcome, FAILED);
            assert_eq!(classify_error_event(&body), None);
        }
    }

    proptest! {
        #[test]
        fn no_answer_whatever_is_fatal(status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let fault = classify(status, &body);
            classify_error_event(&body);

            prop_assert_eq!(fault.status, status);
            prop_assert_eq!(fault.outcome == Outcome::Success, status < 400);
        }

        #[test]
        fn no_message_whatever_is_fatal(status in 400u16..600, text in "\\PC*", delay in "\\PC{0,20}") {
            let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay});
            classify(status, json!({"error": {"message": text, "details": [info]}}).to_string().as_bytes());
        }
    }
}
