//! What a request pays inside one thread: choosing a key, looking at an answer, converting a chat, cutting a stream.
//!
//! `cargo bench --bench micro`; beside it, `benches/run.sh` measures the whole process.

use std::{hint::black_box, sync::Arc, time::Duration};

use actix::{Actor, Arbiter, System};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gemini_balance::{
    actors::{
        balancer::{Acquire, Balancer, BalancerHandle},
        supervisor::{PoolKey, ProjectSettings, Supervisor},
    },
    balance::{
        breaker::{Availability, CooldownSnapshot, KeyHealth, ModelCooldown, ModelReason, Routing},
        ledger::Ledger,
        policy,
        table::{Ask, Place, RoutingTable},
    },
    convert::{
        anthropic::{MessageMeta, MessageStream},
        gemini::GenerateContentResponse,
        openai::{
            ChatMeta, ChatOptions, ChatStream, chat_request,
            responses::{ResponseMeta, ResponseStream, responses_request},
            to_gemini, to_openai,
        },
        traits::ModelTraits,
    },
    db::Database,
    domain::{
        client::TokenId,
        key::{ApiKey, KeyId},
        model::ModelName,
        outcome::Outcome,
        placement::KeyPlacement,
        policy::{Balancing, PolicyKind},
        quota::{Limit, LimitSource, LimitTable, ModelLimits, ModelPattern},
        tiers::TierSet,
        time::Now,
    },
    upstream::{glance::glance, sse::EventSplitter},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

/// As in the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MODEL: &str = "gemini-2.5-flash";
/// Events of the stream that is cut and converted.
const EVENTS: usize = 1000;
/// A usual read from a socket.
const CHUNK_BYTES: usize = 4096;

fn model() -> ModelName {
    ModelName::parse(MODEL).expect("a plain name")
}

/// A pool in which every other key cools for the model.
fn half_cooling(keys: i64) -> RoutingTable<Place> {
    let until = Instant::now() + Duration::from_secs(3600);
    let mut table = RoutingTable::new(policy::build(PolicyKind::RoundRobin, 0));
    for key in 0..keys {
        let cooldown = || ModelCooldown { model: model(), until, reason: ModelReason::QuotaMinute };
        let cooldowns = if key % 2 == 0 { vec![cooldown()] } else { Vec::new() };
        let routing = Routing { availability: Availability::Ready, warm_at: None, cooldowns };
        table.apply(KeyId(key), routing, Place::default());
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

/// Time passes by 10 ms a request, in steps, so that ticks come and go as they do in use and calendars cost little.
fn ledger(c: &mut Criterion) {
    let (mut group, model, start) = (c.benchmark_group("ledger"), model(), Now::read());
    let mut calls = 0_u32;
    let mut next = |now: &mut Now| {
        calls = calls.wrapping_add(1);
        if calls.is_multiple_of(32) {
            *now = now.after(Duration::from_millis(320));
        }
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

/// A pool of real actors, on a thread of their own as in the gateway.
struct Pool {
    balancer: BalancerHandle,
    keys_thread: Arbiter,
    _folder: TempDir,
}

impl Pool {
    async fn of(keys: i64, policy: PolicyKind) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let database = Database::open(&folder.path().join("bench.db")).expect("a new database");
        let until_ms = Now::read().unix_ms() + 3_600_000;
        let cooling =
            CooldownSnapshot { model: model(), until_ms, reason: ModelReason::QuotaMinute, unexplained: 0 };
        let pool_key = |id| {
            let mut health = KeyHealth::new(3).snapshot(Now::read());
            health.cooldowns.extend((id % 2 == 0).then(|| cooling.clone()));
            let secret = ApiKey::parse(&format!("AIzaSyBench{id:08}")).expect("a plausible key");
            PoolKey {
                id: KeyId(id),
                secret,
                placement: KeyPlacement::default(),
                health: Some(health),
                about: Default::default(),
                figures: Default::default(),
                switches: Default::default(),
            }
        };
        let pool: Vec<_> = (1..=keys).map(pool_key).collect();
        let keys_thread = Arbiter::new();
        let supervisor = Supervisor::start_in_arbiter(&keys_thread.handle(), move |_| {
            Supervisor::new(pool, 3, ProjectSettings::default(), database)
        });
        let balancing = Balancing { policy, max_wait: Duration::ZERO, max_waiting: 0 };
        let balancer = Balancer::start_on(&keys_thread.handle(), balancing, supervisor, Arc::default());
        Self { balancer, keys_thread, _folder: folder }
    }

    async fn acquire_and_settle(&self, rounds: u64) -> Duration {
        let (model, client) = (model(), TokenId::default());
        let began = Instant::now();
        for _ in 0..rounds {
            let acquire = Acquire {
                model: model.clone(),
                tokens: 100,
                client: client.clone(),
                preference: None,
                tried: Vec::new(),
                elsewhere: None,
                other_than: None,
                tiers: TierSet::ALL,
                deadline: began + Duration::from_secs(60),
            };
            let lease = self.balancer.acquire(acquire).await.expect("half are ready");
            lease.settle(Outcome::Success, Duration::from_millis(1));
        }
        began.elapsed()
    }
}

/// What a request pays for its key in all: asking the balancer, and giving back what it got.
fn lease(c: &mut Criterion) {
    let mut group = c.benchmark_group("acquire and settle, half of the keys cooling");
    let system = System::new();
    for policy in [PolicyKind::RoundRobin, PolicyKind::P2c] {
        for keys in [10, 100_000] {
            let pool = system.block_on(Pool::of(keys, policy));
            // Everybody is known once the first lease is there.
            system.block_on(pool.acquire_and_settle(1));
            group.bench_function(format!("{}, {keys} keys", policy.name()), |b| {
                b.iter_custom(|rounds| system.block_on(pool.acquire_and_settle(rounds)));
            });
            pool.keys_thread.stop();
        }
    }
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
        are_functions: false,
        log_probabilities: None,
        speech: None,
        names: Arc::default(),
        own_stops: Vec::new(),
        is_signed: true,
    }
}

fn conversion(c: &mut Criterion) {
    let (body, json, meta) = (chat_body(), answer(800), meta());
    let options =
        ChatOptions { show_thoughts: true, model: ModelTraits::of(MODEL), ..ChatOptions::default() };
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
    group.bench_function("events to those of a response", |b| {
        let body = br#"{"model": "gemini-2.5-flash", "input": "hi"}"#;
        let request = responses_request(body).expect("a request");
        let id = "resp_0190a0b0c0d07e8f90a1b2c3d4e5f601";
        b.iter(|| {
            let meta = ResponseMeta::new(&request, id.to_owned(), 0, "gemini-2.5-flash");
            let (mut stream, mut out) = (ResponseStream::new(meta), Vec::new());
            for _ in 0..EVENTS {
                let event: GenerateContentResponse =
                    serde_json::from_str(black_box(&event)).expect("an event");
                stream.event(&event, &mut out);
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
        is_mute: false,
        parallel_tool_use: true,
        names: Arc::default(),
        own_stops: Vec::new(),
        is_signed: true,
    }
}

criterion_group!(benches, pick, lease, ledger, look, conversion, streams);
criterion_main!(benches);
