//! An HTTP client for many requests at once: kube's own, but for HTTP/2.
//!
//! kube's client speaks HTTP/1.1 only. With sixty-four concurrent checks it opens as many connections, and each costs both sides
//! a TLS handshake and its buffers. HTTP/2 carries all these requests over one connection, as Kubernetes' own clients do.
//!
//! Watches stay with kube's client. An API server allows a number of streams for each connection (100 by default), and a client
//! that has reached it waits with all its requests. A watch holds its stream for as long as it runs, and with `--namespace` there
//! are two for each namespace. Leader election stays with it too: a request that is given up closes its connection, so the next
//! attempt never waits on a connection that is dead.

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

/// How often an HTTP/2 connection with open requests is probed, and how long the answer may take. A connection that was cut
/// silently is replaced after both.
const PING: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(10));
/// How much of one response, and of all responses together, may arrive before it is read, in bytes. It bounds memory: a page of a
/// list has some hundred kilobytes.
const WINDOW: (u32, u32) = (128 << 10, 512 << 10);

/// Makes a client from `config`.
pub(super) fn client(config: Config) -> kube::Result<Client> {
    // kube's own client knows proxies, and the lifetime of what a plugin prints. In a cluster there is neither.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
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
