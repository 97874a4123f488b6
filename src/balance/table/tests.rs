//! The table against a plain list of what each key may do.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    balance::{
        affinity::Preference,
        breaker::{ModelReason, WARM_UP},
        policy,
    },
    domain::{
        policy::PolicyKind,
        quota::{Limit, LimitSource, LimitTable, ModelLimits, ModelPattern},
    },
};

fn table() -> RoutingTable<Place> {
    RoutingTable::new(policy::build(PolicyKind::RoundRobin, 0))
}

/// Picks as a request does that has tried these keys.
fn pick<'a>(
    table: &'a mut RoutingTable<Place>,
    name: &str,
    tried: &[KeyId],
) -> Result<Picked<'a, Place>, NotPicked> {
    table.pick(&Ask { tried, ..Ask::new(&model(name)) }, Now::read())
}

/// The prospects of a request that gets no key.
fn refusal(table: &mut RoutingTable<Place>, ask: &Ask<'_>, now: Now) -> Unavailable {
    let NotPicked { room_at } = table.pick(ask, now).map(|picked| picked.key).expect_err("no key fits");
    table.prospects(ask, room_at, now)
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn quota(name: &str, until: Instant) -> ModelCooldown {
    ModelCooldown { model: model(name), until, reason: ModelReason::QuotaMinute }
}

fn put(table: &mut RoutingTable<Place>, key: i64, availability: Availability, cooling: &[(&str, Instant)]) {
    let cooldowns = cooling.iter().map(|(name, until)| quota(name, *until)).collect();
    table.apply(KeyId(key), Routing { availability, warm_at: None, cooldowns }, Place::default());
}

fn picks(table: &mut RoutingTable<Place>, name: &str, count: usize) -> Vec<i64> {
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
    let (wanted, both) = (model("pro"), [KeyId(1), KeyId(2)]);
    let ask = Ask { tried: &both, ..Ask::new(&wanted) };
    assert_eq!(refusal(&mut table, &ask, Now::read()), Unavailable::NoUsableKey, "nothing is left for it");
    assert_eq!(
        table.prospects(&ask.asked_anew(), None, Now::read()),
        Unavailable::Soon,
        "and for others there is"
    );
}

#[test]
fn a_request_that_has_tried_keys_is_told_of_the_next_it_may_have() {
    let (mut table, wanted, now) = (table(), model("pro"), Now::read());
    let soon = now.instant + Duration::from_secs(9);
    put(&mut table, 1, Availability::Ready, &[]);
    put(&mut table, 2, Availability::Ready, &[("pro", soon)]);
    put_at(&mut table, 3, &limited(100, 1_000));
    table.pick(&Ask { tokens: 900, tried: &[KeyId(1)], ..Ask::new(&wanted) }, now).unwrap();

    // One is back soon, and another one has room for it only later.
    let ask = Ask { tokens: 600, tried: &[KeyId(1)], ..Ask::new(&wanted) };
    assert_eq!(refusal(&mut table, &ask, now), Unavailable::Until { at: soon, cause: Cause::Quota });
    table.remove(KeyId(2));
    let Unavailable::Until { at, cause: Cause::Quota } = refusal(&mut table, &ask, now) else {
        panic!("there is room once a minute is over")
    };
    assert!(at > now.instant + Duration::from_secs(50));
}

#[test]
fn a_half_open_key_gets_one_probe_and_the_rest_goes_elsewhere() {
    let mut table = table();
    put(&mut table, 1, Availability::HalfOpen, &[]);
    put(&mut table, 2, Availability::Ready, &[]);

    let probe = pick(&mut table, "pro", &[]).unwrap();
    assert_eq!((probe.key, probe.is_probe()), (KeyId(1), true));
    assert_eq!(picks(&mut table, "pro", 2), [2, 2]);
}

#[test]
fn a_probe_that_is_given_back_is_there_for_the_next_request() {
    let (mut table, now) = (table(), Now::read());
    put(&mut table, 1, Availability::HalfOpen, &[]);
    for _ in 0..3 {
        let unused = pick(&mut table, "pro", &[]).unwrap().unused();
        table.give_back(unused, &model("pro"), now);
    }
    assert!(pick(&mut table, "pro", &[]).unwrap().is_probe());
}

#[test]
fn a_paid_key_is_not_probed_while_a_free_one_will_do() {
    let (mut table, wanted) = (table(), model("pro"));
    let half_open = Routing { availability: Availability::HalfOpen, warm_at: None, cooldowns: Vec::new() };
    let paid = place(Terms { rank: 1, ..Terms::default() });
    table.apply(KeyId(1), half_open.clone(), paid);
    put(&mut table, 2, Availability::Ready, &[]);

    assert_eq!(picks(&mut table, "pro", 2), [2, 2]);
    table.suspend_key(KeyId(2), Availability::Out);
    assert!(pick(&mut table, "pro", &[]).unwrap().is_probe());

    // Nor does a request that would rather have a certain key try out another one.
    put(&mut table, 3, Availability::HalfOpen, &[]);
    put(&mut table, 4, Availability::Ready, &[]);
    for preference in [Preference::Together(7), Preference::Conversation(7), Preference::Prefix(7)] {
        let ask = Ask { preference: Some(preference), ..Ask::new(&wanted) };
        assert_eq!(table.pick(&ask, Now::read()).unwrap().key, KeyId(4));
    }
    // But the owner that it needs, wherever that stands in line.
    for key in 5..15 {
        put(&mut table, key, Availability::HalfOpen, &[]);
    }
    let ask = Ask { preference: Some(Preference::Owner(KeyId(14))), ..Ask::new(&wanted) };
    assert_eq!(table.pick(&ask, Now::read()).unwrap().key, KeyId(14));
}

#[test]
fn projects_without_a_usable_key_are_not_counted() {
    let (mut table, project, soon) = (table(), Place::default(), Instant::now() + Duration::from_secs(9));
    put_at(&mut table, 1, &project);
    put_at(&mut table, 2, &project);
    put(&mut table, 3, Availability::HalfOpen, &[]);
    put(&mut table, 4, Availability::Out, &[]);
    put(&mut table, 5, Availability::CoolingUntil(soon), &[]);
    assert_eq!(table.usable_projects(), 2);

    table.suspend_key(KeyId(1), Availability::Out);
    assert_eq!(table.usable_projects(), 2, "its twin goes on");
    table.remove(KeyId(2));
    put(&mut table, 4, Availability::Ready, &[]);
    assert_eq!(table.usable_projects(), 2);
    table.remove(KeyId(4));
    table.remove(KeyId(3));
    assert_eq!(table.usable_projects(), 0);
}

#[test]
fn a_model_gets_a_list_of_its_own_only_when_many_keys_are_kept_from_it() {
    const KEYS: i64 = 10_000;
    let (mut table, soon) = (table(), Instant::now() + Duration::from_secs(9));
    for key in 0..KEYS {
        put(&mut table, key, Availability::Ready, &[]);
    }
    let has_own =
        |table: &RoutingTable<Place>| table.models.get(&model("pro")).is_some_and(ModelTable::has_own);
    for key in 0..100 {
        table.suspend_model(KeyId(key), quota("pro", soon));
        assert!(!has_own(&table));
    }
    table.suspend_model(KeyId(100), quota("pro", soon));
    assert!(has_own(&table), "passing over a hundred is the most");
    assert_eq!(table.census(&model("pro"), 0).ready, KEYS as u32 - 101);
    assert!(picks(&mut table, "pro", 2 * KEYS as usize).iter().all(|key| *key > 100));

    for key in 0..60 {
        put(&mut table, key, Availability::Ready, &[]);
    }
    assert!(!has_own(&table), "and few are no reason any more");
    assert_eq!(table.census(&model("pro"), 0).ready, KEYS as u32 - 41);
    assert!(picks(&mut table, "pro", 2 * KEYS as usize).iter().all(|key| !(60..=100).contains(key)));
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

/// A key with terms of its own, in a project of its own.
fn place(terms: Terms) -> Place {
    Place { terms, ..Place::default() }
}

fn put_at(table: &mut RoutingTable<Place>, key: i64, place: &Place) {
    let routing = Routing { availability: Availability::Ready, warm_at: None, cooldowns: Vec::new() };
    table.apply(KeyId(key), routing, place.clone());
}

/// A project that may send so many requests a minute, and tokens.
fn limited(requests: u64, tokens: u64) -> Place {
    let limit = |value| Some(Limit { value, source: LimitSource::Hand });
    let limits = ModelLimits {
        requests_per_minute: limit(requests),
        tokens_per_minute: limit(tokens),
        requests_per_day: None,
    };
    let everything = ModelPattern::parse("*").unwrap();
    let ledger = Ledger::new(Arc::new(LimitTable::new([(everything, limits)])), Now::read());
    Place { ledger: Arc::new(ledger), ..Place::default() }
}

#[test]
fn a_half_open_key_without_quota_comes_back_with_its_quota() {
    let (mut table, now, pro) = (table(), Now::read(), model("pro"));
    let place = limited(1, 1_000);
    place.ledger.reserve(&pro, 1, now).unwrap();
    let routing = Routing { availability: Availability::HalfOpen, warm_at: None, cooldowns: Vec::new() };
    table.apply(KeyId(1), routing, place);

    let told = refusal(&mut table, &Ask::new(&pro), now);

    let Unavailable::Until { at, cause: Cause::Quota } = told else { panic!("{told:?}") };
    assert!(at > now.instant + Duration::from_secs(50), "{:?}", at - now.instant);
}

#[test]
fn a_key_that_has_recovered_gets_a_part_of_its_share_at_first_whatever_the_policy() {
    let now = Now::read();
    for kind in PolicyKind::ALL {
        let mut table = RoutingTable::new(policy::build(kind, 1));
        (1..=4).for_each(|key| put(&mut table, key, Availability::Ready, &[]));
        let warm_at = Some(now.instant + WARM_UP);
        let routing = Routing { availability: Availability::Ready, warm_at, cooldowns: Vec::new() };
        table.apply(KeyId(1), routing, Place::default());
        let mut of_warming = |now: Now| {
            let picked = (0..2_000).filter(|_| table.pick(&Ask::new(&model("pro")), now).unwrap().key.0 == 1);
            picked.count()
        };

        let (cold, warm) = (of_warming(now), of_warming(now.after(WARM_UP)));

        assert!((20..150).contains(&cold), "{kind:?}: {cold} of 2,000, just back");
        assert!((400..600).contains(&warm), "{kind:?}: {warm} of 2,000 a minute later");
    }
}

#[test]
fn paid_keys_serve_only_what_free_ones_cannot() {
    let (mut table, soon) = (table(), Instant::now() + Duration::from_secs(9));
    put_at(&mut table, 1, &place(Terms { rank: 1, ..Terms::default() }));
    put_at(&mut table, 2, &Place::default());

    assert_eq!(picks(&mut table, "pro", 3), [2, 2, 2]);
    table.suspend_model(KeyId(2), quota("pro", soon));
    assert_eq!(picks(&mut table, "pro", 2), [1, 1]);
    assert_eq!(picks(&mut table, "flash", 2), [2, 2]);
    assert_eq!(pick(&mut table, "flash", &[KeyId(2)]).unwrap().key, KeyId(1));
}

#[test]
fn a_key_serves_the_models_that_its_rules_allow() {
    let rules = |only: &[&str], not: &[&str]| {
        let patterns = |names: &[&str]| names.iter().map(|name| ModelPattern::parse(name).unwrap()).collect();
        let models = Some(Arc::new(ModelRules { only: patterns(only), not: patterns(not) }));
        place(Terms { models, ..Terms::default() })
    };
    let mut table = table();
    put_at(&mut table, 1, &rules(&["gemini-2.5-*"], &["*-pro"]));
    put_at(&mut table, 2, &rules(&[], &["gemini-2.5-flash"]));

    assert_eq!(picks(&mut table, "gemini-2.5-flash", 2), [1, 1]);
    assert_eq!(picks(&mut table, "gemini-2.5-pro", 2), [2, 2]);
    let flash = model("gemini-2.5-flash");
    let ask = Ask { tried: &[KeyId(1)], ..Ask::new(&flash) };
    assert_eq!(refusal(&mut table, &ask, Now::read()), Unavailable::NoUsableKey);
    // What holds for a model holds for counting its tokens.
    assert_eq!(table.pick(&Ask::new(&flash.counting()), Now::read()).unwrap().key, KeyId(1));
    // Rules hold through cooldowns too, and go with their key.
    table.suspend_model(KeyId(2), quota("gemini-2.5-pro", Instant::now() + Duration::from_secs(9)));
    let pro = model("gemini-2.5-pro");
    assert!(matches!(refusal(&mut table, &Ask::new(&pro), Now::read()), Unavailable::Until { .. }));
    put_at(&mut table, 1, &Place::default());
    assert_eq!(picks(&mut table, "gemini-2.5-pro", 1), [1]);
}

#[test]
fn models_that_clients_make_up_leave_no_tables_behind() {
    let mut table = table();
    let only = vec![ModelPattern::parse("gemini-*").unwrap()];
    let models = Some(Arc::new(ModelRules { only, not: Vec::new() }));
    put_at(&mut table, 1, &place(Terms { models, ..Terms::default() }));
    put_at(&mut table, 2, &Place::default());

    for number in 0..2_000 {
        assert_eq!(picks(&mut table, &format!("model-{number}"), 1), [2]);
    }
    assert!(table.models.len() <= 256, "{}", table.models.len());
}

#[test]
fn twins_have_one_quota_and_are_passed_over_together_until_it_is_free_again() {
    let (mut table, project, now) = (table(), limited(2, 1_000_000), Now::read());
    for key in 1..=3 {
        put_at(&mut table, key, &project);
    }
    let wanted = model("pro");
    let ask = Ask { tokens: 10, ..Ask::new(&wanted) };

    assert!(table.pick(&ask, now).is_ok() && table.pick(&ask, now).is_ok());
    let Unavailable::Until { at, cause: Cause::Quota } = refusal(&mut table, &ask, now) else {
        panic!("two requests a minute are all")
    };

    assert_eq!(table.next_end(), Some(at));
    let census = table.pick(&Ask { model: &model("flash"), ..ask }, now).unwrap().choice.others;
    assert_eq!((census.keys, census.ready, census.spent), (3, 3, 0), "another model has its own quota");
    assert!(table.pick(&ask, now.after(at - now.instant - Duration::from_millis(1))).is_err());
    assert!(table.pick(&ask, now.after(at - now.instant)).is_ok());
}

#[test]
fn a_request_that_is_too_large_for_now_holds_up_no_smaller_one() {
    let (mut table, now) = (table(), Now::read());
    put_at(&mut table, 1, &limited(100, 1_000));
    let wanted = model("pro");
    let large = Ask { tokens: 600, ..Ask::new(&wanted) };

    assert!(table.pick(&large, now).is_ok());
    assert!(matches!(refusal(&mut table, &large, now), Unavailable::Until { cause: Cause::Quota, .. }));
    assert!(table.pick(&Ask { tokens: 100, ..large }, now).is_ok());
}

#[test]
fn an_owner_is_had_or_nobody_is() {
    let (mut table, wanted, now) = (table(), model("pro"), Now::read());
    for key in 1..=5 {
        put_at(&mut table, key, &Place::default());
    }
    let of = |key| Ask { preference: Some(Preference::Owner(KeyId(key))), ..Ask::new(&wanted) };

    let picked = table.pick(&of(3), now).unwrap();
    assert_eq!((picked.key, picked.choice.reason), (KeyId(3), ChoiceReason::Owner));
    let soon = now.instant + Duration::from_secs(9);
    table.suspend_model(KeyId(3), quota("pro", soon));
    // What the others could do is of no use.
    let rests = Unavailable::Until { at: soon, cause: Cause::Quota };
    assert_eq!(refusal(&mut table, &of(3), now), rests);
    assert_eq!(refusal(&mut table, &of(99), now), Unavailable::NoUsableKey);
    put(&mut table, 4, Availability::Out, &[]);
    assert_eq!(refusal(&mut table, &of(4), now), Unavailable::NoUsableKey);
    put(&mut table, 5, Availability::CoolingUntil(soon), &[]);
    let rests = Unavailable::Until { at: soon, cause: Cause::Key };
    assert_eq!(refusal(&mut table, &of(5), now), rests);
}

#[test]
fn what_is_to_be_used_together_stays_together_whatever_it_costs() {
    let (mut table, wanted, now) = (table(), model("pro"), Now::read());
    for key in 1..=5 {
        put_at(&mut table, key, &Place::default());
    }
    let ask = Ask { preference: Some(Preference::Together(42)), ..Ask::new(&wanted) };

    let first = table.pick(&ask, now).unwrap().key;
    for _ in 0..100 {
        let picked = table.pick(&ask, now).unwrap();
        picked.gauge.enter();
        assert_eq!(picked.key, first);
    }
    table.suspend_key(first, Availability::Out);
    assert_ne!(table.pick(&ask, now).unwrap().key, first);
}

#[test]
fn a_preference_is_kept_until_its_key_costs_too_much() {
    let (mut table, wanted, now) = (table(), model("pro"), Now::read());
    for key in 1..=5 {
        put_at(&mut table, key, &Place::default());
    }
    let ask = Ask { preference: Some(Preference::Prefix(42)), ..Ask::new(&wanted) };

    let (preferred, gauge) = {
        let picked = table.pick(&ask, now).unwrap();
        assert_eq!(picked.choice.reason, ChoiceReason::Preferred);
        (picked.key, picked.gauge.clone())
    };
    for _ in 0..3 {
        assert_eq!(table.pick(&ask, now).unwrap().key, preferred);
        gauge.enter();
    }
    gauge.enter();
    // From now on it has its turn like all others.
    let keys: Vec<_> = (0..10).map(|_| table.pick(&ask, now).unwrap().key).collect();
    assert_eq!(keys.iter().filter(|key| **key == preferred).count(), 2, "{keys:?}");
}

#[test]
fn a_second_request_beside_one_that_runs_goes_to_another_project() {
    let (mut table, project, wanted, now) = (table(), Place::default(), model("pro"), Now::read());
    put_at(&mut table, 1, &project);
    put_at(&mut table, 2, &project);
    put_at(&mut table, 3, &Place::default());

    let ask = Ask { elsewhere: Some(&project.ledger), ..Ask::new(&wanted) };
    for _ in 0..4 {
        assert_eq!(table.pick(&ask, now).unwrap().key, KeyId(3));
    }
}

#[derive(Debug, Clone)]
enum Change {
    /// The key's actor has spoken: how the key is, and which models cool for how many seconds.
    Apply(i64, u8, Vec<(u8, u64)>),
    Suspend(i64, u8, u64),
    Remove(i64),
    Wait(u64),
}

/// More keys than a model passes over one by one.
const MANY: i64 = 40;

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let cooling = || (0u8..3, 1u64..90);
    let change = prop_oneof![
        3 => (0..MANY, 0u8..4, prop::collection::vec(cooling(), 0..3))
            .prop_map(|(k, a, m)| Change::Apply(k, a, m)),
        3 => (0..MANY, cooling()).prop_map(|(k, (m, seconds))| Change::Suspend(k, m, seconds)),
        1 => (0..MANY).prop_map(Change::Remove),
        1 => (1u64..60).prop_map(Change::Wait),
    ];
    prop::collection::vec(change, 0..120)
}

/// What a key may do, and until when models cool; an end that has passed is none until the actor says so.
type Truth = (Availability, HashMap<u8, Instant>);

proptest! {
    /// Against a plain list of what each key may do: every pick is allowed, probes included, whatever time it is, policy
    /// and size of the pool; paid keys serve only where no free one is ready; and a refusal means that no key is.
    #[test]
    fn a_pick_is_always_allowed_and_a_refusal_always_true(
        changes in changes(),
        pool in 1..MANY,
        kind in prop::sample::select(PolicyKind::ALL.to_vec()),
    ) {
        let mut now = Now::read();
        let names = ["a", "b", "c"];
        let mut table = RoutingTable::new(policy::build(kind, 1));
        let rank = |key: i64| u8::from(key % 3 == 0);
        let mut truth: HashMap<i64, Truth> = HashMap::new();
        for change in changes {
            match change {
                Change::Apply(key, availability, models) => {
                    let availability = [
                        Availability::Ready, Availability::HalfOpen,
                        Availability::CoolingUntil(now.instant + Duration::from_secs(60)), Availability::Out,
                    ][availability as usize];
                    let until = |seconds| now.instant + Duration::from_secs(seconds);
                    let models: HashMap<_, _> = models.into_iter().map(|(m, seconds)| (m, until(seconds))).collect();
                    let cooling: Vec<_> = models.iter().map(|(&m, &until)| (names[m as usize], until)).collect();
                    let key = key % pool;
                    let cooldowns = cooling.iter().map(|(name, until)| quota(name, *until)).collect();
                    let terms = Terms { rank: rank(key), weight: 1 + (key % 5) as u8, ..Terms::default() };
                    table.apply(KeyId(key), Routing { availability, warm_at: None, cooldowns }, place(terms));
                    truth.insert(key, (availability, models));
                }
                Change::Suspend(key, m, seconds) => {
                    let key = key % pool;
                    let until = now.instant + Duration::from_secs(seconds);
                    table.suspend_model(KeyId(key), quota(names[m as usize], until));
                    if let Some((_, models)) = truth.get_mut(&key) {
                        models.entry(m).and_modify(|known| *known = until.max(*known)).or_insert(until);
                    }
                }
                Change::Remove(key) => {
                    let key = key % pool;
                    table.remove(KeyId(key));
                    truth.remove(&key);
                }
                Change::Wait(seconds) => now = now.after(Duration::from_secs(seconds)),
            }
            for (m, name) in names.iter().enumerate() {
                let m = m as u8;
                let wanted = model(name);
                match table.pick(&Ask::new(&wanted), now) {
                    Ok(picked) => {
                        let (availability, models) = &truth[&picked.key.0];
                        let as_probe = if picked.is_probe() { Availability::HalfOpen } else { Availability::Ready };
                        prop_assert_eq!(*availability, as_probe);
                        prop_assert!(models.get(&m).is_none_or(|until| *until <= now.instant), "it cools");
                        let is_free_and_ready = |(key, (a, models)): (&i64, &Truth)| {
                            rank(*key) == 0 && *a == Availability::Ready && !models.contains_key(&m)
                        };
                        let is_paid = rank(picked.key.0) > 0 && !picked.is_probe();
                        prop_assert!(!is_paid || !truth.iter().any(is_free_and_ready), "a free one was ready");
                    }
                    Err(_) => {
                        let mut all = truth.values();
                        let is_ready = all.any(|(a, models)| *a == Availability::Ready && !models.contains_key(&m));
                        prop_assert!(!is_ready);
                    }
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
    table.apply(KeyId(5), ready.clone(), Place { terms, ..Place::default() });
    let rules = ModelRules { only: Vec::new(), not: vec![ModelPattern::parse("pro").unwrap()] };
    let terms = Terms { models: Some(Arc::new(rules)), ..Terms::default() };
    table.apply(KeyId(6), ready, Place { terms, ..Place::default() });

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

#[test]
fn a_client_that_is_bound_to_tiers_gets_keys_of_those_only() {
    let (mut table, wanted) = (table(), model("flash"));
    let place = |tier: Tier| {
        let terms = Terms { rank: tier.rank(), tier, ..Terms::default() };
        Place { terms, ..Place::default() }
    };
    for (id, tier) in [(1, Tier::Free), (2, Tier::Tier1), (3, Tier::Tier2)] {
        put_at(&mut table, id, &place(tier));
    }
    let ask = |tiers: Vec<Tier>| Ask { tiers: tiers.into(), ..Ask::new(&wanted) };
    let mut key = |tiers| table.pick(&ask(tiers), Now::read()).unwrap().key.0;

    assert_eq!(key(vec![]), 1, "free before paid");
    assert_eq!((key(vec![Tier::Tier2]), key(vec![Tier::Tier1])), (3, 2));
    assert_eq!(refusal(&mut table, &ask(vec![Tier::Tier3]), Now::read()), Unavailable::NoUsableKey);
    assert_eq!(
        table.prospects(&ask(vec![Tier::Tier2]), None, Now::read()),
        Unavailable::Soon,
        "others come first"
    );
}
