//! Replies on the wire.

use std::{io, time::Duration};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    bodies::{ANSWER, event, fixture, fixture_json, generated, last_event, usual_error},
    script::{Head, Reply, Step},
    upstream::{Answering, Recorded},
};

pub async fn answer(reply: Reply, mut answering: Answering) -> HttpResponse {
    match reply.head {
        Head::After(Duration::ZERO) => {}
        Head::After(span) => sleep(span).await,
        Head::Never => std::future::pending().await,
    }
    let status = StatusCode::from_u16(reply.status).expect("scripts have real statuses");
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, reply.content_type));
    for header in reply.headers {
        response.append_header(header);
    }
    if let [Step::Send(whole)] = &*reply.steps {
        answering.finish();
        return response.body(whole.clone());
    }
    let steps = reply.steps.into_iter();
    response.streaming(stream::unfold((steps, answering), |(mut steps, mut answering)| async move {
        loop {
            let sent = match steps.next() {
                Some(Step::Send(bytes)) => Ok(bytes),
                Some(Step::Silence(span)) => {
                    sleep(span).await;
                    continue;
                }
                Some(Step::Hang) => std::future::pending().await,
                Some(Step::Cut) => {
                    // What was sent before leaves only while there is nothing to send.
                    tokio::task::yield_now().await;
                    answering.finish();
                    Err(io::Error::other("cut on purpose"))
                }
                None => {
                    answering.finish();
                    return None;
                }
            };
            return Some((sent, (steps, answering)));
        }
    }))
}

/// What a healthy Google says.
pub fn answer_as_usual(request: &Recorded, mut answering: Answering) -> HttpResponse {
    answering.finish();
    let path = request.target.split('?').next().unwrap_or_default();
    let method = path.rsplit_once(':').map_or("", |(_, method)| method);
    match method {
        "generateContent" => json_reply(&generated(ANSWER)),
        "streamGenerateContent" => {
            let events = [event("Hello"), event(" there"), last_event("")];
            events_reply(events.map(|event| format!("data: {event}\r\n\r\n")).concat())
        }
        "countTokens" => json_reply(&json!({"totalTokens": 7})),
        "embedContent" => json_reply(&json!({"embedding": {"values": [0.5, -0.25]}})),
        "batchEmbedContents" => json_reply(&embeddings(&request.json())),
        _ if path.ends_with("/chat/completions") => chat(&request.json()),
        _ if path.ends_with("/models") => json_reply(&fixture_json("gemini/models.response.json")),
        _ if request.method == "GET" => json_reply(&json!({"name": path.trim_start_matches("/v1beta/")})),
        _ => HttpResponse::NotFound().json(usual_error(404)),
    }
}

/// One vector for each text, which tells the text that it belongs to: `"17"` becomes `[17.0, 1.0]`.
fn embeddings(request: &Value) -> Value {
    let vector = |entry: &Value| {
        let text = entry["content"]["parts"][0]["text"].as_str().unwrap_or_default();
        json!({"values": [text.parse::<f64>().unwrap_or(0.5), 1.0]})
    };
    let entries = request["requests"].as_array().expect("a batch has requests");
    json!({"embeddings": entries.iter().map(vector).collect::<Vec<_>>()})
}

fn chat(request: &Value) -> HttpResponse {
    if request["stream"] == true {
        events_reply(fixture("openai/chat.chunks.txt"))
    } else {
        bytes_reply("application/json", fixture("openai/chat.response.json"))
    }
}

fn json_reply(body: &Value) -> HttpResponse {
    bytes_reply("application/json; charset=UTF-8", body.to_string())
}

fn events_reply(body: impl Into<Bytes>) -> HttpResponse {
    bytes_reply("text/event-stream", body)
}

fn bytes_reply(content_type: &str, body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, content_type)).body(body.into())
}
