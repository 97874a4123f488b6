//! The demo's light traffic: about two requests a second of every kind, so that there is something to see.

use std::time::Duration;

use awc::Client;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// Pause between the starts of two requests.
const PAUSE: Duration = Duration::from_millis(500);
/// A demo answer takes a few seconds at most; whoever needs longer has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Running traffic; dropping it ends it.
#[derive(Debug)]
pub struct Traffic {
    task: JoinHandle<()>,
}

impl Traffic {
    /// Sends to a gateway at `base_url` (`http://host:port`) with one of its tokens. Needs a running actix system.
    pub fn start(base_url: &str, token: &str) -> Self {
        let (base_url, token) = (base_url.trim_end_matches('/').to_owned(), token.to_owned());
        Self { task: actix_web::rt::spawn(run(base_url, token)) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(base_url: String, token: String) {
    let client = Client::builder().timeout(TIMEOUT).finish();
    // Dropping the set ends the requests that are under way.
    let mut running = JoinSet::new();
    for turn in 0.. {
        while running.try_join_next().is_some() {}
        let (path, body) = request(turn);
        let (name, value) = if path.starts_with("/v1/") {
            ("authorization", format!("Bearer {token}"))
        } else {
            ("x-goog-api-key", token.clone())
        };
        let call = client.post(format!("{base_url}{path}")).insert_header((name, value)).send_json(&body);
        running.spawn_local(async move {
            match call.await {
                Ok(mut answer) => while answer.next().await.is_some_and(|chunk| chunk.is_ok()) {},
                Err(error) => tracing::debug!(%error, "a request of the demo's traffic failed: {error}"),
            }
        });
        sleep(PAUSE).await;
    }
}

/// Path and body of the nth request. Most are well; some are the client's own mistakes.
fn request(turn: usize) -> (&'static str, Value) {
    let prompt = format!("Demo request {turn}: tell me something about balance.");
    let native = json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]});
    let chat = |stream: bool| json!({"model": "gemini-2.5-flash", "stream": stream, "messages": [{"role": "user", "content": prompt}]});
    match turn % 12 {
        0 | 6 => ("/v1beta/models/gemini-2.5-flash:generateContent", native),
        1 | 7 => ("/v1beta/models/gemini-3.6-flash:streamGenerateContent?alt=sse", native),
        2 | 8 => ("/v1/chat/completions", chat(false)),
        3 | 9 => ("/v1/chat/completions", chat(true)),
        4 => ("/v1/embeddings", json!({"model": "gemini-embedding-001", "input": prompt, "dimensions": 256})),
        5 => ("/v1beta/models/gemini-2.5-pro:generateContent", native),
        10 => ("/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse", native),
        _ => ("/v1beta/models/gemini-3.6-flash:generateContent", json!({"contents": []})),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Behaviour, Fault, Plan, Spell, start},
        *,
    };

    #[actix_web::test]
    async fn traffic_arrives_and_ends_with_its_owner() {
        let sim = start(Plan::healthy(["k"])).await.unwrap();
        let slow = Behaviour { faults: vec![Spell::always(Fault::Hang)], ..Behaviour::default() };
        sim.set_behaviour("k", slow);

        let traffic = Traffic::start(&sim.base_url, "k");
        while sim.snapshot().in_flight == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(traffic);

        while sim.snapshot().in_flight > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(sim.snapshot().keys["k"].cancelled, 1);
    }

    #[test]
    fn a_dozen_turns_speak_both_dialects_and_stream_in_both() {
        let turns: Vec<_> = (0..12).map(request).collect();

        assert!(turns.iter().any(|(path, _)| path.contains("alt=sse")));
        assert!(turns.iter().any(|(path, body)| path.starts_with("/v1/") && body["stream"] == true));
    }
}
