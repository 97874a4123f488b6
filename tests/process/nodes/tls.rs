//! Redis behind TLS.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{Pool, SOON, alive, is_connected, knows, look, make, within};
use crate::harness::{Place, eventually};

/// A server of its own with a certificate for `localhost`, signed by an authority that nobody knows.
struct TlsServer {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl TlsServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        openssl(
            folder.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        openssl(
            folder.path(),
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        );
        std::fs::write(at("names"), "subjectAltName=DNS:localhost\n").expect("a file");
        openssl(
            folder.path(),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
        );
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--bind", "127.0.0.1", "--tls-auth-clients", "no"])
            .args(["--tls-port", &port.to_string(), "--tls-cert-file"])
            .args([at("server.pem"), PathBuf::from("--tls-key-file"), at("server.key")])
            .args([PathBuf::from("--tls-ca-cert-file"), at("ca.pem")])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server with TLS; see CONTRIBUTING.md");
        Self { child, folder, port }
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/0", self.port)
    }

    fn authority(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, words: &str) {
    let output =
        Command::new("openssl").args(words.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[actix_web::test]
async fn nodes_meet_behind_tls_where_they_know_the_authority_and_nowhere_else() {
    let (pool, server) = (Pool::new().await, TlsServer::start());
    let node =
        |name: &str, host: &str| pool.node(name, &server.url(host)).with("REDIS_CA_FILE", server.authority());
    let (north, south) = (node("north", "localhost").start(), node("south", "localhost").start());
    for node in [&north, &south] {
        eventually("they see each other", || alive(node) == ["north", "south"]);
    }
    let (_, id) = make(&north, serde_json::json!({}));
    within(SOON, "the other node hears of a token", || knows(&south, &id));

    // Its certificate is for another name; and nobody else trusts who has signed it.
    let misnamed = node("misnamed", "127.0.0.1").start();
    let stranger = pool.node("stranger", &server.url("localhost")).start();
    for node in [&misnamed, &stranger] {
        eventually("it says why not", || {
            let redis = look(node, "system")["redis"].clone();
            redis["error"].as_str().is_some_and(|error| error.to_lowercase().contains("certificate"))
        });
        assert!(!is_connected(node));
    }
}

#[test]
fn a_file_of_authorities_that_is_of_no_use_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (odd, broken) = (folder.path().join("odd.pem"), folder.path().join("broken.pem"));
    std::fs::write(&odd, "hello").expect("a file");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    let missing = folder.path().join("missing.pem");
    for (path, problem) in [
        (missing, "cannot be read"),
        (odd, "holds no certificate in PEM"),
        (broken, "holds a certificate that cannot be read"),
    ] {
        let place =
            Place::empty().with("REDIS_URL", "rediss://localhost").with("REDIS_CA_FILE", path.display());
        let (status, log) = place.run();
        assert!(!status.success());
        assert!(log.contains("REDIS_CA_FILE (from the environment): ") && log.contains(problem), "{log}");
    }
}
