//! `GET /api/admin/events`: what happens, told while it happens. A page gets at most one message a second, whatever the
//! traffic: each look gathers what has come since the last one.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, ServiceConfig, get},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use utoipa::{IntoParams, ToSchema};

use super::{Admin, error::AdminError, jobs::JobState, parameters::Parameters, requests::row::RequestRow};
use crate::{
    actors::{
        Observe,
        balancer::BalancerSnapshot,
        directory::{Directory, Glance, LookAround, StateChange},
        supervisor::{MaskKeys, StateCounts, Supervisor},
        traffic::{Rates, Traffic, Watch},
    },
    api::{
        auth::{AdminUser, session_cookie},
        error::Failure,
        gateway::{AdminDoor, Gateway},
        only,
    },
    domain::{
        key::{KeyId, KeyOrigin},
        key_event::StateName,
        time::Now,
    },
    settings::keeper::{CurrentVersion, Keeper},
};

const EVERY: Duration = Duration::from_secs(1);
/// A silent stream says so often that it lives, so that no proxy closes it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Then the browser asks again, and shows again that it may.
const LONGEST: Duration = Duration::from_secs(10 * 60);
/// Streams that are open at once.
const CAPACITY: usize = 64;
/// Changes of keys in one message.
const CHANGES: usize = 50;

/// How many pages listen; shared by all workers.
#[derive(Debug, Default)]
pub struct Listeners {
    open: AtomicUsize,
    is_closing: AtomicBool,
}

impl Listeners {
    /// No page holds up a stop: the streams end within a second.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }
}

/// One of the places that there are; given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<AdminDoor>);

impl Place {
    fn take(door: &Arc<AdminDoor>) -> Result<Self, AdminError> {
        if door.listeners.open.fetch_add(1, Ordering::Relaxed) >= CAPACITY {
            door.listeners.open.fetch_sub(1, Ordering::Relaxed);
            let message = format!("{CAPACITY} pages listen already; close some of them");
            return Err(AdminError::Busy { message, retry_after: Duration::from_secs(30) });
        }
        Ok(Self(door.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.listeners.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    Figures,
    Keys,
    Jobs,
    Requests,
    Settings,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Separated by commas; all, unless they are said.
    #[serde(default)]
    #[param(style = Form, explode = false, inline)]
    topics: Vec<Topic>,
}

/// Event `figures`: the pool and its traffic now.
#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    rates: Rates,
    in_flight: u64,
    waiting: u64,
    states: StateCounts,
}

/// One of the `changes` of event `keys`.
#[derive(Debug, Serialize)]
struct KeyChange<'a> {
    id: KeyId,
    masked: String,
    label: Option<&'a str>,
    origin: KeyOrigin,
    from: Option<StateName>,
    to: StateName,
    reason: Option<String>,
    until_ms: Option<i64>,
    at_ms: i64,
}

impl<'a> From<&'a StateChange> for KeyChange<'a> {
    fn from(change: &'a StateChange) -> Self {
        let row = &change.row;
        let (reason, until_ms) = row.health.reason();
        Self {
            id: row.id,
            masked: row.masked(),
            label: row.about.label.as_deref(),
            origin: row.about.origin,
            from: change.from,
            to: change.to,
            reason,
            until_ms,
            at_ms: change.at_ms,
        }
    }
}

pub fn routes(config: &mut ServiceConfig) {
    config.service(only::<Admin>("/events", "GET").route(get().to(stream_events)));
}

/// What happens, as server-sent events, until the page closes, its session ends, or ten minutes have gone by.
///
/// `figures` when they have changed, `keys` that came into another state, each `job` as far as it is, `requests` that
/// have ended, and the version of the `settings`. The first look tells how things are.
#[utoipa::path(
    get, path = "/api/admin/events", tag = "system", params(EventsQuery),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")),
)]
pub async fn stream_events(
    user: AdminUser,
    request: HttpRequest,
    gateway: Data<Gateway>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<HttpResponse, Failure<Admin>> {
    let place = Place::take(&gateway.admin).map_err(crate::api::error::ApiError::Admin)?;
    let session = user.session.and_then(|_| session_cookie(&request));
    let page = Page::new(&gateway, place, session, query.topics);
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        // nginx would hold events back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(unfold(page, Page::next)))
}

/// A page that listens. It holds no gateway, since one outlives its settings only as long as its requests run.
struct Page {
    topics: Vec<Topic>,
    directory: Addr<Directory>,
    supervisor: Addr<Supervisor>,
    settings: Addr<Keeper>,
    traffic: Arc<Traffic>,
    place: Place,
    watch: Option<Watch>,
    clock: Interval,
    opened: Instant,
    told: Instant,
    changes_seen: Option<u64>,
    figures: Value,
    jobs: HashMap<String, (usize, JobState, bool)>,
    version: Option<i64>,
    /// Changes of the admin token before it opened.
    tokens_seen: u64,
    /// That it was opened with; none with the admin token itself.
    session: Option<String>,
}

impl Page {
    fn new(gateway: &Gateway, place: Place, session: Option<String>, topics: Vec<Topic>) -> Self {
        let now = Instant::now();
        let mut clock = interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut page = Self {
            topics,
            directory: gateway.directory.clone(),
            supervisor: gateway.supervisor.clone(),
            settings: gateway.settings.clone(),
            traffic: gateway.traffic.clone(),
            place,
            watch: None,
            clock,
            opened: now,
            told: now,
            changes_seen: None,
            figures: Value::Null,
            jobs: HashMap::new(),
            version: None,
            tokens_seen: gateway.admin.tokens.changes(),
            session,
        };
        page.watch = page.wants(Topic::Requests).then(|| page.traffic.watch());
        page
    }

    fn wants(&self, topic: Topic) -> bool {
        self.topics.is_empty() || self.topics.contains(&topic)
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            self.clock.tick().await;
            let door = &self.place.0;
            let is_over = door.listeners.is_closing.load(Ordering::Relaxed)
                || door.tokens.changes() != self.tokens_seen
                || self.session.as_ref().is_some_and(|id| !door.sessions.is_open(id))
                || self.opened.elapsed() > LONGEST;
            if is_over {
                return None;
            }
            let mut text = self.look().await;
            if text.is_empty() && self.told.elapsed() >= HEARTBEAT {
                text.push_str(":\n\n");
            }
            if !text.is_empty() {
                self.told = Instant::now();
                return Some((Ok(text.into()), self));
            }
        }
    }

    /// What has come since the last look; blank if nothing has.
    async fn look(&mut self) -> String {
        let mut text = String::new();
        if (self.wants(Topic::Figures) || self.wants(Topic::Keys))
            && let Ok(glance) = self.directory.send(LookAround(self.changes_seen)).await
        {
            self.tell_figures(&glance, &mut text).await;
            self.tell_keys(&glance, &mut text);
        }
        self.tell_jobs(&mut text);
        self.tell_requests(&mut text).await;
        self.tell_settings(&mut text).await;
        text
    }

    async fn tell_figures(&mut self, glance: &Glance, text: &mut String) {
        if !self.wants(Topic::Figures) {
            return;
        }
        let asked = self.supervisor.send(Observe::<Option<BalancerSnapshot>>::new()).await;
        let waiting = asked.ok().flatten().map_or(0, |balancer| balancer.waiting as u64);
        let rates = self.traffic.rates();
        let figures = Figures { rates, in_flight: glance.in_flight, waiting, states: glance.states };
        let mut figures = json!(figures);
        if figures != self.figures {
            self.figures = figures.clone();
            figures["at_ms"] = Now::read().unix_ms().into();
            event(text, "figures", &figures);
        }
    }

    fn tell_keys(&mut self, glance: &Glance, text: &mut String) {
        self.changes_seen = Some(glance.seen);
        if self.wants(Topic::Keys) && !glance.changes.is_empty() {
            let told: Vec<KeyChange<'_>> = glance.changes.iter().take(CHANGES).map(Into::into).collect();
            let more = glance.more + (glance.changes.len() - told.len()) as u64;
            event(text, "keys", &json!({"changes": told, "more": more, "states": glance.states}));
        }
    }

    fn tell_jobs(&mut self, text: &mut String) {
        if !self.wants(Topic::Jobs) {
            return;
        }
        for job in self.place.0.jobs.all() {
            let state = (job.done, job.state, job.can_undo);
            let before = self.jobs.insert(job.id.clone(), state);
            let is_news = before.is_some_and(|before| before != state);
            if is_news || before.is_none() && job.state == JobState::Running {
                event(text, "job", &json!(job));
            }
        }
    }

    async fn tell_requests(&mut self, text: &mut String) {
        let Some(tail) = self.watch.as_mut().map(Watch::look).filter(|tail| !tail.rows.is_empty()) else {
            return;
        };
        let keys = tail.rows.iter().filter_map(|row| row.key_id.map(KeyId)).collect();
        let masks = self.supervisor.send(MaskKeys(keys)).await.unwrap_or_default();
        let rows: Vec<_> = tail.rows.iter().map(|row| RequestRow::new(row, &masks)).collect();
        event(text, "requests", &json!({"items": rows, "more": tail.more}));
    }

    async fn tell_settings(&mut self, text: &mut String) {
        if self.wants(Topic::Settings)
            && let Ok(version) = self.settings.send(CurrentVersion).await
            && self.version.replace(version) != Some(version)
        {
            event(text, "settings", &json!({"version": version}));
        }
    }
}

fn event(text: &mut String, name: &str, body: &Value) {
    // JSON has no line breaks outside of strings, and those in strings are escaped.
    write!(text, "event: {name}\ndata: {body}\n\n").expect("a string takes every write");
}
