//! A client of the gateway, patient and honest.

use std::str;

use actix_web::http::{Method, StatusCode, header::HeaderMap};
use awc::{ClientRequest, ClientResponse};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::hung::Caller;

#[derive(Clone)]
pub struct Client {
    http: awc::Client,
    origin: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(origin: String, token: &str) -> Self {
        let http = awc::Client::builder().disable_timeout().disable_redirects().finish();
        Self { http, origin, token: Some(token.to_owned()) }
    }

    /// The same without a token.
    pub fn anonymous(self) -> Self {
        Self { token: None, ..self }
    }

    /// `models/{model}:generateContent`, as Google's SDKs do it.
    pub async fn generate(&self, model: &str, text: &str) -> Answer {
        self.post(&format!("/v1beta/models/{model}:generateContent")).json(&prompt(text)).send().await
    }

    /// `models/{model}:streamGenerateContent?alt=sse`
    pub async fn stream(&self, model: &str, text: &str) -> Open {
        let path = format!("/v1beta/models/{model}:streamGenerateContent?alt=sse");
        self.post(&path).json(&prompt(text)).open().await
    }

    /// `chat/completions`, as OpenAI's SDKs do it.
    pub async fn chat(&self, model: &str, text: &str) -> Answer {
        self.post("/v1/chat/completions").json(&chat(model, text)).send().await
    }

    /// The same as a stream.
    pub async fn chat_stream(&self, model: &str, text: &str) -> Open {
        let mut body = chat(model, text);
        body["stream"] = json!(true);
        self.post("/v1/chat/completions").json(&body).open().await
    }

    /// A call whose connection is in the test's own hands.
    pub async fn call(&self, path: &str, body: &Value) -> Caller {
        Caller::post(&self.origin, path, self.token.as_deref().unwrap_or_default(), body).await
    }

    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    pub fn request(&self, method: Method, path: &str) -> Request {
        // Connections that stay open would hold up the end of the gateway.
        let request = self.http.request(method, format!("{}{path}", self.origin)).force_close();
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Request { request, body: Bytes::new() }
    }
}

/// What a client of Gemini sends.
pub fn prompt(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

/// What a client of OpenAI sends.
pub fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

pub struct Request {
    request: ClientRequest,
    body: Bytes,
}

impl Request {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.insert_header((name, value));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits for the head of the answer.
    pub async fn open(self) -> Open {
        let response = self.request.send_body(self.body).await.expect("the gateway answers");
        Open { response, received: Vec::new(), is_broken: false }
    }

    /// Waits for the whole answer.
    pub async fn send(self) -> Answer {
        self.open().await.rest().await
    }
}

/// An answer that is arriving.
pub struct Open {
    response: ClientResponse,
    received: Vec<u8>,
    is_broken: bool,
}

impl Open {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.response.headers(), name)
    }

    /// Everything that has come so far.
    pub fn so_far(&self) -> &str {
        str::from_utf8(&self.received).expect("the gateway sends UTF-8")
    }

    /// Reads until that text has come; fails when the answer ends before.
    pub async fn until(&mut self, text: &str) {
        while !self.so_far().contains(text) {
            assert!(self.read().await, "{text:?} did not come, but {:?}", self.so_far());
        }
    }

    /// Reads to the end, also where that is a broken connection.
    pub async fn rest(mut self) -> Answer {
        while self.read().await {}
        Answer {
            status: self.response.status(),
            headers: self.response.headers().clone(),
            body: self.received.into(),
            is_broken: self.is_broken,
        }
    }

    /// False at the end.
    async fn read(&mut self) -> bool {
        match self.response.next().await {
            Some(Ok(piece)) => self.received.extend_from_slice(&piece),
            Some(Err(_)) => {
                self.is_broken = true;
                return false;
            }
            None => return false,
        }
        true
    }
}

/// An answer that has come whole.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    pub body: Bytes,
    /// The connection broke before the answer had ended.
    pub is_broken: bool,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn request_id(&self) -> &str {
        self.header("x-request-id").expect("every answer has an id")
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the gateway sends UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The data of a stream's events, as text.
    pub fn data(&self) -> Vec<&str> {
        self.text().lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }

    /// The events of a stream, without OpenAI's `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let json = |data: &&str| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        self.data().iter().filter(|data| **data != "[DONE]").map(json).collect()
    }

    /// All text of a stream of Gemini's.
    pub fn said(&self) -> String {
        let text =
            |event: &Value| event["candidates"][0]["content"]["parts"][0]["text"].as_str().map(str::to_owned);
        self.events().iter().filter_map(text).collect()
    }

    /// All text of a stream of OpenAI's.
    pub fn chatted(&self) -> String {
        let text = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        self.events().iter().filter_map(text).collect()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
