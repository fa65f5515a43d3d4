//! The control plane for tests: a private one on loopback, or an existing cluster.
//!
//! `USE_KUBECONFIG=1` uses the cluster of `KUBECONFIG`. `KUBEBUILDER_ASSETS` uses prebuilt components. Otherwise
//! `tests/controlplane` is built, which takes minutes the first time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Config, CustomResourceExt};
use serde::Deserialize;
use ukgpro_operator::api::{self, UkgProConnection};

/// The supervisor's report that the API server is ready.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    kubeconfig: PathBuf,
    audit_log: Option<PathBuf>,
    assets: PathBuf,
    pids: BTreeMap<String, u32>,
}

pub struct ControlPlane {
    pub kubeconfig: PathBuf,
    /// Log with every request as a JSON object per line; `None` for an existing cluster.
    pub audit_log: Option<PathBuf>,
    pub kubectl: PathBuf,
    /// Process IDs of the components by name; empty for an existing cluster.
    pub pids: BTreeMap<String, u32>,
    supervisor: Mutex<Option<Supervisor>>,
}

/// The parent process of the components.
struct Supervisor {
    process: Child,
    /// Standard input for orders. It closes when this process ends, however it ends.
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl ControlPlane {
    /// Returns the shared control plane of this process, with the CRD installed. The first caller starts it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(Self::with_crd)
    }

    /// Starts a private control plane that a test may break; `None` with an existing cluster. It ends with this process, or by
    /// [`end`](Self::end).
    pub fn breakable() -> Option<&'static Self> {
        std::env::var_os("USE_KUBECONFIG").is_none().then(|| &*Box::leak(Box::new(Self::with_crd())))
    }

    fn with_crd() -> Self {
        let control_plane = Self::start();
        // A thread of its own, because the first caller is already inside a runtime.
        std::thread::scope(|scope| {
            let install = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(install_crd(&control_plane));
            });
            install.join().expect("the CRD is installed");
        });
        control_plane
    }

    /// Gives the supervisor an order, such as `kill kube-apiserver`, and waits until it is done.
    pub async fn order(&'static self, order: &str) {
        let order = order.to_owned();
        let done = tokio::task::spawn_blocking(move || {
            let mut supervisor = self.supervisor.lock().expect("no order has failed");
            let Supervisor { orders, answers, .. } = supervisor.as_mut().expect("a control plane of this process");
            writeln!(orders, "{order}").expect("the supervisor listens");
            let mut answer = String::new();
            answers.read_line(&mut answer).expect("the supervisor answers");
            assert!(answer.contains(&format!("\"done\":\"{order}\"")), "{order}: {answer}");
        });
        done.await.expect("obeyed");
    }

    /// Ends the control plane before this process ends.
    pub fn end(&self) {
        if let Some(Supervisor { mut process, orders, answers }) = self.supervisor.lock().expect("no order has failed").take() {
            drop((orders, answers));
            process.wait().expect("the supervisor ends");
        }
    }

    fn start() -> Self {
        if std::env::var_os("USE_KUBECONFIG").is_some() {
            let kubeconfig = std::env::var_os("KUBECONFIG").expect("USE_KUBECONFIG goes with KUBECONFIG").into();
            let (kubectl, pids) = ("kubectl".into(), BTreeMap::new());
            return Self { kubeconfig, audit_log: None, kubectl, pids, supervisor: Mutex::default() };
        }
        let mut process = Command::new(assets().join("controlplane"))
            .args(["up", "--audit", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the supervisor starts");
        let mut line = String::new();
        let orders = process.stdin.take().expect("piped");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        answers.read_line(&mut line).expect("the supervisor reports");
        let report: Report = serde_json::from_str(&line).expect("the control plane came up; its log is above");
        let kubectl = report.assets.join("kubectl");
        Self {
            kubeconfig: report.kubeconfig,
            audit_log: report.audit_log,
            kubectl,
            pids: report.pids,
            supervisor: Mutex::new(Some(Supervisor { process, orders, answers })),
        }
    }

    /// Returns the real kubectl, with all rights.
    pub fn command(&self) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        kubectl
    }

    /// Returns a client with all rights.
    pub async fn admin(&self) -> Client {
        Client::try_from(self.config().await).expect("a client")
    }

    /// Returns the configuration of such a client.
    pub async fn config(&self) -> Config {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration")
    }
}

fn assets() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/controlplane/build.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("build.sh runs");
    assert!(output.status.success(), "build.sh failed");
    String::from_utf8(output.stdout).expect("a path").trim_end().into()
}

/// Installs the CRD of this build and waits until its resources are served.
pub async fn install_crd(control_plane: &ControlPlane) {
    install_crd_of(control_plane.admin().await, &api::crd()).await;
}

/// Installs a version of the CRD and waits until its resources are served.
pub async fn install_crd_of(admin: Client, crd: &CustomResourceDefinition) {
    let crds = Api::<CustomResourceDefinition>::all(admin);
    let name = UkgProConnection::crd_name();
    crds.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(crd)).await.expect("the CRD is accepted");
    let established = await_condition(crds, name, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), established).await.expect("in time").expect("the CRD is established");
}
