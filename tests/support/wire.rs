//! A connection to the API server that a test can cut silently.
//!
//! A relay on loopback, which runs anywhere and without root. Once cut, it accepts bytes, forwards none and closes nothing. That
//! is harsher than a packet filter: the sender's kernel sees its bytes acknowledged, so TCP's retransmissions do not end the
//! connection, and only the operator's own deadlines notice. A connection that was open at the cut never recovers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kube::Config;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::io::InspectReader;

/// The relay.
pub struct Wire {
    cut: watch::Sender<bool>,
    /// Connections that were opened while it was cut.
    in_vain: Arc<AtomicUsize>,
    traffic: Arc<Traffic>,
    /// URL of the relay.
    url: String,
    /// The name in the server's certificate.
    server_name: String,
}

/// What went through a relay.
#[derive(Default)]
struct Traffic {
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// Bytes from the API server.
    received: AtomicU64,
}

impl Wire {
    /// Starts a relay to the API server of this configuration.
    pub async fn to(config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (host, port) =
            (config.cluster_url.host().expect("a host").to_owned(), config.cluster_url.port_u16().unwrap_or(443));
        let url = format!("https://{}/", listener.local_addr().expect("an address"));
        let (cut, is_cut) = watch::channel(false);
        let server_name = host.clone();
        let in_vain = Arc::<AtomicUsize>::default();
        let counter = in_vain.clone();
        let traffic = Arc::<Traffic>::default();
        let counted = traffic.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *is_cut.borrow() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                let (host, is_cut, traffic) = (host.clone(), is_cut.clone(), counted.clone());
                tokio::spawn(async move {
                    let open = traffic.open.fetch_add(1, Ordering::Relaxed) + 1;
                    traffic.most_open.fetch_max(open, Ordering::Relaxed);
                    carry(near, host, port, is_cut, &traffic).await;
                    traffic.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { cut, in_vain, traffic, url, server_name }
    }

    /// Returns a client's configuration that goes through the relay.
    pub fn by(&self, mut config: Config) -> Config {
        config.cluster_url = self.url.parse().expect("a URL");
        config.tls_server_name = Some(self.server_name.clone());
        config
    }

    /// Writes a kubeconfig that goes through the relay, next to `direct`, and returns its path.
    pub fn kubeconfig(&self, direct: &Path) -> PathBuf {
        let text = std::fs::read_to_string(direct).expect("a kubeconfig");
        let mut kubeconfig: Value = serde_json::from_str(&text).expect("one of a World");
        let cluster = &mut kubeconfig["clusters"][0]["cluster"];
        cluster["server"] = self.url.clone().into();
        cluster["tls-server-name"] = self.server_name.clone().into();
        let path = direct.with_extension("by-wire");
        std::fs::write(&path, kubeconfig.to_string()).expect("the kubeconfig is written");
        path
    }

    /// Drops everything sent from now on, silently.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Returns how many connections were opened while it was cut. None of them gets an answer.
    pub fn opened_in_vain(&self) -> usize {
        self.in_vain.load(Ordering::Relaxed)
    }

    /// Returns the most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.traffic.most_open.load(Ordering::Relaxed)
    }

    /// Returns how many bytes have come from the API server.
    pub fn received(&self) -> u64 {
        self.traffic.received.load(Ordering::Relaxed)
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn carry(mut near: TcpStream, host: String, port: u16, mut cut: watch::Receiver<bool>, traffic: &Traffic) {
    if *cut.borrow_and_update() {
        return swallow(near).await;
    }
    // The server is not there, for example during its restart. The sender notices that this end is closed.
    let Ok(far) = TcpStream::connect((host, port)).await else { return };
    // A relay that gathers small writes would slow down what it is to measure.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let mut far = InspectReader::new(far, |bytes| {
        traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    });
    let is_cut = async { cut.wait_for(|cut| *cut).await.is_ok() };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        // Neither side notices.
        _ = is_cut => swallow(near).await,
    }
}

/// Discards input until the other end closes.
async fn swallow(mut near: TcpStream) {
    let mut lost = [0; 4096];
    while near.read(&mut lost).await.is_ok_and(|read| read > 0) {}
}
