//! `gemini-balance explain`: why a request went as it did.

use gemini_balance::sim::{Behaviour, Fault, Refusal, Spell};
use serde_json::Value;

use crate::harness::{CHAT, Place, chat, eventually, healthy_sim};

const KEYS: [&str; 2] = ["key-one-abcdefgh-1111", "key-two-abcdefgh-2222"];

#[actix_web::test]
async fn a_request_is_explained_beside_the_running_gateway_and_after_it() {
    // Google knows the second key only.
    let sim = healthy_sim(&KEYS[1..]).await;
    let place = Place::empty().serving(&sim, &KEYS).with("BALANCE_POLICY", "round_robin").with("WORKERS", 1);
    let mut program = place.start();
    let reply = (0..4)
        .map(|_| program.post(CHAT, chat("a secret prompt")))
        .inspect(|reply| assert_eq!(reply.status(), 200))
        .last()
        .expect("four of them");
    let id = reply.header("x-request-id").expect("every answer has one");
    eventually("the row is written", || place.command_with(&["explain", &id]).0.success());

    let (status, text) = place.command_with(&["explain", &id.to_uppercase()]);

    assert!(status.success(), "{text}");
    assert!(text.contains(&format!("request {id}")) && text.contains("status 200"), "{text}");
    assert!(
        text.contains("1. key ") && text.contains("key-…2222") && text.contains("of 2 keys: 1 ready"),
        "{text}"
    );
    assert!(text.contains("1 out of use"), "{text}");
    for secret in ["abcdefgh", "a secret prompt"] {
        assert!(!text.contains(secret), "{text}");
    }
    let (_, json) = place.command_with(&["explain", "--json", &id]);
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!((&json["id"], &json["attempts"][0]["outcome"]), (&Value::from(&*id), &Value::from("success")));
    assert_eq!(json["attempts"][0]["masked"], "key-…2222");

    program.signal("TERM");
    program.wait();
    let (status, after) = place.command_with(&["explain", &id]);
    assert!(status.success(), "{after}");
    assert!(after.contains("key-…2222"), "{after}");
}

#[actix_web::test]
async fn a_failed_attempt_is_explained_with_googles_reason_and_what_each_key_cost() {
    let sim = healthy_sim(&KEYS).await;
    let place = Place::empty().serving(&sim, &KEYS).with("BALANCE_POLICY", "round_robin").with("WORKERS", 1);
    let program = place.start();
    let ask = || program.post(CHAT, chat("hello"));
    // By now the list of models is there, which asks with these keys as well.
    eventually("both keys serve", || (0..2).all(|_| ask().status() == 200));
    let leaked = vec![Spell::always(Fault::Refuse(Refusal::Leaked))];
    sim.set_behaviour(KEYS[0], Behaviour { faults: leaked, ..Behaviour::default() });

    let ids: Vec<String> =
        (0..4).map(|_| ask().header("x-request-id").expect("every answer has one")).collect();
    let explain = |id: &String| {
        eventually("the row is written", || place.command_with(&["explain", id]).0.success());
        place.command_with(&["explain", id]).1
    };

    let explained: Vec<String> = ids.iter().map(explain).collect();

    let rescued: Vec<_> = explained.iter().filter(|text| text.contains("key-…1111")).collect();
    let [text] = rescued[..] else { panic!("{explained:?}") };
    let (failed, served) = text.split_once("\n2. key 2 (key-…2222): success, 200").expect(text);
    assert!(failed.contains("1. key 1 (key-…1111): key_invalid, 403 "), "{text}");
    assert!(failed.contains("the choice of the policy, at cost 1.00; of 2 keys: 2 ready"), "{text}");
    assert!(served.contains("the choice of the policy, at cost 1.00; of 2 keys: "), "{text}");
}

#[test]
fn an_unknown_request_and_a_missing_database_are_told_apart() {
    let place = Place::empty();
    let (status, text) = place.command_with(&["explain", "nothing"]);
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains("cannot be opened"), "{text}");
    assert!(!place.folder.path().join("data").exists(), "nothing is made");
}

#[actix_web::test]
async fn an_unknown_request_ends_with_status_1_and_says_where_it_was_looked_for() {
    let sim = healthy_sim(&KEYS).await;
    let place = Place::empty().serving(&sim, &KEYS);
    let _program = place.start();

    let (status, text) = place.command_with(&["explain", "0192f00d"]);

    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("no request `0192f00d`"), "{text}");
}
