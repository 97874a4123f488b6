//! How long the dashboard's figures and tables take with a large pool and a long log: fills a database, starts the
//! gateway over it, asks every page and prints what it took at the server, network included. Run by `benches/admin.sh`.
//!
//! ADMIN_BENCH_ROWS (5,000,000), ADMIN_BENCH_KEYS (100,000), and ADMIN_BENCH_DIR, a folder that is filled once and used
//! again; a temporary one that is deleted if it is not said.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use diesel::connection::SimpleConnection;
use gemini_balance::{
    app,
    config::{Config, Sources},
    db::{
        Database, DbConnection,
        error_logs::{NewErrorLog, insert_error_logs},
        request_logs::{RequestLog, insert_request_logs},
        rollups::{ModelNames, add_rollups, sum_logs},
    },
    domain::{time::Now, timeline::DAY_MS},
    telemetry::LevelSwitch,
};

const TOKEN: &str = "sk-of-the-bench-8d3a";
const DAYS: i64 = 30;
/// Asked this often; the slowest counts.
const ROUNDS: usize = 10;
/// The first questions find nothing in the caches.
const WARM_UP: usize = 1;

const MODELS: [&str; 8] = [
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-3-flash",
    "gemini-3-pro",
    "gemini-2.5-flash-lite",
    "gemini-embedding-001",
    "gemini-2.5-flash-image",
    "gemini-2.5-flash-search",
];

fn main() {
    let number =
        |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (rows, keys) = (number("ADMIN_BENCH_ROWS", 5_000_000), number("ADMIN_BENCH_KEYS", 100_000));
    let kept = std::env::var_os("ADMIN_BENCH_DIR").map(PathBuf::from);
    let temporary = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = kept.unwrap_or_else(|| temporary.path().to_owned());
    let file = folder.join("data/bench.sqlite");
    if !file.exists() {
        let began = Instant::now();
        fill(&file, rows, keys);
        println!("{rows} rows of {keys} keys were written in {:.0} s", began.elapsed().as_secs_f64());
    }
    println!("the database has {} MB", std::fs::metadata(&file).expect("it is there").len() / 1_000_000);
    actix_rt::System::new().block_on(measure(&folder, &file, keys));
}

/// Days, the oldest first, as the logger would have left them.
fn fill(file: &Path, rows: i64, keys: i64) {
    std::fs::create_dir_all(file.parent().expect("it has a folder")).expect("it can be made");
    let database = Database::open(file).expect("a fresh database opens");
    let now_ms = Now::read().unix_ms();
    let mut names = ModelNames::default();
    let per_day = rows / DAYS;
    for day in 0..DAYS {
        let began_ms = now_ms - (DAYS - day) * DAY_MS;
        let requests: Vec<_> =
            (0..per_day).map(|n| request(day * per_day + n, began_ms + n * DAY_MS / per_day, keys)).collect();
        let errors: Vec<_> = requests.iter().filter(|row| row.attempts > 1).map(error).collect();
        let written = database.write_blocking(|conn| {
            conn.batch_execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -500000")?;
            write_day(conn, &requests, &errors, &mut names, now_ms)
        });
        written.expect("the database takes it");
    }
}

fn write_day(
    conn: &mut DbConnection,
    requests: &[RequestLog],
    errors: &[NewErrorLog],
    names: &mut ModelNames,
    now_ms: i64,
) -> diesel::QueryResult<()> {
    conn.immediate_transaction(|conn| {
        insert_request_logs(conn, requests)?;
        insert_error_logs(conn, errors)?;
        // Shorter sums would have been deleted since.
        let is_kept = |kept_ms: i64, at_ms| at_ms + kept_ms > now_ms;
        let sums = sum_logs(requests, errors, names).into_iter();
        let kept =
            sums.filter(|(key, _)| key.kind.kept_ms(key.step).is_some_and(|ms| is_kept(ms, key.at_ms)));
        add_rollups(conn, kept)
    })
}

/// A number that looks random, always the same. Source: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
fn mixed(n: i64, part: i64) -> u64 {
    let mut z = (n * 32 + part).unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Different enough, and always the same.
fn request(n: i64, at_ms: i64, keys: i64) -> RequestLog {
    let pick = |part: i64, of: u64| (mixed(n, part) % of) as i64;
    let fails = pick(1, 100) < 3;
    let retried = pick(2, 100) < 5;
    let key_id = 1 + pick(3, keys.unsigned_abs());
    let duration_ms = 300 + pick(4, 8_000);
    RequestLog {
        id: format!("{at_ms:012x}70008000{n:012x}"),
        started_at_ms: at_ms,
        duration_ms,
        dialect: ["openai", "gemini", "anthropic"][pick(5, 3) as usize].into(),
        endpoint: "chat/completions".into(),
        model: MODELS[(pick(6, 8) * pick(7, 8) / 8) as usize].into(),
        stream: pick(8, 2) == 0,
        status: if fails { [429, 503, 400][pick(9, 3) as usize] } else { 200 },
        key_id: (!fails).then_some(key_id),
        token_id: Some(format!("allowed-{}", 1 + pick(10, 20))),
        client_ip: Some("203.0.113.7".into()),
        attempts: if retried { 2 } else { 1 },
        trail: format!(
            r#"[{{"key_id":{key_id},"outcome":"success","status":200,"duration_ms":{duration_ms},"choice":{{"reason":"policy","cost":1.02,"others":{{"keys":{keys},"ready":{},"cooling":12,"spent":340,"tried":1}}}}}}]"#,
            keys - 353
        ),
        first_byte_ms: (!fails).then_some(duration_ms / 3),
        prompt_tokens: 50 + pick(11, 4_000),
        cached_tokens: pick(12, 50),
        output_tokens: pick(13, 900),
        thoughts_tokens: pick(14, 400),
        error: fails.then_some("overloaded".into()),
        node: None,
    }
}

fn error(row: &RequestLog) -> NewErrorLog {
    NewErrorLog {
        request_id: row.id.clone(),
        at_ms: row.started_at_ms,
        key_id: Some(1 + row.duration_ms),
        model: row.model.clone(),
        status: Some(429),
        kind: "quota_minute".into(),
        message: format!("You exceeded your current quota. Please retry in {}.5s.", row.duration_ms / 300),
        request_body: None,
    }
}

async fn measure(folder: &Path, file: &Path, keys: i64) {
    let names: Vec<String> = (1..=keys).map(|n| format!("AIzaSyBench{n:028}")).collect();
    let text = |value: &str| value.to_owned();
    let env = vec![
        (text("API_KEYS"), names.join(",")),
        (text("ALLOWED_TOKENS"), text("sk-a-client-of-the-bench")),
        (text("AUTH_TOKEN"), text(TOKEN)),
        (text("ENCRYPTION_KEY"), text("a passphrase for the bench")),
        (text("DATABASE_URL"), format!("sqlite://{}", file.display())),
        (text("WORKERS"), text("1")),
        (text("CHECK_INTERVAL_HOURS"), text("0")),
        // Nothing is asked of anybody.
        (text("BASE_URL"), text("http://127.0.0.1:9/v1beta")),
    ];
    let sources = Sources { dir: folder.to_owned(), env };
    let mut loaded = Config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.server.port = 0;
    let began = Instant::now();
    let running = app::start(loaded, LevelSwitch::default()).await.unwrap_or_else(|error| panic!("{error}"));
    println!("started with {keys} keys in {:.1} s", began.elapsed().as_secs_f64());
    let origin = format!("http://{}", running.address);
    println!("{:>9} {:>9} {:>9}  GET /api/admin/", "median ms", "most ms", "bytes");
    for path in pages() {
        ask(&origin, &path).await;
    }
    running.stop().await;
}

fn pages() -> Vec<String> {
    let now_ms = Now::read().unix_ms();
    let ago = |days: i64| format!("from_ms={}", now_ms - days * DAY_MS);
    let mut pages = vec!["stats/attention".to_owned(), "stats/forecast".to_owned()];
    for days in [1, 7, 30, 90] {
        let ago = ago(days);
        pages.push(format!("stats/overview?{ago}"));
        pages.push(format!("stats/series?metric=requests&{ago}"));
        pages.push(format!("stats/series?metric=first_byte_p95&group_by=model&{ago}"));
        pages.push(format!("stats/series?metric=tokens&group_by=token&{ago}"));
        pages.push(format!("stats/series?metric=requests&group_by=key&{ago}"));
        pages.push(format!("stats/series?metric=keys_by_state&{ago}"));
        for group in ["model", "token", "key", "dialect", "status"] {
            pages.push(format!("stats/usage?group_by={group}&{ago}"));
        }
        pages.push(format!("stats/usage?group_by=model&key_id=77&{ago}"));
        pages.push(format!("stats/usage?group_by=model&token_id=allowed-3&{ago}"));
        pages.push(format!("errors/groups?{ago}"));
    }
    for filter in [
        "",
        "status=error",
        "status=5xx&model=gemini-3-pro",
        "model=no-such-model",
        "key_id=77",
        "token_id=allowed-3",
        "retried=true&dialect=anthropic",
        "empty=true",
        "min_duration_ms=8200",
        "q=overloaded",
        "limit=500",
    ] {
        pages.push(format!("requests?{filter}"));
    }
    for filter in ["", "key_id=77", "kind=quota_minute", "kind=no-such-kind", "q=retry%20in%2012"] {
        pages.push(format!("errors?{filter}"));
    }
    for filter in [
        "limit=200",
        "limit=200&offset=90000",
        "q=bench0000000000000000000000077",
        "state=active,cooling&sort=-requests",
        "state=invalid&sort=-failures",
        "model=gemini-2.5-pro&sort=label&offset=50000",
    ] {
        pages.push(format!("keys?{filter}"));
    }
    pages
}

async fn ask(origin: &str, path: &str) {
    let client = awc::Client::builder().timeout(Duration::from_secs(120)).finish();
    let mut times = Vec::new();
    let mut bytes = 0;
    for round in 0..WARM_UP + ROUNDS {
        let began = Instant::now();
        let request = client.get(format!("{origin}/api/admin/{path}")).bearer_auth(TOKEN);
        let mut answer = request.send().await.expect("the gateway answers");
        let body = answer.body().limit(64 << 20).await.expect("the answer is whole");
        assert_eq!(answer.status(), 200, "{path}: {}", String::from_utf8_lossy(&body));
        bytes = body.len();
        if round >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!("{:>9.1} {:>9.1} {bytes:>9}  {path}", ms(times[ROUNDS / 2]), ms(times[ROUNDS - 1]));
}
