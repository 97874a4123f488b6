//! Where tests find recorded traffic: beside the repository, never inside it.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// The folder of recordings; `None`, and a word about it, on a machine without them.
pub fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures"));
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs the recorded fixtures");
    println!("skipped: no recorded fixtures");
    None
}

/// The files of one folder whose names end so, with their texts; empty on a machine without recordings.
pub fn files(under: &str, extension: &str) -> Vec<(String, String)> {
    let Some(folder) = folder() else {
        return Vec::new();
    };
    let entries = fs::read_dir(folder.join(under)).expect("the recordings have this folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.to_string_lossy().ends_with(extension))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("a text")))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {extension} under {under}");
    files
}

/// The bodies of recorded generateContent answers: a list of events each, one event for an answer that was not streamed.
pub fn answers() -> Vec<(String, Vec<String>)> {
    let exchanges = files("gemini/exchanges", ".json").into_iter().flat_map(|(path, text)| {
        let file: Value = serde_json::from_str(&text).expect("recorded JSON");
        let exchanges = file["exchanges"].as_array().cloned().unwrap_or_default();
        exchanges.into_iter().filter_map(move |exchange| Some((path.clone(), events_of(&exchange)?)))
    });
    let firebase = ["gemini/firebase/googleai", "gemini/firebase/vertexai"].into_iter().flat_map(|folder| {
        let streams = files(folder, ".txt").into_iter().map(|(path, text)| (path, sse_events(&text)));
        let bodies = files(folder, ".json").into_iter().map(|(path, text)| (path, vec![text]));
        streams.chain(bodies)
    });
    exchanges.chain(firebase).filter(|(_, events)| !events.is_empty()).collect()
}

fn events_of(exchange: &Value) -> Option<Vec<String>> {
    let url = exchange["request"]["url"].as_str()?;
    let response = &exchange["response"];
    if !url.contains("enerateContent") || response["status"] != 200 {
        return None;
    }
    match (&response["body"], response["body_text"].as_str()) {
        (Value::Array(events), _) => Some(events.iter().map(Value::to_string).collect()),
        (body @ Value::Object(_), _) => Some(vec![body.to_string()]),
        (_, Some(text)) => Some(sse_events(text)),
        _ => None,
    }
}

/// The data of server-sent events; what is no event is passed over.
pub fn sse_events(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}
