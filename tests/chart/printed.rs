//! Runs the commands that the documentation prints, with the real kubectl and the real Helm.
//!
//! A block fenced as `console` is run as it stands. A block fenced as `sh` needs a cluster, an account or tools of the reader's. It is
//! only parsed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;

use crate::helm::{output, tool};
use crate::pods;
use crate::support::World;
use crate::support::control_plane::ControlPlane;
use crate::support::operator::OPERATOR;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Blocks that no test types, by document and first words.
const NOT_HERE: [(&str, &str, &str); 2] = [
    ("README.md", "$ make demo", "they are what builds and runs all this; `make demo` is tried in a fresh clone"),
    ("docs/simulator.md", "$ ukgpro-simulator", "it does not end; the tests of the simulator start it with these flags"),
];

/// Pages with YAML that is no manifest: a part of a kustomization, and of a configuration file. Tests of their own read these.
const PARTS: [&str; 2] = ["docs/gitops.md", "docs/answers.md"];

/// A block of a document.
#[derive(Debug)]
struct Block {
    document: String,
    text: String,
}

/// The pages that go on from an installed operator, in this order.
const STORY: [&str; 4] = [
    "docs/start/first-connection.md",
    "docs/tasks/wait-for-a-connection.md",
    "docs/tasks/add-a-permission.md",
    "docs/tasks/rotate-a-password.md",
];

/// A command, and what is printed below it.
#[derive(Debug)]
struct Step {
    command: String,
    printed: Vec<String>,
}

impl Block {
    /// What follows `$ `, lines that are continued included.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::<Step>::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step { command: command.to_owned(), printed: Vec::new() }),
                (None, Some(step)) if goes_on => step.command.push_str(&format!("\n{line}")),
                (None, Some(step)) => step.printed.push(line.to_owned()),
                (None, None) => panic!("{}: {line}", self.document),
            }
            goes_on = line.ends_with('\\');
        }
        steps
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = ["docs", "examples", "charts", "tests"].map(|name| Path::new(ROOT).join(name)).to_vec();
    let top = fs::read_dir(ROOT).expect("a directory").map(|entry| entry.expect("an entry").path());
    found.extend(top.filter(|path| path.is_file()));
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found
}

/// Every block of these kinds in every document.
fn blocks(kinds: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).expect("a document");
        let document = path.strip_prefix(ROOT).expect("below").display().to_string();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim().strip_prefix("```").is_some_and(|kind| kinds.contains(&kind)) {
                let text = lines.by_ref().take_while(|line| line.trim() != "```").map(|line| format!("{line}\n")).collect();
                blocks.push(Block { document: document.clone(), text });
            }
        }
    }
    blocks
}

/// The blocks of a page, from the first on.
fn page(document: &str) -> Vec<Block> {
    let page: Vec<_> = blocks(&["console"]).into_iter().filter(|block| block.document == document).collect();
    assert!(!page.is_empty(), "{document}");
    page
}

/// The block of this document that has these words.
fn block(document: &str, words: &str) -> Block {
    let mut fit = blocks(&["console"]).into_iter().filter(|block| block.document == document && block.text.contains(words));
    let block = fit.next().unwrap_or_else(|| panic!("{document} has no block with {words}"));
    assert!(fit.next().is_none(), "{document} has another block with {words}");
    block
}

/// Where somebody types: a folder with the repository's own, and what they have written themselves.
struct Terminal<'a> {
    world: &'a World,
    directory: PathBuf,
}

impl<'a> Terminal<'a> {
    fn new(world: &'a World) -> Self {
        let directory = world.directory.path().join("terminal");
        fs::create_dir_all(directory.join("examples")).expect("made");
        for linked in ["charts", "config", "examples/helm"] {
            std::os::unix::fs::symlink(Path::new(ROOT).join(linked), directory.join(linked)).expect("linked");
        }
        Self { world, directory }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).expect("written");
    }

    /// `examples/connection.yaml` with values of one's own.
    fn example(&self) -> String {
        let World { account, .. } = self.world;
        let mut text = fs::read_to_string(format!("{ROOT}/examples/connection.yaml")).expect("an example");
        for (key, value) in ["username", "password", "customerApiKey", "userApiKey"].iter().zip(account.secrets()) {
            let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{key}: "))).expect(key).to_owned();
            text = text.replace(&line, &format!("  {key}: {}", json!(value)));
        }
        let domain = format!("  domain: {}\n  caRef: {{name: simulator-ca}}\n", self.world.domain());
        assert!(text.contains("  domain: ultipro.com\n"));
        text.replace("  domain: ultipro.com\n", &domain)
    }

    fn write_example(&self) {
        self.write("examples/connection.yaml", &self.example());
    }

    /// Types a block. What is printed below a command must be what it says, but for what stands for `...`, times and the simulator's port;
    /// one with an error below it must fail.
    async fn types(&self, block: &Block) {
        for Step { command, printed } in block.steps() {
            let mut shell = Command::new("bash");
            let kubectl = self.world.control_plane.kubectl.parent().expect("a directory").to_owned();
            let helm = PathBuf::from(tool("helm").get_program()).parent().expect("a directory").to_owned();
            let own = Path::new(OPERATOR).parent().expect("a directory").to_owned();
            let path = std::env::var("PATH").expect("a path");
            let path = [kubectl, helm, own].map(|directory| directory.display().to_string()).join(":") + ":" + &path;
            for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
                shell.env(variable, self.directory.join(variable));
            }
            shell.args(["-euo", "pipefail", "-c", &command]).current_dir(&self.directory);
            shell.env("PATH", path).env("KUBECONFIG", &self.world.control_plane.kubeconfig);
            shell.env("UKGPRO_ALLOWED_DOMAINS", "ultipro.localhost:*");
            let (done, said) = tokio::task::spawn_blocking(move || output(&mut shell)).await.expect("it ends");
            let fails = printed.iter().any(|line| line.starts_with("Error:"));
            assert_eq!(done, !fails, "{}: {command}\n{said}", block.document);
            let said = self.plain(&said);
            for line in &printed {
                let line = self.plain(line);
                let parts = line.split("...").map(str::trim).filter(|part| !part.is_empty());
                for part in parts {
                    assert!(said.contains(part), "{}: {command}\nsays no {part}\nbut {said}", block.document);
                }
            }
        }
    }

    /// Without widths, ages and the port.
    fn plain(&self, text: &str) -> String {
        let text = text.replace(&self.world.domain(), "ultipro.com");
        let is_age = |word: &str| word.strip_suffix(['s', 'm']).is_some_and(|number| number.parse::<u32>().is_ok());
        text.split_whitespace().map(|word| if is_age(word) { "..." } else { word }).collect::<Vec<_>>().join(" ")
    }
}

/// Types blocks in a cluster of its own, in which Pods run. `before` writes the reader's own files; `after` looks at what has come of it.
async fn session(name: &str, before: impl FnOnce(&Terminal<'_>), blocks: Vec<Block>, after: impl AsyncFnOnce(&World)) {
    let Some(world) = cluster(name).await else { return };
    let terminal = Terminal::new(&world);
    before(&terminal);
    let node = pods::node(&world);
    for block in &blocks {
        terminal.types(block).await;
    }
    after(&world).await;
    drop(node);
    let control_plane = world.control_plane;
    drop(world);
    control_plane.end();
}

async fn nothing_more(_: &World) {}

/// The block that installs the operator.
fn installation() -> Block {
    block("docs/install.md", "kubectl rollout status")
}

/// A cluster in which nothing of this project is yet, and a namespace that trusts the simulator.
async fn cluster(name: &str) -> Option<World> {
    let world = World::on(ControlPlane::breakable()?, name).await;
    let (deleted, said) = world.kubectl(&["delete", "crd", "ukgproconnections.ukgpro.dev", "--wait"]).await;
    assert!(deleted, "{said}");
    let params = PostParams::default();
    let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata: metadata("hr-integrations"), ..Namespace::default() };
    Api::all(world.admin.clone()).create(&params, &namespace).await.expect("made");
    for namespace in ["default", "hr-integrations"] {
        let data = Some([("ca.crt".to_owned(), world.simulator.ca.clone())].into());
        let authority = ConfigMap { metadata: metadata("simulator-ca"), data, ..ConfigMap::default() };
        Api::namespaced(world.admin.clone(), namespace).create(&params, &authority).await.expect("made");
    }
    Some(world)
}

#[test]
fn every_block_is_typed_or_said_not_to_be() {
    let typed = [
        ("README.md", "kubectl apply -f examples/connection.yaml"),
        ("README.md", "ukgpro-operator check"),
        ("docs/install.md", "kubectl rollout status"),
        ("docs/install.md", "-k config/default"),
        ("docs/gitops.md", "helm install payroll-sync"),
    ];
    let blocks = blocks(&["console"]);
    for (document, words, why) in NOT_HERE {
        let is_there = blocks.iter().any(|block| block.document == document && block.text.starts_with(words));
        assert!(is_there && !why.is_empty(), "{document} has no block that begins with {words}");
    }
    for block in blocks {
        let is_typed = typed.iter().any(|(document, words)| block.document == *document && block.text.contains(words))
            || STORY.contains(&block.document.as_str());
        let is_not = NOT_HERE.iter().any(|(document, words, _)| block.document == *document && block.text.starts_with(words));
        assert!(is_typed != is_not, "{}:\n{}", block.document, block.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_hour_is_as_the_readme_prints_it() {
    let blocks = vec![block("README.md", "kubectl apply -f examples/connection.yaml")];
    session("first-hour", |terminal| terminal.write_example(), blocks, nothing_more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_as_its_page_prints_it() {
    session("installed", |_| {}, vec![installation()], nothing_more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_helm_is_as_its_page_prints_it() {
    let flags = ["rollout", "status", "deployment/ukgpro-operator", "--namespace", "ukgpro-system", "--timeout=60s"];
    let runs = async |world: &World| {
        let (running, said) = world.kubectl(&flags).await;
        assert!(running, "{said}");
    };
    session("kustomized", |_| {}, vec![block("docs/install.md", "-k config/default")], runs).await;
}

/// The password that is wrong on purpose costs one login.
async fn one_login_was_refused(world: &World) {
    assert_eq!(world.simulator.logins(&world.account).await.1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_in_an_applications_chart_is_mended_as_its_page_prints_it() {
    let values = |terminal: &Terminal<'_>| {
        let World { account, .. } = terminal.world;
        let values = json!({"ukgPro": {
            "username": account.username, "password": "not-the-password", "customerApiKey": account.customer_api_key,
            "userApiKey": account.user_api_key, "domain": terminal.world.domain(), "caConfigMap": "simulator-ca",
        }});
        terminal.write("acme.yaml", &values.to_string());
        terminal.write("password.txt", &account.password);
    };
    let blocks = vec![installation(), block("docs/gitops.md", "helm install payroll-sync")];
    session("mended", values, blocks, one_login_was_refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_a_cluster_is_as_the_readme_prints_it() {
    let world = World::new("check-printed").await;
    let terminal = Terminal::new(&world);
    let example = terminal.example();
    let (secret, connection) = example.split_once("\n---\n").expect("two documents");
    let data = json!({"ca.crt": world.simulator.ca});
    let authority = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "simulator-ca"}, "data": data});
    terminal.write("connection.yaml", connection);
    terminal.write("secret.yaml", &format!("{secret}\n---\n{authority}\n"));
    terminal.types(&block("README.md", "ukgpro-operator check")).await;
    let captured = fs::read_to_string(terminal.directory.join("answers.yaml")).expect("a capture");
    assert!(captured.contains("takenAs"), "{captured}");
    world.finish_without_operator().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_steps_and_the_tasks_are_as_their_pages_print_them() {
    let files = |terminal: &Terminal<'_>| {
        terminal.write_example();
        let names = ["username.txt", "password.txt", "customer-api-key.txt", "user-api-key.txt"];
        names.iter().zip(terminal.world.account.secrets()).for_each(|(file, value)| terminal.write(file, value));
    };
    let story = STORY.iter().flat_map(|document| page(document));
    session("story", files, [installation()].into_iter().chain(story).collect(), one_login_was_refused).await;
}

#[test]
fn blocks_for_a_cluster_of_ones_own_can_be_parsed() {
    let blocks = blocks(&["sh", "bash", "shell"]);
    assert!(!blocks.is_empty());
    for block in blocks {
        let (parsed, said) = output(Command::new("bash").args(["-n", "-c", &block.text]));
        assert!(parsed, "{}: {said}\n{}", block.document, block.text);
    }
}

/// What a page shows as a manifest is one that the API server takes, to the last field.
#[tokio::test]
async fn every_manifest_of_the_book_is_taken_by_the_api_server() {
    let world = World::new("book").await;
    let mut taken = 0;
    for Block { document, text } in blocks(&["yaml"]).into_iter().filter(|block| block.document.starts_with("docs/")) {
        if !text.contains("apiVersion:") {
            assert!(PARTS.contains(&document.as_str()), "{document} shows a part of a manifest:\n{text}");
            continue;
        }
        let file = world.directory.path().join("block.yaml");
        // A namespace that a page names need not be there.
        let lines = text.lines().filter(|line| !line.starts_with("  namespace: "));
        fs::write(&file, lines.map(|line| format!("{line}\n")).collect::<String>()).expect("written");
        let file = file.to_str().expect("a path");
        let flags = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", file];
        let (applied, said) = world.kubectl(&flags).await;
        assert!(applied, "{document}: {said}\n{text}");
        taken += 1;
    }
    assert!(taken > 3, "{taken}");
    world.finish_without_operator().await;
}
