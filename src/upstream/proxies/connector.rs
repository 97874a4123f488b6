//! Makes connections through one proxy, as awc wants them.

use std::{io, sync::Arc};

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::{
    dev::{Service, always_ready},
    rt::net::TcpStream,
};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;

use super::{
    Route,
    handshake::{self, ProxyError},
};
use crate::config::Proxy;

/// Names are resolved by the proxy, so nothing of what is called shows here.
#[derive(Debug, Clone)]
pub struct ProxyConnector(pub Arc<Route>);

impl Service<ConnectInfo<Uri>> for ProxyConnector {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let route = self.0.clone();
        Box::pin(async move {
            let connected = connect(route.proxy(), info.hostname(), info.port()).await;
            let stream = connected.map_err(|problem| ConnectError::Io(io::Error::other(problem)))?;
            Ok(Connection::new(info.request().clone(), stream))
        })
    }
}

/// A connection to the host, through the proxy.
pub async fn connect(proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, ProxyError> {
    let connected = TcpStream::connect((proxy.host.as_str(), proxy.port)).await;
    let mut stream = connected.map_err(ProxyError::Unreachable)?;
    // Events must leave at once.
    stream.set_nodelay(true)?;
    handshake::ask(&mut stream, proxy, host, port).await?;
    Ok(stream)
}
