//! One run: everybody asks when they want to, and what came of it is added up.

use std::{cell::RefCell, collections::HashMap, fmt, rc::Rc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    google::{Google, Seen},
    pools::{Answer, Serve},
    traffic::{Offer, Request},
};
use crate::domain::client::TokenId;

/// A refusal could have been spared if there was room so long after the request came.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often somebody looks for room that nobody uses.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// What clients got.
#[derive(Debug, Default)]
pub struct Tally {
    pub served: HashMap<TokenId, u64>,
    pub refused: HashMap<TokenId, u64>,
    pub by_project: HashMap<String, u64>,
    pub waits: Vec<Duration>,
    /// Refused although there was room for them that nobody used.
    pub avoidable: u64,
    /// Those refused lately: when they came, for what, and how large by estimate.
    lately: Vec<(Instant, usize, u64)>,
}

impl Tally {
    fn note(&mut self, request: &Request, arrived: Instant, answer: Answer) {
        let client = request.client.clone();
        match answer {
            Answer::Served { project, waited } => {
                *self.served.entry(client).or_default() += 1;
                *self.by_project.entry(project).or_default() += 1;
                self.waits.push(waited);
            }
            Answer::Refused => {
                *self.refused.entry(client).or_default() += 1;
                self.lately.push((arrived, request.offer, request.estimate));
            }
        }
    }

    /// Looks whether those refused lately could have been served now.
    fn look_for_room(&mut self, pool: &impl Serve, google: &Google, offers: &[Offer]) {
        self.lately.retain(|(arrived, ..)| arrived.elapsed() <= PATIENCE);
        let mut is_full = vec![u64::MAX; offers.len()];
        let before = self.lately.len();
        self.lately.retain(|&(_, offer, tokens)| {
            if tokens >= is_full[offer] {
                return true;
            }
            let has_room = pool.has_room(&offers[offer], tokens, google);
            if !has_room {
                is_full[offer] = tokens;
            }
            !has_room
        });
        self.avoidable += (before - self.lately.len()) as u64;
    }

    /// Of so many percent of the requests served, the longest wait.
    pub fn wait(&self, percent: usize) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        waits
            .get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// Sends all requests when they are due, and waits until they are answered. Times count from now.
pub async fn drive<P: Serve>(pool: &P, google: &Google, offers: &[Offer], requests: Vec<Request>) -> Tally {
    let begin = Instant::now();
    let (tally, offers) = (Rc::new(RefCell::new(Tally::default())), Rc::new(offers.to_vec()));
    let watch = actix_rt::spawn({
        let (pool, google, tally, offers) = (pool.clone(), google.clone(), tally.clone(), offers.clone());
        async move {
            // Between two ticks of a ledger.
            sleep(Duration::from_millis(250)).await;
            loop {
                sleep(LOOKED_EVERY).await;
                tally.borrow_mut().look_for_room(&pool, &google, &offers);
            }
        }
    });
    for request in requests {
        sleep_until(begin + request.at).await;
        let (pool, google, tally, offers) = (pool.clone(), google.clone(), tally.clone(), offers.clone());
        actix_rt::spawn(async move {
            let arrived = Instant::now();
            let answer = pool.serve(&request, &offers[request.offer], &google).await;
            tally.borrow_mut().note(&request, arrived, answer);
        });
    }
    sleep(Duration::from_secs(45)).await;
    watch.abort();
    tally.take()
}

/// One line of the table.
pub struct Line {
    pub name: String,
    /// Served as a share of what the quotas allow, for each model and over all.
    pub shares: Vec<f64>,
    pub goodput: f64,
    /// Refused by Google as a share of what it was asked after the first minute, and of all.
    pub refused_later: f64,
    pub refused: u64,
    pub avoidable: f64,
    pub client_errors: f64,
    pub waits: [Duration; 2],
}

impl Line {
    /// `capacities` are those of the offers, in requests.
    pub fn new(name: &str, offers: &[Offer], capacities: &[f64], seen: &[Seen], tally: &Tally) -> Self {
        let share = |((offer, capacity), seen): ((&Offer, &f64), &Seen)| {
            let served = if offer.is_bound_by_tokens() {
                seen.tokens as f64 / offer.prompt as f64
            } else {
                seen.served as f64
            };
            served / capacity
        };
        let shares: Vec<_> = offers.iter().zip(capacities).zip(seen).map(share).collect();
        let whole: f64 = capacities.iter().sum();
        let goodput =
            shares.iter().zip(capacities).map(|(share, capacity)| share * capacity).sum::<f64>() / whole;
        let sum = |field: fn(&Seen) -> u64| seen.iter().map(field).sum::<u64>();
        let refused_clients: u64 = tally.refused.values().sum();
        Self {
            name: name.to_owned(),
            shares,
            goodput,
            refused_later: sum(|seen| seen.refused_later) as f64 / sum(|seen| seen.asked_later).max(1) as f64,
            refused: sum(|seen| seen.refused),
            avoidable: tally.avoidable as f64 / (refused_clients + tally.waits.len() as u64).max(1) as f64,
            client_errors: refused_clients as f64
                / (refused_clients + tally.waits.len() as u64).max(1) as f64,
            waits: [tally.wait(50), tally.wait(99)],
        }
    }

    pub const HEAD: &str = "run                                  goodput  of each model               429s  later  client errors  avoidable  wait p50   p99";
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares: Vec<_> = self.shares.iter().map(|share| format!("{:5.1}", share * 100.0)).collect();
        let Self {
            name, goodput, refused, refused_later, client_errors, avoidable, waits: [p50, p99], ..
        } = self;
        write!(
            f,
            "{name:36} {:6.2}%  {:24} {refused:7} {:5.2}% {:13.1}% {:9.3}% {:8.1}s {:4.1}s",
            goodput * 100.0,
            shares.join(" "),
            refused_later * 100.0,
            client_errors * 100.0,
            avoidable * 100.0,
            p50.as_secs_f32(),
            p99.as_secs_f32(),
        )
    }
}
