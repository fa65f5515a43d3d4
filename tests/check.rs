//! `ukgpro-operator check` as a person runs it: the real binary, on files, against the simulator.
//!
//! Every run ends with a search that shows that no credential, nor its base64, nor its form in XML, is in anything it wrote.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

#[allow(unreachable_pub, dead_code, reason = "it is shared with the end-to-end tests, which use more of it")]
#[path = "support/simulator.rs"]
mod simulator;

use simulator::{Account, Simulator};

const ACTIVE: i32 = 0;
const NOT_ACTIVE: i32 = 1;
const BAD_INPUT: i32 = 2;

/// A simulator with one account, and a directory for files.
struct Scene {
    account: Account,
    simulator: Simulator,
    directory: TempDir,
}

/// What a run wrote.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
    capture: Option<String>,
}

impl Scene {
    fn new(tag: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let account = Account::unique(&format!("{tag}7Kq{:x}", std::process::id()));
        let simulator = Simulator::start(directory.path(), &account);
        Self { account, simulator, directory }
    }

    fn connection(&self, permissions: &[&str]) -> Value {
        let permissions: Vec<_> = permissions.iter().map(|name| json!({"name": name})).collect();
        json!({
            "apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection", "metadata": {"name": "acme"},
            "spec": {
                "secretRef": {"name": "acme-ukg-pro"}, "caRef": {"name": "simulator-ca"}, "permissions": permissions,
                "domain": format!("ultipro.localhost:{}", self.simulator.port), "subdomain": "service4",
            },
        })
    }

    /// Half of it in base64, as `kubectl get` gives it.
    fn secret(&self) -> Value {
        let [username, password, customer_api_key, user_api_key] = self.account.secrets();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme-ukg-pro"},
            "data": {"username": STANDARD.encode(username), "password": STANDARD.encode(password)},
            "stringData": {"customerApiKey": customer_api_key, "userApiKey": user_api_key},
        })
    }

    fn ca(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "simulator-ca"}, "data": {"ca.crt": self.simulator.ca}})
    }

    fn file(&self, name: &str, documents: &[Value]) -> PathBuf {
        let path = self.directory.path().join(name);
        let text: Vec<_> = documents.iter().map(|document| serde_saphyr::to_string(document).expect("YAML")).collect();
        std::fs::write(&path, text.join("---\n")).expect("written");
        path
    }

    fn manifests(&self, permissions: &[&str]) -> PathBuf {
        self.file("manifests.yaml", &[self.connection(permissions), self.secret(), self.ca()])
    }

    fn check(&self, files: &[&PathBuf], more: &[&str], stdin: &str) -> Run {
        self.check_into("capture.yaml", files, more, stdin)
    }

    /// Runs a check with a capture; what is written is looked through for each secret of the account.
    fn check_into(&self, capture: &str, files: &[&PathBuf], more: &[&str], stdin: &str) -> Run {
        self.check_with(&[], capture, files, more, stdin)
    }

    /// The same with these environment variables.
    fn check_with(&self, variables: &[(&str, &str)], capture: &str, files: &[&PathBuf], more: &[&str], stdin: &str) -> Run {
        let capture = self.directory.path().join(capture);
        let mut process = Command::new(env!("CARGO_BIN_EXE_ukgpro-operator"))
            .arg("check")
            .args(files)
            .args(["--allowed-domains", "ultipro.localhost:*", "--capture"])
            .arg(&capture)
            .args(more)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        process.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("it reads");
        let output = process.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let run = Run {
            code: output.status.code().expect("a code"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            capture: std::fs::read_to_string(capture).ok(),
        };
        for secret in self.account.secrets() {
            let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            for form in [secret, &STANDARD.encode(secret), &xml, &xml.replace('\'', "&apos;")] {
                for (what, text) in
                    [("stdout", &run.stdout), ("stderr", &run.stderr), ("capture", &run.capture.clone().unwrap_or_default())]
                {
                    assert!(!text.contains(form), "a secret is in {what}:\n{text}");
                }
            }
        }
        run
    }
}

impl Run {
    fn capture(&self) -> &str {
        self.capture.as_deref().expect("a capture")
    }

    /// The captured exchanges with this operation.
    fn exchanges(&self, operation: &str) -> Vec<Value> {
        let capture: Value = serde_saphyr::from_str(self.capture()).expect("YAML");
        let exchanges = capture["exchanges"].as_array().expect("a list").clone();
        exchanges.into_iter().filter(|exchange| exchange["operation"] == operation).collect()
    }
}

const BOTH: [&str; 2] = ["EmployeePersonDetails", "PtoPlanIntegration"];

#[tokio::test]
async fn a_good_connection_is_active_and_what_came_is_captured() {
    let scene = Scene::new("good");
    let run = scene.check(&[&scene.manifests(&BOTH)], &[], "");
    assert_eq!(run.code, ACTIVE, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.starts_with("acme: Active (AllPermissionsGranted)\n"), "{}", run.stdout);
    let rows: Vec<_> = run
        .stdout
        .lines()
        .filter(|line| line.ends_with("Granted"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    assert_eq!(rows, [["EmployeePersonDetails", "SOAP", "Granted"], ["PtoPlanIntegration", "REST", "Granted"]]);
    assert!(run.stderr.contains("sends one login to UKG Pro") && run.stderr.contains("one REST read"), "{}", run.stderr);
    assert_eq!(scene.simulator.logins(&scene.account).await, (1, 0));

    let [login] = &run.exchanges("LoginService/Authenticate")[..] else { panic!("{}", run.capture()) };
    assert_eq!((&login["answer"]["status"], &login["answer"]["body"]["kind"]), (&json!(200), &json!("soap")));
    assert_eq!(login["answer"]["contentType"], json!(["application/soap+xml", "utf-8"]));
    for part in ["name: contracts:TokenResponse", "name: service:Token", "- <guid>", "name: service:StatusMessage"] {
        assert!(run.capture().contains(part), "no {part} in {}", run.capture());
    }
    assert_eq!(run.exchanges("EmployeePerson/FindPeople").len(), 1);
    let [rest] = &run.exchanges("GET /personnel/v1/pto-plans")[..] else { panic!("{}", run.capture()) };
    assert_eq!(rest["answer"]["body"]["structure"][0]["type"], "array");
}

#[tokio::test]
async fn a_wrong_password_is_unauthorized_and_costs_one_login() {
    let mut scene = Scene::new("wrong");
    let right = scene.account.clone();
    scene.account.password = format!("{}-other", right.password);
    let manifests = scene.manifests(&BOTH);
    let run = scene.check(&[&manifests], &[], "");
    assert_eq!(run.code, NOT_ACTIVE, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.starts_with("acme: Unauthorized (CredentialsRejected)\n"), "{}", run.stdout);
    assert_eq!(run.stdout.lines().filter(|line| line.contains(" Unknown ")).count(), 2, "{}", run.stdout);
    assert_eq!(scene.simulator.logins(&right).await, (1, 1));
    assert!(run.capture().contains("- User authentication failed\n"), "{}", run.capture());
}

#[tokio::test]
async fn a_missing_permission_is_forbidden_and_told_with_its_remedy() {
    let mut scene = Scene::new("missing");
    scene.account.permissions.retain(|name| name != "EmployeeContacts");
    scene.simulator.play(&scene.account).await;
    let run = scene.check(&[&scene.manifests(&["EmployeeContacts"])], &[], "");
    assert_eq!(run.code, NOT_ACTIVE, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.starts_with("acme: Forbidden (PermissionsMissing)\n"), "{}", run.stdout);
    assert!(run.stdout.contains("tick View in the row Employee Contacts"), "{}", run.stdout);
    let [probe] = &run.exchanges("EmployeeContacts/FindContacts")[..] else { panic!("{}", run.capture()) };
    let probe = probe.to_string();
    assert!(probe.contains("permission") && probe.contains("contracts:OperationMessage"), "{probe}");
}

#[tokio::test]
async fn a_server_that_echoes_what_it_was_sent_does_not_get_it_into_a_capture() {
    let scene = Scene::new("echo");
    let [username, password, customer_api_key, user_api_key] = scene.account.secrets();
    let echo = format!("User {username} failed: {password} {customer_api_key}/{user_api_key} {}", STANDARD.encode(password));
    scene.simulator.faults(json!([{"operation": "LoginService/Authenticate", "answer": {"loginFailed": echo}}])).await;
    let run = scene.check(&[&scene.manifests(&BOTH)], &[], "");
    assert_eq!(run.code, NOT_ACTIVE, "{}{}", run.stdout, run.stderr);
    assert!(run.capture().contains("- User <word> failed <word>\n"), "{}", run.capture());
    scene.simulator.faults(json!([{"operation": "LoginService/Authenticate", "answer": {"closeConnection": true}}])).await;
    let run = scene.check(&[&scene.manifests(&BOTH)], &[], "");
    assert!(run.stdout.starts_with("acme: Unreachable (ConnectionLost)\n"), "{}", run.stdout);
    assert!(run.capture().contains("unanswered: the connection broke\n"), "{}", run.capture());
}

#[test]
fn standard_input_a_choice_by_name_and_yaml_are_for_machines() {
    let scene = Scene::new("stdin");
    let mut other = scene.connection(&[]);
    other["metadata"]["name"] = json!("globex");
    other["spec"]["suspend"] = json!(true);
    let file = scene.file("connections.yaml", &[scene.connection(&[]), other]);
    let stdin = format!("{}\n---\n{}", scene.secret(), scene.ca());
    let run = scene.check(&[&file, &PathBuf::from("-")], &["--name", "acme", "-o", "yaml"], &stdin);
    assert_eq!(run.code, ACTIVE, "{}{}", run.stdout, run.stderr);
    let object: Value = serde_saphyr::from_str(&run.stdout).expect("YAML");
    assert_eq!((&object["metadata"]["name"], &object["status"]["state"]), (&json!("acme"), &json!("Active")));
    assert_eq!(object["status"]["secretResourceVersion"], Value::Null);

    let run = scene.check(&[&file, &PathBuf::from("-")], &["--name", "globex"], &stdin);
    assert_eq!(run.code, NOT_ACTIVE);
    assert!(run.stdout.starts_with("globex: Unknown (Suspended)\n") && run.stderr.is_empty(), "{}{}", run.stdout, run.stderr);
    assert!(run.exchanges("LoginService/Authenticate").is_empty());
}

#[tokio::test]
async fn bad_input_is_told_by_its_place_and_nothing_is_sent() {
    let scene = Scene::new("bad");
    let password = &scene.account.password;
    let mut typo = scene.connection(&[]);
    typo["spec"]["permission"] = json!([]);
    let mut number = scene.secret();
    number["stringData"]["domain"] = json!(7);
    let torn = scene.directory.path().join("torn.yaml");
    std::fs::write(&torn, format!("apiVersion: v1\nkind: Secret\nstringData:\n  password: \"{password}\n")).expect("written");
    let connection = scene.file("connection.yaml", &[scene.connection(&[])]);
    let typo = scene.file("typo.yaml", &[scene.ca(), typo]);
    let number = scene.file("number.yaml", &[number]);
    for (what, files, said) in [
        ("no Secret", vec![&connection], "the files contain no ConfigMap simulator-ca"),
        ("no file", vec![&PathBuf::from("nowhere.yaml")], "nowhere.yaml: there is no such file"),
        ("a field that does not exist", vec![&typo], "typo.yaml, document 2 (line "),
        ("a number in a Secret", vec![&connection, &number], "number.yaml, document 1 (line "),
        ("half a Secret", vec![&connection, &torn], "torn.yaml, document 1 (line "),
    ] {
        let run = scene.check(&files, &[], "");
        assert_eq!((run.code, run.stdout.as_str()), (BAD_INPUT, ""), "{what}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{what}: {}", run.stderr);
        assert_eq!(run.capture, None, "{what}");
    }
    let run = scene.check_into("nowhere/capture.yaml", &[&scene.manifests(&[])], &[], "");
    assert_eq!(run.code, BAD_INPUT, "a capture that cannot be kept: {}", run.stderr);
    assert_eq!(scene.simulator.requests().await, 0);
}

#[tokio::test]
async fn a_check_goes_by_the_proxy_that_the_environment_names() {
    let scene = Scene::new("proxied");
    let manifests = scene.manifests(&[]);
    let run = |variables: &[(&str, &str)]| scene.check_with(variables, "capture.yaml", &[&manifests], &[], "");
    let nobody = ("HTTPS_PROXY", "http://user:zq-canary@127.0.0.1:1");
    let by_proxy = run(&[nobody]);
    assert_eq!(by_proxy.code, NOT_ACTIVE, "{}", by_proxy.stderr);
    assert!(by_proxy.stdout.starts_with("acme: Unreachable (ProxyFailed)"), "{}", by_proxy.stdout);
    assert_eq!(scene.simulator.requests().await, 0, "nothing goes past the proxy");
    let bad = run(&[("HTTPS_PROXY", "zq-canary://")]);
    assert_eq!(bad.code, BAD_INPUT, "{}{}", bad.stdout, bad.stderr);
    for run in [&by_proxy, &bad] {
        assert!(!run.stdout.contains("zq-canary") && !run.stderr.contains("zq-canary"), "{}{}", run.stdout, run.stderr);
    }
    let direct = run(&[nobody, ("NO_PROXY", ".localhost")]);
    assert_eq!(direct.code, ACTIVE, "{}{}", direct.stdout, direct.stderr);
}
