//! The health of a key, from the first failure to the last day of its recovery.

use super::*;
use crate::domain::outcome::{QuotaExceeded, QuotaMetric};

const MAX_FAILURES: u32 = 3;

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn rate_limited(retry_after: Duration) -> Outcome {
    Outcome::Quota(QuotaExceeded {
        window: QuotaWindow::Minute,
        metric: QuotaMetric::Requests,
        retry_after: Some(retry_after),
        limit: Some(10),
    })
}

const UNEXPLAINED: Outcome = Outcome::Quota(QuotaExceeded {
    window: QuotaWindow::Unknown,
    metric: QuotaMetric::Unknown,
    retry_after: None,
    limit: None,
});

fn tripped(now: Now) -> KeyHealth {
    let mut health = KeyHealth::new(MAX_FAILURES);
    for _ in 0..MAX_FAILURES {
        health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);
    }
    health
}

fn half_open(now: Now) -> KeyHealth {
    let mut health = tripped(now);
    assert!(health.expire(health.next_expiry().unwrap()));
    assert_eq!(health.state(), KeyState::HalfOpen);
    health
}

#[test]
fn a_rate_limit_cools_one_model_for_as_long_as_google_asks() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());

    assert!(health.record(&model("flash"), &rate_limited(secs(30)), now, 0.5));

    let routing = health.routing();
    assert_eq!(routing.availability, Availability::Ready);
    let expected = ModelCooldown {
        model: model("flash"),
        until: now.instant + secs(30),
        reason: ModelReason::QuotaMinute,
    };
    assert_eq!(routing.cooldowns, [expected]);
    assert!(!health.expire(now.instant + secs(29)));
    assert!(health.expire(now.instant + secs(30)));
    assert_eq!(health.routing().cooldowns, []);
}

#[test]
fn of_two_rate_limits_that_cross_the_longer_holds() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    health.record(&model("flash"), &rate_limited(secs(40)), now, 0.5);
    health.record(&model("flash"), &rate_limited(secs(10)), now, 0.5);

    assert_eq!(health.next_expiry(), Some(now.instant + secs(40)));
}

#[test]
fn unexplained_refusals_back_off_longer_each_time_until_one_succeeds() {
    let (mut health, mut now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    let mut spans = Vec::new();
    for _ in 0..3 {
        health.record(&model("flash"), &UNEXPLAINED, now, 0.5);
        let until = health.next_expiry().unwrap();
        spans.push(until - now.instant);
        now = now.after(until - now.instant);
        health.expire(now.instant);
    }
    assert!(spans.is_sorted_by(|a, b| a < b), "{spans:?}");

    health.record(&model("flash"), &Outcome::Success, now, 0.5);
    health.record(&model("flash"), &UNEXPLAINED, now, 0.5);
    assert_eq!(health.next_expiry(), Some(now.instant + spans[0]));
}

#[test]
fn an_unexplained_refusal_of_long_ago_lengthens_no_backoff() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    health.record(&model("flash"), &UNEXPLAINED, now, 0.5);
    let first = health.next_expiry().unwrap() - now.instant;
    health.expire(now.instant + first);

    let later = now.after(first + secs(2 * 60 * 60));
    health.record(&model("flash"), &UNEXPLAINED, later, 0.5);

    assert_eq!(health.next_expiry(), Some(later.instant + first));
}

#[test]
fn an_invalid_key_is_out_at_once_and_stays_out() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());

    assert!(health.record(&model("m"), &Outcome::KeyInvalid(KeyFault::Leaked), now, 0.5));
    health.record(&model("m"), &Outcome::Success, now, 0.5);
    health.record(&model("m"), &Outcome::Billing(BillingFault::SpendCap), now, 0.5);
    health.expire(now.instant + secs(1 << 20));

    assert_eq!(health.state(), KeyState::Invalid { reason: KeyFault::Leaked });
    assert_eq!(health.routing().availability, Availability::Out);
}

#[test]
fn failures_in_a_row_trip_the_breaker_and_a_success_between_does_not_let_them_add_up() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    for outcome in [Outcome::KeySuspect, Outcome::KeySuspect, Outcome::Success, Outcome::KeySuspect] {
        health.record(&model("m"), &outcome, now, 0.5);
        assert_eq!(health.state(), KeyState::Active);
    }
    health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);
    health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);

    assert!(matches!(health.state(), KeyState::Cooling { reason: CoolingReason::Failures, .. }));
}

#[test]
fn one_probe_decides_whether_a_half_open_key_is_well() {
    let now = Now::read();

    let mut recovering = half_open(now);
    assert!(recovering.record(&model("m"), &Outcome::Success, now, 0.5));
    assert_eq!(recovering.state(), KeyState::Active);

    let mut failing = half_open(now);
    assert!(failing.record(&model("m"), &Outcome::KeySuspect, now, 0.5));
    let first = tripped(now).next_expiry().unwrap();
    assert!(failing.next_expiry().unwrap() > first, "the second cooldown is longer");
}

#[test]
fn a_probe_that_tells_nothing_leaves_the_key_half_open_for_the_next() {
    let now = Now::read();
    for outcome in [Outcome::Abandoned, Outcome::ClientFault, Outcome::Empty] {
        let mut health = half_open(now);
        assert!(health.record(&model("m"), &outcome, now, 0.5), "announced again: {outcome:?}");
        assert_eq!(health.state(), KeyState::HalfOpen);
    }
}

#[test]
fn what_others_did_wrong_never_changes_a_key() {
    let (mut health, now) = (KeyHealth::new(1), Now::read());
    use crate::domain::outcome::ServerFault as Fault;
    for outcome in [
        Outcome::ClientFault,
        Outcome::NotOwner,
        Outcome::GatewayFault,
        Outcome::Empty,
        Outcome::Abandoned,
        Outcome::Egress(EgressFault::Location),
        Outcome::Egress(EgressFault::Storm),
        Outcome::ServerFault(Fault::Overloaded),
        Outcome::ServerFault(Fault::Failed),
        Outcome::ServerFault(Fault::Unreachable),
        Outcome::ServerFault(Fault::TimedOut),
    ] {
        assert!(!health.record(&model("m"), &outcome, now, 0.5), "{outcome:?}");
        assert!(!health.snapshot(now).is_suspect());
    }
}

#[test]
fn a_re_check_gives_an_invalid_key_one_attempt() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    health.record(&model("m"), &Outcome::KeyInvalid(KeyFault::NotFound), now, 0.5);

    assert!(health.found_well());
    assert_eq!(health.state(), KeyState::HalfOpen);
    assert!(!KeyHealth::new(MAX_FAILURES).found_well());
}

#[test]
fn a_key_that_fails_again_while_it_is_warmed_up_stays_out_longer() {
    let (mut health, now) = (half_open(Now::read()), Now::read());
    health.record(&model("m"), &Outcome::Success, now, 0.5);
    assert_eq!(health.routing().warm_at, Some(now.instant + WARM_UP));

    for _ in 0..MAX_FAILURES {
        health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);
    }
    assert_eq!(health.routing().warm_at, None);
    let second = health.next_expiry().unwrap() - now.instant;
    assert!(second > secs(20), "{second:?}");

    health.expire(now.instant + second);
    let later = now.after(second);
    health.record(&model("m"), &Outcome::Success, later, 0.5);
    assert!(health.expire(later.instant + WARM_UP));
    for _ in 0..MAX_FAILURES {
        health.record(&model("m"), &Outcome::KeySuspect, later.after(WARM_UP), 0.5);
    }
    let third = health.next_expiry().unwrap() - later.after(WARM_UP).instant;
    assert!(third < secs(13), "a key that was warm begins anew: {third:?}");
}

#[test]
fn failures_far_apart_never_add_up() {
    let (mut health, mut now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    for _ in 0..10 {
        health.record(&model("m"), &Outcome::KeySuspect, now, 0.5);
        now = now.after(secs(20 * 60));
        health.expire(now.instant);
    }

    assert_eq!(health.state(), KeyState::Active);
    health.expire(now.after(secs(3600)).instant);
    assert!(!health.snapshot(now).is_suspect());
}

#[test]
fn what_a_storm_did_is_forgiven_and_what_was_before_is_not() {
    let before = Now::read();
    let storm = before.after(secs(60));
    let mut health = KeyHealth::new(MAX_FAILURES);
    health.record(&model("pro"), &rate_limited(secs(300)), before, 0.5);
    health.record(&model("pro"), &Outcome::KeySuspect, before, 0.5);
    let well_before = health.snapshot(storm);

    health.record(&model("m"), &Outcome::KeySuspect, storm, 0.5);
    health.record(&model("m"), &Outcome::KeySuspect, storm, 0.5);
    assert!(matches!(health.state(), KeyState::Cooling { .. }));
    health.record(&model("flash"), &UNEXPLAINED, storm, 0.5);
    assert!(health.forgive_since(storm.instant));

    assert_eq!(health.state(), KeyState::Active);
    let cooling = health.routing().cooldowns;
    assert_eq!(cooling.iter().map(|cooldown| cooldown.model.as_str()).collect::<Vec<_>>(), ["pro"]);
    assert_eq!(health.snapshot(storm).trips, well_before.trips);
    assert!(!health.forgive_since(storm.instant), "once is enough");
}

#[test]
fn a_quota_that_google_explained_is_no_part_of_a_storm() {
    let (mut health, now) = (KeyHealth::new(MAX_FAILURES), Now::read());
    health.record(&model("flash"), &rate_limited(secs(30)), now, 0.5);
    health.record(&model("m"), &Outcome::Billing(BillingFault::PrepayDepleted), now, 0.5);
    let known = health.snapshot(now);

    assert!(!health.forgive_since(now.instant));
    assert_eq!(health.snapshot(now), known);
}

#[test]
fn a_probe_that_met_a_storm_is_made_again() {
    let now = Now::read();
    let mut health = half_open(now);
    health.record(&model("m"), &Outcome::KeySuspect, now.after(secs(60)), 0.5);

    assert!(health.forgive_since(now.after(secs(60)).instant));
    assert_eq!(health.state(), KeyState::HalfOpen);
}

#[test]
fn siblings_of_a_fallen_key_rest_with_it_or_must_prove_themselves() {
    let now = Now::read();
    let mut unpaid = KeyHealth::new(MAX_FAILURES);
    let fault = ProjectFault::Billing(BillingFault::PrepayDepleted);
    assert!(unpaid.sibling_fell(fault, now));
    assert!(matches!(unpaid.state(), KeyState::Cooling { reason: CoolingReason::PrepayDepleted, .. }));
    assert_eq!(unpaid.snapshot(now).state.project_fault(), Some(fault), "so the news spreads no further");
    assert!(!unpaid.sibling_fell(fault, now.after(secs(1))));

    let suspended = ProjectFault::Key(KeyFault::Suspended);
    let mut doubtful = KeyHealth::new(MAX_FAILURES);
    assert!(doubtful.sibling_fell(suspended, now));
    assert_eq!(doubtful.state(), KeyState::HalfOpen);
    assert_eq!(doubtful.snapshot(now).state.project_fault(), None);
    assert!(!doubtful.sibling_fell(suspended, now));
}
