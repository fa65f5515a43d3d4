//! Support for these tests: Helm and the other tools of `tests/tools`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::World;

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/ukgpro-operator");

/// One of them; built by the first who asks.
pub fn tool(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/build.sh");
        let output = Command::new(script).stderr(Stdio::inherit()).output().expect("build.sh runs");
        assert!(output.status.success(), "build.sh failed");
        String::from_utf8(output.stdout).expect("a path").trim_end().into()
    });
    let mut command = Command::new(directory.join(name));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// Whether it succeeded, and all that it said.
pub fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("it runs");
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

/// What the chart renders with these flags.
pub fn template(flags: &[&str]) -> String {
    let output = tool("helm").args(["template", "ukgpro-operator", CHART, "--namespace", "ukgpro-system"]).args(flags).output();
    let output = output.expect("helm runs");
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The objects of manifests.
pub fn objects(manifests: &str) -> Vec<Value> {
    let documents = manifests.split("\n---").map(|document| document.trim_start_matches("---"));
    let objects = documents.map(|document| serde_saphyr::from_str::<Option<Value>>(document).expect("YAML"));
    objects.flatten().filter(|object| !object.is_null()).collect()
}

/// Values to render with, one set for each way in which the templates branch.
pub const MATRIX: [&[&str]; 9] = [
    &[],
    &["--set=watchNamespaces={hr,payroll}", "--set=crds.install=false", "--set=secrets.watch=labelled"],
    &["--set=secrets.watch=none", "--set=secrets.names={acme,globex}", "--set=crds.keep=false", "--set=watchNamespaces={hr}"],
    &[
        "--set=replicas=1",
        "--set=leaderElection.enabled=false",
        "--set=pod.runAsUser=null",
        "--set=networkPolicy.enabled=false",
    ],
    &["--set=controllerClass=eu", "--set=selector=shard=a", "--set=fullnameOverride=shard-a", "--set=commonLabels.team=hr"],
    &[
        "--set=proxy.https=http://proxy.example.com:3128",
        "--set=proxy.noProxy=.example.com",
        "--set=caBundle.configMap=corporate",
        "--set=operator.catalogue.profiles[0].name=Ours",
    ],
    &[
        "--set=admissionPolicies.hosts.enabled=true",
        "--set=admissionPolicies.hosts.allowed={service4.ultipro.com,*.ultipro.ca}",
        "--set=admissionPolicies.secretNames.enabled=true",
        "--set=admissionPolicies.secretReaders.enabled=true",
        "--set=watchNamespaces={hr}",
    ],
    &[
        "--set=serviceAccount.create=false",
        "--set=rbac.create=false",
        "--set=tests.enabled=false",
        "--set=service.enabled=false",
    ],
    &[
        "--set=operator.kubeApiQps=30",
        "--set=operator.kubeApiBurst=60",
        "--set=operator.workerThreads=2",
        "--set=proxy.secret.name=proxy",
        "--set=podDisruptionBudget.maxUnavailable=50%",
        "--set=pod.priorityClassName=system-cluster-critical",
    ],
];

/// Helm on the control plane, in this world's own state.
pub struct Helm<'a> {
    world: &'a World,
    home: PathBuf,
}

impl<'a> Helm<'a> {
    pub fn new(world: &'a World) -> Self {
        Self { world, home: world.directory.path().join("helm") }
    }

    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut helm = tool("helm");
        for (variable, directory) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            helm.env(variable, self.home.join(directory));
        }
        output(helm.env("KUBECONFIG", &self.world.control_plane.kubeconfig).args(arguments))
    }

    /// Must succeed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let (done, said) = self.run(arguments);
        assert!(done, "helm {arguments:?}: {said}");
        said
    }

    /// A copy of the chart of another version, packed.
    pub fn packed(&self, version: &str) -> PathBuf {
        let directory = self.world.directory.path();
        let to = directory.to_str().expect("a path");
        self.done(&["package", CHART, "--version", version, "--app-version", version, "--destination", to]);
        let packed = directory.join(format!("ukgpro-operator-{version}.tgz"));
        assert!(Path::new(&packed).exists());
        packed
    }
}
