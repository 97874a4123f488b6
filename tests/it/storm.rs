//! Google refuses an address that keys leave by: the address pauses, and no key is blamed. Where there is another one,
//! clients notice nothing.

use std::time::Instant;

use futures_util::future::join_all;

use gemini_balance::actors::supervisor::PoolSnapshot;
use serde_json::{Value, json};

use crate::harness::{MODEL, PASSWORD, Proxy, Reply, TestApp, Upstream, google_error, secs};

const KEYS: usize = 40;
const ADMIN: &str = "sk-administrator-6d1f";

fn keys() -> Vec<String> {
    (1..=KEYS).map(|n| format!("k{n}")).collect()
}

fn bare_limit() -> Value {
    google_error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")
}

fn all_are_well(pool: &PoolSnapshot) -> bool {
    pool.states.active == KEYS && pool.partly_cooling == 0
}

async fn shows(app: &TestApp, lines: [&str; 2]) {
    let metrics = app.client().get("/metrics").send().await;
    for line in lines {
        assert!(metrics.text().lines().any(|known| known == line), "{line} is not in {}", metrics.text());
    }
}

/// Keys that leave by two proxies, behind one of which Google gives this answer to everything.
struct TwoWays {
    app: TestApp,
    refusing: Upstream,
    /// They end with the test.
    _proxies: [Proxy; 2],
}

async fn two_ways(status: u16, answer: Value) -> TwoWays {
    let refusing = Upstream::start().await;
    refusing.replies(move |_| Some(Reply::json(status, &answer)));
    let proxies = [Proxy::start_towards(&refusing.origin).await, Proxy::start().await];
    let urls = json!(proxies.each_ref().map(|proxy| proxy.url("socks5"))).to_string();
    let app = TestApp::builder().keys(keys()).setting("MAX_RETRIES", "3").setting("PROXIES", &urls);
    let app = app.setting("AUTH_TOKEN", ADMIN);
    let app = app.start().await;
    TwoWays { app, refusing, _proxies: proxies }
}

#[actix_web::test]
async fn a_storm_of_one_of_two_proxies_is_left_to_the_other_and_costs_no_key_and_no_client() {
    let TwoWays { app, refusing, _proxies } = two_ways(429, bare_limit()).await;

    for _ in 0..60 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }

    shows(&app, ["gemini_balance_storms 1", "gemini_balance_egress_paused 1"]).await;
    app.pool_becomes("the keys are forgiven", all_are_well).await;
    let seen = async |path: &str| app.client_with(ADMIN).get(path).send().await.json()["items"].clone();
    let shown = seen("/api/admin/proxies").await;
    assert_eq!((&shown[0]["state"], &shown[1]["state"]), (&json!("refused"), &json!("ok")));
    assert_eq!((&shown[0]["storms"], &shown[1]["storms"]), (&json!(1), &json!(0)));
    let notices = seen("/api/admin/stats/attention").await;
    let storm = notices.as_array().unwrap().iter().find(|notice| notice["kind"] == "egress_storm").unwrap();
    assert_eq!((&storm["severity"], &storm["count"]), (&json!("warning"), &json!(1)));
    assert!(storm["message"].as_str().unwrap().contains(shown[0]["url"].as_str().unwrap()), "{storm}");
    assert!(!notices.to_string().contains(PASSWORD));
    let asked = refusing.attempts().len();
    assert!((5..20).contains(&asked), "a storm is plain after some keys of those that leave there: {asked}");
    for _ in 0..20 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }
    assert_eq!(refusing.attempts().len(), asked, "nothing leaves there while it pauses");
}

#[actix_web::test]
async fn where_gemini_is_not_offered_nothing_leaves_if_there_is_another_way() {
    let location =
        google_error(400, "FAILED_PRECONDITION", "User location is not supported for the API use.");
    let TwoWays { app, refusing, _proxies } = two_ways(400, location).await;

    for _ in 0..20 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }

    assert_eq!(refusing.attempts().len(), 1);
    assert!(all_are_well(&app.observe_pool().await));
}

#[actix_web::test]
async fn in_a_storm_the_address_pauses_and_every_key_stays_as_it_was() {
    let keys = keys();
    let app = TestApp::builder().keys(keys.clone()).setting("MAX_RETRIES", "3").start().await;
    app.catalogue_is_fetched().await;
    for key in &keys {
        app.upstream.on(key).reply_json(429, &bare_limit());
    }

    // A storm is what 30 % of the keys meet: four requests with three attempts each.
    for _ in 0..4 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 429);
    }
    let asked = app.upstream.attempts().len();
    assert_eq!(asked, 12);
    app.pool_becomes("the keys are forgiven", all_are_well).await;
    shows(&app, ["gemini_balance_storms 1", "gemini_balance_egress_paused 1"]).await;
    for key in &keys {
        app.upstream.on(key).answers_as_usual();
    }

    let begun = Instant::now();
    let client = app.client();
    let replies = join_all((0..6).map(|_| client.generate(MODEL, "hello"))).await;

    assert!(begun.elapsed() > secs(3), "nothing leaves while the address pauses: {:?}", begun.elapsed());
    assert_eq!(replies.iter().map(|reply| reply.status()).collect::<Vec<_>>(), [200; 6]);
    assert_eq!(app.upstream.attempts().len(), asked + 6, "each with its first key");
    assert!(all_are_well(&app.observe_pool().await));
}
