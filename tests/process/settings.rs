//! Settings as the program shows them, and the level of its log.

use serde_json::json;

use crate::harness::{CHAT, Place, chat, eventually, healthy_sim};

const ADMIN: &str = "sk-administrator-6d1f";

fn patch(body: &str) -> Vec<u8> {
    let head = format!(
        "PATCH /api/admin/settings HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {ADMIN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    format!("{head}{body}").into_bytes()
}

#[actix_web::test]
async fn what_was_set_is_printed_beside_the_running_gateway_and_the_log_follows_its_level() {
    let sim = healthy_sim(&["key-one-abcdefgh-1111"]).await;
    let place = Place::empty().serving(&sim, &["key-one-abcdefgh-1111"]).with("AUTH_TOKEN", ADMIN);
    let program = place.start();
    let change = json!({"LOG_LEVEL": "debug", "MAX_FAILURES": 7, "CUSTOM_HEADERS": {"x-auth": "hunter2"}});

    assert_eq!(program.send(&patch(&change.to_string())).status(), 200);
    assert_eq!(program.post(CHAT, chat("hello")).status(), 200);

    eventually("the log tells more", || program.log().contains("DEBUG"));
    let (status, text) = place.command_with(&["settings"]);
    assert!(status.success(), "{text}");
    for line in [
        "LOG_LEVEL=debug  # dashboard",
        "MAX_FAILURES=7  # dashboard",
        "CUSTOM_HEADERS=***  # dashboard",
        "API_KEYS=***  # environment",
        "TIME_OUT=300  # default",
        "ENCRYPTION_KEY=  # default",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line} is not in:\n{text}");
    }
    for secret in ["hunter2", "abcdefgh", ADMIN] {
        assert!(!text.contains(secret) && !program.log().contains(secret));
    }
}
