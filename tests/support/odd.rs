//! Hosts that answer each login in a way that may be a refusal.

use serde_json::{Value, json};

use super::World;

/// Returns named answers to a login that are neither a session nor a refusal in known words.
pub fn answers() -> Vec<(&'static str, Value)> {
    const SOAP: &str = "application/soap+xml; charset=utf-8";
    let body = |status: u16, content_type: &str, body: String| json!({"status": status, "headers": {"content-type": content_type}, "body": body});
    let envelope = |inner: &str| {
        format!(r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{inner}</s:Body></s:Envelope>"#)
    };
    let fault = |code: &str, subcode: &str| {
        let subcode = format!("<s:Subcode><s:Value>{subcode}</s:Value></s:Subcode>");
        let reason = "<s:Reason><s:Text xml:lang=\"en\">The server was unable to process the request.</s:Text></s:Reason>";
        envelope(&format!("<s:Fault><s:Code><s:Value>s:{code}</s:Value>{subcode}</s:Code>{reason}</s:Fault>"))
    };
    let response = |fields: &str| {
        envelope(&format!(r#"<TokenResponse xmlns="http://www.ultipro.com/contracts">{fields}</TokenResponse>"#))
    };
    vec![
        ("loginpaused", body(500, SOAP, fault("Receiver", "InternalServiceFault"))),
        ("receiver", body(500, SOAP, fault("Receiver", "x"))),
        ("sender", body(400, SOAP, fault("Sender", "x"))),
        ("unknown-status", body(200, SOAP, response("<Status>Maybe</Status>"))),
        ("no-token", body(200, SOAP, response("<Status>Ok</Status>"))),
        ("plain", body(500, "text/html", "<html>".to_owned())),
        ("in-words", body(200, SOAP, response("<Status>Failed</Status><StatusMessage>An error has occured</StatusMessage>"))),
        ("json", body(200, "application/json", "{}".to_owned())),
        ("nothing", body(200, SOAP, String::new())),
        ("not-found", body(404, "text/plain", String::new())),
        ("method", body(405, "text/plain", String::new())),
    ]
}

/// Applies a connection for each of these answers, each with its own host and account. The hosts in `others` give the first
/// answer.
pub async fn connect(world: &World, others: &[&str]) -> Vec<&'static str> {
    let answers = answers();
    let names: Vec<_> = answers.iter().map(|(name, _)| *name).collect();
    let host = |name: &&str| format!("{name}.ultipro.localhost");
    let hosts: Vec<_> = names.iter().map(host).chain(others.iter().map(|host| (*host).to_owned())).collect();
    world.simulator.play_tenants(&json!({"tenants": [world.account.tenant_at(&hosts)]})).await;
    let all = answers.iter().map(|(_, answer)| answer).chain(others.iter().map(|_| &answers[0].1));
    let faults: Vec<_> = hosts
        .iter()
        .zip(all)
        .map(|(host, answer)| json!({"operation": "LoginService/Authenticate", "host": host, "answer": answer}))
        .collect();
    world.simulator.faults(json!(faults)).await;
    for name in &names {
        let mut manifest = world.connection_of_a_stranger(name).await;
        manifest["spec"]["subdomain"] = json!(name);
        manifest["spec"]["interval"] = json!("1m");
        world.apply(&manifest).await.expect("accepted");
    }
    names
}
