//! Actions over many keys: they run beside the requests, in small steps, and tell how far they are.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, ServiceConfig, get, post},
};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    Admin,
    error::AdminError,
    keys::actions::{Accepted, Undo, run},
    list::List,
};
use crate::{
    api::{auth::AdminUser, error::Failure, gateway::Gateway, only},
    domain::{
        key::{KeyId, UNDONE_WITHIN},
        time::Now,
    },
};

/// Jobs that are remembered; with one more the oldest that has ended is forgotten.
const CAPACITY: usize = 100;
/// Jobs that run at once.
const AT_ONCE: usize = 4;
/// Errors that a job tells one by one.
const ERRORS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Running,
    Done,
    Cancelled,
}

/// A job, as far as it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    pub id: String,
    pub action: String,
    /// Keys.
    pub total: usize,
    pub done: usize,
    pub failed: usize,
    pub state: JobState,
    pub started_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    pub can_undo: bool,
    /// Keys by what came of them.
    pub summary: BTreeMap<String, usize>,
    /// The first of them.
    pub errors: Vec<JobError>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobError {
    pub id: KeyId,
    pub masked: String,
    pub message: String,
}

#[derive(Debug)]
struct Kept {
    job: Job,
    undo: Option<Undo>,
    ended: Option<Instant>,
}

/// All jobs, shared by all workers. Each is written by the one task that runs it, and read by whoever asks.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<VecDeque<Kept>>);

/// A job for the task that runs it.
#[derive(Debug, Clone)]
pub struct Running {
    pub id: String,
    door: Arc<crate::api::gateway::AdminDoor>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // Nothing panics while it is held, and a list is whole after each of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, action: &str, total: usize) -> Result<Job, AdminError> {
        let mut jobs = self.lock();
        if jobs.iter().filter(|kept| kept.ended.is_none()).count() >= AT_ONCE {
            let message = format!("{AT_ONCE} jobs are running already; wait for one of them, or cancel it");
            return Err(AdminError::Busy { message, retry_after: Duration::from_secs(5) });
        }
        if jobs.len() >= CAPACITY
            && let Some(oldest) = jobs.iter().position(|kept| kept.ended.is_some())
        {
            jobs.remove(oldest);
        }
        let job = Job {
            id: uuid::Uuid::now_v7().simple().to_string(),
            action: action.to_owned(),
            total,
            done: 0,
            failed: 0,
            state: JobState::Running,
            started_at_ms: Now::read().unix_ms(),
            finished_at_ms: None,
            can_undo: false,
            summary: BTreeMap::new(),
            errors: Vec::new(),
        };
        jobs.push_back(Kept { job: job.clone(), undo: None, ended: None });
        Ok(job)
    }

    /// All that are remembered, newest first.
    pub fn all(&self) -> Vec<Job> {
        self.lock().iter().rev().map(Kept::view).collect()
    }

    fn find(&self, id: &str) -> Result<Job, AdminError> {
        let jobs = self.lock();
        let kept = jobs.iter().find(|kept| kept.job.id == id);
        kept.map(Kept::view).ok_or_else(|| AdminError::not_found("job", id))
    }
}

impl Kept {
    fn view(&self) -> Job {
        Job { can_undo: self.can_undo(), ..self.job.clone() }
    }

    fn can_undo(&self) -> bool {
        self.undo.is_some() && self.ended.is_some_and(|at| at.elapsed() < UNDONE_WITHIN)
    }
}

/// Begins a job that `total` keys take part in.
pub fn begin(gateway: &Gateway, action: &str, total: usize) -> Result<(Job, Running), AdminError> {
    let job = gateway.admin.jobs.begin(action, total)?;
    let running = Running { id: job.id.clone(), door: gateway.admin.clone() };
    Ok((job, running))
}

impl Running {
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let mut jobs = self.door.jobs.lock();
        jobs.iter_mut().find(|kept| kept.job.id == self.id).map(change)
    }

    pub fn is_cancelled(&self) -> bool {
        self.change(|kept| kept.job.state != JobState::Running).unwrap_or(true)
    }

    /// So many keys came to that.
    pub fn count(&self, outcome: &str, keys: usize) {
        if keys > 0 {
            self.change(|kept| {
                kept.job.done += keys;
                *kept.job.summary.entry(outcome.to_owned()).or_default() += keys;
            });
        }
    }

    pub fn fail(&self, errors: impl Iterator<Item = JobError>) {
        self.change(|kept| {
            for error in errors {
                kept.job.done += 1;
                kept.job.failed += 1;
                if kept.job.errors.len() < ERRORS {
                    kept.job.errors.push(error);
                }
            }
        });
    }

    /// What would take back all that was done.
    pub fn end(&self, undo: Option<Undo>) {
        self.change(|kept| {
            if kept.job.state == JobState::Running {
                kept.job.state = JobState::Done;
            }
            kept.job.finished_at_ms = Some(Now::read().unix_ms());
            (kept.undo, kept.ended) = (undo, Some(Instant::now()));
        });
    }
}

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(only::<Admin>("/jobs", "GET").route(get().to(list_jobs)))
        .service(
            only::<Admin>("/jobs/{id}", "GET, DELETE")
                .route(get().to(find_job))
                .route(actix_web::web::delete().to(cancel_job)),
        )
        .service(only::<Admin>("/jobs/{id}/undo", "POST").route(post().to(undo_job)));
}

/// The jobs that are remembered, newest first.
#[utoipa::path(
    get, path = "/api/admin/jobs", tag = "jobs",
    responses((status = 200, description = "At most 100", body = List<Job>)),
)]
pub async fn list_jobs(_: AdminUser, gateway: Data<Gateway>) -> Json<List<Job>> {
    Json(List::whole(gateway.admin.jobs.all()))
}

/// A job, as far as it is.
#[utoipa::path(
    get, path = "/api/admin/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The job", body = Job)),
)]
pub async fn find_job(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<Job>, Failure<Admin>> {
    Ok(Json(gateway.admin.jobs.find(&id)?))
}

/// Ends a job after the step that it is at. What it has done stays, and may be undone.
#[utoipa::path(
    delete, path = "/api/admin/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The job", body = Job)),
)]
pub async fn cancel_job(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<Json<Job>, Failure<Admin>> {
    let jobs = &gateway.admin.jobs;
    if let Some(kept) = jobs.lock().iter_mut().find(|kept| kept.job.id == **id && kept.ended.is_none()) {
        kept.job.state = JobState::Cancelled;
    }
    Ok(Json(jobs.find(&id)?))
}

/// Takes back what a job has done; possible for ten minutes after enable, disable, update and
/// delete.
#[utoipa::path(
    post, path = "/api/admin/jobs/{id}/undo", tag = "jobs", params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 202, description = "The job that does it", body = Accepted),
        (status = 409, description = "It cannot be undone", body = super::envelope::ErrorBody),
    ),
)]
pub async fn undo_job(
    _: AdminUser,
    gateway: Data<Gateway>,
    id: Path<String>,
) -> Result<HttpResponse, Failure<Admin>> {
    let taken = {
        let mut jobs = gateway.admin.jobs.lock();
        let kept = jobs.iter_mut().find(|kept| kept.job.id == **id);
        let kept = kept.ok_or_else(|| AdminError::not_found("job", id.as_str()))?;
        if kept.can_undo() { kept.undo.take() } else { None }
    };
    let undo =
        taken.ok_or_else(|| AdminError::Conflict("this job cannot be undone, or not any more".to_owned()))?;
    let (job, running) = begin(&gateway, "undo", undo.count())?;
    run::undo(gateway, running, undo);
    Ok(HttpResponse::Accepted().json(Accepted { job }))
}
