//! A running simulator, its answers, and handwritten requests to it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::{CONFIG, HOST, OTHER_HOST, SITE};

/// A running simulator, killed when dropped.
pub(crate) struct Simulator {
    pub(crate) child: Child,
    pub(crate) https: SocketAddr,
    pub(crate) admin: String,
    pub(crate) ca: String,
    pub(crate) client: Client,
    pub(crate) plain: Client,
}

impl Simulator {
    pub(crate) fn start() -> Self {
        Self::start_with(CONFIG, None)
    }

    pub(crate) fn start_with(config: &str, state_dir: Option<&Path>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (file, ca_out) = (directory.path().join("tenants.yaml"), directory.path().join("ca.pem"));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ukgpro-simulator"));
        command.env("UKGPRO_SIMULATOR_LOG", "error");
        command.arg("--config").arg(&file).arg("--ca-out").arg(&ca_out);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--exit-when-stdin-closes"]);
        if let Some(state_dir) = state_dir {
            command.arg("--state-dir").arg(state_dir);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["caFile"], ca_out.to_str().unwrap());
        let https = ready["https"].as_str().unwrap().parse().unwrap();
        let ca = std::fs::read_to_string(&ca_out).unwrap();
        let plain = Client::builder().no_proxy().build().unwrap();
        let client = client(&ca, https, |builder| builder);
        Self { child, https, admin: ready["admin"].as_str().unwrap().to_owned(), ca, client, plain }
    }

    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.https.port())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> RequestBuilder {
        self.client
            .post(self.url(HOST, path))
            .header("content-type", "application/soap+xml; charset=utf-8")
            .body(body.to_owned())
    }

    pub(crate) async fn login(&self, body: &str) -> Answer {
        Answer::of(self.post("/services/LoginService", body).send().await.unwrap()).await
    }

    pub(crate) async fn token(&self) -> String {
        self.login(&right_login()).await.element("Token")
    }

    pub(crate) async fn find(&self, service: &str, operation: &str, token: &str, query: &str) -> Answer {
        let body = find(service, operation, token, "ACME1", query);
        Answer::of(self.post(&format!("/services/{service}"), &body).send().await.unwrap()).await
    }

    pub(crate) async fn rest(&self, path: &str, password: &str, key: &str) -> Answer {
        let request = self.client.get(self.url(HOST, path)).basic_auth("svc-acme", Some(password));
        Answer::of(request.header("us-customer-api-key", key).send().await.unwrap()).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Value {
        let request = self.plain.get(format!("{}{path}", self.admin));
        Answer::of(request.send().await.unwrap()).await.json()
    }

    pub(crate) async fn put(&self, path: &str, body: impl ToString) -> (u16, String) {
        let response = self.plain.put(format!("{}{path}", self.admin)).body(body.to_string()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) async fn delete(&self, path: &str) {
        let response = self.plain.delete(format!("{}{path}", self.admin)).send().await.unwrap();
        assert_eq!(response.status(), 204);
    }

    pub(crate) async fn fault(&self, operation: &str, answer: Value) {
        let faults = json!([{ "operation": operation, "answer": answer }]);
        assert_eq!(self.put("/faults", faults).await, (204, String::new()));
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn client(
    ca: &str,
    https: SocketAddr,
    more: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Client {
    let certificate = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    let mut builder = Client::builder().no_proxy().tls_certs_only([certificate]);
    for host in [HOST, OTHER_HOST, SITE, "new.ultipro.localhost"] {
        builder = builder.resolve(host, https);
    }
    more(builder).build().unwrap()
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let content_type = response.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
        Self { status: response.status().as_u16(), content_type, text: response.text().await.unwrap() }
    }

    /// Returns the text of the first element with that local name, or an empty string if there is none.
    pub(crate) fn element(&self, name: &str) -> String {
        let mut reader = quick_xml::Reader::from_str(&self.text);
        let mut inside = false;
        let mut text = String::new();
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Start(start) if start.local_name().into_inner() == name => inside = true,
                quick_xml::events::Event::End(_) | quick_xml::events::Event::Eof if inside => {
                    return text;
                }
                quick_xml::events::Event::Text(part) if inside => text.push_str(&part.xml10_content()),
                quick_xml::events::Event::Eof => return text,
                _ => {}
            }
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

pub(crate) fn login(key: &str, password: &str, user_key: &str, username: &str) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">http://www.ultipro.com/services/loginservice/ILoginService/Authenticate</a:Action><h:ClientAccessKey xmlns:h="http://www.ultipro.com/services/loginservice">{}</h:ClientAccessKey><h:Password xmlns:h="http://www.ultipro.com/services/loginservice">{}</h:Password><h:UserAccessKey xmlns:h="http://www.ultipro.com/services/loginservice">{}</h:UserAccessKey><h:UserName xmlns:h="http://www.ultipro.com/services/loginservice">{}</h:UserName></s:Header><s:Body><TokenRequest xmlns="http://www.ultipro.com/contracts"/></s:Body></s:Envelope>"#,
        escape(key),
        escape(password),
        escape(user_key),
        escape(username)
    )
}

pub(crate) fn right_login() -> String {
    login("ACME1", "p<a>&s's", "UKEY00ACME01", "svc-acme")
}

pub(crate) fn find(service: &str, operation: &str, token: &str, key: &str, query: &str) -> String {
    let namespace = format!("http://www.ultipro.com/services/{}", service.to_lowercase());
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">{namespace}/I{service}/{operation}</a:Action><UltiProToken xmlns="http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken">{token}</UltiProToken><ClientAccessKey xmlns="http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey">{key}</ClientAccessKey></s:Header><s:Body><{operation} xmlns="{namespace}"><query xmlns:b="http://www.ultipro.com/contracts">{query}</query></{operation}></s:Body></s:Envelope>"#
    )
}
