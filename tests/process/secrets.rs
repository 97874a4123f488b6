//! No secret anywhere: not in logs at DEBUG, not in the database, not in metrics, not in any error body.

use std::path::Path;

use gemini_balance::sim::{Behaviour, Fault, KeyPlan, Plan, Refusal, Spell, start};
use serde_json::json;

use crate::harness::{CHAT, GENERATE, Place, Program, STREAM, TOKEN, chat, eventually, native, post};

const KEYS: [&str; 4] = [
    "AIzaSySecretKeyNumberOne-0123456789abcd",
    "AQ.SecretKeyNumberTwo_0123456789abcdefghijklmnop",
    "secret-key-number-three-of-no-known-shape",
    "AIzaSySecretKeyNumberFour-123456789abcd",
];
const WRONG_TOKEN: &str = "sk-wrong-token-that-must-not-be-echoed";

/// One key is well, the others meet Google's refusals, some of which quote the key.
fn plan() -> Plan {
    let refused = |key: &str, refusal| KeyPlan {
        behaviour: Behaviour { faults: vec![Spell::always(Fault::Refuse(refusal))], ..Behaviour::default() },
        ..KeyPlan::healthy(key)
    };
    Plan {
        keys: vec![
            KeyPlan::healthy(KEYS[0]),
            refused(KEYS[1], Refusal::Suspended),
            refused(KEYS[2], Refusal::InvalidKey),
            refused(KEYS[3], Refusal::Leaked),
        ],
        ..Plan::healthy::<String>([])
    }
}

fn provoke(program: &Program) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(program.post(GENERATE, native("hello")));
        replies.push(program.post(CHAT, chat("hello")));
        replies.push(program.post(STREAM, native("[[cut=2]] hello")));
        replies.push(program.post(GENERATE, native("[[status=400]] hello")));
        replies.push(program.post(CHAT, chat("[[status=503]] hello")));
    }
    for path in [GENERATE, CHAT, "/v1/embeddings", "/openai/v1/chat/completions", "/nowhere"] {
        replies.push(program.send(&post(path, WRONG_TOKEN, b"{}")));
        replies.push(
            program.send(format!("GET {path}?key={WRONG_TOKEN} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes()),
        );
        replies.push(program.send(&post(path, TOKEN, b"{broken")));
    }
    replies.push(program.get("/metrics"));
    replies.push(program.get("/ready"));
    replies.into_iter().map(|reply| reply.0).collect()
}

fn all_files(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        // The generated admin token is where it belongs; it is none of those looked for.
        bytes.extend(std::fs::read(entry.path()).unwrap());
    }
    bytes
}

#[actix_web::test]
async fn no_secret_leaves_the_gateway() {
    let sim = start(plan()).await.unwrap();
    let place = Place::empty().serving(&sim, &KEYS).with("RUST_LOG", "debug").with("MAX_RETRIES", 4);
    let place = place.with("CUSTOM_HEADERS", json!({"x-team": "secret-header-value-0815"}));
    let mut program = place.start();

    let replies = provoke(&program);
    eventually("dead keys are judged", || program.get("/ready").json()["keys"]["invalid"] == 3);
    program.signal("TERM");
    program.wait();

    let hidden = KEYS.into_iter().chain([TOKEN, WRONG_TOKEN, "secret-header-value-0815"]);
    let places =
        [("log", program.log().into_bytes()), ("data", all_files(&place.folder.path().join("data")))];
    for secret in hidden {
        let shows = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        for (name, bytes) in &places {
            assert!(!shows(bytes), "{secret} stands in the {name}:\n{}", excerpt(bytes, secret));
        }
        for reply in &replies {
            assert!(!shows(reply), "{secret} stands in an answer:\n{}", String::from_utf8_lossy(reply));
        }
    }
    assert!(!places[0].1.is_empty() && !places[1].1.is_empty());
}

fn excerpt(bytes: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find(|line| line.contains(secret)).unwrap_or_default().chars().take(500).collect()
}
