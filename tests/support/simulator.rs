//! A simulator of UKG Pro, one process per test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine as _};
use serde::Deserialize;
use serde_json::{Value, json};
use ukg_pro::catalogue::Catalogue;

pub const HOST: &str = "service4.ultipro.localhost";

/// A service account of the simulator. A test changes it and calls [`Simulator::play`].
#[derive(Clone)]
pub struct Account {
    pub username: String,
    pub password: String,
    pub customer_api_key: String,
    pub user_api_key: String,
    pub status: &'static str,
    pub permissions: Vec<String>,
}

impl Account {
    /// Creates an account with unique values and all permissions.
    pub fn unique(tag: &str) -> Self {
        Self {
            username: format!("svc-{tag}"),
            password: format!("pw-{tag}-<&>\"'!"),
            customer_api_key: format!("C{tag}"),
            user_api_key: format!("UKEY{tag}"),
            status: "Active",
            permissions: all_permissions(),
        }
    }

    pub fn secrets(&self) -> [&str; 4] {
        [&self.username, &self.password, &self.customer_api_key, &self.user_api_key]
    }

    /// Returns each credential in every form in which it could leak: plain, in JSON, XML and a URL, in base64 alone and after
    /// other characters, and as basic authentication.
    pub fn forms(&self) -> Vec<String> {
        let basic = BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password));
        let mut forms = vec![basic];
        for secret in self.secrets() {
            let json = serde_json::to_string(secret).expect("JSON");
            forms.push(secret.to_owned());
            forms.push(json.trim_matches('"').to_owned());
            forms.push(serde_json::to_string(&json).expect("JSON").trim_matches(['"', '\\']).to_owned());
            forms.push(quick_xml::escape::escape(secret).into_owned());
            forms.push(quick_xml::escape::partial_escape(secret).into_owned());
            forms.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
            for before in ["", "x", "xx"] {
                // Without the characters at both ends, which depend on their neighbours.
                let encoded = BASE64_STANDARD_NO_PAD.encode(format!("{before}{secret}"));
                forms.push(encoded[before.len() + before.len().min(1)..encoded.len() - 1].to_owned());
            }
        }
        forms
    }

    fn tenant(&self) -> Value {
        self.tenant_at(&[HOST.to_owned()])
    }

    /// Returns the tenant of this account at these hosts, in the simulator's format.
    pub fn tenant_at(&self, hosts: &[String]) -> Value {
        json!({"name": "acme", "hosts": hosts, "customerApiKey": self.customer_api_key, "accounts": [{
            "username": self.username, "password": self.password, "userApiKey": self.user_api_key,
            "status": self.status, "permissions": self.permissions,
        }]})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    https: String,
    admin: String,
}

/// Returns every row of the built-in catalogue.
pub fn all_permissions() -> Vec<String> {
    Catalogue::built_in().rows().map(|row| row.name.clone()).collect()
}

/// Builds the simulator and returns its path. It is another package, so Cargo does not build it for these tests.
pub fn simulator() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let operator = Path::new(env!("CARGO_BIN_EXE_ukgpro-operator"));
        let directory = operator.parent().expect("a directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--package", "ukgpro-simulator", "--target-dir"]);
        cargo.arg(directory.parent().expect("a directory")).current_dir(env!("CARGO_MANIFEST_DIR"));
        // For this machine, whatever target is set for what is tested.
        cargo.env_remove("CARGO_BUILD_TARGET");
        if directory.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the simulator is not built");
        directory.join("ukgpro-simulator")
    })
}

pub struct Simulator {
    pub port: u16,
    /// Its certificate authority, in PEM.
    pub ca: String,
    admin: String,
    http: reqwest::Client,
    process: Child,
}

impl Simulator {
    pub fn start(directory: &Path, account: &Account) -> Self {
        let config = directory.join("simulator.json");
        let ca = directory.join("ca.crt");
        let login_site = format!("login.{}", HOST.split_once('.').expect("a domain").1);
        let tenants = json!({"tenants": [account.tenant()], "loginSites": [login_site]});
        std::fs::write(&config, tenants.to_string()).expect("the configuration is written");
        let mut process = Command::new(simulator())
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--exit-when-stdin-closes", "--config"])
            .arg(&config)
            .arg("--ca-out")
            .arg(&ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("the simulator reports");
        let report: Report = serde_json::from_str(&line).expect("the simulator's report");
        let port = report.https.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let ca = std::fs::read_to_string(ca).expect("a certificate");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { port, ca, admin: report.admin, http, process }
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Replaces the tenants by the tenant of this account.
    pub async fn play(&self, account: &Account) {
        let tenants = json!({"tenants": [account.tenant()]});
        self.put("config", &tenants).await;
    }

    /// Replaces the tenants by these, in the simulator's format.
    pub async fn play_tenants(&self, config: &Value) {
        self.put("config", config).await;
    }

    /// Replaces the injected faults.
    pub async fn faults(&self, faults: Value) {
        self.put("faults", &faults).await;
    }

    /// Resets the counters.
    #[allow(dead_code, reason = "one of the two test binaries uses it")]
    pub async fn reset(&self) {
        self.http.delete(format!("{}/counters", self.admin)).send().await.expect("reset");
    }

    pub async fn counters(&self) -> Value {
        let url = format!("{}/counters", self.admin);
        let text = self.http.get(url).send().await.expect("counters").text().await.expect("counters");
        serde_json::from_str(&text).expect("counters are JSON")
    }

    /// Returns the SOAP logins received for this account: attempts, refused.
    pub async fn logins(&self, account: &Account) -> (u64, u64) {
        let logins = &self.counters().await["logins"][&account.username];
        let count = |field: &str| logins[field].as_u64().unwrap_or(0);
        (count("attempts") - count("rest"), count("refused"))
    }

    /// Returns the number of requests received, of any kind.
    pub async fn requests(&self) -> u64 {
        let counters = self.counters().await;
        counters["requests"].as_object().expect("a map").values().filter_map(Value::as_u64).sum()
    }

    async fn put(&self, path: &str, body: &Value) {
        let url = format!("{}/{path}", self.admin);
        let answer = self.http.put(url).body(body.to_string()).send().await.expect("an answer");
        assert!(answer.status().is_success(), "PUT /{path}: {}", answer.text().await.unwrap_or_default());
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
