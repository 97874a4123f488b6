//! The proxies that Gemini is called through: which one for a key, and which are passed over because they fail.

mod connector;
mod handshake;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::{
    balance::{
        egress::Egress,
        egresses::{Egresses, Exit},
    },
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
    egresses: Arc<Egresses>,
}

/// One proxy with what is known of it.
#[derive(Debug)]
pub struct Route {
    proxy: Proxy,
    /// How requests fare that leave by it.
    pub egress: Arc<Egress>,
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
    fn new(proxy: Proxy) -> Self {
        let egress = Egress::named(proxy.to_string()).into();
        Self { proxy, egress, seen: Mutex::default() }
    }

    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection through it came about. Costs a look at an atomic unless that is news.
    pub fn worked(&self) {
        if self.egress.rested() || self.seen().is_well.is_none() {
            self.note(Ok(None));
        }
    }

    /// No connection through it came about.
    pub fn failed(&self, problem: &str) {
        if self.egress.rest(Now::read().unix_ms(), REST) {
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
                if self.egress.rested() {
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
        Self::default().renewed(config)
    }

    /// Those of other settings; of one that stays nothing is forgotten.
    pub fn renewed(&self, config: &Upstream) -> Self {
        self.replaced(&config.proxies, config.proxies_by_key)
    }

    fn replaced(&self, proxies: &[Proxy], by_key: bool) -> Self {
        if proxies.is_empty() {
            let direct = if self.routes.is_empty() { self.egresses.clone() } else { Arc::default() };
            return Self { routes: Vec::new(), egresses: direct };
        }
        let route = |proxy: &Proxy| {
            let known = self.routes.iter().find(|route| route.proxy == *proxy).cloned();
            known.unwrap_or_else(|| Arc::new(Route::new(proxy.clone())))
        };
        let routes: Vec<_> = proxies.iter().map(route).collect();
        let all = routes.iter().map(|route| route.egress.clone()).collect();
        Self { routes, egresses: Egresses::new(all, by_key).into() }
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// What requests leave by.
    pub fn egresses(&self) -> Arc<Egresses> {
        self.egresses.clone()
    }

    /// Where what is asked with that key leaves, when no lease says it.
    pub fn exit(&self, key: &ApiKey) -> Exit {
        Exit::new(self.egresses.order(key, Now::read())[0].clone())
    }

    /// The place of what an attempt with that key leaves by. Where the exit is none of these, as the settings were changed
    /// meanwhile, it becomes one of them: an outcome speaks for what was used. Always 0 where there is no proxy.
    pub fn place(&self, exit: &Exit, key: &ApiKey) -> usize {
        let place =
            |egress: &Arc<Egress>| self.egresses.all().iter().position(|known| Arc::ptr_eq(known, egress));
        place(&exit.get()).unwrap_or_else(|| {
            let own = self.exit(key).get();
            exit.set(own.clone());
            place(&own).unwrap_or(0)
        })
    }

    /// The places of the others, in the order in which they are to be tried with that key.
    pub fn others(&self, place: usize, key: &ApiKey) -> impl Iterator<Item = usize> {
        let order = self.egresses.order(key, Now::read());
        let places = order
            .into_iter()
            .filter_map(|egress| self.routes.iter().position(|route| Arc::ptr_eq(&route.egress, egress)));
        places.filter(move |other| *other != place)
    }

    /// Tries all of them at once.
    pub async fn check_all(&self, host: &str, port: u16, patience: Duration) {
        let checks = self.routes.iter().map(|route| route.check(host, port, patience));
        futures_util::future::join_all(checks).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(names: &[&str]) -> Proxies {
        Proxies::default().replaced(&parsed(names), true)
    }

    fn parsed(names: &[&str]) -> Vec<Proxy> {
        names.iter().map(|name| Proxy::parse(&format!("socks5://{name}")).unwrap()).collect()
    }

    #[test]
    fn one_that_fails_comes_last_until_it_works() {
        let (proxies, key) = (proxies(&["a", "b"]), ApiKey::parse("AIzaSy-1").unwrap());
        let first = || proxies.place(&proxies.exit(&key), &key);
        let usual = first();
        let route = &proxies.routes[usual];

        route.failed("gone");
        assert_ne!(first(), usual);
        assert_eq!(route.seen().error.as_deref(), Some("gone"));
        route.worked();

        assert_eq!(first(), usual);
        assert_eq!(route.seen().is_well, Some(true));
        assert_eq!(proxies.others(usual, &key).collect::<Vec<_>>(), [1 - usual]);
    }

    #[test]
    fn an_attempt_that_began_under_other_settings_speaks_for_what_it_uses() {
        let (before, after) = (proxies(&["a"]), Proxies::default());
        let key = ApiKey::parse("AIzaSy-1").unwrap();
        for (used, leased) in [(&before, &after), (&after, &before)] {
            let exit = leased.exit(&key);

            assert_eq!(used.place(&exit, &key), 0);
            assert!(Arc::ptr_eq(&exit.get(), &used.egresses().all()[0]));
        }
    }

    #[test]
    fn other_settings_make_nothing_forgotten_of_a_proxy_that_stays() {
        let before = proxies(&["a", "b"]);
        before.routes[1].failed("gone");

        let after = before.replaced(&parsed(&["c", "b"]), false);

        assert_eq!(after.routes[1].seen().error.as_deref(), Some("gone"));
        assert!(after.routes[0].seen().is_well.is_none());
        assert!(Arc::ptr_eq(&after.routes[1].egress, &after.egresses().all()[1]));
        assert!(after.replaced(&[], true).routes().is_empty());
    }
}
