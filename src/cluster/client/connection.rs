//! The HTTP client inside an [`ApiServerClient`](super::ApiServerClient): kube's own, or one that speaks HTTP/2.
//!
//! kube's client speaks HTTP/1.1 only. With sixty-four concurrent checks it opens as many connections, and each costs both sides
//! a TLS handshake and its buffers. HTTP/2 carries all requests and watches over one connection, as Kubernetes' own clients do.
//! Leader election stays with HTTP/1.1: a request that is given up closes its connection, so the next attempt never waits on a
//! connection that is dead.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _, RustlsTlsError};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use super::Role;

/// How often an HTTP/2 connection with open requests is probed, and how long the answer may take. A connection that was cut
/// silently is replaced after both; until then, requests wait on it up to their own deadlines.
const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));
/// How much of one response, and of all responses together, may arrive before it is read, in bytes. It bounds memory: a page of a
/// list has some hundred kilobytes.
const WINDOW: (u32, u32) = (128 << 10, 512 << 10);
/// The number of idle connections that are kept to a server that speaks HTTP/1.1 only.
const IDLE_MAX: usize = 4;

/// Makes a client from `config`.
pub(super) fn client(config: Config, role: Role) -> kube::Result<Client> {
    // kube's own client knows proxies, and the lifetime of what a plugin prints. In a cluster there is neither.
    let needs_kubes = config.proxy_url.is_some() || config.auth_info.exec.is_some();
    if role == Role::LeaderElection || needs_kubes {
        return Ok(ClientBuilder::try_from(config)?.build());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // HTTP/2 writes small frames; without this, they wait for the acknowledgement of the frame before.
    tcp.set_nodelay(true);
    let mut tls = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(RustlsTlsError::InvalidServerName).map_err(kube::Error::RustlsTls)?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(tls.enable_http1().enable_http2().wrap_connector(tcp));
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_MAX)
        .http2_keep_alive_interval(PING.0)
        .http2_keep_alive_timeout(PING.1)
        .http2_initial_stream_window_size(WINDOW.0)
        .http2_initial_connection_window_size(WINDOW.1)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}
