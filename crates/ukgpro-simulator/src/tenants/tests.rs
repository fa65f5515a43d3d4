//! Tests of logins, locks and tokens.

use super::*;
use crate::config::tests::EXAMPLE;

const HOST: &str = "service4.ultipro.localhost";

fn tenants(more: &str) -> Tenants {
    Tenants::new(&Config::parse(&format!("{EXAMPLE}{more}")).expect("the example is right"))
}

fn presented<'a>(key: &'a str, username: &'a str, password: &'a str, user_key: Option<&'a str>) -> Presented<'a> {
    Presented { customer_api_key: key, username, password, user_api_key: user_key }
}

#[test]
fn a_login_needs_everything_right_and_says_little_about_what_is_wrong() {
    let right = ("ACME1", "svc-acme", "p<a>&s's", Some("UKEY00ACME01"));
    let cases = [
        ("all right", HOST, right, Ok("acme")),
        ("REST sends no user API key", HOST, (right.0, right.1, right.2, None), Ok("acme")),
        ("other tenant, same host", HOST, ("GLOB1", "svc-acme", "other", Some("UKEY00GLOB01")), Ok("globex")),
        ("user name in another case", HOST, (right.0, "SVC-ACME", right.2, right.3), Err(Refusal::Account)),
        ("user name unknown", HOST, (right.0, "nobody", right.2, right.3), Err(Refusal::Account)),
        ("password wrong", HOST, (right.0, right.1, "p", right.3), Err(Refusal::Account)),
        ("user API key wrong", HOST, (right.0, right.1, right.2, Some("ACME1")), Err(Refusal::Account)),
        ("customer API key wrong", HOST, ("NOPE1", right.1, right.2, right.3), Err(Refusal::CustomerApiKey)),
        ("data centre wrong", "service2.ultipro.localhost", right, Err(Refusal::CustomerApiKey)),
        ("inactive", HOST, ("ACME1", "svc-off", "off", Some("UKEY00ACME02")), Err(Refusal::Account)),
        ("locked", HOST, ("ACME1", "svc-locked", "locked", Some("UKEY00ACME03")), Err(Refusal::Account)),
    ];
    for (case, host, (key, username, password, user_key), want) in cases {
        let got = tenants("").log_in(host, &presented(key, username, password, user_key));
        assert_eq!(got.map(|name| name.tenant), want.map(str::to_owned), "{case}");
    }
}

#[test]
fn an_account_locks_after_so_many_refusals_in_a_row() {
    let wrong = presented("ACME1", "svc-acme", "wrong", None);
    let right = presented("ACME1", "svc-acme", "p<a>&s's", None);
    let mut tenants = tenants("lockAfterRefusals: 2");
    assert!(tenants.log_in(HOST, &wrong).is_err());
    assert!(tenants.log_in(HOST, &right).is_ok(), "one refusal does not lock");
    assert!(tenants.log_in(HOST, &wrong).is_err());
    assert_eq!(tenants.status("acme", "svc-acme"), Some(Status::Active), "the right login began the count anew");
    assert!(tenants.log_in(HOST, &wrong).is_err());
    assert_eq!(tenants.status("acme", "svc-acme"), Some(Status::Locked));
    assert!(tenants.log_in(HOST, &right).is_err(), "a locked account is refused the right password");
}

#[test]
fn accounts_never_lock_unless_told_to() {
    let mut tenants = tenants("");
    for _ in 0..1000 {
        assert!(tenants.log_in(HOST, &presented("ACME1", "svc-acme", "wrong", None)).is_err());
    }
    assert_eq!(tenants.status("acme", "svc-acme"), Some(Status::Active));
}

#[test]
fn a_token_is_good_until_it_expires() {
    let now = Instant::now();
    let mut tokens = Tokens::new(Duration::from_secs(10));
    let account = AccountName { tenant: "acme".into(), username: "svc-acme".into() };
    tokens.give("t".into(), account.clone(), now);
    assert_eq!(tokens.owner("t", now + Duration::from_secs(9)), Some(&account));
    assert_eq!(tokens.owner("t", now + Duration::from_secs(10)), None);
    assert_eq!(tokens.owner("other", now), None);
}

#[test]
fn the_number_of_tokens_is_bounded() {
    let now = Instant::now();
    let mut tokens = Tokens::new(Duration::from_secs(10));
    let account = AccountName { tenant: "acme".into(), username: "svc-acme".into() };
    for index in 0..MOST_TOKENS as u64 + 1 {
        tokens.give(index.to_string(), account.clone(), now + Duration::from_nanos(index));
    }
    assert_eq!(tokens.tokens.len(), MOST_TOKENS);
    assert_eq!(tokens.owner("0", now), None, "the oldest made room");
}
