//! The floor: a bare client that makes only the requests that a first check needs, and decides nothing.
//!
//! It lists the connections once. For each it reads one Secret, logs in once, sends five probes in parallel and patches one
//! status. It uses standard HTTP clients, no watch, work queue, ledger, rate limit or deadline, and writes the same status for
//! all. Messages are the operator's own, whose cost `benches/soap.rs` measures. An answer is only searched for one word.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Request;
use kube::{Api, Client, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ukg_pro::catalogue::Requirement;
use ukg_pro::credentials::Credentials;
use ukg_pro::sensitive::Sensitive;
use ukg_pro::soap::write::{self, MessageId};
use ukgpro_operator::api::UkgProConnection;

use crate::fleet::HOSTS;
use crate::settings::Settings;

/// The first argument of this program if it runs as the floor. The second is the file of its [`Plan`].
pub const ROLE: &str = "floor";

/// The input of the floor.
#[derive(Serialize, Deserialize)]
pub struct Plan {
    pub namespace: String,
    pub concurrency: usize,
    /// Port of the simulator, and its authority in PEM.
    pub port: u16,
    pub authority: String,
    /// Status to write for each connection.
    pub status: Value,
}

/// A running floor process.
pub struct Floor(Child);

impl Floor {
    pub fn start(plan: &Plan, file: &Path, kubeconfig: &PathBuf) -> Self {
        std::fs::write(file, serde_json::to_string(plan).expect("JSON")).expect("the plan is written");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(ROLE).arg(file).env("KUBECONFIG", kubeconfig).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("the floor starts"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has made all its requests. The process stays, so that it can be measured.
    pub fn done(&mut self) {
        let mut word = [0; 5];
        self.0.stdout.as_mut().expect("piped").read_exact(&mut word).expect("the floor comes to its end");
    }

    pub fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("the floor ends").success());
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn main(plan: &Path) -> ExitCode {
    let plan: Plan = serde_json::from_slice(&std::fs::read(plan).expect("a plan")).expect("a plan");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(plan));
    let mut stdout = std::io::stdout();
    stdout.write_all(b"done\n").and_then(|()| stdout.flush()).expect("said");
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

async fn run(plan: Plan) {
    let kubernetes = Client::try_default().await.expect("a client");
    let connections = Api::<UkgProConnection>::namespaced(kubernetes.clone(), &plan.namespace);
    let listed = connections.list(&ListParams::default()).await.expect("a list").items;
    let upstream = Arc::new(Upstream::new(plan.port, &plan.authority));
    let plan = Arc::new(plan);
    let requirements = Arc::new(Settings::of_environment().permissions());
    let checks = stream::iter(listed).map(|connection| {
        tokio::spawn(check(connection, kubernetes.clone(), plan.clone(), upstream.clone(), requirements.clone()))
    });
    let mut checks = checks.buffer_unordered(plan.concurrency);
    while let Some(ended) = checks.next().await {
        ended.expect("no panic");
    }
}

async fn check(
    connection: UkgProConnection,
    kubernetes: Client,
    plan: Arc<Plan>,
    upstream: Arc<Upstream>,
    requirements: Arc<Vec<Requirement>>,
) {
    let secret = Api::<Secret>::namespaced(kubernetes.clone(), &plan.namespace);
    let secret = secret.get(&connection.spec.secret_ref.name).await.expect("a Secret");
    let data = secret.data.unwrap_or_default();
    let value = |key: &str| Sensitive::new(String::from_utf8(data[key].0.clone()).expect("text"));
    let credentials = Credentials {
        username: value("username"),
        password: value("password"),
        customer_api_key: value("customerApiKey"),
        user_api_key: Some(value("userApiKey")),
    };
    let subdomain = connection.spec.subdomain.as_deref().unwrap_or_default();
    upstream.check(subdomain, &credentials, &requirements).await.expect("answers");
    let name = connection.name_any();
    let body = json!({"apiVersion": UkgProConnection::api_version(&()), "kind": UkgProConnection::kind(&()),
        "metadata": {"name": name, "resourceVersion": connection.metadata.resource_version}, "status": plan.status});
    let request = Request::new(UkgProConnection::url_path(&(), Some(&plan.namespace)));
    let params = PatchParams::apply("floor").force();
    let request = request.patch_subresource("status", &name, &params, &Patch::Apply(&body)).expect("a request");
    kubernetes.request_text(request).await.expect("written");
}

/// A bare client of UKG Pro.
pub struct Upstream {
    http: reqwest::Client,
    port: u16,
}

impl Upstream {
    /// Keeps connections as the operator does: one idle connection per host, for five seconds.
    pub fn new(port: u16, authority: &str) -> Self {
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        let mut http = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
        for host in HOSTS {
            http = http.resolve(&format!("{host}.ultipro.localhost"), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        let http = http.pool_max_idle_per_host(1).pool_idle_timeout(Duration::from_secs(5));
        Self { http: http.build().expect("a client"), port }
    }

    /// Logs in once, and probes these permissions in parallel.
    pub async fn check(&self, subdomain: &str, credentials: &Credentials, of: &[Requirement]) -> reqwest::Result<()> {
        let user_api_key = credentials.user_api_key.as_ref().expect("a key");
        let answer = self
            .post(subdomain, "LoginService", write::authenticate(credentials, user_api_key, &MessageId::random()).to_string())
            .await?;
        let token = answer.split_once("<Token ").and_then(|(_, rest)| rest.split_once('>'));
        let token = token.and_then(|(_, rest)| rest.split_once('<')).expect("a token").0.to_owned();
        let token = &Sensitive::new(token);
        try_join_all(of.iter().map(|requirement| async move {
            let probe = requirement.row.soap.as_ref().expect("a SOAP service");
            let message = write::find_nobody(
                &probe.service,
                &probe.operation,
                token,
                &credentials.customer_api_key,
                &MessageId::random(),
            );
            let answer = self.post(subdomain, &probe.service, message.to_string()).await?;
            assert!(answer.contains("Success>true<"), "{answer}");
            Ok(())
        }))
        .await
        .map(drop)
    }

    async fn post(&self, subdomain: &str, service: &str, message: String) -> reqwest::Result<String> {
        let url = format!("https://{subdomain}.ultipro.localhost:{}/services/{service}", self.port);
        let request = self.http.post(url).header("content-type", "application/soap+xml; charset=utf-8").body(message);
        request.send().await?.error_for_status()?.text().await
    }
}
