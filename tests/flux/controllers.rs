//! Flux's controllers and a registry, as processes on loopback that look after one namespace.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use ukgpro_operator::api::REQUESTED_AT;

use super::support::World;

/// Longer than a health check with its timeout and a retry after it take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

pub struct Flux {
    client: Client,
    namespace: String,
    programs: PathBuf,
    registry: String,
    directory: TempDir,
    processes: Vec<Child>,
}

impl Flux {
    /// Both controllers for this world's namespace, and an empty registry, which is source `platform`.
    pub async fn start(world: &World) -> Self {
        // Somebody's own cluster may have Flux, of another version.
        assert!(
            world.control_plane.audit_log.is_some(),
            "this installs CRDs, so it brings its own control plane; unset USE_KUBECONFIG"
        );
        let programs = script("tests/gitops/flux/build.sh").pop().expect("a directory").into();
        let directory = tempfile::tempdir().expect("a directory");
        let [registry, storage] = [free_address(), free_address()];
        let client = world.admin.clone();
        let namespace = world.namespace.clone();
        let mut flux = Self { client, namespace, programs, registry: registry.clone(), directory, processes: Vec::new() };
        install_crds(&flux.client).await;
        flux.run("crane", &["registry", "serve", "--address", &registry], None);
        let path = flux.directory.path().join("storage");
        std::fs::create_dir(&path).expect("a directory");
        let path = path.to_str().expect("a path").to_owned();
        let common = ["--watch-all-namespaces=false", "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"];
        let source = ["--storage-path", &path, "--storage-addr", &storage, "--storage-adv-addr", &storage];
        flux.run("source-controller", &[&common[..], &source[..]].concat(), Some(&world.control_plane.kubeconfig));
        let kustomize = ["--requeue-dependency=2s"];
        flux.run("kustomize-controller", &[&common[..], &kustomize[..]].concat(), Some(&world.control_plane.kubeconfig));
        world.wait_until("a registry", async || TcpStream::connect(&registry).await.is_ok()).await;
        flux
    }

    fn run(&mut self, program: &str, arguments: &[&str], kubeconfig: Option<&Path>) {
        let log = File::create(self.log(program)).expect("a log file");
        let mut command = Command::new(self.programs.join(program));
        // kustomize-controller clears away what others of its kind have in the directory for such files.
        command.args(arguments).env("RUNTIME_NAMESPACE", &self.namespace).env("TMPDIR", self.directory.path());
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let also = log.try_clone().expect("a log file");
        self.processes.push(command.stdin(Stdio::null()).stdout(log).stderr(also).spawn().expect("it starts"));
    }

    fn log(&self, program: &str) -> PathBuf {
        self.directory.path().join(format!("{program}.log"))
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.directory.path().join("repository").join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(&path, content).expect("written");
    }

    /// Has sops encrypt as `examples/gitops/secrets/.sops.yaml` says; the private key for what is encrypted.
    pub fn choose_key(&self) -> String {
        let key = succeed(&mut Command::new(self.programs.join("age-keygen")));
        let public = key.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a public key");
        self.write(".sops.yaml", &example_file("secrets/.sops.yaml").replace("the public key, which begins with age1", public));
        key
    }

    /// Encrypts a file of the repository, and gives it as it then is.
    pub fn encrypt(&self, path: &str) -> String {
        let root = self.directory.path().join("repository");
        let mut sops = Command::new(self.programs.join("sops"));
        succeed(sops.args(["--encrypt", "--in-place", path]).current_dir(&root));
        std::fs::read_to_string(root.join(path)).expect("a file")
    }

    /// Pushes the repository as it is, and names it as a source that is to be looked at now.
    pub async fn publish(&self) {
        let root = self.directory.path().join("repository");
        let layer = self.directory.path().join("layer.tar.gz");
        succeed(Command::new("tar").arg("-czf").arg(&layer).arg("-C").arg(&root).arg("."));
        let image = format!("{}/platform:latest", self.registry);
        let mut push = Command::new(self.programs.join("crane"));
        succeed(push.args(["append", "--insecure", "--oci-empty-base", "--new_tag", &image, "--new_layer"]).arg(&layer));
        self.apply(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": "platform", "namespace": self.namespace,
                "annotations": {REQUESTED_AT: jiff::Timestamp::now().to_string()}},
            "spec": {"interval": "1m", "url": format!("oci://{}/platform", self.registry), "ref": {"tag": "latest"},
                "insecure": true},
        }))
        .await;
    }

    /// Applies an object of Flux.
    pub async fn apply(&self, manifest: &Value) {
        let kind = manifest["kind"].as_str().expect("a kind");
        let name = manifest["metadata"]["name"].as_str().expect("a name");
        let params = PatchParams::apply("tests").force();
        self.api(kind).patch(name, &params, &Patch::Apply(manifest)).await.expect("applied");
    }

    /// Waits until a Kustomization is as said.
    pub async fn wait_for(&self, name: &str, what: &str, is: impl Fn(&DynamicObject) -> bool) -> DynamicObject {
        let api = self.api("Kustomization");
        let is = |found: Option<&DynamicObject>| found.is_some_and(&is);
        match tokio::time::timeout(DEADLINE, await_condition(api.clone(), name, is)).await {
            Ok(found) => found.expect("a watch").expect("it is there"),
            Err(_) => {
                let status = api.get(name).await.expect("it is there").data["status"].clone();
                let logs =
                    ["source-controller", "kustomize-controller"].map(|program| std::fs::read_to_string(self.log(program)));
                panic!("waited for {what} of {name} in vain; its status is\n{status:#}\nand the controllers said\n{logs:#?}");
            }
        }
    }

    /// Whether the workload in the repository was applied.
    pub async fn has_workload(&self) -> bool {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        api.get_opt("workload").await.expect("an answer").is_some()
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let group = if kind == "Kustomization" { "kustomize" } else { "source" };
        let kind = GroupVersionKind::gvk(&format!("{group}.toolkit.fluxcd.io"), "v1", kind);
        let plural = if kind.kind == "Kustomization" { "kustomizations" } else { "ocirepositories" };
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk_with_plural(&kind, plural))
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A file of `examples/gitops`.
pub fn example_file(file: &str) -> String {
    let path = format!("{}/examples/gitops/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A document in it.
pub fn example(file: &str, kind: &str, name: &str) -> Value {
    let text = example_file(file);
    let documents = text.split("\n---\n").map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    let mut of_name = documents.filter(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    of_name.next().unwrap_or_else(|| panic!("{file} has no {kind} {name}"))
}

async fn install_crds(client: &Client) {
    for path in script("tests/gitops/crds.sh").iter().filter(|path| path.contains("toolkit.fluxcd.io")) {
        let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).expect("a file")).expect("a CRD");
        let name = crd["metadata"]["name"].as_str().expect("a name");
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        let patched = crds.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&crd)).await;
        let name = patched.expect("the CRD is accepted").name_any();
        let established = await_condition(crds, &name, conditions::is_crd_established());
        tokio::time::timeout(DEADLINE, established).await.expect("in time").expect("the CRD is established");
    }
}

/// The lines that a script of this repository prints.
fn script(path: &str) -> Vec<String> {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&path).stderr(Stdio::inherit()).output().expect("it runs");
    assert!(output.status.success(), "{path} failed");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Runs it, and gives what it prints.
fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// An address that nobody listens on. Somebody else might before it is used, which then fails loudly.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").to_string()
}
