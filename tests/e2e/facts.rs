//! Deviations of UKG Pro from what is assumed. For each fact about the wire that is only probable or guessed, there is an answer
//! that contradicts it. The verdict must be right or "cannot tell", and never a false Active or a false Unauthorized.

use serde_json::{Value, json};
use ukgpro_operator::api::conditions::find;

use crate::support::World;

const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
const CONTRACTS: &str = "http://www.ultipro.com/contracts";
const LOGIN: &str = "http://www.ultipro.com/services/loginservice";

fn soap(status: u16, body: String) -> Value {
    let body = format!("<x:Envelope xmlns:x=\"{SOAP}\"><x:Header/><x:Body>{body}</x:Body></x:Envelope>");
    json!({"status": status, "headers": {"content-type": "application/soap+xml; charset=utf-8"}, "body": body})
}

fn fault(subcode: &str, reason: &str) -> Value {
    json!({"soapFault": {"status": 500, "code": "Sender", "subcode": subcode, "reason": reason}})
}

fn operation_result(fields: &str) -> Value {
    soap(
        200,
        format!(
            "<q:FindPeopleResponse xmlns:q=\"urn:other\"><q:R><p:OperationResult xmlns:p=\"{CONTRACTS}\">{fields}</p:OperationResult></q:R></q:FindPeopleResponse>"
        ),
    )
}

/// Injects each answer for a connection of its own, all at once, and compares `Ready`.
async fn expect(world: &World, operation: &str, permission: &str, cases: &[(&str, Value, &str)]) {
    let host = |index: usize| format!("case{index}");
    let hosts: Vec<_> = (0..cases.len()).map(|index| format!("{}.ultipro.localhost", host(index))).collect();
    world.simulator.play_tenants(&json!({"tenants": [world.account.tenant_at(&hosts)]})).await;
    let faults: Vec<_> = cases
        .iter()
        .zip(&hosts)
        .map(|((_, answer, _), host)| json!({"host": host, "operation": operation, "answer": answer}))
        .collect();
    world.simulator.faults(json!(faults)).await;
    for index in 0..cases.len() {
        let mut manifest = world.connection(&[permission]);
        manifest["metadata"]["name"] = json!(host(index));
        manifest["spec"]["subdomain"] = json!(host(index));
        world.apply(&manifest).await.expect("accepted");
    }
    for (index, (what, _, reason)) in cases.iter().enumerate() {
        let decided = |status: &ukgpro_operator::api::UkgProConnectionStatus| {
            find(&status.conditions, "Ready").is_some_and(|ready| ready.reason != "Probing")
        };
        let found = world.wait_for_of(&host(index), what, decided).await.status.expect("a status");
        assert_eq!(find(&found.conditions, "Ready").expect("always there").reason, *reason, "{what}");
    }
}

#[tokio::test]
async fn a_login_answered_otherwise_than_thought() {
    let world = World::new("facts-login").await;
    let _operator = world.operator();
    let token = |fields: &str| {
        soap(200, format!("<z:TokenResponse xmlns:z=\"{CONTRACTS}\" xmlns:l=\"{LOGIN}\">{fields}</z:TokenResponse>"))
    };
    let refused_with = |status: u16| {
        let fields = "<l:Status>Failed</l:Status><l:StatusMessage>User authentication failed</l:StatusMessage>";
        soap(status, format!("<z:TokenResponse xmlns:z=\"{CONTRACTS}\" xmlns:l=\"{LOGIN}\">{fields}</z:TokenResponse>"))
    };
    let headers = json!({"content-type": "application/soap+xml", "content-encoding": "gzip"});
    let compressed = json!({"status": 200, "headers": headers, "body": "as it were"});
    // The data services refuse an invented token, so these end where the token is used.
    let cases = [
        ("success, other prefixes and order", token("<l:Token>T</l:Token><l:Status>Ok</l:Status>"), "PermissionsMissing"),
        ("success, all in one namespace", token("<z:Status>Ok</z:Status><z:Token>T</z:Token>"), "PermissionsMissing"),
        (
            "success as another message",
            soap(
                200,
                format!("<z:LoginResult xmlns:z=\"{CONTRACTS}\"><z:Status>Ok</z:Status><z:Token>T</z:Token></z:LoginResult>"),
            ),
            "LoginUndetermined",
        ),
        (
            "success in a stranger's namespace",
            soap(200, "<TokenResponse xmlns=\"urn:x\"><Status>Ok</Status><Token>T</Token></TokenResponse>".to_owned()),
            "LoginUndetermined",
        ),
        ("success with an empty token", token("<l:Status>Ok</l:Status><l:Token/>"), "LoginUndetermined"),
        ("refused by 401, empty", json!({"status": 401}), "CredentialsRejected"),
        (
            "refused by 403, HTML",
            json!({"status": 403, "headers": {"content-type": "text/html"}, "body": "<html>"}),
            "LoginFailedUnexplained",
        ),
        ("refused by a fault", fault("FailedAuthentication", "x"), "CredentialsRejected"),
        ("refused by a fault's words", fault("Other", "Access is denied."), "CredentialsRejected"),
        ("refused in unknown words", json!({"loginFailed": "Die Anmeldung ist fehlgeschlagen."}), "LoginFailedUnexplained"),
        ("refused without words", token("<l:Status>Failed</l:Status>"), "LoginFailedUnexplained"),
        (
            "the customer key named in words",
            json!({"loginFailed": "The Customer API Key is not valid"}),
            "CustomerApiKeyRejected",
        ),
        ("the user key named in a fault", fault("Other", "UserAccessKey was not found"), "UserApiKeyRejected"),
        ("their own trouble as Failed", json!({"loginFailed": "An error has occured. Please try again."}), "ServerError"),
        (
            "their own trouble as a fault",
            fault("InternalServiceFault", "The server was unable to process the request"),
            "ServerError",
        ),
        ("a fault of something else", fault("Other", "The message was not understood"), "LoginUndetermined"),
        ("a fault of form that names a key", fault("DeserializationFailed", "header ClientAccessKey"), "LoginUndetermined"),
        ("refused by the words in a fault", fault("Other", "User authentication failed"), "CredentialsRejected"),
        ("the account is locked, in words", json!({"loginFailed": "Your account has been locked."}), "AccountUnusable"),
        ("refused with another status", refused_with(500), "CredentialsRejected"),
        ("refused with a status of no service", refused_with(404), "CredentialsRejected"),
        ("compressed, which nobody offered", compressed, "AnswerUnreadable"),
        ("405 now and then", json!({"status": 405}), "ServerError"),
        ("400 without a word", json!({"status": 400}), "LoginUndetermined"),
    ];
    expect(&world, "LoginService/Authenticate", "EmployeePersonDetails", &cases).await;
    world.finish().await;
}

#[tokio::test]
async fn a_permission_answered_otherwise_than_thought() {
    let world = World::new("facts-soap").await;
    let _operator = world.operator();
    let failed_with = |text: &str| {
        let message =
            format!("<p:Messages><p:OperationMessage><p:Message>{text}</p:Message></p:OperationMessage></p:Messages>");
        operation_result(&format!("<p:HasErrors>true</p:HasErrors>{message}<p:Success>false</p:Success>"))
    };
    let denied = "<p:Messages><p:OperationMessage><p:Message>User is not authorized for this web service</p:Message></p:OperationMessage></p:Messages>";
    let cases = [
        ("denied by 401", json!({"status": 401}), "PermissionsMissing"),
        ("denied by 403", json!({"status": 403}), "PermissionsMissing"),
        ("denied by a security fault", fault("InvalidSecurity", "x"), "PermissionsMissing"),
        ("denied by a fault's words", fault("Other", "Insufficient privilege"), "PermissionsMissing"),
        ("denied by a message", operation_result(&format!("{denied}<p:Success>false</p:Success>")), "PermissionsMissing"),
        (
            "denied in words nobody knows",
            operation_result(
                "<p:HasErrors>true</p:HasErrors><p:Messages><p:OperationMessage><p:Message>Nein.</p:Message></p:OperationMessage></p:Messages>",
            ),
            "PermissionsUndetermined",
        ),
        (
            "granted, other prefixes and order",
            operation_result("<p:Success>true</p:Success><p:HasErrors>false</p:HasErrors>"),
            "AllPermissionsGranted",
        ),
        (
            "granted and denied in one breath",
            operation_result(&format!("{denied}<p:Success>true</p:Success><p:HasErrors>true</p:HasErrors>")),
            "PermissionsMissing",
        ),
        ("neither", operation_result(""), "PermissionsUndetermined"),
        (
            "success in a stranger's namespace",
            soap(200, "<OperationResult xmlns=\"urn:x\"><Success>true</Success></OperationResult>".to_owned()),
            "PermissionsUndetermined",
        ),
        ("a fault about the form", fault("DeserializationFailed", "bad form"), "PermissionsUndetermined"),
        ("nobody found, as an error", failed_with("No employees were found"), "AllPermissionsGranted"),
        ("something else not found", failed_with("Service not found"), "PermissionsUndetermined"),
        ("denied in other words", failed_with("User does not have access to this service"), "PermissionsMissing"),
        ("their own trouble", json!({"soapFault": {"status": 500, "code": "Receiver", "reason": "x"}}), "ServerError"),
        (
            "a firewall's page",
            json!({"status": 403, "headers": {"content-type": "text/html"}, "body": "<html>Your address is not allowed"}),
            "PermissionsUndetermined",
        ),
        ("a gateway's quota", json!({"status": 403, "headers": {"retry-after": "30"}}), "RateLimited"),
        (
            "success in digits",
            operation_result("<p:Success> 1 </p:Success><p:HasErrors>0</p:HasErrors>"),
            "AllPermissionsGranted",
        ),
        (
            "errors in digits",
            operation_result("<p:Success>true</p:Success><p:HasErrors>1</p:HasErrors>"),
            "PermissionsUndetermined",
        ),
        ("not found", json!({"status": 404}), "PermissionsUndetermined"),
        (
            "a web page",
            json!({"status": 200, "headers": {"content-type": "text/html"}, "body": "<html><p>Sign in"}),
            "NotUkgPro",
        ),
    ];
    expect(&world, "EmployeePerson/FindPeople", "EmployeePersonDetails", &cases).await;
    world.finish().await;
}

#[tokio::test]
async fn a_disputed_request_is_denied_in_words_only() {
    let world = World::new("facts-disputed").await;
    let _operator = world.operator();
    let cases = [
        ("a security fault may be about the form", fault("FailedAuthentication", "x"), "PermissionsUndetermined"),
        ("words may not", fault("FailedAuthentication", "Access is denied."), "PermissionsMissing"),
    ];
    expect(&world, "EmployeePayStatement/FindLastPayStatement", "EmployeePayStatement", &cases).await;
    world.finish().await;
}

#[tokio::test]
async fn a_rest_read_answered_otherwise_than_thought() {
    let world = World::new("facts-rest").await;
    let _operator = world.operator();
    let json_body =
        |status: u16, body: &str| json!({"status": status, "headers": {"content-type": "application/json"}, "body": body});
    let cases = [
        ("refused as a login though LoginService took it", json!({"status": 401}), "RestLoginRefused"),
        ("denied", json_body(403, "{}"), "PermissionsMissing"),
        ("denied in words", json_body(403, "{\"title\": \"Forbidden\"}"), "PermissionsMissing"),
        (
            "a firewall's page",
            json!({"status": 403, "headers": {"content-type": "text/html"}, "body": "<html>Your address is not allowed"}),
            "PermissionsUndetermined",
        ),
        ("a gateway's quota", json!({"status": 403, "headers": {"retry-after": "30"}}), "RateLimited"),
        ("no rows as 404", json_body(404, ""), "PermissionsUndetermined"),
        ("no rows as an empty list", json_body(200, "[]"), "AllPermissionsGranted"),
        ("an object in place of a list", json_body(200, "{\"items\": []}"), "AllPermissionsGranted"),
        ("not JSON at all", json_body(200, "oops"), "PermissionsUndetermined"),
        ("a bad request", json_body(400, "{}"), "PermissionsUndetermined"),
        ("a web page", json!({"status": 200, "headers": {"content-type": "text/html"}, "body": "<html>"}), "NotUkgPro"),
        ("too many", json!({"status": 429}), "RateLimited"),
    ];
    expect(&world, "GET /personnel/v1/pto-plans", "PtoPlanIntegration", &cases).await;
    world.finish().await;
}

#[tokio::test]
async fn a_connection_by_rest_alone_needs_no_user_api_key() {
    let world = World::new("rest-alone").await;
    let [username, password, customer_api_key, _] = world.account.secrets().map(str::to_owned);
    world.put_secret_data(json!({"username": username, "password": password, "customerApiKey": customer_api_key})).await;
    let _operator = world.operator();
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    world.apply(&manifest).await.expect("accepted");
    let status = world.wait_for_reason("SecretKeyMissing").await.status.expect("a status");
    let said = &find(&status.conditions, "Ready").expect("always there").message;
    assert!(said.contains("userApiKey") && !said.contains("username"), "{said}");

    manifest["spec"]["permissions"] = json!([{"name": "EmployeePersonDetails", "api": "REST"}, {"name": "PtoPlanIntegration"}]);
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    let counters = world.simulator.counters().await;
    assert_eq!(counters["requests"]["LoginService/Authenticate"], Value::Null);

    // A refused password costs one login here too.
    let before = world.simulator.requests().await;
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    world.edit_secret(json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    world.edit(json!({"spec": {"interval": "1h"}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    assert_eq!(world.simulator.requests().await, before + 1);
    world.finish().await;
}
