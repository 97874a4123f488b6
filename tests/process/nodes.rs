//! Several nodes over one database and one Redis.

mod keys;
mod lead;
mod redis;
mod tls;

use std::{
    thread,
    time::{Duration, Instant},
};

use gemini_balance::sim::Sim;
use serde_json::{Value, json};

use self::redis::{Cleaner, Relay, server};
use crate::harness::{GENERATE, Place, Program, Reply, eventually, healthy_sim, native, post};

const ADMIN: &str = "sk-administrator-6d1f";
const KEY: &str = "key-one-abcdefgh-1111";
/// What one node changes holds on the others within this time.
const SOON: Duration = Duration::from_secs(1);

/// What nodes have in common.
struct Pool {
    sim: Sim,
    database: tempfile::TempDir,
    redis: Cleaner,
}

impl Pool {
    async fn new() -> Self {
        Self::of(&[KEY]).await
    }

    /// Whose keys Google accepts, in use or not.
    async fn of(keys: &[&str]) -> Self {
        let redis = Cleaner { encryption_key: format!("a passphrase for {}", uuid::Uuid::new_v4()) };
        Self { sim: healthy_sim(keys).await, database: tempfile::tempdir().expect("a folder"), redis }
    }

    fn node(&self, name: &str, redis_url: &str) -> Place {
        let database = self.database.path().join("shared.db");
        Place::empty()
            .serving(&self.sim, &[KEY])
            .with("AUTH_TOKEN", ADMIN)
            .with("NODE_NAME", name)
            .with("DATABASE_URL", format!("sqlite://{}", database.display()))
            .with("ENCRYPTION_KEY", &self.redis.encryption_key)
            .with("REDIS_URL", redis_url)
            .with("WORKERS", 2)
    }

    /// Two that know each other.
    fn two(&self, redis_url: &str) -> (Program, Program) {
        let nodes = (self.node("north", redis_url).start(), self.node("south", redis_url).start());
        for node in [&nodes.0, &nodes.1] {
            eventually("they see each other", || alive(node) == ["north", "south"]);
        }
        nodes
    }
}

fn direct() -> String {
    format!("redis://{}/0", server())
}

fn admin(node: &Program, method: &str, path: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} /api/admin/{path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    node.send(format!("{head}{body}").as_bytes())
}

fn look(node: &Program, path: &str) -> Value {
    admin(node, "GET", path, &Value::Null).json()
}

fn alive(node: &Program) -> Vec<String> {
    let nodes = look(node, "nodes");
    let items = nodes["items"].as_array().expect("a list").iter();
    let mut names: Vec<_> = items
        .filter(|node| node["is_alive"] == true)
        .map(|node| node["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}

fn is_connected(node: &Program) -> bool {
    look(node, "system")["redis"]["ok"] == true
}

/// A token on these terms: itself and its id.
fn make(node: &Program, terms: Value) -> (String, String) {
    let mut body = json!({"name": "a client"});
    body.as_object_mut().expect("a map").extend(terms.as_object().expect("terms").clone());
    let made = admin(node, "POST", "tokens", &body);
    assert_eq!(made.status(), 201, "{made:?}");
    let made = made.json();
    (made["token"].as_str().expect("a token").to_owned(), made["id"].as_str().expect("an id").to_owned())
}

fn ask(node: &Program, token: &str, prompt: &str) -> u16 {
    node.send(&post(GENERATE, token, native(prompt).as_bytes())).status()
}

fn knows(node: &Program, id: &str) -> bool {
    admin(node, "GET", &format!("tokens/{id}"), &Value::Null).status() == 200
}

fn in_flight(node: &Program, id: &str) -> Value {
    look(node, &format!("tokens/{id}"))["in_flight"].clone()
}

/// What is used of the only limit.
fn used(node: &Program, id: &str) -> u64 {
    look(node, &format!("tokens/{id}"))["usage"][0]["used"].as_u64().expect("one limit")
}

/// How long it took.
fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    begin.elapsed()
}

#[actix_web::test]
async fn a_limit_holds_over_two_nodes_as_over_one() {
    let pool = Pool::new().await;
    let (north, south) = pool.two(&direct());
    let (token, id) = make(&north, json!({"rate_limits": {"requests_per_minute": 10}}));
    within(SOON, "the other node lets it in", || knows(&south, &id));

    // Each has heard of what the other let in before the next one asks, however slow the machine is.
    let asked_in_turn = |node| {
        let status = ask(node, &token, "hello");
        eventually("both count the same", || used(&north, &id) == used(&south, &id));
        status
    };
    let statuses: Vec<u16> = (0..10).flat_map(|_| [&north, &south]).map(asked_in_turn).collect();

    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert!((9..=11).contains(&admitted), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
}

#[actix_web::test]
async fn at_the_same_moment_two_nodes_let_in_few_more_than_the_limit() {
    let pool = Pool::new().await;
    let (north, south) = pool.two(&direct());
    let (token, id) = make(&north, json!({"rate_limits": {"requests_per_minute": 10}}));
    within(SOON, "the other node lets it in", || knows(&south, &id));

    let admitted = thread::scope(|scope| {
        let asking: Vec<_> = (0..20)
            .map(|number| {
                let (node, token) = (if number % 2 == 0 { &north } else { &south }, &token);
                scope.spawn(move || ask(node, token, "hello"))
            })
            .collect();
        let statuses = asking.into_iter().map(|asked| asked.join().expect("an answer"));
        statuses.filter(|status| *status == 200).count()
    });

    println!("20 at once over two nodes, limit 10: {admitted} were let in");
    // Measured: 10 to 14. Without reckoning with what is unheard it is 16 and more.
    assert!((5..=15).contains(&admitted), "{admitted}");
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(30));
        ask(&north, &token, "the rest");
        ask(&south, &token, "the rest");
    }
    let in_all = used(&north, &id);
    assert!((10..=15).contains(&in_all) && in_all == used(&south, &id), "{in_all}");
    assert_eq!((ask(&north, &token, "more"), ask(&south, &token, "more")), (429, 429));
}

#[actix_web::test]
async fn a_token_that_one_node_revokes_is_refused_by_the_other_and_settings_hold_on_both() {
    let pool = Pool::new().await;
    let (north, south) = pool.two(&direct());
    let (token, id) = make(&north, json!({}));
    within(SOON, "the other node lets it in", || ask(&south, &token, "hello") == 200);

    assert_eq!(
        admin(&north, "PATCH", &format!("tokens/{id}"), &json!({"models": ["gemini-9"]})).status(),
        200
    );
    within(SOON, "other models only", || ask(&south, &token, "hello") == 403);
    assert_eq!(admin(&north, "DELETE", &format!("tokens/{id}"), &Value::Null).status(), 204);
    let took = within(SOON, "it is refused", || ask(&south, &token, "hello") == 400);
    println!("refused by the other node after {took:?}");

    assert_eq!(admin(&south, "PATCH", "settings", &json!({"MAX_FAILURES": 7})).status(), 200);
    let max_failures = |node: &Program| {
        let settings = look(node, "settings");
        let items = settings["items"].as_array().expect("a list").clone();
        items.into_iter().find(|item| item["name"] == "MAX_FAILURES").expect("the setting")["value"].clone()
    };
    within(SOON, "the setting holds", || max_failures(&north) == 7);
    // Nobody takes it back.
    thread::sleep(Duration::from_millis(200));
    assert_eq!((max_failures(&north), max_failures(&south)), (json!(7), json!(7)));
}

#[actix_web::test]
async fn without_redis_both_serve_on_and_afterwards_they_know_what_was_used() {
    let pool = Pool::new().await;
    let relay = Relay::start();
    let (north, south) = pool.two(&relay.url());
    let (token, id) = make(&north, json!({"rate_limits": {"requests_per_day": 12}}));
    within(SOON, "the other node lets it in", || knows(&south, &id));
    assert_eq!((ask(&north, &token, "one"), ask(&south, &token, "two")), (200, 200));

    relay.cut();
    for node in [&north, &south] {
        eventually("it knows", || !is_connected(node));
        let slowest = (0..3).map(|_| {
            let begin = Instant::now();
            assert_eq!(ask(node, &token, "alone"), 200);
            begin.elapsed()
        });
        assert!(slowest.max().is_some_and(|slowest| slowest < SOON));
    }
    let (unheard, other) = make(&north, json!({}));
    // Even so, by way of the database.
    eventually("the other node lets it in", || ask(&south, &unheard, "hello") == 200);
    assert_eq!(admin(&north, "DELETE", &format!("tokens/{other}"), &Value::Null).status(), 204);
    eventually("it is refused", || ask(&south, &unheard, "hello") == 400);

    relay.mend();
    for node in [&north, &south] {
        eventually("it is back", || is_connected(node) && used(node, &id) == 8);
        eventually("they see each other", || alive(node) == ["north", "south"]);
    }
    for _ in 0..2 {
        assert_eq!((ask(&north, &token, "together"), ask(&south, &token, "again")), (200, 200));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((ask(&north, &token, "too many"), ask(&south, &token, "too many")), (429, 429));
    assert_eq!(north.log().matches("Redis is lost").count(), 1, "{}", north.log());
}

#[actix_web::test]
async fn what_a_killed_node_had_under_way_is_forgotten_and_what_it_used_is_not() {
    let pool = Pool::new().await;
    let place = pool.node("north", &direct());
    let (mut north, south) = (place.start(), pool.node("south", &direct()).start());
    let terms = json!({"max_concurrent": 1, "rate_limits": {"requests_per_day": 100}});
    let (token, id) = make(&north, terms);
    within(SOON, "the other node lets it in", || knows(&south, &id));
    for _ in 0..5 {
        assert_eq!(ask(&north, &token, "hello"), 200);
    }
    let mut hanging = north.connect();
    hanging.write(&post(GENERATE, &token, native("[[delay_ms=60000]] slow").as_bytes()));
    within(SOON, "the other node knows", || in_flight(&south, &id) == 1 && used(&south, &id) == 6);
    assert_eq!(ask(&south, &token, "hello"), 429);

    north.signal("KILL");
    north.wait();
    let took =
        within(Duration::from_secs(10), "its request is forgotten", || ask(&south, &token, "hello") == 200);
    println!("a killed node's requests were forgotten after {took:?}");
    assert_eq!(used(&south, &id), 7);

    let north = place.start();
    eventually("it has caught up", || is_connected(&north) && used(&north, &id) == 7);
    assert_eq!((ask(&north, &token, "hello"), used(&north, &id)), (200, 8));
    within(SOON, "the other node counts the same", || used(&south, &id) == 8);
    eventually("the dead one is told of", || look(&south, "nodes")["total"] == 3);
    assert_eq!(alive(&south), ["north", "south"]);
}

#[actix_web::test]
async fn a_node_that_is_stopped_leaves_and_its_successor_counts_on() {
    let pool = Pool::new().await;
    let place = pool.node("north", &direct());
    let (mut north, south) = (place.start(), pool.node("south", &direct()).start());
    let (token, id) = make(&north, json!({"rate_limits": {"requests_per_month": 100}}));
    within(SOON, "the other node lets it in", || knows(&south, &id));
    for _ in 0..3 {
        assert_eq!((ask(&north, &token, "hello"), ask(&south, &token, "hello")), (200, 200));
    }

    north.signal("TERM");
    assert_eq!(north.wait().code(), Some(0));
    eventually("it is gone", || look(&south, "nodes")["total"] == 1);
    let north = place.start();

    eventually("it has caught up", || is_connected(&north));
    assert_eq!((used(&north, &id), used(&south, &id)), (6, 6));
}

#[actix_web::test]
async fn a_redis_that_is_not_there_holds_up_nothing_and_its_password_is_never_shown() {
    let pool = Pool::new().await;
    let node = pool.node("north", "redis://gateway:hunter2@127.0.0.1:1/0").start();

    assert_eq!(ask(&node, ADMIN, "hello"), 200);
    let redis = look(&node, "system")["redis"].clone();
    assert_eq!(
        (&redis["ok"], &redis["url"]),
        (&json!(false), &json!("redis://:***@127.0.0.1:1/0")),
        "{redis}"
    );
    assert!(redis["error"].as_str().is_some_and(|error| !error.is_empty()), "{redis}");
    assert_eq!(alive(&node), ["north"]);
    let settings = admin(&node, "GET", "settings", &Value::Null);
    for text in
        [node.log(), redis.to_string(), settings.json().to_string(), look(&node, "actors").to_string()]
    {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(node.log().matches("Redis cannot be reached: ").count(), 1, "{}", node.log());
}

#[test]
fn a_malformed_address_is_refused_at_the_start() {
    let (status, log) = Place::empty().with("REDIS_URL", "http://gateway:hunter2@127.0.0.1").run();

    assert!(!status.success());
    assert!(log.contains("REDIS_URL (from the environment): does not start with redis://"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}
