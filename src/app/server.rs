//! The HTTP server: its socket, its limits, and what every request passes through.

use std::{
    any::Any,
    collections::HashSet,
    io,
    net::{TcpListener, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::{RequestHead, Server, Service, ServiceRequest},
    middleware::from_fn,
    rt::net::TcpStream,
};
use socket2::SockRef;
use tokio::sync::watch;
use tracing::warn;

use super::{
    StartError,
    live::Live,
    worker::{Shared, Worker},
};
use crate::{
    api::{self, request_id::name_request},
    config::{self, Config},
};

pub fn address_of(config: &Config) -> String {
    format!("{}:{}", config.server.host, config.server.port)
}

pub fn listen(config: &Config) -> Result<TcpListener, StartError> {
    /// Connections that the kernel holds until a worker takes them.
    const BACKLOG: i32 = 4096;
    let failed = |source| StartError::Listen { address: address_of(config), source };
    let address = (config.server.host.as_str(), config.server.port).to_socket_addrs().map_err(failed)?.next();
    let address = address.ok_or_else(|| failed(io::Error::other("the host name has no address")))?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
        .map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind(&address.into()).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket.into())
}

/// Serves on threads of its own; each has a worker with its share of the gateway.
pub fn serve(
    listener: TcpListener,
    shared: Shared,
    live: watch::Receiver<Arc<Live>>,
) -> Result<Server, StartError> {
    let config = live.borrow().config.clone();
    let failed = |source| StartError::Listen { address: address_of(&config), source };
    let origins = config.server.cors_allowed_origins.clone();
    let settings = live.clone();
    let factory = move || {
        let worker = Rc::new(Worker::new(shared.clone(), settings.clone()));
        App::new()
            .wrap(from_fn(name_request))
            .wrap(cors(&origins))
            // Outermost: the others and all handlers find the gateway in the request.
            .wrap_fn(move |mut request: ServiceRequest, next| {
                worker.equip(&mut request);
                next.call(request)
            })
            .configure(api::routes)
    };
    let server = HttpServer::new(factory)
        .workers(workers(&config.server))
        .client_request_timeout(config.server.header_timeout)
        .keep_alive(config.server.keep_alive)
        .max_connections(config.server.max_connections)
        .shutdown_timeout(config.server.shutdown_timeout.as_secs())
        // A client that reads nothing for as long as a request may take has gone, and its connection with it.
        .on_connect(move |socket, _| close_when_unread(socket, live.borrow().config.upstream.total_timeout))
        // Events must leave at once.
        .tcp_nodelay(true)
        // A client that closes its side has hung up: its upstream call is cancelled.
        .h1_allow_half_closed(false)
        .disable_signals()
        .listen(listener)
        .map_err(failed)?;
    Ok(server.run())
}

/// The server itself waits for ever for room to write. The kernel counts from when it last could send.
fn close_when_unread(socket: &dyn Any, timeout: Duration) {
    #[cfg(target_os = "linux")]
    if let Some(stream) = socket.downcast_ref::<TcpStream>()
        && let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(timeout))
    {
        warn!(%error, "a connection may stay open for ever if its client does not read");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, timeout);
}

/// Threads that serve: as many as are set, else one per core.
pub fn workers(server: &config::Server) -> usize {
    server.workers.unwrap_or_else(num_cpus)
}

fn num_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Browsers may call the gateway from these origins; they send a token in a header, never a cookie.
fn cors(origins: &[String]) -> actix_cors::Cors {
    let cors = actix_cors::Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_any_header()
        .max_age(Duration::from_secs(600).as_secs() as usize);
    // The admin API is for the dashboard's own origin, where a cookie speaks for the administrator.
    let is_open = |request: &RequestHead| !request.uri.path().starts_with(api::admin::PREFIX);
    if origins.iter().any(|origin| origin == "*") {
        let cors = cors.allow_any_origin().send_wildcard();
        return cors.allowed_origin_fn(move |_, request| is_open(request));
    }
    let origins: HashSet<Vec<u8>> = origins.iter().map(|origin| origin.clone().into_bytes()).collect();
    cors.allowed_origin_fn(move |origin, request| is_open(request) && origins.contains(origin.as_bytes()))
}
