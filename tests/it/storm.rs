//! Google refuses the address that all keys leave by: the address pauses, and no key is blamed.

use std::time::Instant;

use futures_util::future::join_all;

use crate::harness::{MODEL, TestApp, google_error, secs};

const KEYS: usize = 40;

#[actix_web::test]
async fn in_a_storm_the_address_pauses_and_every_key_stays_as_it_was() {
    let keys: Vec<_> = (1..=KEYS).map(|n| format!("k{n}")).collect();
    let app = TestApp::builder().keys(keys.clone()).setting("MAX_RETRIES", "3").start().await;
    app.catalogue_is_fetched().await;
    let bare = google_error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).");
    for key in &keys {
        app.upstream.on(key).reply_json(429, &bare);
    }

    // A storm is what 30 % of the keys meet: four requests with three attempts each.
    for _ in 0..4 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 429);
    }
    let asked = app.upstream.attempts().len();
    assert_eq!(asked, 12);
    let all_are_well = |pool: &gemini_balance::actors::supervisor::PoolSnapshot| {
        pool.states.active == KEYS && pool.partly_cooling == 0
    };
    app.pool_becomes("the keys are forgiven", all_are_well).await;
    let metrics = app.client().get("/metrics").send().await;
    for line in ["gemini_balance_storms 1", "gemini_balance_egress_paused 1"] {
        assert!(metrics.text().lines().any(|known| known == line), "{line} is not in {}", metrics.text());
    }
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
