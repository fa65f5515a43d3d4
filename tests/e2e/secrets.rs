//! What becomes of a connection whose Secret is not as it should be, and when that changes.

use kube::api::DeleteParams;
use serde_json::json;
use ukgpro_operator::conditions::{find, is_true};

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
    assert!(said.contains("username is empty; password ends in a line end"), "{said}");
    world.edit_secret(json!({"stringData": {"password": password, "username": username, "userApiKey": customer}})).await;
    let said = message(world.wait_for_reason("ApiKeysSwapped").await);
    assert!(said.contains("userApiKey is the same value as customerApiKey"), "{said}");
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
