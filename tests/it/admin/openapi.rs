//! The document of the admin API tells of every path, and of none that is not there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use actix_web::http::Method;
use serde_json::Value;

use crate::harness::TestApp;

const DOCUMENT: &str = "/api/admin/openapi.json";
const PREFIX: &str = "/api/admin";

/// A method and a path, as both tables write them.
type Operation = (String, String);

async fn documented(app: &TestApp) -> BTreeSet<Operation> {
    let document = app.client().anonymous().get(DOCUMENT).send().await.json();
    let paths = document["paths"].as_object().expect("paths");
    let methods = |item: &Value| item.as_object().expect("methods").keys().cloned().collect::<Vec<_>>();
    paths
        .iter()
        .flat_map(|(path, item)| {
            methods(item).into_iter().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// What the areas register: `only::<Admin>("/path", "GET, POST")`, in whatever shape the formatter gives it.
fn registered() -> BTreeSet<Operation> {
    let mut found = BTreeSet::new();
    for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")) {
        let text = fs::read_to_string(&source).expect("a source can be read");
        for call in text.split("only::<Admin>(").skip(1) {
            let mut literals = call.split('"').skip(1).step_by(2);
            let (path, methods) = (literals.next().expect("a path"), literals.next().expect("its methods"));
            for method in methods.split(", ").filter(|method| *method != "HEAD") {
                found.insert((method.to_owned(), format!("{PREFIX}{path}")));
            }
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[actix_web::test]
async fn every_registered_path_is_documented_and_every_documented_one_registered() {
    let app = TestApp::with_keys(["k1"]).await;
    let (documented, registered) = (documented(&app).await, registered());

    let missing: Vec<_> = registered.difference(&documented).collect();
    let made_up: Vec<_> = documented.difference(&registered).collect();

    assert!(missing.is_empty(), "not in src/api/admin/openapi.rs: {missing:?}");
    assert!(made_up.is_empty(), "in no route table: {made_up:?}");
    assert!(registered.len() > 5, "{registered:?}");
}

#[actix_web::test]
async fn documented_paths_answer_and_let_nobody_in_without_a_session() {
    let app = TestApp::with_keys(["k1"]).await;

    for (method, path) in documented(&app).await {
        let path = path.replace("{id}", "1");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let reply = app.client().anonymous().request(method.clone(), &path).send().await;
        let expected = match (&method, path.as_str()) {
            (&Method::GET, DOCUMENT) => 200,
            // It is how one gets in, and takes JSON.
            (&Method::POST, "/api/admin/session") => 400,
            _ => 401,
        };
        assert_eq!(reply.status(), expected, "{method} {path}: {}", reply.text());
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        if path != DOCUMENT {
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn whoever_has_the_document_is_not_sent_it_again() {
    let app = TestApp::with_keys(["k1"]).await;
    let first = app.client().anonymous().get(DOCUMENT).send().await;
    let tag = first.header("etag").expect("a version").to_owned();

    let again = app.client().anonymous().get(DOCUMENT).header("if-none-match", &tag).send().await;

    assert_eq!((again.status(), again.text()), (304, ""));
    let not_there = app.client().anonymous().request(Method::PATCH, DOCUMENT).send().await;
    assert_eq!((not_there.status(), not_there.header("allow")), (405, Some("GET")));
}
