//! The two pools that are compared: the gateway's own actors, and turns with a count of failures.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use super::{
    google::{Google, judge},
    traffic::{HOUR, Offer, Request},
    *,
};
use crate::{
    actors::{
        directory::{Listed, Listing},
        supervisor::ListTo,
    },
    balance::ledger::Ledger,
    domain::{
        placement::{KeyPlacement, PlacedKey, ProjectName, Tier},
        quota::{Limit, LimitSource, LimitTable, ModelLimits, ModelPattern, TierLimits},
        usage::Usage,
    },
};

/// Attempts of one request, as `MAX_RETRIES` has them.
const ATTEMPTS: usize = 3;
const REFUSAL_TAKES: Duration = Duration::from_millis(50);

/// What a client got, and what it waited for the key that served it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Served { project: String, waited: Duration },
    Refused,
}

/// A pool that serves requests.
pub trait Serve: Clone + 'static {
    fn serve(&self, request: &Request, offer: &Offer, google: &Google) -> impl Future<Output = Answer>;

    /// Is there room for such a request, as far as this pool can know?
    fn has_room(&self, offer: &Offer, tokens: u64, google: &Google) -> bool;
}

/// What projects are believed to be allowed at the start, as a multiple of the truth; none is nothing.
pub fn presets(offers: &[Offer], factor: Option<f64>) -> TierLimits {
    let Some(factor) = factor else { return TierLimits::default() };
    let limit = |value: Option<u64>| {
        value.map(|value| Limit { value: (value as f64 * factor) as u64, source: LimitSource::Preset })
    };
    let row = |offer: &Offer| {
        let limits = ModelLimits {
            requests_per_minute: limit(offer.quota.requests_per_minute),
            tokens_per_minute: limit(offer.quota.input_tokens_per_minute),
            requests_per_day: limit(offer.quota.requests_per_day),
        };
        (ModelPattern::parse(offer.model.as_str()).unwrap(), limits)
    };
    let table = Arc::new(LimitTable::new(offers.iter().map(row)));
    TierLimits::new(|_| table.clone())
}

/// Keys of projects, and whether these are paid for.
pub fn placed(projects: &[String], keys_each: usize, tier: Tier) -> Vec<PlacedKey> {
    let keys = projects.iter().flat_map(|project| (0..keys_each).map(move |key| (project, key)));
    let place = |(project, key): (&String, usize)| PlacedKey {
        key: ApiKey::parse(&format!("key-{project}-{key}")).unwrap(),
        placement: KeyPlacement {
            project: ProjectName::parse(project),
            tier: Some(tier),
            ..KeyPlacement::default()
        },
    };
    keys.map(place).collect()
}

/// Supervisor, keys, and a balancer.
#[derive(Clone)]
pub struct Gateway {
    pub supervisor: Addr<Supervisor>,
    balancer: BalancerHandle,
    projects: Rc<HashMap<KeyId, String>>,
    ledgers: Rc<RefCell<HashMap<usize, Arc<Ledger>>>>,
    pub database: Database,
    sealer: Rc<Sealer>,
    folder: Rc<tempfile::TempDir>,
}

/// Hears of every key, to look into the ledger of its project.
struct Listener(Rc<RefCell<HashMap<usize, Arc<Ledger>>>>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Listed> for Listener {
    type Result = ();

    fn handle(&mut self, Listed(listings): Listed, _: &mut Context<Self>) {
        for listing in listings {
            if let Listing::Changed(row) = listing {
                let ledger = row.place.ledger.clone();
                self.0.borrow_mut().insert(Arc::as_ptr(&ledger) as usize, ledger);
            }
        }
    }
}

impl Gateway {
    pub fn start(keys: &[PlacedKey], limits: TierLimits, max_wait: Duration, seed: u64) -> Self {
        let (database, folder) = test_database();
        let sealer = Rc::new(Sealer::new(&EncryptionKey::random()));
        database.write_blocking(|conn| keys::sync_configured(conn, &sealer, keys, 0)).unwrap();
        Self::boot(database, sealer, Rc::new(folder), limits, max_wait, seed)
    }

    /// Another process goes on with what is stored.
    pub async fn restart(self, limits: TierLimits, max_wait: Duration, seed: u64) -> Self {
        self.supervisor.send(Checkpoint).await.unwrap();
        Self::boot(self.database, self.sealer, self.folder, limits, max_wait, seed)
    }

    fn boot(
        database: Database,
        sealer: Rc<Sealer>,
        folder: Rc<tempfile::TempDir>,
        limits: TierLimits,
        max_wait: Duration,
        seed: u64,
    ) -> Self {
        let pool = load(&database, &sealer);
        let project = |key: &PoolKey| (key.id, key.placement.project.as_ref().unwrap().as_str().to_owned());
        let projects = Rc::new(pool.iter().map(project).collect());
        let settings = ProjectSettings { limits, ..super::super::projects(&database) };
        let supervisor = Supervisor::new(pool, MAX_FAILURES, settings, database.clone()).start();
        let balancing = Balancing { policy: PolicyKind::P2c, max_wait, max_waiting: 1000 };
        let policy = crate::balance::policy::build(balancing.policy, seed);
        let balancer = Balancer::start_here(policy, balancing, supervisor.clone(), Arc::default());
        let ledgers: Rc<RefCell<HashMap<_, _>>> = Rc::default();
        supervisor.do_send(ListTo(Listener(ledgers.clone()).start().recipient()));
        Self { supervisor, balancer, projects, ledgers, database, sealer, folder }
    }
}

impl Serve for Gateway {
    async fn serve(&self, request: &Request, offer: &Offer, google: &Google) -> Answer {
        let arrived = Instant::now();
        let mut tried = Vec::new();
        while tried.len() < ATTEMPTS {
            let acquire = Acquire {
                tokens: request.estimate,
                client: request.client.clone(),
                tried: tried.clone(),
                ..ask_for(offer.model.as_str())
            };
            let Ok(mut lease) = self.balancer.acquire(acquire).await else {
                return Answer::Refused;
            };
            let waited = arrived.elapsed();
            let project = &self.projects[&lease.key];
            tried.push(lease.key);
            sleep(request.way).await;
            match google.ask(project, &offer.model, request) {
                Ok(()) => {
                    sleep(request.answer).await;
                    lease.count(Some(Usage { prompt_token_count: request.tokens, ..Usage::default() }));
                    lease.settle(Outcome::Success, request.way);
                    return Answer::Served { project: project.clone(), waited };
                }
                Err(exceeded) => {
                    sleep(REFUSAL_TAKES).await;
                    lease.settle(judge(&exceeded, &offer.model), REFUSAL_TAKES);
                }
            }
        }
        Answer::Refused
    }

    fn has_room(&self, offer: &Offer, tokens: u64, _: &Google) -> bool {
        let now = Now::read();
        self.ledgers.borrow().values().any(|ledger| match ledger.reserve(&offer.model, tokens, now) {
            Ok(reservation) => {
                ledger.refund(&offer.model, reservation, now);
                true
            }
            Err(_) => false,
        })
    }
}

/// Keys in turn. One that fails three times without a success between is out until the check of the next hour, for all
/// models. Whoever is refused asks the next key at once.
#[derive(Clone)]
pub struct CountToThree(Rc<RefCell<Turns>>);

struct Turns {
    projects: Vec<String>,
    failures: Vec<u32>,
    next: usize,
    checked_at: Instant,
}

impl CountToThree {
    /// So many keys of each project.
    pub fn start(projects: &[String], keys_each: usize) -> Self {
        let projects: Vec<_> = projects.iter().flat_map(|project| vec![project.clone(); keys_each]).collect();
        let failures = vec![0; projects.len()];
        Self(Rc::new(RefCell::new(Turns { projects, failures, next: 0, checked_at: Instant::now() })))
    }
}

impl Turns {
    /// The next key that is in; when all are out, the next one all the same.
    fn take(&mut self) -> usize {
        if self.checked_at.elapsed() >= HOUR {
            self.checked_at = Instant::now();
            self.failures.fill(0);
        }
        let keys = self.failures.len();
        let is_in = |key: &usize| self.failures[*key] < MAX_FAILURES;
        let chosen = (0..keys).map(|step| (self.next + step) % keys).find(is_in).unwrap_or(self.next);
        self.next = (chosen + 1) % keys;
        chosen
    }
}

impl Serve for CountToThree {
    async fn serve(&self, request: &Request, offer: &Offer, google: &Google) -> Answer {
        let arrived = Instant::now();
        for _ in 0..ATTEMPTS {
            let waited = arrived.elapsed();
            let key = self.0.borrow_mut().take();
            let project = self.0.borrow().projects[key].clone();
            sleep(request.way).await;
            if google.ask(&project, &offer.model, request).is_ok() {
                sleep(request.answer).await;
                self.0.borrow_mut().failures[key] = 0;
                return Answer::Served { project, waited };
            }
            sleep(REFUSAL_TAKES).await;
            self.0.borrow_mut().failures[key] += 1;
        }
        Answer::Refused
    }
    /// It knows nothing; Google does.
    fn has_room(&self, offer: &Offer, tokens: u64, google: &Google) -> bool {
        google.has_room(&offer.model, tokens)
    }
}
