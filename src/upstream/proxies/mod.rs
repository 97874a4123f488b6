//! The proxies that Gemini is called through: which one for a key, and which are passed over because they fail.

mod connector;
mod handshake;

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::{
    config::{Proxy, Upstream},
    domain::{key::ApiKey, time::Now},
};

pub use connector::ProxyConnector;
use handshake::ProxyError;

/// How long a proxy that failed is passed over, as long as another one works.
const REST: Duration = Duration::from_secs(30);

/// All proxies of the settings, shared by all threads; none means that Gemini is called directly.
#[derive(Debug, Default)]
pub struct Proxies {
    routes: Vec<Arc<Route>>,
    /// Otherwise they take turns.
    by_key: bool,
    turn: AtomicUsize,
}

/// One proxy with what is known of it.
#[derive(Debug)]
pub struct Route {
    proxy: Proxy,
    /// Unix milliseconds; 0 while it is well.
    rests_until_ms: AtomicI64,
    seen: Mutex<Seen>,
}

/// What came of the last use or check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// `None` until it was used.
    pub is_well: Option<bool>,
    /// Unix milliseconds.
    pub at_ms: Option<i64>,
    /// Of the last check.
    pub latency: Option<Duration>,
    pub error: Option<String>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proxy.fmt(f)
    }
}

impl Route {
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_resting(&self, now_ms: i64) -> bool {
        self.rests_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// A connection through it came about. Costs a look at an atomic unless that is news.
    pub fn worked(&self) {
        if self.rests_until_ms.swap(0, Ordering::Relaxed) != 0 || self.seen().is_well.is_none() {
            self.note(Ok(None));
        }
    }

    /// No connection through it came about.
    pub fn failed(&self, problem: &str) {
        let rests_until = Now::read().unix_ms() + REST.as_millis() as i64;
        if self.rests_until_ms.swap(rests_until, Ordering::Relaxed) == 0 {
            warn!(proxy = %self, problem, "a proxy fails and is passed over for {} s", REST.as_secs());
        }
        self.note(Err(problem.to_owned()));
    }

    fn note(&self, result: Result<Option<Duration>, String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = result.as_ref().ok().copied().flatten();
        *seen = Seen {
            is_well: Some(result.is_ok()),
            at_ms: Some(Now::read().unix_ms()),
            latency: latency.or(seen.latency.filter(|_| result.is_ok())),
            error: result.err(),
        };
    }

    /// Connects through it to that host, and says nothing there.
    async fn check(&self, host: &str, port: u16, patience: Duration) {
        let begun = Instant::now();
        let connected = timeout(patience, connector::connect(&self.proxy, host, port)).await;
        match connected.unwrap_or(Err(ProxyError::TimedOut)) {
            Ok(_) => {
                if self.rests_until_ms.swap(0, Ordering::Relaxed) != 0 {
                    info!(proxy = %self, "a proxy works again");
                }
                self.note(Ok(Some(begun.elapsed())));
            }
            Err(problem) => self.failed(&problem.to_string()),
        }
    }
}

impl Proxies {
    pub fn new(config: &Upstream) -> Self {
        let route = |proxy: &Proxy| Route {
            proxy: proxy.clone(),
            rests_until_ms: AtomicI64::new(0),
            seen: Mutex::default(),
        };
        let routes = config.proxies.iter().map(|proxy| Arc::new(route(proxy))).collect();
        Self { routes, by_key: config.proxies_by_key, turn: AtomicUsize::new(0) }
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The places of all proxies, in the order in which they are to be tried with that key: those that rest come last.
    pub fn order(&self, key: &ApiKey) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.routes.len()).collect();
        if self.by_key {
            order.sort_by_cached_key(|place| std::cmp::Reverse(score(&self.routes[*place].proxy, key)));
        } else if !order.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % order.len();
            order.rotate_left(turn);
        }
        let now_ms = Now::read().unix_ms();
        order.sort_by_key(|place| self.routes[*place].is_resting(now_ms));
        order
    }

    /// Tries all of them at once.
    pub async fn check_all(&self, host: &str, port: u16, patience: Duration) {
        let checks = self.routes.iter().map(|route| route.check(host, port, patience));
        futures_util::future::join_all(checks).await;
    }
}

/// Rendezvous hashing: a key stays with its proxy when others come and go.
fn score(proxy: &Proxy, key: &ApiKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    (proxy.kind, &proxy.host, proxy.port, key.expose()).hash(&mut hasher);
    proxy.credentials.as_ref().map(|(user, _)| user).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(names: &[&str], by_key: bool) -> Proxies {
        let route = |name: &&str| Route {
            proxy: Proxy::parse(&format!("socks5://{name}")).unwrap(),
            rests_until_ms: AtomicI64::new(0),
            seen: Mutex::default(),
        };
        Proxies {
            routes: names.iter().map(|name| Arc::new(route(name))).collect(),
            by_key,
            turn: AtomicUsize::new(0),
        }
    }

    fn key(number: usize) -> ApiKey {
        ApiKey::parse(&format!("AIzaSy-{number}")).unwrap()
    }

    fn first(proxies: &Proxies, number: usize) -> String {
        proxies.routes[proxies.order(&key(number))[0]].to_string()
    }

    #[test]
    fn a_key_stays_with_its_proxy_when_others_come_and_go() {
        let (three, four) = (proxies(&["a", "b", "c"], true), proxies(&["d", "c", "b", "a"], true));
        let moved = (0..300).filter(|number| first(&three, *number) != first(&four, *number));

        let to: Vec<String> = moved.map(|number| first(&four, number)).collect();

        assert!((40..120).contains(&to.len()), "about a quarter: {}", to.len());
        assert!(to.iter().all(|proxy| proxy.contains("//d:")));
    }

    #[test]
    fn without_keys_they_take_turns() {
        let proxies = proxies(&["a", "b"], false);

        let firsts: Vec<usize> = (0..4).map(|_| proxies.order(&key(1))[0]).collect();

        assert_eq!(firsts, [0, 1, 0, 1]);
    }

    #[test]
    fn one_that_fails_comes_last_until_it_works() {
        let proxies = proxies(&["a", "b"], true);
        let usual = proxies.order(&key(1));
        proxies.routes[usual[0]].failed("gone");
        assert_eq!(proxies.order(&key(1)), [usual[1], usual[0]]);
        assert_eq!(proxies.routes[usual[0]].seen().error.as_deref(), Some("gone"));

        proxies.routes[usual[0]].worked();

        assert_eq!(proxies.order(&key(1)), usual);
        assert_eq!(proxies.routes[usual[0]].seen().is_well, Some(true));
    }
}
