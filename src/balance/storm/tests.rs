//! When the weather of an address changes, and for how long.

use proptest::prelude::*;

use super::*;
use crate::domain::outcome::{KeyFault, QuotaExceeded, QuotaMetric};

const KEYS: i64 = 40;

fn quota(window: QuotaWindow) -> Outcome {
    Outcome::Quota(QuotaExceeded { window, metric: QuotaMetric::Unknown, retry_after: None, limit: None })
}

fn bare() -> Outcome {
    quota(QuotaWindow::Unknown)
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Keys are asked for one of two models; the times are those of the lease and of its end.
fn record(
    detector: &mut StormDetector,
    key: KeyId,
    party: Party,
    outcome: &Outcome,
    in_use: usize,
    (leased_at, now): (Instant, Instant),
) -> Reading {
    let model = ModelName::parse(["flash", "pro"][key.0 as usize % 2]).unwrap();
    detector.record(&Attempt { key, party, model: &model, leased_at }, outcome, in_use, now)
}

/// An address whose keys each speak for themselves.
struct Address {
    detector: StormDetector,
    now: Instant,
}

impl Address {
    fn new() -> Self {
        Self { detector: StormDetector::default(), now: Instant::now() }
    }

    fn settle(&mut self, key: i64, outcome: &Outcome) -> Reading {
        self.settle_late(key, outcome, self.now)
    }

    /// …of an attempt that was sent then.
    fn settle_late(&mut self, key: i64, outcome: &Outcome, leased_at: Instant) -> Reading {
        record(
            &mut self.detector,
            KeyId(key),
            Party::Key(KeyId(key)),
            outcome,
            KEYS as usize,
            (leased_at, self.now),
        )
    }

    /// So many keys fail, one after the other, a tenth of a second apart.
    fn fail(&mut self, keys: std::ops::Range<i64>, outcome: &Outcome) -> Option<Storm> {
        keys.into_iter().find_map(|key| {
            self.now += Duration::from_millis(100);
            match self.settle(key, outcome) {
                Reading::Begins(storm) => Some(storm),
                Reading::OfKey | Reading::OfStorm => None,
            }
        })
    }

    fn admit(&mut self) -> Admission {
        self.detector.admit(self.now)
    }

    fn in_storm() -> Self {
        let mut address = Self::new();
        address.fail(0..KEYS, &bare()).expect("a storm");
        address
    }
}

#[test]
fn many_keys_that_fail_alike_are_a_storm_and_are_told_by_name() {
    let mut address = Address::new();
    let begun = address.now + Duration::from_millis(100);

    let storm = address.fail(0..KEYS, &bare()).expect("a storm");

    let mut keys = storm.keys.clone();
    keys.sort_unstable();
    assert_eq!(keys, (0..12).map(KeyId).collect::<Vec<_>>(), "30 % of 40");
    assert_eq!((storm.sign, storm.since, storm.until), (Sign::BareLimit, begun, address.now + secs(5)));
    assert_eq!(address.admit(), Admission::PausedUntil(storm.until));
    assert_eq!(address.settle(20, &bare()), Reading::OfStorm, "what was on its way when the pause began");
}

#[test]
fn a_success_between_a_different_kind_or_a_longer_time_make_no_storm() {
    let mut successes = Address::new();
    for round in 0..8 {
        assert_eq!(successes.fail(round * 5..round * 5 + 5, &bare()), None);
        successes.settle(99, &Outcome::Success);
    }

    let mut kinds = Address::new();
    for outcome in [bare(), Outcome::KeySuspect, Outcome::ServerFault(ServerFault::Unreachable)] {
        assert_eq!(kinds.fail(0..11, &outcome), None);
    }

    let mut slow = Address::new();
    for key in 0..KEYS {
        slow.now += secs(1);
        assert_eq!(slow.settle(key, &bare()), Reading::OfKey);
    }
}

#[test]
fn keys_of_one_project_are_no_storm_however_many() {
    let mut address = Address::new();
    for key in 0..1000 {
        let times = (address.now, address.now);
        let reading = record(&mut address.detector, KeyId(key), Party::Project(7), &bare(), 10, times);
        assert_eq!(reading, Reading::OfKey);
    }
}

#[test]
fn spent_quotas_dead_keys_and_bad_requests_are_no_storm_however_many() {
    let mut address = Address::new();
    for outcome in [
        quota(QuotaWindow::Minute),
        quota(QuotaWindow::Day),
        Outcome::KeyInvalid(KeyFault::NotFound),
        Outcome::ClientFault,
        Outcome::ServerFault(ServerFault::Overloaded),
    ] {
        assert_eq!(address.fail(0..KEYS, &outcome), None, "{outcome:?}");
        assert_eq!(address.admit(), Admission::Open);
    }
}

#[test]
fn a_storm_takes_five_parties_in_a_small_pool_and_fifty_in_a_huge_one() {
    for (in_use, expected) in [(0, 5), (6, 5), (100, 30), (100_000, 50)] {
        let (mut detector, now) = (StormDetector::default(), Instant::now());
        let mut failed = 0;
        loop {
            failed += 1;
            let key = KeyId(failed);
            if record(&mut detector, key, Party::Key(key), &bare(), in_use, (now, now)) != Reading::OfKey {
                break;
            }
        }
        assert_eq!(failed, expected, "{in_use} in use");
    }
}

#[test]
fn after_the_pause_one_request_probes_and_a_success_opens() {
    let mut address = Address::in_storm();
    address.now += secs(5);

    assert_eq!(address.admit(), Admission::Probe);
    assert_eq!(address.admit(), Admission::PausedUntil(address.now + secs(1)), "one at a time");
    assert_eq!(address.settle(3, &Outcome::Success), Reading::OfKey);

    assert_eq!(address.admit(), Admission::Open);
    assert!(address.detector.is_quiet());
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_two_minutes() {
    let mut address = Address::in_storm();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let Admission::PausedUntil(until) = address.admit() else { panic!("it pauses") };
        pauses.push((until - address.now).as_secs());
        address.now = until;
        assert_eq!(address.admit(), Admission::Probe);
        assert_eq!(address.settle(3, &bare()), Reading::OfStorm);
    }

    assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120]);
}

#[test]
fn a_storm_that_returns_soon_pauses_longer_and_one_that_returns_late_does_not() {
    for (calm, pause) in [(60, 10), (600, 5)] {
        let mut address = Address::in_storm();
        address.now += secs(5);
        address.admit();
        address.settle(3, &Outcome::Success);
        address.now += secs(calm);

        let storm = address.fail(0..KEYS, &bare()).expect("a storm");

        assert_eq!(storm.until - address.now, secs(pause), "after {calm} s");
    }
}

#[test]
fn a_probe_that_tells_nothing_makes_way_for_the_next() {
    for silent in [Outcome::Abandoned, Outcome::ClientFault, Outcome::ServerFault(ServerFault::Overloaded)] {
        let mut address = Address::in_storm();
        address.now += secs(5);
        assert_eq!(address.admit(), Admission::Probe);
        assert_eq!(address.settle(3, &silent), Reading::OfKey);
        assert_eq!(address.admit(), Admission::Probe, "{silent:?}");
    }
    let mut lost = Address::in_storm();
    lost.now += secs(5);
    assert_eq!(lost.admit(), Admission::Probe);
    lost.now += PROBE_PATIENCE;
    assert_eq!(lost.admit(), Admission::Probe);
}

#[test]
fn what_was_sent_before_a_pause_neither_ends_nor_prolongs_it() {
    let mut address = Address::in_storm();
    let before = address.now;
    address.now += secs(5);
    assert_eq!(address.admit(), Admission::Probe);

    assert_eq!(address.settle_late(5, &Outcome::Success, before), Reading::OfKey);
    assert_eq!(address.settle_late(6, &bare(), before), Reading::OfStorm);
    assert_eq!(address.admit(), Admission::PausedUntil(address.now + secs(1)), "the probe is still out");

    address.settle(3, &Outcome::Success);
    for key in 0..KEYS {
        assert_eq!(address.settle_late(key, &bare(), before), Reading::OfStorm, "it met the storm");
    }
    assert_eq!(address.admit(), Admission::Open);
}

#[test]
fn a_stream_that_began_long_ago_does_not_hide_a_storm() {
    let mut address = Address::new();
    let long_ago = address.now;
    address.now += secs(30);

    let storm = (0..KEYS).find_map(|key| {
        address.settle_late(99, &Outcome::Success, long_ago);
        address.fail(key..key + 1, &bare())
    });

    assert_eq!(storm.expect("a storm").keys.len(), 12);
}

#[test]
fn failures_without_end_cost_no_more_than_a_few() {
    let mut address = Address::new();
    for turn in 0..20_000 {
        address.settle(turn % 4, &bare());
    }
    assert!(address.detector.failures.list.len() <= REMEMBERED);
}

proptest! {
    /// Whatever comes, no pause lasts longer than two minutes, and after each somebody may try.
    #[test]
    fn no_pause_is_for_ever(steps in prop::collection::vec((0i64..60, 0u8..5, 0u64..4000), 0..400)) {
        let mut address = Address::new();
        for (key, outcome, pause) in steps {
            address.now += Duration::from_millis(pause);
            let outcomes = [bare(), Outcome::Success, Outcome::KeySuspect, Outcome::Abandoned, Outcome::ClientFault];
            address.settle(key, &outcomes[outcome as usize]);
            if let Admission::PausedUntil(until) = address.admit() {
                prop_assert!(until > address.now && until <= address.now + LONGEST_PAUSE);
            }
        }
        address.now += LONGEST_PAUSE;
        prop_assert!(matches!(address.admit(), Admission::Open | Admission::Probe));
    }
}
