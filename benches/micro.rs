//! What a request pays inside one thread: choosing a key, looking at an answer, converting a chat, cutting a stream.
//!
//! `cargo bench --bench micro`; beside it, `benches/run.sh` measures the whole process.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gemini_balance::{
    balance::{
        breaker::{Availability, ModelCooldown, ModelReason, Routing},
        ledger::Ledger,
        policy,
        table::{Ask, Place, RoutingTable},
    },
    convert::{
        anthropic::{MessageMeta, MessageStream},
        gemini::GenerateContentResponse,
        openai::{ChatMeta, ChatOptions, ChatStream, chat_request, to_gemini, to_openai},
        traits::ModelTraits,
    },
    domain::{
        key::KeyId,
        model::ModelName,
        policy::PolicyKind,
        quota::{Limit, LimitSource, LimitTable, ModelLimits, ModelPattern},
        time::Now,
    },
    upstream::{glance::glance, sse::EventSplitter},
};
use serde_json::json;
use tokio::time::Instant;

const MODEL: &str = "gemini-2.5-flash";
/// Events of the stream that is cut and converted.
const EVENTS: usize = 100;
/// A usual read from a socket.
const CHUNK_BYTES: usize = 4096;

fn model() -> ModelName {
    ModelName::parse(MODEL).expect("a plain name")
}

/// A pool in which every other key cools for the model.
fn half_cooling(keys: i64) -> RoutingTable<()> {
    let until = Instant::now() + Duration::from_secs(3600);
    let mut table = RoutingTable::new(policy::build(PolicyKind::RoundRobin, 0));
    for key in 0..keys {
        let cooldown = || ModelCooldown { model: model(), until, reason: ModelReason::QuotaMinute };
        let cooldowns = if key % 2 == 0 { vec![cooldown()] } else { Vec::new() };
        let routing = Routing { availability: Availability::Ready, warm_at: None, cooldowns };
        table.apply(KeyId(key), Place::default(), routing, ());
    }
    table
}

fn pick(c: &mut Criterion) {
    let (mut group, model) = (c.benchmark_group("pick, half of the keys cooling"), model());
    for keys in [10, 100_000] {
        let (mut table, now) = (half_cooling(keys), Now::read());
        group.bench_function(format!("{keys} keys"), |b| {
            b.iter(|| {
                let picked = table.pick(&Ask::new(black_box(&model)), now);
                picked.map(|picked| picked.key)
            });
        });
    }
    group.finish();
}

/// A ledger whose limits are far away, or with room for ten requests a minute.
fn ledger_of(requests_per_minute: u64, now: Now) -> Ledger {
    let limit = |value| Some(Limit { value, source: LimitSource::Hand });
    let limits = ModelLimits {
        requests_per_minute: limit(requests_per_minute),
        tokens_per_minute: limit(u64::MAX),
        requests_per_day: limit(u64::MAX),
    };
    let pattern = ModelPattern::parse("*").expect("a plain pattern");
    Ledger::new(Arc::new(LimitTable::new([(pattern, limits)])), now)
}

/// Time passes by 10 ms a request, so that ticks come and go as they do in use.
fn ledger(c: &mut Criterion) {
    let (mut group, model, start) = (c.benchmark_group("ledger"), model(), Now::read());
    let next = |now: &mut Now| {
        *now = now.after(Duration::from_millis(10));
        *now
    };
    let (open, mut now) = (ledger_of(u64::MAX, start), start);
    group.bench_function("reserve and settle", |b| {
        b.iter(|| {
            let now = next(&mut now);
            let reservation = open.reserve(black_box(&model), 1000, now);
            reservation.map(|reservation| open.settle(&model, reservation, Some(900), now))
        });
    });
    group.bench_function("headroom", |b| b.iter(|| open.headroom(black_box(&model), now)));
    let (full, mut now) = (ledger_of(10, start), start);
    group.bench_function("reserve, mostly refused", |b| {
        b.iter(|| full.reserve(black_box(&model), 1000, next(&mut now)));
    });
    group.finish();
}

fn answer(text_bytes: usize) -> String {
    json!({
        "candidates": [{
            "content": {"parts": [{"text": "light ".repeat(text_bytes / 6)}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {"promptTokenCount": 52, "candidatesTokenCount": 180, "totalTokenCount": 232},
        "modelVersion": MODEL,
        "responseId": "b3BhcXVlLWlkLW9mLWFuc3dlcg",
    })
    .to_string()
}

fn look(c: &mut Criterion) {
    let json = answer(800);
    let mut group = c.benchmark_group("glance");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("1 KB", |b| b.iter(|| glance(black_box(json.as_bytes()))));
    group.finish();
}

fn chat_body() -> String {
    json!({
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are a patient teacher."},
            {"role": "user", "content": "Why is the sky blue?"},
            {"role": "assistant", "content": "Because air turns blue light aside. ".repeat(8)},
            {"role": "user", "content": "And red in the evening?"},
        ],
        "temperature": 0.7,
        "max_tokens": 800,
    })
    .to_string()
}

fn meta() -> ChatMeta {
    ChatMeta {
        id: "chatcmpl-bench".to_owned(),
        created: 1_700_000_000,
        model: MODEL.to_owned(),
        show_thoughts: true,
        parallel_tool_calls: true,
        names: Arc::default(),
    }
}

fn conversion(c: &mut Criterion) {
    let (body, json, meta) = (chat_body(), answer(800), meta());
    let options = ChatOptions { show_thoughts: true, safety_settings: None, model: ModelTraits::of(MODEL) };
    let mut group = c.benchmark_group("chat conversion");
    group.bench_function("request to Gemini", |b| {
        b.iter(|| {
            let chat = chat_request(black_box(body.as_bytes())).expect("a valid request");
            to_gemini(&chat, &options).expect("a request that this model takes").to_json()
        });
    });
    group.bench_function("answer to OpenAI", |b| {
        b.iter(|| {
            let answer: GenerateContentResponse = serde_json::from_str(black_box(&json)).expect("an answer");
            to_openai(&[answer], &meta).to_json()
        });
    });
    group.finish();
}

/// A stream as it comes from the network: events of any length in chunks of one.
fn chunks() -> Vec<Bytes> {
    let event = format!("data: {}\r\n\r\n", answer(60));
    let stream = Bytes::from(event.repeat(EVENTS));
    let starts = (0..stream.len()).step_by(CHUNK_BYTES);
    starts.map(|start| stream.slice(start..stream.len().min(start + CHUNK_BYTES))).collect()
}

fn streams(c: &mut Criterion) {
    let chunks = chunks();
    let mut group = c.benchmark_group("stream");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("split into events", |b| {
        b.iter(|| {
            let mut splitter = EventSplitter::default();
            let mut events = 0;
            for chunk in &chunks {
                splitter.push(black_box(chunk.clone()));
                while splitter.next_event().is_some() {
                    events += 1;
                }
            }
            events
        });
    });
    let event = answer(60);
    group.bench_function("events to chunks of a chat", |b| {
        b.iter(|| {
            let (mut stream, mut out) = (ChatStream::new(meta(), 1, false), Vec::new());
            for _ in 0..EVENTS {
                let event: GenerateContentResponse =
                    serde_json::from_str(black_box(&event)).expect("an event");
                stream.event(0, &event, &mut out);
            }
            out
        });
    });
    group.bench_function("events to those of a message", |b| {
        b.iter(|| {
            let (mut stream, mut out) = (MessageStream::new(message_meta()), Vec::new());
            for _ in 0..EVENTS {
                let event: GenerateContentResponse =
                    serde_json::from_str(black_box(&event)).expect("an event");
                stream.event(&event, &mut out);
            }
            out
        });
    });
    group.finish();
}

fn message_meta() -> MessageMeta {
    MessageMeta {
        id: "msg_bench".to_owned(),
        model: MODEL.to_owned(),
        gemini_model: MODEL.to_owned(),
        show_thoughts: true,
        parallel_tool_use: true,
        names: Arc::default(),
        own_stops: Vec::new(),
    }
}

criterion_group!(benches, pick, ledger, look, conversion, streams);
criterion_main!(benches);
