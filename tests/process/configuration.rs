//! What a start says of its configuration and surroundings.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::{CHAT, Place, TOKEN, chat, healthy_sim};

#[actix_web::test]
async fn keys_and_a_token_are_all_it_needs() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    let program = Place::empty().serving(&sim, &["key-one-abcdefgh"]).start();

    assert_eq!(program.post(CHAT, chat("hello")).status(), 200);
    let ready = program.get("/ready");
    assert_eq!((ready.status(), &ready.json()["status"]), (200, &json!("ready")));
}

#[actix_web::test]
async fn an_unchanged_env_file_of_gemini_balance_works() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    let env = format!(
        "# as its users have it\nDATABASE_TYPE=sqlite\nSQLITE_DATABASE=default_db\nMYSQL_HOST=gemini-balance-mysql\n\
         MYSQL_PORT=3306\nMYSQL_USER=gemini\nMYSQL_PASSWORD=change_me\nMYSQL_DATABASE=default_db\n\
         API_KEYS=[\"key-one-abcdefgh\"]\nALLOWED_TOKENS=[\"{TOKEN}\"]\nAUTH_TOKEN=\nBASE_URL={}/v1beta\n\
         MAX_FAILURES=10\nMAX_RETRIES=3\nCHECK_INTERVAL_HOURS=1\nTIMEZONE=Asia/Shanghai\nTIME_OUT=300\n\
         TOOLS_CODE_EXECUTION_ENABLED=false\nSEARCH_MODELS=[\"gemini-2.5-flash\"]\nSTREAM_OPTIMIZER_ENABLED=false\n\
         THINKING_BUDGET_MAP={{\"gemini-2.5-flash\": -1}}\nLOG_LEVEL=info\n\
         SAFETY_SETTINGS=[{{\"category\": \"HARM_CATEGORY_HARASSMENT\", \"threshold\": \"OFF\"}}]\n",
        sim.base_url
    );
    let program = Place::empty().file(".env", &env).start();

    assert_eq!(program.post(CHAT, chat("hello")).status(), 200);
    assert!(program.log().contains("no effect yet"), "{}", program.log());
}

#[test]
fn all_errors_are_told_in_one_run_with_name_problem_and_example() {
    let place = Place::empty().with("MAX_RETRIES", "many").with("BASE_URL", "ftp://x").with("TIME_OUT", "-1");

    let (status, log) = place.run();

    assert_eq!(status.code(), Some(2));
    for name in ["MAX_RETRIES", "BASE_URL", "TIME_OUT"] {
        let line = log.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name} in {log}"));
        assert!(line.contains(&format!("for example {name}=")), "{line}");
    }
}

#[test]
fn a_name_that_is_almost_ours_is_pointed_out() {
    let program = Place::empty().with("ALLOWED_TOKEN", "[\"sk-x\"]").start();

    assert!(program.log().contains("ALLOWED_TOKENS"), "{}", program.log());
}

#[test]
fn without_keys_and_tokens_it_runs_and_says_what_is_missing() {
    let program = Place::empty().start();

    let ready = program.get("/ready");
    assert_eq!(ready.status(), 503);
    let problems = ready.json()["problems"].to_string();
    for hint in ["API_KEYS=", "ALLOWED_TOKENS="] {
        assert!(problems.contains(hint), "{problems}");
        assert!(program.log().contains(hint), "{}", program.log());
    }
    assert_eq!(program.get("/health").status(), 200);
    assert_eq!(program.post(CHAT, chat("hello")).status(), 401);
}

#[test]
fn an_admin_token_is_made_for_nobody_else_to_read_and_only_its_place_is_logged() {
    let place = Place::empty();
    let program = place.start();

    let path = place.folder.path().join("data/admin_token");
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(program.log().contains("data/admin_token") && !program.log().contains(token.trim()));
}

#[test]
fn a_well_known_admin_token_is_no_admin_token_and_that_is_said() {
    let place = Place::empty().with("AUTH_TOKEN", "sk-123456");
    let program = place.start();

    let log = program.log();
    assert!(log.contains("AUTH_TOKEN") && log.contains("random"), "{log}");
    assert!(place.folder.path().join("data/admin_token").exists());
}

#[test]
fn thousands_of_keys_with_duplicates_and_blanks_and_any_shape_are_taken() {
    let keys: Vec<String> = (0..5_000).map(|n| format!("AQ.Shape-{}_{n}", n % 7)).collect();
    let mut list = keys.clone();
    list.extend(["", "  ", "AQ.Shape-0_0", "k", "AIzaSy-of-the-old-shape"].map(str::to_owned));
    let program = Place::empty().with("API_KEYS", json!(list)).with("ALLOWED_TOKENS", json!([TOKEN])).start();

    assert_eq!(program.get("/ready").json()["keys"]["active"], 5_002);
    assert!(program.log().contains("API_KEYS"), "duplicates are told: {}", program.log());
}

#[test]
fn a_port_that_is_taken_is_told_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    let (status, log) = Place::empty().with("PORT", port).run();

    assert_eq!(status.code(), Some(2));
    assert!(log.contains(&format!("127.0.0.1:{port}")), "{log}");
}

#[test]
fn a_database_that_is_not_one_stops_the_start_and_is_not_touched() {
    let place = Place::empty().file("data/default_db", "these are notes, not a database\n");

    let (status, log) = place.run();

    assert_eq!(status.code(), Some(2));
    assert!(log.contains("default_db"), "{log}");
    let kept = std::fs::read_to_string(place.folder.path().join("data/default_db")).unwrap();
    assert_eq!(kept, "these are notes, not a database\n");
}

#[test]
fn a_second_gateway_on_the_same_data_serves_too() {
    let place = Place::empty().with("ALLOWED_TOKENS", json!([TOKEN]));
    let first = place.start();
    let second = place.start();

    assert_eq!((first.get("/health").status(), second.get("/health").status()), (200, 200));
}
