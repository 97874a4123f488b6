//! The HTTP client of one worker thread: addresses, headers and timeouts; no judgement.

use std::{io, rc::Rc, str::FromStr, sync::Arc, time::Duration};

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::{
    body::SizedStream,
    dev::Service,
    http::{
        Version,
        header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue},
    },
    rt::net::TcpStream,
};
use awc::{Client, ClientRequest, ClientResponse, Connector, error::SendRequestError, http::Uri};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::{
    call::{Call, Credential},
    classify::Classifier,
    proxies::{Proxies, ProxyConnector, Route},
};
use crate::{
    actors::lease::Lease,
    balance::egresses::Exit,
    config::Upstream,
    domain::{key::ApiKey, outcome::ServerFault},
};

pub const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-goog-api-key");
/// An answer that is not streamed is held whole; more than this is no answer of Gemini's.
const LARGEST_ANSWER: usize = 512 * 1024 * 1024;
/// Idle connections are kept for less time than Google's front end keeps them (240 s), so that it is never the one
/// who closes under a request.
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Busy ones are renewed now and then, so that a change of Google's addresses is noticed; awc's own 75 s would make
/// a handshake of every connection each minute.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// No answer came, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    #[error("Gemini could not be reached: {0}")]
    Unreachable(String),
    #[error("Gemini broke the connection: {0}")]
    Broken(String),
    #[error("Gemini broke the connection while the request was being sent: {0}")]
    Sending(String),
    #[error("Gemini did not begin to answer within {} s", seconds(.0))]
    FirstByte(Duration),
    #[error("Gemini fell silent for {} s", seconds(.0))]
    Idle(Duration),
    #[error("the answer took longer than {} s", seconds(.0))]
    Total(Duration),
    #[error("the answer is larger than {LARGEST_ANSWER} bytes")]
    TooLarge,
}

impl TransportError {
    pub fn fault(&self) -> ServerFault {
        match self {
            Self::Unreachable(_) => ServerFault::Unreachable,
            Self::Broken(_) | Self::Sending(_) | Self::TooLarge => ServerFault::Failed,
            Self::FirstByte(_) | Self::Idle(_) | Self::Total(_) => ServerFault::TimedOut,
        }
    }
}

/// As people say it, to the hundredth: what is left of two seconds is `2`, not `1.9998`.
fn seconds(duration: &Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}

/// How connections are made.
#[derive(Debug, Clone)]
struct Wiring {
    connect_timeout: Duration,
    /// Open ones at a time.
    max_connections: usize,
    proxies: Arc<Proxies>,
}

/// Makes the same connections.
impl PartialEq for Wiring {
    fn eq(&self, other: &Self) -> bool {
        (self.connect_timeout, self.max_connections) == (other.connect_timeout, other.max_connections)
            && Arc::ptr_eq(&self.proxies, &other.proxies)
    }
}

impl Wiring {
    fn of(config: &Upstream, proxies: Arc<Proxies>) -> Self {
        let Upstream { connect_timeout, max_connections, .. } = *config;
        Self { connect_timeout, max_connections, proxies }
    }

    /// One client that connects directly, or one for each proxy.
    fn clients(&self) -> Rc<[Client]> {
        let routes = self.proxies.routes();
        if routes.is_empty() {
            return [self.client(Connector::new())].into();
        }
        let through = |route: &Arc<Route>| Connector::new().connector(ProxyConnector(route.clone()));
        routes.iter().map(|route| self.client(through(route))).collect()
    }

    fn client<S>(&self, connector: Connector<S>) -> Client
    where
        S: Service<ConnectInfo<Uri>, Response = Connection<Uri, TcpStream>, Error = ConnectError>
            + Clone
            + 'static,
    {
        let connector = connector
            .timeout(self.connect_timeout)
            .handshake_timeout(self.connect_timeout)
            .conn_keep_alive(POOL_IDLE)
            .conn_lifetime(CONNECTION_LIFETIME)
            // When awc drops an HTTP/2 connection it sends a request without an address, and one connection's loss
            // would break all streams on it.
            .max_http_version(Version::HTTP_11)
            .limit(self.max_connections);
        Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish()
    }
}

pub struct UpstreamClient {
    clients: Rc<[Client]>,
    wiring: Wiring,
    /// Scheme, host and prefix in front of the version: `https://generativelanguage.googleapis.com`.
    origin: String,
    custom_headers: HeaderMap,
    /// Judges what comes back; not used here, but by whoever has a client.
    pub classifier: Classifier,
    pub first_byte_timeout: Duration,
    pub idle_timeout: Duration,
    /// `TIME_OUT`: from the first attempt to the last byte of the answer.
    pub total_timeout: Duration,
}

impl UpstreamClient {
    /// Must be made on the thread that uses it.
    pub fn new(config: &Upstream, proxies: Arc<Proxies>) -> Self {
        let wiring = Wiring::of(config, proxies);
        Self::over(wiring.clients(), wiring, config)
    }

    /// With other settings; the connections stay open if they would be made alike.
    pub fn renewed(&self, config: &Upstream, proxies: Arc<Proxies>) -> Self {
        let wiring = Wiring::of(config, proxies);
        let clients = if wiring == self.wiring { self.clients.clone() } else { wiring.clients() };
        Self::over(clients, wiring, config)
    }

    fn over(clients: Rc<[Client]>, wiring: Wiring, config: &Upstream) -> Self {
        Self {
            clients,
            wiring,
            origin: config.base_url.origin.clone(),
            custom_headers: custom_headers(config),
            classifier: Classifier::new(&config.error_rules),
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            total_timeout: config.total_timeout,
        }
    }

    /// Until when a request that starts now may run.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.total_timeout
    }

    /// Sends the call with that key and waits for the head of the answer. A proxy that does not connect is the next one's
    /// turn, which `exit` then tells, and no fault of the key's.
    pub async fn send(
        &self,
        call: &Call,
        key: &ApiKey,
        exit: &Exit,
        deadline: Instant,
    ) -> Result<ClientResponse, TransportError> {
        let proxies = &self.wiring.proxies;
        let first = proxies.place(exit, key);
        if proxies.routes().is_empty() {
            return self.send_by(&self.clients[first], call, key, deadline).await;
        }
        let mut sent = self.send_through(first, call, key, deadline).await;
        if let Err(TransportError::Unreachable(_)) = sent {
            for place in proxies.others(first, key) {
                sent = self.send_through(place, call, key, deadline).await;
                if !matches!(sent, Err(TransportError::Unreachable(_))) {
                    exit.set(proxies.routes()[place].egress.clone());
                    break;
                }
            }
        }
        sent
    }

    /// The same with a key that nobody has leased.
    pub async fn ask(
        &self,
        call: &Call,
        key: &ApiKey,
        deadline: Instant,
    ) -> Result<ClientResponse, TransportError> {
        self.send(call, key, &self.wiring.proxies.exit(key), deadline).await
    }

    async fn send_through(
        &self,
        place: usize,
        call: &Call,
        key: &ApiKey,
        deadline: Instant,
    ) -> Result<ClientResponse, TransportError> {
        let sent = self.send_by(&self.clients[place], call, key, deadline).await;
        let route = &self.wiring.proxies.routes()[place];
        match &sent {
            Err(TransportError::Unreachable(problem)) => route.failed(problem),
            _ => route.worked(),
        }
        sent
    }

    async fn send_by(
        &self,
        client: &Client,
        call: &Call,
        key: &ApiKey,
        deadline: Instant,
    ) -> Result<ClientResponse, TransportError> {
        let sending = self.request(client, call, key)?.send_body(call.body.clone());
        let first_byte = Instant::now() + self.first_byte_timeout;
        match timeout_at(first_byte.min(deadline), sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(transport_error(&error)),
            Err(_) if first_byte < deadline => Err(TransportError::FirstByte(self.first_byte_timeout)),
            Err(_) => Err(TransportError::Total(self.total_timeout)),
        }
    }

    /// Sends a body while it arrives, of that length if it is known, and waits for the head of the answer; for ever, as
    /// only the caller knows whether the body still moves.
    pub async fn push<S>(
        &self,
        call: &Call,
        lease: &Lease,
        body: S,
        length: Option<u64>,
    ) -> Result<ClientResponse, TransportError>
    where
        S: Stream<Item = Result<Bytes, io::Error>> + 'static,
    {
        let place = self.wiring.proxies.place(&lease.exit, &lease.secret);
        let request = self.request(&self.clients[place], call, &lease.secret)?;
        let sent = match length {
            Some(length) => request.send_body(SizedStream::new(length, Box::pin(body))).await,
            None => request.send_stream(Box::pin(body)).await,
        };
        let sent = sent.map_err(|error| transport_error(&error));
        if let (Err(TransportError::Unreachable(problem)), Some(route)) =
            (&sent, self.wiring.proxies.routes().get(place))
        {
            route.failed(problem);
        }
        sent
    }

    fn request(&self, client: &Client, call: &Call, key: &ApiKey) -> Result<ClientRequest, TransportError> {
        let mut request = client.request(call.method.clone(), format!("{}{}", self.origin, call.target));
        let headers = request.headers_mut();
        for (name, value) in &call.headers {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.custom_headers {
            headers.insert(name.clone(), value.clone());
        }
        let (name, mut secret) = match call.credential {
            Credential::ApiKeyHeader => (API_KEY_HEADER, HeaderValue::from_str(key.expose())),
            Credential::Bearer => (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", key.expose()))),
        };
        secret.iter_mut().for_each(|value| value.set_sensitive(true));
        let secret = secret.map_err(|_| TransportError::Unreachable("the key fits no header".to_owned()))?;
        headers.insert(name, secret);
        Ok(request.no_decompress())
    }

    /// Reads a body to its end.
    pub async fn collect(
        &self,
        response: &mut ClientResponse,
        deadline: Instant,
    ) -> Result<Bytes, TransportError> {
        let announced = response.headers().get(CONTENT_LENGTH);
        let announced: usize = announced.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
        let mut whole = BytesMut::new();
        loop {
            let idle = Instant::now() + self.idle_timeout;
            let chunk = match timeout_at(idle.min(deadline), response.next()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Err(TransportError::Broken(error.to_string())),
                // awc takes a connection that ends early for the end of the body.
                Ok(None) if whole.len() < announced => {
                    return Err(TransportError::Broken("the answer broke off".to_owned()));
                }
                Ok(None) => return Ok(whole.freeze()),
                Err(_) if idle < deadline => return Err(TransportError::Idle(self.idle_timeout)),
                Err(_) => return Err(TransportError::Total(self.total_timeout)),
            };
            // Timers are asked last, so an answer that never pauses would outrun them.
            if Instant::now() > deadline {
                return Err(TransportError::Total(self.total_timeout));
            }
            if whole.len() + chunk.len() > LARGEST_ANSWER {
                return Err(TransportError::TooLarge);
            }
            whole.extend_from_slice(&chunk);
        }
    }
}

/// The configuration has checked that they are headers.
fn custom_headers(config: &Upstream) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.custom_headers {
        if let (Ok(name), Ok(mut value)) = (HeaderName::from_str(name), HeaderValue::from_str(value.expose()))
        {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers
}

/// Which of awc's errors mean that nobody was there, and which that the connection broke.
fn transport_error(error: &SendRequestError) -> TransportError {
    match error {
        SendRequestError::Connect(cause) => TransportError::Unreachable(cause.to_string()),
        SendRequestError::Url(cause) => TransportError::Unreachable(cause.to_string()),
        SendRequestError::Send(cause) => TransportError::Sending(cause.to_string()),
        other => TransportError::Broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_hundredth_of_a_second() {
        for (micros, told) in
            [(1_999_800, "2 s"), (2_500_000, "2.5 s"), (50_000, "0.05 s"), (300_000_400, "300 s")]
        {
            let error = TransportError::Total(Duration::from_micros(micros));

            assert_eq!(error.to_string(), format!("the answer took longer than {told}"));
        }
    }
}
