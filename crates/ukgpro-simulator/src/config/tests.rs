//! Tests of the tenants file: files that are valid, and files that are refused with the right message.

use super::*;

/// A file with two tenants on one host, for the tests of other modules as well.
pub(crate) const EXAMPLE: &str = r#"
tenants:
  - name: acme
    hosts: [service4.ultipro.localhost]
    customerApiKey: ACME1
    people: 25
    accounts:
      - username: svc-acme
        password: "p<a>&s's"
        userApiKey: UKEY00ACME01
        permissions: [EmployeePersonDetails, "rest:EmployeeCompensationDetails", PtoPlanIntegration]
      - username: svc-off
        password: off
        userApiKey: UKEY00ACME02
        status: Inactive
      - username: svc-locked
        password: locked
        userApiKey: UKEY00ACME03
        status: Locked
  - name: globex
    hosts: [service4.ultipro.localhost, service2.ultipro.localhost]
    customerApiKey: GLOB1
    people: 3
    accounts:
      - username: svc-acme
        password: other
        userApiKey: UKEY00GLOB01
        permissions: []
"#;

#[test]
fn the_example_reads_with_its_defaults() {
    let config = Config::parse(EXAMPLE).expect("the example is right");
    assert_eq!(config.token_lifetime, 3600);
    assert_eq!(config.lock_after_refusals, None);
    assert_eq!(config.denied_as, DeniedAs::OperationError);
    assert_eq!(config.rest_past_end, RestPastEnd::EmptyList);
    assert_eq!(config.tenants[0].accounts[0].status, Status::Active);
    assert_eq!(config.tenants[0].accounts[0].password.expose(), "p<a>&s's");
    assert_eq!(
        config.certificate_names(),
        ["127.0.0.1", "::1", "localhost", "service2.ultipro.localhost", "service4.ultipro.localhost"]
    );
}

#[test]
fn json_reads_too_and_numbers_are_good_as_keys() {
    let config = Config::parse(r#"{"tenants":[{"name":"a","hosts":["h"],"customerApiKey":12345}]}"#);
    assert_eq!(config.expect("it is right").tenants[0].customer_api_key.expose(), "12345");
}

#[test]
fn no_way_of_showing_a_configuration_shows_a_credential() {
    let config = Config::parse(EXAMPLE).expect("the example is right");
    let shown = format!("{config:?}{}", serde_json::to_string(&config).expect("it is plain data"));
    for credential in ["p<a>&s's", "UKEY00", "ACME1", "GLOB1"] {
        assert!(!shown.contains(credential), "{credential} is shown");
    }
}

#[test]
fn a_wrong_file_is_refused_with_the_field_and_what_to_write() {
    let cases = [
        ("tenants: []", "tenants: write at least one"),
        ("{}", "tenants: write at least one"),
        ("tenants: [{hosts: [a]}]", "tenants[0].name: write"),
        ("tenants: [{name: a, customerApiKey: K}]", "tenants[0].hosts: write at least one host"),
        ("tenants: [{name: a, hosts: ['https://a'], customerApiKey: K}]", "tenants[0].hosts[0]: `https://a` is no host name"),
        ("tenants: [{name: a, hosts: [Big.example], customerApiKey: K}]", "lower case"),
        ("tenants: [{name: a, hosts: [a]}]", "tenants[0].customerApiKey: write a value"),
        ("tenants: [{name: a, hosts: [a], customerApiKey: '[redacted]'}]", "does not give credentials out"),
        ("tenants: [{name: a, hosts: [a], customerApiKey: K, people: 100001}]", "tenants[0].people: write a number up to"),
        (
            "tenants: [{name: a, hosts: [a], customerApiKey: K}, {name: a, hosts: [b], customerApiKey: K}]",
            "tenants[1].name: `a` is taken",
        ),
        (
            "tenants: [{name: a, hosts: [a], customerApiKey: K}, {name: b, hosts: [a], customerApiKey: K}]",
            "tenants[1].customerApiKey: tenant `a` has the same key",
        ),
        (
            "tenants: [{name: a, hosts: [a], customerApiKey: K, accounts: [{username: u, password: p}]}]",
            "accounts[0].userApiKey: write a value",
        ),
        (
            "tenants: [{name: a, hosts: [a], customerApiKey: K, accounts: [{username: u, password: p, userApiKey: k, permissions: [Nope]}]}]",
            "permissions[0]: `Nope` is no known row",
        ),
        (
            "tenants: [{name: a, hosts: [a], customerApiKey: K, accounts: [{username: u, password: p, userApiKey: k, status: Gone}]}]",
            "Inactive",
        ),
        ("tenants: [{name: a, hosts: [a], customerApiKey: K}]\nlockAfterRefusals: 0", "lockAfterRefusals: write"),
        ("tenants: [{name: a, hosts: [a], customerApiKey: K}]\ntokenLifetime: 0", "tokenLifetime: write"),
        ("tenants: [{name: a, hosts: [a], customerApiKey: K}]\nloginSites: [a]", "loginSites[0]: `a` is a tenant's host"),
        ("tenants: [{name: a, hosts: [a], customerApiKey: K}]\ndeniedAs: silence", "operationError"),
        ("tenants: [{name: a, host: a}]", "host"),
    ];
    for (text, says) in cases {
        let error = Config::parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}\n gave: {error}\n wanted: {says}");
    }
}

#[test]
fn an_error_of_syntax_quotes_no_line_of_the_file() {
    let text = "tenants:\n  - name: a\n    customerApiKey: HUSHHUSH\n    nonsense: 1\n";
    let error = Config::parse(text).expect_err("nonsense is no field").to_string();
    assert!(error.contains("nonsense"), "{error}");
    assert!(!error.contains("HUSHHUSH"), "{error}");
}
