//! Connections whose Secret is missing, wrong or incomplete, and what happens when it changes.

use kube::api::DeleteParams;
use serde_json::json;
use ukgpro_operator::api::UkgProConnectionStatus;
use ukgpro_operator::api::conditions::{find, is_true};

use crate::support::World;
use crate::support::world::SECRET;

#[tokio::test]
async fn a_secret_may_come_late_go_and_come_back() {
    let world = World::new("secret").await;
    let delete = async || world.secrets().delete(SECRET, &DeleteParams::default()).await.expect("deleted");
    delete().await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let status = world.wait_for_reason("SecretNotFound").await.status.expect("a status");
    assert_eq!((status.state.as_str(), is_true(&status.conditions, "Reconciling")), ("Unknown", true));
    assert_eq!(find(&status.conditions, "Ready").expect("always there").status, "False");

    world.put_secret(&world.account).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    delete().await;
    world.wait_for_reason("SecretNotFound").await;
    world.put_secret(&world.account).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    let told = ["SecretNotFound", "AllPermissionsGranted", "SecretNotFound", "AllPermissionsGranted"];
    assert_eq!(world.events(4).await, told);
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_right_is_told_by_key_and_never_tried() {
    let world = World::new("malformed").await;
    let [username, password, customer, user] = world.account.secrets().map(str::to_owned);
    let _operator = world.operator();
    world.put_secret_data(json!({"username": username, "password": password})).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let message = |connection: ukgpro_operator::api::UkgProConnection| {
        let status = connection.status.expect("a status");
        assert!(is_true(&status.conditions, "Stalled"), "{:?}", status.conditions);
        find(&status.conditions, "Ready").expect("always there").message.clone()
    };
    let said = message(world.wait_for_reason("SecretKeyMissing").await);
    assert!(said.contains("customerApiKey, userApiKey"), "{said}");

    let keys = json!({"customerApiKey": customer, "userApiKey": user});
    world.edit_secret(json!({"stringData": keys})).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    let before = world.simulator.requests().await;

    world.edit_secret(json!({"stringData": {"password": format!("{password}\n"), "username": ""}})).await;
    let said = message(world.wait_for_reason("SecretValueMalformed").await);
    assert!(said.contains("username is empty; password ends with a newline"), "{said}");
    world.edit_secret(json!({"stringData": {"password": password, "username": username, "userApiKey": customer}})).await;
    let said = message(world.wait_for_reason("ApiKeysSwapped").await);
    assert!(said.contains("userApiKey has the same value as customerApiKey"), "{said}");
    world.edit_secret(json!({"data": {"username": "/////w=="}, "stringData": {"userApiKey": user}})).await;
    let said = message(world.wait_for_reason("SecretValueMalformed").await);
    assert!(said.contains("username is not text"), "{said}");
    assert_eq!(world.simulator.requests().await, before, "nothing was sent");
    world.finish().await;
}

#[tokio::test]
async fn a_line_end_is_dropped_where_the_connection_asks_for_it() {
    let world = World::new("trim").await;
    let [username, password, customer, user] = world.account.secrets().map(|value| format!("{value}\n"));
    let data = json!({"username": username, "password": password, "customerApiKey": customer, "userApiKey": user});
    world.put_secret_data(data).await;
    let _operator = world.operator();
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("SecretValueMalformed").await;
    manifest["spec"]["secretRef"]["trim"] = json!("Newline");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.finish().await;
}

#[tokio::test]
async fn a_secret_of_another_tool_works_by_its_own_key_names() {
    let world = World::new("keys").await;
    let [username, password, customer, user] = world.account.secrets();
    let data = json!({"UKG_USER": username, "password": password, "customerApiKey": customer, "userApiKey": user,
        "host-domain": world.domain(), "subdomain": "service4"});
    world.put_secret_data(data).await;
    let _operator = world.operator();
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["spec"]["secretRef"]["keys"] = json!({"username": "UKG_USER", "domain": "host-domain"});
    manifest["spec"].as_object_mut().expect("a map").retain(|key, _| key != "domain" && key != "subdomain");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;

    world.edit_secret(json!({"stringData": {"subdomain": "https://service4"}})).await;
    let status = world.wait_for_reason("EndpointInvalid").await.status.expect("a status");
    let message = &find(&status.conditions, "Ready").expect("always there").message;
    assert!(message.contains("key subdomain of the Secret") && message.contains("such as service4"), "{message}");
    world.edit_secret(json!({"stringData": {"subdomain": "service4", "host-domain": "evil.example"}})).await;
    world.wait_for_reason("DomainNotAllowed").await;
    world.finish().await;
}

/// Anyone who can write a connection chooses the Secret's key for its host name. A reader of the connection must not learn the
/// value.
#[tokio::test]
async fn no_value_that_is_mapped_onto_the_hosts_name_is_shown() {
    const CANARY: &str = "zq-canary-7";
    let world = World::new("canary").await;
    let [username, password, customer, user] = world.account.secrets();
    let login = json!({"username": username, "password": password, "customerApiKey": customer, "userApiKey": user});
    let with = |more: serde_json::Value| {
        let mut data = login.clone();
        for (key, value) in more.as_object().expect("a map") {
            data[key] = value.clone();
        }
        data
    };
    world.put_secret_named("mapped", with(json!({"token": CANARY, "dotted": format!("{CANARY}.example")}))).await;
    world.put_secret_named("by-default", with(json!({"subdomain": CANARY, "domain": format!("{CANARY}.example")}))).await;
    world.put_secret_named("good", with(json!({"subdomain": "service4"}))).await;
    let _operator = world.operator();
    let cases = [
        ("subdomain", json!({"name": "mapped", "keys": {"subdomain": "token"}}), "subdomain", "EndpointInvalid"),
        ("domain", json!({"name": "mapped", "keys": {"domain": "dotted"}}), "domain", "DomainNotAllowed"),
        ("default-subdomain", json!({"name": "by-default"}), "subdomain", "EndpointInvalid"),
        ("default-domain", json!({"name": "by-default"}), "domain", "DomainNotAllowed"),
    ];
    for (name, secret_ref, from_secret, _) in &cases {
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["secretRef"] = secret_ref.clone();
        manifest["spec"].as_object_mut().expect("a map").remove(*from_secret);
        world.apply(&manifest).await.expect("accepted");
    }
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["spec"]["secretRef"] = json!({"name": "good"});
    manifest["spec"]["candidateSecretRef"] = json!({"name": "mapped", "keys": {"subdomain": "token"}});
    manifest["spec"].as_object_mut().expect("a map").remove("subdomain");
    world.apply(&manifest).await.expect("accepted");
    for (name, _, _, reason) in &cases {
        world.wait_for_reason_of(name, reason).await;
    }
    let refused = |status: &ukgpro_operator::api::UkgProConnectionStatus| {
        find(&status.conditions, "CandidateReady").is_some_and(|candidate| candidate.reason == "EndpointInvalid")
    };
    world.wait_for("the candidate's verdict", refused).await;

    let (_, table) = world.kubectl(&["get", "ukg", "-o", "wide"]).await;
    let (_, objects) = world.kubectl(&["get", "ukg,events", "-o", "yaml"]).await;
    for (what, text) in
        [("table", table), ("objects", objects), ("log", world.operator_log()), ("metrics", world.metrics().await)]
    {
        assert!(!text.contains(CANARY), "the {what} shows a value of a Secret");
        assert!(text.len() > 100, "{what}");
    }
    assert!(world.simulator.logins(&world.account).await.0 == 1, "the good one's");
    world.finish().await;
}

/// Helm, Flux and Argo CD take a status as the verdict on what they have just applied, unless it says otherwise.
#[tokio::test]
async fn while_a_changed_secret_is_checked_the_status_says_so() {
    let world = World::new("rechecking").await;
    let _operator = world.operator();
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("CredentialsRejected").await;
    let slow = json!([{"operation": "LoginService/Authenticate", "answer": {"delaySeconds": 5}}]);
    world.simulator.faults(slow).await;
    world.edit_secret(json!({"stringData": {"password": world.account.password}})).await;
    let is_told = |status: &UkgProConnectionStatus| {
        find(&status.conditions, "Reconciling").is_some_and(|condition| condition.message.contains("has changed"))
    };
    let status = world.wait_for("it to be told", is_told).await.status.expect("a status");
    assert!(find(&status.conditions, "Stalled").is_none(), "{status:?}");
    // The verdict is still the previous one.
    assert_eq!(status.state, "Unauthorized");
    let status = world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status");
    assert!(find(&status.conditions, "Reconciling").is_none(), "{status:?}");
    world.finish().await;
}
