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

/// Requests that the real service of that dialect was sent, with the names of their files.
pub fn exchanged_requests(dialect: &str) -> Vec<(String, Value)> {
    let Some(folder) = folder() else { return Vec::new() };
    let files = fs::read_dir(folder.join(dialect).join("exchanges")).expect("there are exchanges");
    let mut paths: Vec<_> = files.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let of_file = |path: &std::path::PathBuf| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let mut file: Value = serde_json::from_str(&text(path)).expect("JSON");
        let Value::Array(exchanges) = file["exchanges"].take() else { panic!("{name} has no exchanges") };
        exchanges
            .into_iter()
            .map(move |mut exchange| (name.clone(), exchange["request"].take()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_file).collect()
}

/// The events of Google's in one recorded exchange, as the bytes of a stream.
pub fn exchanged_stream(name: &str) -> Option<String> {
    let path = folder()?.join("gemini/exchanges").join(format!("{name}.json"));
    let file: Value = serde_json::from_str(&text(&path)).expect("JSON");
    let responses = file["exchanges"].as_array()?.iter().map(|exchange| &exchange["response"]);
    let mut found = responses.filter_map(|response| match &response["body"] {
        Value::Array(events) => {
            Some(events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect::<String>())
        }
        _ => response["body_text"].as_str().filter(|text| text.starts_with("data:")).map(str::to_owned),
    });
    Some(found.next_back().unwrap_or_else(|| panic!("{name} has no stream")))
}

/// The requests of one file of recorded clients.
pub fn client_requests(name: &str) -> Option<Vec<Value>> {
    client_list(name, "requests")
}

/// The handshakes of Live sessions, and what was sent then.
pub fn client_sessions(name: &str) -> Option<Vec<Value>> {
    client_list(name, "sessions")
}

fn client_list(name: &str, of: &str) -> Option<Vec<Value>> {
    let mut file: Value = serde_json::from_str(&text(&folder()?.join("clients").join(name))).expect("JSON");
    let Value::Array(list) = file[of].take() else { panic!("{name} has no {of}") };
    Some(list)
}
