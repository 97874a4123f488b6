//! What is judged how, beyond the recorded errors.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    domain::outcome::{QuotaExceeded, QuotaMetric, QuotaWindow},
    upstream::fixtures,
};

const NOT_FOUND: Outcome = Outcome::KeyInvalid(KeyFault::NotFound);
const FAILED: Outcome = Outcome::ServerFault(ServerFault::Failed);

/// As Google refuses it that counts requests, where it says what it counts.
fn quota(window: QuotaWindow, retry_after: Option<u64>, limit: Option<u64>) -> Outcome {
    let known = window != QuotaWindow::Unknown;
    let metric = if known { QuotaMetric::Requests } else { QuotaMetric::Unknown };
    let retry_after = retry_after.map(Duration::from_secs);
    Outcome::Quota(QuotaExceeded { window, metric, retry_after, limit })
}

fn classify(status: u16, body: &[u8]) -> Fault {
    Classifier::default().classify(status, body)
}

fn classify_error_event(json: &[u8]) -> Option<Fault> {
    Classifier::default().classify_error_event(json)
}

fn message(status: u16, message: &str) -> Outcome {
    classify(status, json!({"error": {"message": message}}).to_string().as_bytes()).outcome
}

fn reason(status: u16, reason: &str) -> Outcome {
    let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason});
    classify(status, json!({"error": {"details": [info]}}).to_string().as_bytes()).outcome
}

#[test]
fn errors_recorded_elsewhere_are_judged_too() {
    let Some(folder) = fixtures::folder("gemini") else { return };
    for (file, status, outcome) in [
        ("firebase/googleai/unary-failure-api-key.json", 400, NOT_FOUND),
        ("firebase/vertexai/streaming-failure-api-key.txt", 400, NOT_FOUND),
        ("firebase/googleai/unary-failure-unknown-model.json", 404, Outcome::ClientFault),
        ("firebase/vertexai/unary-failure-context-cache-not-found.json", 404, Outcome::NotOwner),
        ("firebase/vertexai/unary-failure-invalid-location-url-not-found.html", 404, Outcome::ClientFault),
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
    for words in ["API key expired", "Your API key was reported as leaked", "User location is not supported"]
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
    let interactions = br#"{"event_type":"error","error":{"code":"not_found","message":"Interaction x"}}"#;

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

fn with_rules(rules: &[serde_json::Value]) -> Classifier {
    let rules: Vec<_> = rules.iter().map(|rule| ErrorRule::parse(rule.clone()).unwrap()).collect();
    Classifier::new(&rules)
}

#[test]
fn a_rule_of_the_operators_goes_before_ours_and_the_first_that_matches_counts() {
    let classifier = with_rules(&[
        json!({"status": 403, "text": "caller does not", "verdict": "server_fault"}),
        json!({"status": 403, "verdict": "key_invalid"}),
        json!({"text": "NEW_REASON", "verdict": "model_unavailable"}),
    ]);
    let judge =
        |status, error| classifier.classify(status, json!({ "error": error }).to_string().as_bytes()).outcome;

    assert_eq!(judge(403, json!({"message": "The caller does not have permission"})), FAILED);
    assert_eq!(judge(403, json!({"message": "CachedContent not found"})), NOT_FOUND);
    assert_eq!(judge(400, json!({"message": "bad"})), Outcome::ClientFault, "no rule is meant");
    let info = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "NEW_REASON"}]);
    assert_eq!(judge(400, json!({ "details": info })), Outcome::ModelUnavailable);
    assert_eq!(classifier.classify(403, b"<html>").outcome, NOT_FOUND, "a status is enough");
    let event = br#"{"error":{"code":403,"message":"in a stream"}}"#;
    assert_eq!(classifier.classify_error_event(event).unwrap().outcome, NOT_FOUND);
}

#[test]
fn a_quota_by_rule_rests_as_long_as_the_rule_says_or_else_as_google_does() {
    let told = json!({"error": {"message": "Come back tomorrow. Please retry in 34s."}}).to_string();
    for (rule, seconds) in [
        (json!({"text": "tomorrow", "verdict": "quota_day", "cooldown_seconds": 3600}), 3600),
        (json!({"text": "tomorrow", "verdict": "quota_minute"}), 34),
    ] {
        let Outcome::Quota(exceeded) = with_rules(&[rule]).classify(400, told.as_bytes()).outcome else {
            panic!("a quota")
        };
        assert_eq!(exceeded.retry_after, Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn no_rule_makes_a_redirect_a_failure() {
    let classifier = with_rules(&[json!({"text": "moved", "verdict": "key_invalid"})]);

    assert_eq!(classifier.classify(302, br#"{"error":{"message":"moved"}}"#).outcome, Outcome::Success);
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
