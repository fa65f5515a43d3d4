//! A way to the API server that can be cut without a word.
//!
//! A relay on loopback, which runs anywhere and without root. Cut, it takes what is sent and passes nothing on, and closes nothing. That
//! is harsher than a packet filter: the sender's kernel sees its bytes acknowledged, so not even TCP's retransmissions give the
//! connection up, and nothing but a deadline of the operator's own notices. A connection that was open when it was cut never comes back.

use std::path::{Path, PathBuf};

use kube::Config;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way.
pub struct Wire {
    cut: watch::Sender<bool>,
    /// The URL of its near end.
    url: String,
    /// The name that the server's certificate has.
    server_name: String,
}

impl Wire {
    /// A way to the API server of this configuration.
    pub async fn to(config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (host, port) =
            (config.cluster_url.host().expect("a host").to_owned(), config.cluster_url.port_u16().unwrap_or(443));
        let url = format!("https://{}/", listener.local_addr().expect("an address"));
        let (cut, is_cut) = watch::channel(false);
        let server_name = host.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, host.clone(), port, is_cut.clone()));
            }
        });
        Self { cut, url, server_name }
    }

    /// A client's configuration that goes this way.
    pub fn by(&self, mut config: Config) -> Config {
        config.cluster_url = self.url.parse().expect("a URL");
        config.tls_server_name = Some(self.server_name.clone());
        config
    }

    /// A kubeconfig that goes this way, beside that one.
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

    /// From now on what is sent is lost, and nobody hears of it.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Connections that are made from now on get through.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn carry(mut near: TcpStream, host: String, port: u16, mut cut: watch::Receiver<bool>) {
    if *cut.borrow_and_update() {
        return swallow(near).await;
    }
    // Not there, as while it restarts: the near end is closed, which the sender hears of.
    let Ok(mut far) = TcpStream::connect((host, port)).await else { return };
    let is_cut = async { cut.wait_for(|cut| *cut).await.is_ok() };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        // Neither side is told.
        _ = is_cut => swallow(near).await,
    }
}

/// Takes what comes until the other end gives up.
async fn swallow(mut near: TcpStream) {
    let mut lost = [0; 4096];
    while near.read(&mut lost).await.is_ok_and(|read| read > 0) {}
}
