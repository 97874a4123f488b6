//! The blame table: for each recorded error who is blamed, for how long, what becomes of the request, and that nobody
//! else is blamed with it.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{Classifier, Fault};
use crate::{
    balance::{
        breaker::{Availability, CoolingReason, KeyHealth, KeyState, ModelReason},
        provisional::{Provisional, provisional},
    },
    domain::{
        model::ModelName,
        outcome::{Blame, KeyFault, NextStep, Outcome, QuotaMetric},
        time::Now,
    },
    upstream::fixtures,
};

const MAX_FAILURES: u32 = 3;
const HOUR: u64 = 60 * 60;
/// Windows are given a second more to have ended.
const MARGIN: u64 = 1;
/// Noon in Los Angeles on the first of a month of 30 days, in winter.
const NOON: &str = "2026-11-02T20:00:00Z";
const UNTIL_MIDNIGHT: u64 = 12 * HOUR + MARGIN;
const UNTIL_NEXT_MONTH: u64 = (12 + 28 * 24) * HOUR + MARGIN;

/// What an error does to the key that met it. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    Nothing,
    /// The key rests for the model that was asked for, and goes on with others.
    ModelRests(u64, ModelReason),
    /// The key rests for all models.
    KeyRests(u64, CoolingReason),
    /// The key is out until somebody acts.
    KeyIsOut(KeyFault),
    /// The key is out for a while after so many in a row.
    KeyRestsAfter(u32),
}

use Blame::{Client, Egress, Gateway, Key, KeyModel, Model, Project, Routing};
use CoolingReason::{PrepayDepleted, SpendCap};
use Effect::{KeyIsOut, KeyRests, KeyRestsAfter, ModelRests, Nothing};
use ModelReason::{QuotaDay, QuotaMinute, QuotaUnknown, Unavailable};
use NextStep::{Answer, OtherKey, OtherKeyAfterBackoff};

type Row = (&'static str, &'static str, Blame, Effect, NextStep);

/// File, the outcome's name, who is blamed, with what effect, and what becomes of the request.
const TABLE: [Row; 43] = [
    ("400-api-key-expired", "key_invalid", Key, KeyIsOut(KeyFault::Expired), OtherKey),
    ("400-api-key-invalid", "key_invalid", Key, KeyIsOut(KeyFault::NotFound), OtherKey),
    ("400-ends-with-model-turn", "client_fault", Client, Nothing, Answer),
    ("400-function-response-count", "client_fault", Client, Nothing, Answer),
    ("400-interactions-thinking-level", "client_fault", Client, Nothing, Answer),
    ("400-invalid-argument-bare", "client_fault", Client, Nothing, Answer),
    ("400-location-not-supported", "egress", Egress, Nothing, Answer),
    ("400-logprobs-not-enabled", "client_fault", Client, Nothing, Answer),
    ("400-multiple-candidates", "client_fault", Client, Nothing, Answer),
    ("400-multiple-credentials", "gateway_fault", Gateway, Nothing, OtherKey),
    ("400-penalty-not-enabled", "client_fault", Client, Nothing, Answer),
    ("400-thinking-level", "client_fault", Client, Nothing, Answer),
    ("400-thought-signature-corrupted", "client_fault", Client, Nothing, Answer),
    ("400-thought-signature-missing", "client_fault", Client, Nothing, Answer),
    ("400-too-many-tokens", "client_fault", Client, Nothing, Answer),
    ("400-unknown-field", "client_fault", Client, Nothing, Answer),
    ("401-access-token-type-unsupported", "key_suspect", Key, KeyRestsAfter(MAX_FAILURES), OtherKey),
    ("401-unauthenticated-plain", "gateway_fault", Gateway, Nothing, OtherKey),
    ("403-api-key-service-blocked", "key_invalid", Key, KeyIsOut(KeyFault::ServiceBlocked), OtherKey),
    ("403-consumer-suspended", "key_invalid", Key, KeyIsOut(KeyFault::Suspended), OtherKey),
    ("403-file-not-accessible", "not_owner", Routing, Nothing, Answer),
    ("403-key-leaked", "key_invalid", Key, KeyIsOut(KeyFault::Leaked), OtherKey),
    ("403-no-credentials", "gateway_fault", Gateway, Nothing, OtherKey),
    ("403-service-disabled", "key_invalid", Key, KeyIsOut(KeyFault::ServiceDisabled), OtherKey),
    (
        "404-model-closed-to-new-users",
        "model_unavailable",
        KeyModel,
        ModelRests(24 * HOUR, Unavailable),
        OtherKey,
    ),
    ("404-unknown-model", "client_fault", Client, Nothing, Answer),
    ("429-bare", "quota_unknown", KeyModel, ModelRests(10, QuotaUnknown), OtherKey),
    ("429-free-tier-input-tokens-minute", "quota_minute", KeyModel, ModelRests(34, QuotaMinute), OtherKey),
    ("429-free-tier-limit-zero", "model_unavailable", KeyModel, ModelRests(24 * HOUR, Unavailable), OtherKey),
    ("429-free-tier-per-day", "quota_day", KeyModel, ModelRests(UNTIL_MIDNIGHT, QuotaDay), OtherKey),
    ("429-free-tier-per-minute", "quota_minute", KeyModel, ModelRests(12, QuotaMinute), OtherKey),
    ("429-legacy-error-info", "model_unavailable", KeyModel, ModelRests(24 * HOUR, Unavailable), OtherKey),
    ("429-paid-input-tokens-minute", "quota_minute", KeyModel, ModelRests(48, QuotaMinute), OtherKey),
    ("429-paid-requests-per-day", "quota_day", KeyModel, ModelRests(6776, QuotaDay), OtherKey),
    ("429-prepay-depleted", "billing", Project, KeyRests(HOUR, PrepayDepleted), OtherKey),
    ("429-spend-cap", "billing", Project, KeyRests(UNTIL_NEXT_MONTH, SpendCap), OtherKey),
    ("499-cancelled", "server_fault", Model, Nothing, OtherKeyAfterBackoff),
    ("500-internal", "server_fault", Model, Nothing, OtherKeyAfterBackoff),
    ("502-html", "server_fault", Model, Nothing, OtherKeyAfterBackoff),
    ("503-high-demand", "overloaded", Model, Nothing, OtherKeyAfterBackoff),
    ("503-high-demand-array", "overloaded", Model, Nothing, OtherKeyAfterBackoff),
    ("503-overloaded", "overloaded", Model, Nothing, OtherKeyAfterBackoff),
    ("504-deadline-exceeded", "server_fault", Model, Nothing, OtherKeyAfterBackoff),
];

fn classify(status: u16, body: &[u8]) -> Fault {
    Classifier::default().classify(status, body)
}

fn noon() -> Now {
    Now { instant: Instant::now(), utc: NOON.parse::<DateTime<Utc>>().unwrap() }
}

fn asked() -> ModelName {
    ModelName::parse("gemini-asked").unwrap()
}

/// Reads the effect off a key that meets the outcome again and again; other models of it must not notice unless the
/// whole key rests.
fn effect_on_key(outcome: &Outcome) -> Effect {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), noon());
    for met in 1..=MAX_FAILURES {
        health.record(&asked(), outcome, now, 0.0);
        let routing = health.routing();
        let seconds = |until: Instant| (until - now.instant).as_secs();
        match (health.state(), routing.cooldowns.as_slice()) {
            (KeyState::Active, []) => {}
            (KeyState::Active, [cooldown]) => {
                assert_eq!(cooldown.model, asked(), "other models go on");
                return ModelRests(seconds(cooldown.until), cooldown.reason);
            }
            (KeyState::Cooling { until, reason }, []) if met == 1 => return KeyRests(seconds(until), reason),
            (KeyState::Cooling { .. }, []) => return KeyRestsAfter(met),
            (KeyState::Invalid { reason }, []) => return KeyIsOut(reason),
            state => panic!("no error does this: {state:?}"),
        }
    }
    assert!(!health.snapshot(now).is_suspect(), "what blames nobody leaves no trace");
    Nothing
}

/// What the balancer assumes until the key's actor has judged; a row of failures it leaves to the actor.
fn assumption(effect: Effect, now: Now) -> Provisional {
    let at = |seconds| now.instant + Duration::from_secs(seconds);
    match effect {
        Nothing | KeyRestsAfter(_) => Provisional::Nothing,
        ModelRests(seconds, reason) => Provisional::Model(at(seconds), reason),
        KeyRests(seconds, _) => Provisional::Key(Availability::CoolingUntil(at(seconds))),
        KeyIsOut(_) => Provisional::Key(Availability::Out),
    }
}

/// Cut to whole seconds, as the table is.
fn assumed(outcome: &Outcome, now: Now) -> Provisional {
    let cut = |until: Instant| now.instant + Duration::from_secs((until - now.instant).as_secs());
    match provisional(outcome, now) {
        Provisional::Model(until, reason) => Provisional::Model(cut(until), reason),
        Provisional::Key(Availability::CoolingUntil(until)) => {
            Provisional::Key(Availability::CoolingUntil(cut(until)))
        }
        other => other,
    }
}

#[test]
fn every_recorded_error_blames_whom_it_should_for_as_long_as_it_should_and_nobody_else() {
    let Some(folder) = fixtures::folder("gemini/errors") else { return };
    let files = fixtures::files(&folder, "json");
    let recorded: BTreeSet<_> =
        files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(recorded, TABLE.iter().map(|row| row.0).collect(), "each recording has its row");

    for (file, name, blame, effect, step) in TABLE {
        let sample = fixtures::json(&folder.join(format!("{file}.json")));
        let status = sample["http_status"].as_u64().unwrap() as u16;
        let body = sample["body_text"].as_str().map_or_else(|| sample["body"].to_string(), str::to_owned);

        let fault = classify(status, body.as_bytes());

        let outcome = &fault.outcome;
        assert_eq!(
            (fault.status, outcome.name(), outcome.blame(), outcome.next_step()),
            (status, name, blame, step),
            "{file}"
        );
        assert_eq!(effect_on_key(outcome), effect, "{file}");
        let now = noon();
        assert_eq!(assumed(outcome, now), assumption(effect, now), "{file}");
        // Only a fault of the key or its project may touch more than the model that was asked for.
        let is_wide = matches!(effect, KeyIsOut(_) | KeyRests(..) | KeyRestsAfter(_));
        assert_eq!(is_wide, matches!(blame, Key | Project), "{file}");
    }
}

#[test]
fn what_google_said_of_a_quota_is_kept() {
    let Some(folder) = fixtures::folder("gemini/errors") else { return };
    for (file, metric, limit) in [
        ("429-bare", QuotaMetric::Unknown, None),
        ("429-free-tier-input-tokens-minute", QuotaMetric::Tokens, Some(250_000)),
        ("429-free-tier-per-day", QuotaMetric::Requests, Some(20)),
        ("429-free-tier-per-minute", QuotaMetric::Requests, Some(5)),
        ("429-paid-input-tokens-minute", QuotaMetric::Tokens, Some(1_000_000)),
        ("429-paid-requests-per-day", QuotaMetric::Requests, Some(100)),
    ] {
        let sample = fixtures::json(&folder.join(format!("{file}.json")));
        let outcome = classify(429, sample["body"].to_string().as_bytes()).outcome;

        let Outcome::Quota(exceeded) = outcome else { panic!("{file}: {outcome:?}") };
        assert_eq!((exceeded.metric, exceeded.limit), (metric, limit), "{file}");
    }
}

#[test]
fn delays_beyond_all_reason_end_within_the_window() {
    for (delay, day, rest) in [
        ("31536000s", false, 300),
        ("31536000s", true, UNTIL_MIDNIGHT),
        ("-5s", false, 61),
        ("-5s", true, UNTIL_MIDNIGHT),
        ("soon", false, 61),
        ("999999999999999999999s", false, 61),
        ("NaNs", false, 61),
        ("0s", false, 1),
    ] {
        let id = if day { "GenerateRequestsPerDay" } else { "GenerateRequestsPerMinute" };
        let details = serde_json::json!([
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ]);
        let body = serde_json::json!({"error": {"code": 429, "details": details}}).to_string();

        let reason = if day { QuotaDay } else { QuotaMinute };
        assert_eq!(
            effect_on_key(&classify(429, body.as_bytes()).outcome),
            ModelRests(rest, reason),
            "{delay} {id}"
        );
    }
}

#[test]
fn a_quota_that_nobody_has_seen_before_rests_shortly_and_longer_each_time() {
    for id in ["TokensPerFortnight", "", "💥", "perdiem"] {
        let details = serde_json::json!([
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id, "quotaValue": "-1"}]},
        ]);
        let body = serde_json::json!({"error": {"code": 429, "details": details}}).to_string();
        let outcome = classify(429, body.as_bytes()).outcome;

        assert_eq!(effect_on_key(&outcome), ModelRests(10, QuotaUnknown), "{id}");
        let (mut health, mut now) = (KeyHealth::new(MAX_FAILURES), noon());
        for _ in 0..20 {
            health.record(&asked(), &outcome, now, 1.0);
            let rest = health.next_expiry().unwrap() - now.instant;
            assert!(rest <= Duration::from_secs(HOUR), "{rest:?}");
            now = now.after(rest);
            health.expire(now.instant);
        }
    }
}
