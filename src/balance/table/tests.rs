//! The table against a plain list of what each key may do.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    balance::{breaker::ModelReason, policy},
    domain::{policy::PolicyKind, quota::ModelPattern},
};

fn table() -> RoutingTable<()> {
    RoutingTable::new(policy::build(PolicyKind::RoundRobin, 0))
}

/// Picks as a request does that has tried these keys.
fn pick<'a>(
    table: &'a mut RoutingTable<()>,
    name: &str,
    tried: &[KeyId],
) -> Result<Picked<'a, ()>, Unavailable> {
    table.pick(&Ask { tried, ..Ask::new(&model(name)) }, Now::read())
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn quota(name: &str, until: Instant) -> ModelCooldown {
    ModelCooldown { model: model(name), until, reason: ModelReason::QuotaMinute }
}

fn put(table: &mut RoutingTable<()>, key: i64, availability: Availability, cooling: &[(&str, Instant)]) {
    let cooldowns = cooling.iter().map(|(name, until)| quota(name, *until)).collect();
    table.apply(KeyId(key), Place::default(), Routing { availability, warm_at: None, cooldowns }, ());
}

fn picks(table: &mut RoutingTable<()>, name: &str, count: usize) -> Vec<i64> {
    (0..count).map(|_| pick(table, name, &[]).unwrap().key.0).collect()
}

#[test]
fn a_key_that_cools_for_one_model_still_serves_the_others() {
    let (mut table, soon) = (table(), Instant::now() + Duration::from_secs(9));
    put(&mut table, 1, Availability::Ready, &[("pro", soon)]);
    put(&mut table, 2, Availability::Ready, &[]);

    assert_eq!(picks(&mut table, "pro", 3), [2, 2, 2]);
    let mut flash = picks(&mut table, "flash", 2);
    flash.sort_unstable();
    assert_eq!(flash, [1, 2]);
}

#[test]
fn a_request_never_gets_the_same_key_twice() {
    let mut table = table();
    put(&mut table, 1, Availability::Ready, &[]);
    put(&mut table, 2, Availability::Ready, &[]);

    let second = pick(&mut table, "pro", &[KeyId(1)]).unwrap().key;
    assert_eq!(second, KeyId(2));
    assert_eq!(pick(&mut table, "pro", &[KeyId(1), KeyId(2)]).unwrap_err(), Unavailable::Soon);
}

#[test]
fn a_half_open_key_gets_one_probe_and_the_rest_goes_elsewhere() {
    let mut table = table();
    put(&mut table, 1, Availability::HalfOpen, &[]);
    put(&mut table, 2, Availability::Ready, &[]);

    let probe = pick(&mut table, "pro", &[]).unwrap();
    assert_eq!((probe.key, probe.is_probe), (KeyId(1), true));
    assert_eq!(picks(&mut table, "pro", 2), [2, 2]);
}

#[test]
fn a_key_that_was_taken_out_is_never_picked_again() {
    let mut table = table();
    put(&mut table, 1, Availability::Ready, &[("pro", Instant::now())]);
    put(&mut table, 2, Availability::Ready, &[]);
    table.remove(KeyId(1));
    put(&mut table, 3, Availability::Ready, &[]);

    let mut keys = picks(&mut table, "pro", 2);
    keys.sort_unstable();
    assert_eq!((table.len(), keys), (2, vec![2, 3]));
}

#[derive(Debug, Clone)]
enum Change {
    Apply(i64, u8, Vec<u8>),
    Suspend(i64, u8),
    Remove(i64),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (0i64..8, 0u8..4, prop::collection::vec(0u8..3, 0..3)).prop_map(|(k, a, m)| Change::Apply(k, a, m)),
        (0i64..8, 0u8..3).prop_map(|(k, m)| Change::Suspend(k, m)),
        (0i64..8).prop_map(Change::Remove),
    ];
    prop::collection::vec(change, 0..60)
}

proptest! {
    /// Against a plain list of what each key may do: every pick is allowed, and a refusal means that none is.
    #[test]
    fn a_pick_is_always_allowed_and_a_refusal_always_true(changes in changes()) {
        let now = Instant::now();
        let until = now + Duration::from_secs(60);
        let names = ["a", "b", "c"];
        let mut table = table();
        let mut truth: HashMap<i64, (u8, BTreeSet<u8>)> = HashMap::new();
        for change in changes {
            match change {
                Change::Apply(key, availability, mut models) => {
                    models.sort_unstable();
                    models.dedup();
                    let how = [
                        Availability::Ready, Availability::HalfOpen,
                        Availability::CoolingUntil(until), Availability::Out,
                    ][availability as usize];
                    let cooling: Vec<_> = models.iter().map(|&m| (names[m as usize], until)).collect();
                    put(&mut table, key, how, &cooling);
                    truth.insert(key, (availability, models.into_iter().collect()));
                }
                Change::Suspend(key, m) => {
                    table.suspend_model(KeyId(key), quota(names[m as usize], until));
                    if let Some((_, models)) = truth.get_mut(&key) { models.insert(m); }
                }
                Change::Remove(key) => {
                    table.remove(KeyId(key));
                    truth.remove(&key);
                }
            }
            for (m, name) in names.iter().enumerate() {
                let may = |&(availability, ref models): &(u8, BTreeSet<u8>)|
                    availability == 0 && !models.contains(&(m as u8));
                match pick(&mut table, name, &[]) {
                    Ok(picked) if picked.is_probe => prop_assert_eq!(truth[&picked.key.0].0, 1),
                    Ok(picked) => prop_assert!(may(&truth[&picked.key.0])),
                    Err(_) => prop_assert!(!truth.values().any(may)),
                }
            }
        }
    }
}

#[test]
fn a_choice_tells_what_kept_the_others() {
    let (mut table, soon) = (table(), Instant::now() + Duration::from_secs(9));
    put(&mut table, 1, Availability::Ready, &[]);
    put(&mut table, 2, Availability::Ready, &[("pro", soon)]);
    put(&mut table, 3, Availability::CoolingUntil(soon), &[]);
    put(&mut table, 4, Availability::Out, &[]);
    let terms = Terms { rank: 1, ..Terms::default() };
    let ready = Routing { availability: Availability::Ready, warm_at: None, cooldowns: Vec::new() };
    table.apply(KeyId(5), Place { terms, ..Place::default() }, ready.clone(), ());
    let rules = ModelRules { only: Vec::new(), not: vec![ModelPattern::parse("pro").unwrap()] };
    let terms = Terms { models: Some(Arc::new(rules)), ..Terms::default() };
    table.apply(KeyId(6), Place { terms, ..Place::default() }, ready, ());

    let choice = pick(&mut table, "pro", &[KeyId(9)]).unwrap().choice;

    assert_eq!(choice.reason, ChoiceReason::Policy);
    let expected = Census {
        keys: 6,
        ready: 2,
        paid: 1,
        cooling: 1,
        open: 1,
        denied: 1,
        out: 1,
        tried: 1,
        ..Census::default()
    };
    assert_eq!(choice.others, expected);
}
