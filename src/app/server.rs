//! The HTTP server: its socket, its limits, and what every request passes through.

use std::{
    any::Any,
    io,
    net::{TcpListener, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::{Server, Service, ServiceRequest},
    middleware::from_fn,
    rt::net::TcpStream,
};
use socket2::SockRef;
use tokio::sync::watch;
use tracing::warn;

use super::{
    StartError,
    cors::{cors, tell_all},
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
    let settings = live.clone();
    let factory = move || {
        let worker = Rc::new(Worker::new(shared.clone(), settings.clone()));
        App::new()
            .wrap(from_fn(name_request))
            .wrap(cors(worker.clone()))
            // Outermost: the others and all handlers find the gateway in the request.
            .wrap_fn(move |mut request: ServiceRequest, next| {
                worker.equip(&mut request);
                let allows_all_origins = worker.allows_all_origins();
                let answering = next.call(request);
                async move {
                    let mut response = answering.await?;
                    if allows_all_origins {
                        tell_all(&mut response);
                    }
                    Ok(response)
                }
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
