//! What was recorded of real clients and of Google: beside the repository, never inside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// `None`, and a word about it, on a machine without recordings, which only a machine without CI may take lightly.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no recorded fixtures in {}", folder.display());
    println!("skipped: no recorded fixtures");
    None
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Streams of Google's.
pub fn recorded_streams(names: &[&str]) -> Option<Vec<String>> {
    let folder = folder()?.join("gemini");
    Some(names.iter().map(|name| text(&folder.join(name))).collect())
}

/// The requests of one file of recorded clients.
pub fn client_requests(name: &str) -> Option<Vec<Value>> {
    let mut file: Value = serde_json::from_str(&text(&folder()?.join("clients").join(name))).expect("JSON");
    let Value::Array(requests) = file["requests"].take() else { panic!("{name} has no requests") };
    Some(requests)
}
