//! A generation that is late is sent a second time; the first that answers wins, and the other leaves nothing behind.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{MODEL, TestApp, chat, eventually, ms, prompt, secs};

/// What a model is known to take after [`learnt`].
const USUAL: std::time::Duration = ms(60);
/// As many answers as it takes to know.
const SAMPLES: usize = 20;

/// A gateway that knows how long streams of the model take to begin, and whole answers to come.
async fn learnt(most_percent: &str) -> TestApp {
    let builder = TestApp::builder().keys(["k1", "k2"]).setting("HEDGING", "on");
    let app = builder.setting("HEDGING_MAX_PERCENT", most_percent).start().await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).stream().text("one").finish("").after(USUAL);
    }
    let client = app.client();
    join_all((0..SAMPLES).map(async |_| {
        assert_eq!(client.stream(MODEL, "hello").await.rest().await.said(), "one");
    }))
    .await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).says("one").after(USUAL);
    }
    join_all((0..SAMPLES).map(async |_| {
        assert_eq!(client.generate(MODEL, "hello").await.status(), 200);
    }))
    .await;
    assert_eq!(app.upstream.attempts().len(), 2 * SAMPLES, "nothing is late while too little is known");
    app
}

async fn nothing_is_under_way(app: &TestApp) {
    for key in ["k1", "k2"] {
        assert_eq!(app.settled(key).await.in_flight, 0, "{key}");
    }
}

#[actix_web::test]
async fn a_late_stream_is_overtaken_and_cancelled() {
    let app = learnt("5").await;
    app.upstream.on("k1").never_answers();
    app.upstream.on("k2").stream().text("well").finish(" done");

    let reply = app.client().stream(MODEL, "hello").await.rest().await;

    assert_eq!(reply.said(), "well done");
    assert_eq!(app.upstream.attempts()[2 * SAMPLES..], ["k1", "k2"]);
    app.upstream.is_left(1).await;
    nothing_is_under_way(&app).await;
    let row = app.log_of(&reply).await;
    assert_eq!((row.status, row.attempts, row.key_id), (200, 2, Some(app.key_id("k2").await.0)));
    let trail: serde_json::Value = serde_json::from_str(&row.trail).expect("it is JSON");
    assert_eq!((&trail[0]["outcome"], &trail[0]["extra"]), (&json!("abandoned"), &json!(null)));
    assert_eq!((&trail[1]["outcome"], &trail[1]["extra"]), (&json!("success"), &json!("hedge")));
    let metrics = app.client().get("/metrics").send().await;
    let won = "gemini_balance_extra_attempts_total{kind=\"hedge\",outcome=\"success\"} 1";
    assert!(metrics.text().contains(won), "{}", metrics.text());
}

#[actix_web::test]
async fn a_late_answer_that_comes_first_all_the_same_wins() {
    let app = learnt("5").await;
    app.upstream.on("k1").says("late").after(ms(500));
    app.upstream.on("k2").never_answers();

    let reply = app.client().chat(MODEL, "hello").await;

    assert_eq!(reply.json()["choices"][0]["message"]["content"], "late");
    app.upstream.is_left(1).await;
    nothing_is_under_way(&app).await;
    let trail: serde_json::Value = serde_json::from_str(&app.log_of(&reply).await.trail).expect("it is JSON");
    let told: Vec<_> = [0, 1].map(|at| (&trail[at]["outcome"], &trail[at]["extra"])).into();
    assert!(told.contains(&(&json!("success"), &json!(null))), "{trail}");
    assert!(told.contains(&(&json!("abandoned"), &json!("hedge"))), "{trail}");
}

#[actix_web::test]
async fn a_hedge_that_fails_decides_nothing() {
    for status in [400, 404, 429, 503] {
        let app = learnt("5").await;
        app.upstream.on("k1").says("late").after(ms(500));
        app.upstream.on("k2").reply(status);

        let reply = app.client().generate(MODEL, "hello").await;

        assert_eq!(reply.status(), 200, "{status}: {}", reply.text());
        assert_eq!(app.upstream.attempts()[2 * SAMPLES..], ["k1", "k2"], "{status}");
    }
}

#[actix_web::test]
async fn when_the_first_fails_the_hedge_goes_on() {
    let app = learnt("5").await;
    app.upstream.on("k1").reply(503).after(ms(300));
    app.upstream.on("k2").says("well").after(ms(600));

    let reply = app.client().generate(MODEL, "hello").await;

    assert_eq!(reply.json()["candidates"][0]["content"]["parts"][0]["text"], "well");
    assert_eq!(app.upstream.attempts()[2 * SAMPLES..], ["k1", "k2"]);
}

#[actix_web::test]
async fn no_more_than_the_share_is_sent_twice() {
    let app = learnt("5").await;
    // 40 requests have come: two may be hedged, the next one not.
    for key in ["k1", "k2"] {
        app.upstream.on(key).says("late").after(ms(400));
    }

    for _ in 0..4 {
        assert_eq!(app.client().generate(MODEL, "hello").await.status(), 200);
    }

    assert_eq!(app.upstream.attempts().len(), 2 * SAMPLES + 4 + 2);
}

#[actix_web::test]
async fn only_generations_are_sent_twice_and_only_where_it_is_switched_on() {
    let app = learnt("50").await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).reply_json(200, &json!({"totalTokens": 7})).after(ms(300));
    }
    let counts = app.client().post("/v1beta/models/gemini-2.5-flash:countTokens");
    assert_eq!(counts.json(&prompt("hello")).send().await.status(), 200);
    assert_eq!(app.upstream.attempts().len(), 2 * SAMPLES + 1);

    let app = TestApp::with_keys(["k1", "k2"]).await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).says("one").after(ms(5));
    }
    for _ in 0..SAMPLES {
        app.client().generate(MODEL, "hello").await;
    }
    for key in ["k1", "k2"] {
        app.upstream.on(key).says("one").after(ms(400));
    }
    app.client().generate(MODEL, "hello").await;
    assert_eq!(app.upstream.attempts().len(), SAMPLES + 1);
}

#[actix_web::test]
async fn a_client_that_hangs_up_ends_both() {
    let app = learnt("5").await;
    for key in ["k1", "k2"] {
        app.upstream.on(key).never_answers();
    }
    let caller = app.client().call("/v1/chat/completions", &chat(MODEL, "hello")).await;
    let both_asked = async || (app.upstream.requests().len() == 2 * SAMPLES + 2).then_some(());
    eventually("both are asked", both_asked).await;

    let hung_up = caller.hang_up();

    let closings = app.upstream.is_left(2).await;
    assert!(closings.iter().all(|at| at.saturating_duration_since(hung_up) < secs(1)));
    nothing_is_under_way(&app).await;
    let rows = app.logs("all are logged", |rows| rows.len() > 2 * SAMPLES).await;
    assert_eq!((rows[0].status, rows[0].attempts), (499, 2));
}
