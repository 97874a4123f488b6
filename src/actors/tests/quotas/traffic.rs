//! What clients ask for: seeded, and more than the quotas allow.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    domain::{client::TokenId, model::ModelName},
    sim::Quota,
};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// A model as Google offers it to every project, and how clients use it.
#[derive(Debug, Clone)]
pub struct Offer {
    pub model: ModelName,
    pub quota: Quota,
    /// Mean size of a prompt, in tokens.
    pub prompt: u64,
}

impl Offer {
    /// Requests a minute, tokens a minute, requests a day.
    pub fn new(model: &str, [requests, tokens, daily]: [u64; 3], prompt: u64) -> Self {
        let quota = Quota {
            requests_per_minute: Some(requests),
            input_tokens_per_minute: Some(tokens),
            requests_per_day: Some(daily),
            ..Quota::default()
        };
        Self { model: ModelName::parse(model).unwrap(), quota, prompt }
    }

    /// The most requests that one project allows in that many minutes of each of some days.
    pub fn capacity(&self, days: &[u64]) -> f64 {
        let Quota { requests_per_minute, input_tokens_per_minute, requests_per_day, .. } = self.quota;
        let tokens = input_tokens_per_minute.map(|tokens| tokens as f64 / self.prompt as f64);
        let requests = requests_per_minute.map(|requests| requests as f64);
        let a_minute = requests.into_iter().chain(tokens).fold(f64::INFINITY, f64::min);
        let of_day =
            |minutes: &u64| (a_minute * *minutes as f64).min(requests_per_day.unwrap_or(u64::MAX) as f64);
        days.iter().map(of_day).sum()
    }

    /// Tokens, not requests, are what there is least of.
    pub fn is_bound_by_tokens(&self) -> bool {
        let Quota { requests_per_minute, input_tokens_per_minute, .. } = self.quota;
        requests_per_minute
            .zip(input_tokens_per_minute)
            .is_some_and(|(requests, tokens)| tokens < requests * self.prompt)
    }
}

/// The free tier in kind: one model that is short of requests a minute, two of requests a day, one of tokens a minute.
pub fn free_tier() -> Vec<Offer> {
    vec![
        Offer::new("gemini-flash-lite", [15, 250_000, 1000], 2000),
        Offer::new("gemini-flash", [10, 250_000, 250], 4000),
        Offer::new("gemini-pro", [5, 250_000, 100], 8000),
        Offer::new("gemma", [30, 15_000, 14_400], 1000),
    ]
}

/// One request of a client, with all of its chances drawn beforehand.
#[derive(Debug, Clone)]
pub struct Request {
    /// Since the beginning.
    pub at: Duration,
    /// Place of its model among the offers.
    pub offer: usize,
    pub client: TokenId,
    /// As Google counts them, and as the gateway guesses.
    pub tokens: u64,
    pub estimate: u64,
    /// Until it arrives at Google, and until its answer is complete.
    pub way: Duration,
    pub answer: Duration,
}

/// `load` times what `projects` allow, spread over `span`, in the order of time.
pub fn demand(offers: &[Offer], capacities: &[f64], load: f64, span: Duration, seed: u64) -> Vec<Request> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut requests = Vec::new();
    for (offer, capacity) in capacities.iter().enumerate() {
        for _ in 0..(capacity * load) as usize {
            let client = TokenId::new(format!("client-{}", dice.random_range(0..5)));
            let at = span.mul_f64(dice.random());
            requests.push(request(&mut dice, offer, offers[offer].prompt, client, at));
        }
    }
    requests.sort_by_key(|request| request.at);
    requests
}

/// Prompts vary tenfold around their mean, guesses by a quarter; answers take 0.2 to 8 s, short ones more often.
pub fn request(dice: &mut SmallRng, offer: usize, prompt: u64, client: TokenId, at: Duration) -> Request {
    let tokens = (prompt as f64 * dice.random_range(0.2..1.8)) as u64;
    let estimate = (tokens as f64 * dice.random_range(0.75..1.25)) as u64;
    let way = Duration::from_millis(dice.random_range(20..150));
    let answer = Duration::from_secs_f64(0.2 * 40_f64.powf(dice.random()));
    Request { at, offer, client, tokens, estimate, way, answer }
}
