//! Finds recorded traffic for the tests of the simulation; it lies outside the repository and is read in place.

use std::{env, fs, path::Path};

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures");

/// The recordings under a folder, with their names; none, with a word on the terminal, where there are no recordings.
///
/// With `CI=true` their absence is a failure, so that no run passes by having checked nothing.
pub fn recordings(under: &str) -> Vec<(String, Value)> {
    if !Path::new(FOLDER).is_dir() {
        assert!(env::var("CI").as_deref() != Ok("true"), "no recorded fixtures in {FOLDER}");
        println!("skipped: no recorded fixtures");
        return Vec::new();
    }
    let paths = fs::read_dir(format!("{FOLDER}/{under}")).unwrap().map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    })
    .collect()
}
