//! A Google that does as it is told: it follows a script for each key, and remembers what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    web::{self, Data, PayloadConfig},
};
use bytes::Bytes;
use serde_json::Value;

use super::{
    eventually,
    host::Host,
    script::{JSON, Planned, Reply, Script},
    wire,
};

/// Bodies that the gateway may send.
const LARGEST_BODY: usize = 256 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the gateway sends JSON")
    }

    /// The key that it came with.
    pub fn key(&self) -> String {
        let bearer = || self.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        self.header("x-goog-api-key").or_else(bearer).unwrap_or_default().to_owned()
    }

    /// The gateway fetches the list of models for itself; tests do not count that.
    fn is_of_the_catalogue(&self) -> bool {
        self.method == "GET" && self.target.starts_with("/v1beta/models?")
    }
}

/// Makes replies out of requests; `None` leaves one to the scripts.
type Replies = Box<dyn FnMut(&Recorded) -> Option<Reply> + Send>;

#[derive(Default)]
pub struct World {
    replies: Option<Replies>,
    /// What the gateway gets when it fetches the list of models for itself; the usual one, if `None`.
    catalogue: Option<String>,
    pub scripts: HashMap<String, VecDeque<Planned>>,
    requests: Vec<Recorded>,
    closings: Vec<Instant>,
}

/// A running upstream; it ends when it is dropped.
pub struct Upstream {
    pub origin: String,
    world: Arc<Mutex<World>>,
    _host: Host,
}

impl Upstream {
    pub async fn start() -> Self {
        let world = Arc::<Mutex<World>>::default();
        let served = Data::from(world.clone());
        let (origin, host) = Host::run(
            async move || {
                let app = move || {
                    App::new()
                        .app_data(served.clone())
                        .app_data(PayloadConfig::new(LARGEST_BODY))
                        .default_service(web::to(serve))
                };
                let server = HttpServer::new(app)
                    .workers(1)
                    .tcp_nodelay(true)
                    // A gateway that closes its side has gone, which is what tests look for.
                    .h1_allow_half_closed(false)
                    .disable_signals()
                    .bind(("127.0.0.1", 0))
                    .expect("a free port");
                let origin = format!("http://{}", server.addrs()[0]);
                let server = server.run();
                let handle = server.handle();
                (origin, (handle, actix_web::rt::spawn(server)))
            },
            async |(handle, _serving)| handle.stop(false).await,
        )
        .await;
        Self { origin, world, _host: host }
    }

    /// A new script for that key.
    pub fn on(&self, key: &str) -> Script<'_> {
        Script::begin(&self.world, key)
    }

    /// From now on every call is answered by `reply`, but for those of the catalogue.
    pub fn replies(&self, reply: impl FnMut(&Recorded) -> Option<Reply> + Send + 'static) {
        self.world().replies = Some(Box::new(reply));
    }

    /// The keys of all calls so far, in their order.
    pub fn attempts(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::key).collect()
    }

    /// From now on the gateway gets this when it fetches the list of models for itself.
    pub fn catalogue_is(&self, body: &str) {
        self.world().catalogue = Some(body.to_owned());
    }

    /// All calls so far, but for those of the catalogue.
    pub fn requests(&self) -> Vec<Recorded> {
        self.world().requests.iter().filter(|request| !request.is_of_the_catalogue()).cloned().collect()
    }

    /// How many calls came with that key, those of the catalogue included.
    pub fn calls_with(&self, key: &str) -> u64 {
        self.world().requests.iter().filter(|request| request.key() == key).count() as u64
    }

    pub fn was_asked_for_models(&self) -> bool {
        self.world().requests.iter().any(Recorded::is_of_the_catalogue)
    }

    pub fn last_request(&self) -> Recorded {
        self.requests().pop().expect("the upstream was asked")
    }

    /// When the gateway left answers before their end.
    pub fn closings(&self) -> Vec<Instant> {
        self.world().closings.clone()
    }

    /// Waits until the gateway has left exactly so many answers before their end, and says when it did. It is told of
    /// by the connections, which may be later than what the gateway says of itself.
    pub async fn is_left(&self, answers: usize) -> Vec<Instant> {
        let closings = async || Some(self.closings()).filter(|closings| closings.len() == answers);
        eventually(&format!("{answers} answers are left before their end"), closings).await
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics with it")
    }
}

/// An answer under way; dropped before it is finished, it was left.
pub struct Answering {
    world: Arc<Mutex<World>>,
    is_finished: bool,
}

impl Answering {
    pub fn finish(&mut self) {
        self.is_finished = true;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.is_finished
            && let Ok(mut world) = self.world.lock()
        {
            world.closings.push(Instant::now());
        }
    }
}

async fn serve(request: HttpRequest, body: Bytes, world: Data<Mutex<World>>) -> HttpResponse {
    let text =
        |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    let recorded = Recorded {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    };
    let planned = plan(&world, &recorded);
    let answering = Answering { world: world.into_inner(), is_finished: false };
    match planned {
        Planned::Usual => wire::answer_as_usual(&recorded, answering),
        Planned::Reply(reply) => wire::answer(reply, answering).await,
    }
}

/// The next reply of the script; the last one stays.
fn plan(world: &Mutex<World>, request: &Recorded) -> Planned {
    let mut world = world.lock().expect("nobody panics with it");
    world.requests.push(request.clone());
    if request.is_of_the_catalogue() {
        let told = world.catalogue.clone();
        return told.map_or(Planned::Usual, |body| Planned::Reply(Reply::whole(200, JSON, body)));
    }
    if let Some(reply) = world.replies.as_mut().and_then(|replies| replies(request)) {
        return Planned::Reply(reply);
    }
    let Some(script) = world.scripts.get_mut(&request.key()) else { return Planned::Usual };
    let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
    next.unwrap_or(Planned::Usual)
}
