use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    balance::allowance::{Allowance, Bound, Need, Share},
    domain::{
        node::NodeId,
        terms::{LimitName, Terms},
        time::Now,
    },
};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn noon() -> Now {
    Now { instant: Instant::now(), utc: "2026-05-05T19:00:00Z".parse().unwrap() }
}

/// Limits of everything, so that everything is told; low ones for requests of a minute.
fn terms(requests_per_minute: u64) -> Terms {
    let mut terms = Terms::default();
    let limits = &mut terms.rate_limits;
    limits.requests_per_minute = Some(requests_per_minute);
    limits.tokens_per_minute = Some(1_000_000);
    limits.tokens_per_day = Some(1_000_000);
    limits.requests_per_month = Some(1_000_000);
    terms
}

/// One process with its knowledge of one token.
struct Node {
    id: NodeId,
    allowance: Allowance,
    terms: Terms,
}

impl Node {
    fn new(name: &str, terms: &Terms, now: Now) -> Self {
        Self::with(name, terms, Allowance::new(now), now)
    }

    fn with(name: &str, terms: &Terms, allowance: Allowance, now: Now) -> Self {
        allowance.share_with_others(Arc::default(), terms.time_zone, now);
        Self { id: NodeId::new(name), allowance, terms: terms.clone() }
    }

    /// One request of so many tokens, from its beginning to its end.
    fn serve(&self, tokens: u64, now: Now) -> bool {
        let Ok(admitted) = self.allowance.reserve(&self.terms, Need::default(), now) else { return false };
        self.allowance.settle(admitted, Some(tokens), 0, now);
        true
    }

    fn share(&self, now: Now) -> Share {
        self.allowance.share(self.terms.time_zone, now).expect("something was used")
    }

    fn hear(&self, other: &Self, now: Now) {
        self.hear_share(&other.id, &other.share(now), now);
    }

    fn hear_share(&self, node: &NodeId, share: &Share, now: Now) {
        self.allowance.hear(node, share, self.terms.time_zone, now);
    }

    fn hear_stored(&self, shares: &[(NodeId, Share)], alive: bool, now: Now) {
        self.allowance.hear_stored(shares, |_| alive, self.terms.time_zone, now);
    }

    /// Requests and tokens of the minute, tokens of the day, requests of the month.
    fn used(&self, now: Now) -> [u64; 4] {
        let usage = self.allowance.usage(&self.terms.rate_limits, self.terms.time_zone, now);
        let used: Vec<u64> = usage.iter().map(|limit| limit.used).collect();
        used.try_into().expect("four limits")
    }
}

#[test]
fn what_one_node_lets_in_another_one_does_not() {
    let (now, terms) = (noon(), terms(3));
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    assert!(north.serve(10, now) && north.serve(10, now));

    south.hear(&north, now);

    assert!(south.serve(5, now.after(secs(1))));
    let refused = south.allowance.reserve(&terms, Need::default(), now.after(secs(20))).unwrap_err();
    assert_eq!(refused.limit, Bound::Rate(LimitName::RequestsPerMinute));
    assert!((secs(40)..=secs(41)).contains(&refused.retry_after), "{refused:?}");
    assert_eq!(south.used(now.after(secs(20))), [3, 25, 25, 3]);
}

#[test]
fn of_a_burst_each_of_two_nodes_lets_half_in() {
    let (now, terms) = (noon(), terms(10));
    let nodes = ["north", "south"].map(|name| {
        let allowance = Allowance::new(now);
        allowance.share_with_others(Arc::new(1.into()), terms.time_zone, now);
        Node { id: NodeId::new(name), allowance, terms: terms.clone() }
    });
    let admitted = nodes.each_ref().map(|node| (0..10).filter(|_| node.serve(1, now)).count());
    assert_eq!(admitted, [5, 5]);
    let refused = nodes[0].allowance.reserve(&terms, Need::default(), now).unwrap_err();
    assert_eq!(refused.retry_after, secs(1));

    let [north, south] = &nodes;
    north.hear(south, now);
    south.hear(north, now);

    let later = now.after(secs(2));
    assert!(!north.serve(1, later) && !south.serve(1, later));
}

#[test]
fn a_share_that_comes_twice_or_late_counts_once_and_a_lost_one_is_made_good() {
    let (now, terms) = (noon(), terms(100));
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    north.serve(10, now);
    let first = north.share(now);
    north.serve(10, now);
    let _lost = north.share(now);
    north.serve(10, now);
    let last = north.share(now);

    for share in [&first, &first, &last, &first, &last] {
        south.hear_share(&north.id, share, now);
    }

    assert_eq!(south.used(now), [3, 30, 30, 3]);
}

#[test]
fn a_corrected_estimate_is_corrected_everywhere() {
    let (now, terms) = (noon(), terms(100));
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    let long = north.allowance.reserve(&terms, Need { tokens: 500, images: 0 }, now).unwrap();
    south.hear(&north, now);
    assert_eq!(south.used(now)[1..3], [500, 500]);
    south.serve(480, now.after(secs(30)));

    // In the minute nothing of the estimate is left to be taken back; what the other one used meanwhile stays.
    let later = now.after(secs(80));
    north.allowance.settle(long, Some(20), 0, later);
    south.hear(&north, later);

    assert_eq!(south.used(later)[1..3], [480, 500]);
}

#[test]
fn a_request_that_was_never_sent_is_taken_back_everywhere() {
    let (now, terms) = (noon(), terms(100));
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    let unsent = north.allowance.reserve(&terms, Need { tokens: 7, images: 0 }, now).unwrap();
    south.serve(1, now);
    south.hear(&north, now);
    assert_eq!((south.used(now), south.allowance.in_flight()), ([2, 8, 8, 2], 1));

    north.allowance.refund(unsent, now);
    south.hear(&north, now);

    assert_eq!((south.used(now), south.allowance.in_flight()), ([1, 1, 1, 1], 0));
}

#[test]
fn requests_under_way_elsewhere_count_until_their_node_is_gone() {
    let now = noon();
    let terms = Terms { max_concurrent: Some(2), ..terms(100) };
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    for _ in 0..2 {
        north.allowance.reserve(&terms, Need::default(), now).unwrap();
    }
    south.hear(&north, now);
    let refused = south.allowance.reserve(&terms, Need::default(), now).unwrap_err();
    assert_eq!(refused.limit, Bound::Concurrency);

    south.allowance.forget_in_flight(&north.id);

    assert!(south.allowance.reserve(&terms, Need::default(), now).is_ok());
    assert_eq!(south.used(now)[0], 3, "what it used stays used");
}

#[test]
fn after_a_cut_only_what_was_used_within_the_minute_counts_in_the_minute() {
    let (now, terms) = (noon(), terms(100));
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    for second in 0..100 {
        north.serve(1, now.after(secs(second)));
    }

    south.hear(&north, now.after(secs(100)));

    let [minute, _, day, month] = south.used(now.after(secs(100)));
    assert!((58..=62).contains(&minute), "{minute}");
    assert_eq!((day, month), (100, 100));
}

#[test]
fn what_was_stored_and_is_told_once_more_counts_once() {
    let (now, terms) = (noon(), terms(100));
    let before = Node::new("first run", &terms, now);
    let other = Node::new("other", &terms, now);
    (0..5).for_each(|_| assert!(before.serve(10, now)));
    other.serve(10, now);
    before.hear(&other, now);
    let stored = before.allowance.take_change(now).unwrap();
    // Two more before it was killed, which the others heard of.
    (0..2).for_each(|_| assert!(before.serve(10, now)));
    let shares = [(before.id.clone(), before.share(now)), (other.id.clone(), other.share(now))];

    let restored = Allowance::restore(&stored, terms.time_zone, now);
    let again = Node::with("second run", &terms, restored, now);
    assert_eq!(again.used(now), [6, 60, 60, 6], "alone it goes by the database");
    again.hear_stored(&shares, false, now);
    assert_eq!(again.used(now), [8, 80, 80, 8], "with the others it goes by them");

    again.serve(10, now);
    again.hear_stored(&shares, false, now);
    other.serve(10, now);
    again.hear(&other, now);
    assert_eq!(again.used(now), [10, 100, 100, 10]);
}

#[test]
fn what_nobody_else_knows_any_more_still_counts() {
    let (now, terms) = (noon(), terms(100));
    let before = Node::new("first run", &terms, now);
    (0..5).for_each(|_| assert!(before.serve(10, now)));
    let stored = before.allowance.take_change(now).unwrap();

    let again = Node::with("second run", &terms, Allowance::restore(&stored, terms.time_zone, now), now);
    let other = Node::new("other", &terms, now);
    other.serve(10, now);
    again.hear_stored(&[], true, now);
    again.hear(&other, now);

    assert_eq!(again.used(now), [6, 60, 60, 6]);
}

#[test]
fn an_old_word_of_the_minute_is_not_of_the_minute_and_the_dead_have_nothing_under_way() {
    let (now, terms) = (noon(), terms(100));
    let gone = Node::new("gone", &terms, now);
    gone.serve(10, now);
    gone.allowance.reserve(&terms, Need::default(), now).unwrap();
    let stored = [(gone.id.clone(), gone.share(now))];
    let joined = |later: Duration, alive: bool| {
        let node = Node::new("new", &terms, now.after(later));
        node.hear_stored(&stored, alive, now.after(later));
        (node.used(now.after(later))[0], node.used(now.after(later))[3], node.allowance.in_flight())
    };

    assert_eq!(joined(secs(30), true), (2, 2, 1));
    assert_eq!(joined(secs(30), false), (2, 2, 0));
    assert_eq!(joined(secs(61), false), (0, 2, 0));
}

#[test]
fn another_day_is_not_this_one_however_late_its_word_comes() {
    let (now, terms) = (noon(), terms(1000));
    let (north, south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    north.serve(10, now);
    let yesterday = north.share(now);
    // Midnight in California is twelve hours after its noon.
    let tomorrow = now.after(secs(13 * 60 * 60));
    south.serve(1, tomorrow);

    south.hear_share(&north.id, &yesterday, tomorrow);
    assert_eq!(south.used(tomorrow)[2..], [1, 2]);
    north.serve(5, tomorrow);
    south.hear(&north, tomorrow);

    assert_eq!(south.used(tomorrow)[2..], [6, 3]);
}

#[test]
fn another_zone_counts_nothing_twice() {
    let (now, terms) = (noon(), terms(1000));
    let mut there = terms.clone();
    there.time_zone = "Asia/Tokyo".to_owned().try_into().unwrap();
    let (mut north, mut south) = (Node::new("north", &terms, now), Node::new("south", &terms, now));
    north.serve(10, now);
    south.hear(&north, now);

    (north.terms, south.terms) = (there.clone(), there);
    north.serve(1, now);
    south.hear(&north, now);

    assert_eq!(south.used(now)[2..], [11, 2]);
}

#[test]
fn alone_there_is_nothing_to_tell() {
    let (now, terms) = (noon(), terms(10));
    let alone = Allowance::new(now);
    alone.reserve(&terms, Need::default(), now).unwrap();

    assert_eq!(alone.share(terms.time_zone, now), None);
    assert_eq!(Node::new("new", &terms, now).allowance.share(terms.time_zone, now), None);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Serve {
        tokens: u64,
    },
    /// Its word is heard by these, as bits.
    Tell {
        by: u8,
    },
    Wait {
        ms: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        (0u64..50).prop_map(|tokens| Step::Serve { tokens }),
        (0u8..8).prop_map(|by| Step::Tell { by }),
        (0u64..2000).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec((0usize..3, step), 0..80)
}

proptest! {
    #[test]
    fn whatever_is_lost_in_the_end_all_nodes_know_the_same(steps in steps()) {
        let (mut now, terms) = (noon(), terms(1_000_000));
        let nodes = ["a", "b", "c"].map(|name| Node::new(name, &terms, now));
        let (mut requests, mut tokens) = (0, 0);
        for (at, step) in steps {
            match step {
                Step::Serve { tokens: count } => {
                    prop_assert!(nodes[at].serve(count, now));
                    (requests, tokens) = (requests + 1, tokens + count);
                }
                Step::Tell { by } => {
                    let Some(share) = nodes[at].allowance.share(terms.time_zone, now) else { continue };
                    let hear = |other: &usize| *other != at && by & (1 << *other) != 0;
                    (0..3).filter(hear).for_each(|other| nodes[other].hear_share(&nodes[at].id, &share, now));
                }
                Step::Wait { ms } => now = now.after(Duration::from_millis(ms)),
            }
        }
        for teller in &nodes {
            let Some(share) = teller.allowance.share(terms.time_zone, now) else { continue };
            for node in nodes.iter().filter(|node| node.id != teller.id) {
                node.hear_share(&teller.id, &share, now);
            }
        }
        for node in &nodes {
            prop_assert_eq!(&node.used(now)[2..], &[tokens, requests][..]);
            prop_assert!(node.used(now)[0] <= requests);
        }
    }
}
