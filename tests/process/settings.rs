//! Settings as the program shows them, and the level of its log.

use serde_json::json;

use crate::harness::{CHAT, Place, TOKEN, chat, eventually, healthy_sim, post};

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

#[actix_web::test]
async fn a_second_gateway_is_built_from_what_the_first_has_exported() {
    const KEY: &str = "key-one-abcdefgh-1111";
    let sim = healthy_sim(&[KEY]).await;
    let passphrase = "a passphrase of both gateways";
    let first = Place::empty().serving(&sim, &[KEY]).with("ENCRYPTION_KEY", passphrase);
    let first = first.with("AUTH_TOKEN", ADMIN);
    drop(first.start());
    let (status, made) = first.command_with(&["tokens", "create", "Research"]);
    assert!(status.success(), "{made}");
    let (_, plain) = first.command_with(&["settings", "export"]);
    let (status, whole) = first.command_with(&["settings", "export", "--secrets"]);
    assert!(status.success() && whole.contains(KEY) && !whole.contains(made.trim()), "{whole}");
    assert!(!plain.contains(KEY) && !plain.contains(TOKEN) && plain.contains("\"Research\""), "{plain}");

    let mut document: serde_json::Value = serde_json::from_str(&whole).expect("it is JSON");
    document["settings"]["PORT"] = json!(0);
    let second = Place::empty().file("document.json", &document.to_string());
    let second = second.with("ENCRYPTION_KEY", passphrase);
    let (status, told) = second.command_with(&["settings", "import", "document.json", "--dry-run"]);
    assert!(status.success(), "{told}");
    for line in ["API_KEYS: *** -> ***", "keys: 1 added, 0 changed", "tokens: 2 added, 0 changed"] {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }
    let (status, told) = second.command_with(&["settings", "import", "document.json"]);
    assert!(status.success(), "{told}");

    let program = second.start();
    for token in [TOKEN, made.trim()] {
        let asked = program.send(&post(CHAT, token, chat("hello").as_bytes()));
        assert_eq!(asked.status(), 200, "{}", program.log());
    }
    let (_, again) = second.command_with(&["settings", "import", "document.json"]);
    assert_eq!(
        again,
        "keys: 0 added, 0 changed, 1 unchanged, 0 refused\ntokens: 0 added, 0 changed, 2 unchanged, 0 refused\n"
    );
    let odd = second.file("odd.json", r#"{"format": "x"}"#);
    let (status, told) = odd.command_with(&["settings", "import", "odd.json"]);
    assert_eq!((status.code(), told.contains("has no format")), (Some(2), true), "{told}");
}
