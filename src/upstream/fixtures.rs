//! Finds recorded answers for the tests of this layer; they lie outside the repository and are read in place.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A folder of recordings; `None`, with a word on the terminal, where there are none.
///
/// With `CI=true` their absence is a failure, so that no run passes by having checked nothing.
pub fn folder(name: &str) -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(env::var("CI").as_deref() != Ok("true"), "no recorded fixtures in {}", folder.display());
    println!("skipped: no recorded fixtures");
    None
}

/// The files of a folder whose name ends so, in order.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    files.sort();
    files
}

/// A recording that is JSON.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
