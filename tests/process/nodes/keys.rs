//! Keys that are changed on one node hold on the others.

use std::{thread, time::Duration};

use gemini_balance::sim::{Behaviour, Fault, Refusal, Spell};
use serde_json::{Value, json};

use super::{
    Pool, SOON, admin, ask, direct, is_connected, look,
    redis::{Eavesdropper, Relay},
    within,
};
use crate::harness::{Program, TOKEN, eventually};

const NEW: &str = "AIzaSyTheSecondKey-of-several-nodes-222";

fn list(node: &Program) -> Vec<Value> {
    look(node, "keys?limit=100")["items"].as_array().expect("a list").clone()
}

fn ids(node: &Program) -> Vec<i64> {
    list(node).iter().map(|key| key["id"].as_i64().expect("an id")).collect()
}

fn key(node: &Program, id: i64) -> Value {
    look(node, &format!("keys/{id}"))
}

fn change(node: &Program, id: i64, changes: &Value) {
    let changed = admin(node, "PATCH", &format!("keys/{id}"), changes);
    assert_eq!(changed.status(), 200, "{changed:?}");
}

fn add(node: &Program, text: &str) -> i64 {
    let added = admin(node, "POST", "keys", &json!({"keys": text}));
    assert_eq!(added.status(), 201, "{added:?}");
    added.json()["items"][0]["id"].as_i64().expect("an id")
}

/// Waits until the job has ended, and answers its id.
fn act(node: &Program, body: &Value) -> String {
    let accepted = admin(node, "POST", "keys/actions", body);
    assert_eq!(accepted.status(), 202, "{accepted:?}");
    let id = accepted.json()["job"]["id"].as_str().expect("an id").to_owned();
    eventually("the job ends", || look(node, &format!("jobs/{id}"))["state"] == "done");
    id
}

/// What has happened to a key, and how often.
fn events(node: &Program, id: i64) -> Vec<(Value, i64)> {
    let told = look(node, &format!("keys/{id}/events"));
    let told = told["items"].as_array().expect("a list").iter();
    told.map(|event| (event["kind"].clone(), event["times"].as_i64().expect("a number"))).collect()
}

#[actix_web::test]
async fn a_key_that_is_added_changed_disabled_and_deleted_on_one_node_is_so_on_the_other() {
    let pool = Pool::of(&[super::KEY, NEW]).await;
    let (north, south) = pool.two(&direct());
    let first = ids(&north)[0];
    let eavesdropper = Eavesdropper::start();

    let added = add(&north, NEW);
    let took = within(SOON, "it is there", || ids(&south) == [first, added]);
    println!("an added key was known to the other node after {took:?}");
    change(&north, first, &json!({"state": "disabled"}));
    within(SOON, "it is disabled", || key(&south, first)["state"] == "disabled");
    assert_eq!(ask(&south, TOKEN, "by the new one"), 200);
    assert_eq!(pool.sim.snapshot().keys[NEW].attempts, 1);

    let placement = json!({
        "label": "mine", "tags": ["blue"], "project": "alpha", "tier": "tier1", "weight": 7,
        "models": {"only": ["gemini-2.5-*"]},
    });
    change(&south, added, &placement);
    within(SOON, "it is placed", || {
        let key = key(&north, added);
        placement.as_object().expect("a map").iter().all(|(name, value)| match value {
            Value::Object(_) => key[name]["only"] == value["only"],
            value => key[name] == *value,
        })
    });
    change(&south, first, &json!({"state": "active"}));
    within(SOON, "it is enabled", || key(&north, first)["state"] == "active");
    assert_eq!(admin(&south, "DELETE", &format!("keys/{first}"), &Value::Null).status(), 204);
    within(SOON, "it is gone", || ids(&north) == [added]);
    assert_eq!(admin(&north, "POST", &format!("keys/{first}/restore"), &Value::Null).status(), 200);
    within(SOON, "it is back", || ids(&south) == [first, added]);
    assert_eq!((ask(&north, TOKEN, "hello"), ask(&south, TOKEN, "hello")), (200, 200));

    let kinds: Vec<Value> = ["added", "deleted", "restored", "state", "state"].map(Value::from).into();
    eventually("what happened is told once", || {
        let told = events(&north, first);
        let mut known: Vec<Value> = told.iter().map(|(kind, _)| kind.clone()).collect();
        known.sort_by_key(ToString::to_string);
        known == kinds && told.iter().all(|(_, times)| *times == 1)
    });
    let told = eavesdropper.heard();
    assert!(told.contains(&format!(r#""keys":{{"these":[{added}]}}"#)), "{told}");
    for text in [told, north.log(), south.log()] {
        assert!(!text.contains(NEW) && !text.contains(super::KEY), "a secret");
    }
}

#[actix_web::test]
async fn a_reset_and_jobs_with_their_undo_reach_the_other_node() {
    let pool = Pool::of(&[super::KEY, NEW]).await;
    let (north, south) = pool.two(&direct());
    let (first, added) = (ids(&north)[0], add(&north, NEW));
    within(SOON, "it is there", || ids(&south) == [first, added]);
    // The other node alone learns that a key is of no use.
    let leaked = vec![Spell::always(Fault::Refuse(Refusal::Leaked))];
    pool.sim.set_behaviour(NEW, Behaviour { faults: leaked, ..Behaviour::default() });
    eventually("it has found out", || {
        ask(&south, TOKEN, "hello");
        key(&south, added)["state"] == "invalid"
    });
    thread::sleep(Duration::from_millis(500));
    assert_eq!(key(&north, added)["state"], "active", "what a node learns is its own");
    pool.sim.set_behaviour(NEW, Behaviour::default());

    act(&north, &json!({"action": "reset", "ids": [added]}));
    within(SOON, "nothing is held against it", || key(&south, added)["state"] == "active");

    let until_ms = 2_000_000_000_000_i64;
    let job = act(&south, &json!({"action": "disable", "filter": {}, "until_ms": until_ms}));
    within(SOON, "both are disabled", || {
        list(&north).iter().all(|key| {
            let until = key["until_ms"].as_i64().unwrap_or_default();
            key["state"] == "disabled" && until.abs_diff(until_ms) < 1000
        })
    });
    assert_eq!(admin(&south, "POST", &format!("jobs/{job}/undo"), &Value::Null).status(), 202);
    within(SOON, "both are enabled", || list(&north).iter().all(|key| key["state"] != "disabled"));
    let job = act(&north, &json!({"action": "delete", "filter": {}}));
    within(SOON, "all are gone", || ids(&south).is_empty());
    assert_eq!(admin(&north, "POST", &format!("jobs/{job}/undo"), &Value::Null).status(), 202);
    within(SOON, "all are back", || ids(&south) == [first, added]);
}

#[actix_web::test]
async fn an_import_reaches_the_other_node_and_thousands_of_keys_do_as_well() {
    let pool = Pool::of(&[super::KEY, NEW]).await;
    let (north, south) = pool.two(&direct());
    let first = ids(&north)[0];
    let exported = admin(&north, "POST", "settings/export", &json!({"include_secrets": true}));
    let mut document = exported.json();
    document["keys"][0]["weight"] = json!(9);
    document["keys"][0]["disabled"] = json!({"until_ms": null});
    let another = json!({"key": NEW, "tags": ["imported"]});
    document["keys"].as_array_mut().expect("a list").push(another);
    let imported = admin(&north, "POST", "settings/import", &json!({"document": document}));
    assert_eq!(imported.status(), 200, "{imported:?}");
    within(SOON, "the new one is there, the other is placed and disabled", || {
        let keys = list(&south);
        keys.len() == 2
            && (&keys[0]["weight"], &keys[0]["state"]) == (&json!(9), &json!("disabled"))
            && keys[1]["tags"] == json!(["imported"])
    });

    let many: String = (0..3000).map(|number| format!("AIzaSyOneKeyOfVeryMany-{number:016}\n")).collect();
    let added = admin(&south, "POST", "keys", &json!({"keys": many}));
    assert_eq!(added.json()["added"], 3000);
    let took = within(3 * SOON, "all are there", || look(&north, "keys?limit=1")["total"] == 3002);
    println!("3000 keys were known to the other node after {took:?}");
    act(&north, &json!({"action": "update", "filter": {}, "changes": {"weight": 5}}));
    within(3 * SOON, "all are changed", || {
        look(&south, "keys?limit=1&sort=-id")["items"][0]["weight"] == 5 && key(&south, first)["weight"] == 5
    });
}

#[actix_web::test]
async fn a_node_that_has_lost_redis_catches_up_with_a_pool_of_several_pages_as_well() {
    let pool = Pool::of(&[super::KEY]).await;
    let relay = Relay::start();
    let north = pool.node("north", &direct()).start();
    let south = pool.node("south", &relay.url()).start();
    eventually("they see each other", || super::alive(&north) == ["north", "south"]);
    relay.cut();
    eventually("it knows", || !is_connected(&south));
    let many: String = (0..2500).map(|number| format!("AIzaSyOneKeyOfVeryMany-{number:016}\n")).collect();
    assert_eq!(admin(&north, "POST", "keys", &json!({"keys": many})).json()["added"], 2500);
    let last = look(&north, "keys?limit=1&sort=-id")["items"][0]["id"].as_i64().expect("an id");

    relay.mend();
    eventually("it knows all", || look(&south, "keys?limit=1")["total"] == 2501);
    relay.cut();
    eventually("it knows", || !is_connected(&south));
    let gone = [ids(&north)[0], last - 1200, last];
    act(&north, &json!({"action": "delete", "ids": gone}));
    relay.mend();
    eventually("those of each page are gone", || look(&south, "keys?limit=1")["total"] == 2498);
    assert!(gone.iter().all(|id| admin(&south, "GET", &format!("keys/{id}"), &Value::Null).status() == 404));
}

#[actix_web::test]
async fn a_node_that_has_lost_redis_catches_up_when_it_is_back() {
    let pool = Pool::of(&[super::KEY, NEW]).await;
    let relay = Relay::start();
    let north = pool.node("north", &direct()).start();
    let south = pool.node("south", &relay.url()).start();
    eventually("they see each other", || super::alive(&north) == ["north", "south"]);
    let first = ids(&north)[0];

    relay.cut();
    eventually("it knows", || !is_connected(&south));
    let added = add(&north, NEW);
    change(&north, first, &json!({"state": "disabled"}));
    change(&south, first, &json!({"weight": 4}));
    thread::sleep(Duration::from_millis(300));
    assert_eq!((ids(&south), &key(&south, first)["state"]), (vec![first], &json!("active")));

    relay.mend();
    eventually("it is back", || is_connected(&south));
    within(SOON, "it has caught up", || {
        let key = key(&south, first);
        ids(&south) == [first, added] && key["weight"] == 4 && key["state"] == "disabled"
    });
    within(SOON, "so has the other", || key(&north, first)["weight"] == 4);
    assert_eq!(admin(&north, "DELETE", &format!("keys/{added}"), &Value::Null).status(), 204);
    within(SOON, "it hears again", || ids(&south) == [first]);
}

#[actix_web::test]
async fn what_is_set_by_hand_outlives_a_restart_whatever_the_other_node_has_saved() {
    let pool = Pool::new().await;
    let place = pool.node("north", &direct());
    let (mut north, south) = (place.start(), pool.node("south", &direct()).start());
    eventually("they see each other", || super::alive(&north) == ["north", "south"]);
    let first = ids(&north)[0];
    change(&north, first, &json!({"state": "disabled"}));
    north.signal("KILL");
    north.wait();

    let north = place.start();
    assert_eq!(key(&north, first)["state"], "disabled");
    within(SOON, "it is so there", || key(&south, first)["state"] == "disabled");
    assert_eq!(ask(&south, TOKEN, "hello"), 503);
}
