//! What real client libraries send, as it was recorded: beside the repository, never inside it.

use std::{fs, path::Path};

use serde_json::Value;

/// The requests of one file of recorded clients; `None`, and a word about it, on a machine without recordings.
pub fn client_requests(name: &str) -> Option<Vec<Value>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/clients"));
    if !folder.is_dir() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs the recorded fixtures");
        println!("skipped: no recorded fixtures");
        return None;
    }
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut file: Value = serde_json::from_str(&text).expect("recordings are JSON");
    let Value::Array(requests) = file["requests"].take() else { panic!("{name} has no requests") };
    Some(requests)
}
