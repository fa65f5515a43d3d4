use super::*;
use crate::api::RequiredPermission;
use crate::controller::decide::tests::connection;
use ukg_pro::endpoint::Flaw;
use ukg_pro::transport;

fn values(pairs: &[(&str, &str)]) -> Values {
    let by_key = pairs.iter().map(|(k, v)| ((*k).to_owned(), Some(Zeroizing::new(v.as_bytes().to_vec())))).collect();
    Values { by_key, trim: Trim::None }
}

#[test]
fn the_host_comes_from_spec_first_and_from_the_secret_else() {
    let allowed = ["ultipro.com", "ultipro.ca"].map(|domain| domain.parse().expect("a domain"));
    let policy = Policy {
        allowed_domains: allowed.to_vec(),
        secret_subdomains: vec!["sandbox".parse().expect("a form")],
        allow_private_addresses: false,
        heartbeat: None,
        words: Arc::new(Words::built_in()),
    };
    let mut connection = connection();
    connection.spec.domain = Some("ultipro.com".to_owned());
    connection.spec.subdomain = None;
    let of = |connection: &UkgProConnection, pairs: &[(&str, &str)]| {
        endpoint(&connection.spec, &values(pairs), &policy).map(|e| e.to_string())
    };

    let both = [("domain", "ultipro.ca"), ("subdomain", "service3")];
    assert_eq!(of(&connection, &both), Ok("https://service3.ultipro.com".to_owned()));
    assert_eq!(of(&connection, &[]), Err(Unresolved::SecretKeysMissing(vec!["subdomain".to_owned()])));

    connection.spec.subdomain = Some("https://Service4.UltiPro.com/services".to_owned());
    let Err(Unresolved::EndpointInvalid(_, place, suggestion)) = of(&connection, &[]) else { panic!("a URL") };
    assert_eq!(place, "spec.subdomain");
    let paste = "write subdomain service4 and domain ultipro.com";
    assert_eq!(suggestion.map(|suggestion| suggestion.to_string()).as_deref(), Some(paste));

    (connection.spec.domain, connection.spec.subdomain) = (None, None);
    assert_eq!(of(&connection, &both), Ok("https://service3.ultipro.ca".to_owned()));
    // Nothing is reported about a value in no known form, not even what is wrong with it.
    let unknown = || {
        let flaw = EndpointFlaw { part: Part::Subdomain, flaw: Flaw::UnknownForm };
        Err(Unresolved::EndpointInvalid(flaw, "key subdomain of the Secret".to_owned(), None))
    };
    for subdomain in ["service3\n", "hunter2", "hunter2/", "https://service3.ultipro.ca", "Hunter2", "hunter.2", ""] {
        assert_eq!(of(&connection, &[("domain", "ultipro.ca"), ("subdomain", subdomain)]), unknown(), "{subdomain}");
    }
    let added = [("domain", "ultipro.ca"), ("subdomain", "sandbox")];
    assert_eq!(of(&connection, &added), Ok("https://sandbox.ultipro.ca".to_owned()));
    for domain in ["https://hunter2.example/", "hunter2", "ultipro.ca\n", "ultipro.ca:8443", "ULTIPRO.CA", ""] {
        let found = of(&connection, &[("domain", domain), ("subdomain", "service3")]);
        assert_eq!(found, Err(Unresolved::DomainNotAllowed(allowed.to_vec())), "{domain}");
    }
    // Everybody can read the spec already, so its values may be reported.
    connection.spec.subdomain = Some("acme".to_owned());
    assert_eq!(of(&connection, &[("domain", "ultipro.ca")]), Ok("https://acme.ultipro.ca".to_owned()));
    connection.spec.subdomain = None;
    let evil = [("domain", "evil.example"), ("subdomain", "service3")];
    assert_eq!(of(&connection, &evil), Err(Unresolved::DomainNotAllowed(allowed.to_vec())));
    let suffix = [("domain", "notultipro.com"), ("subdomain", "service3")];
    assert_eq!(of(&connection, &suffix), Err(Unresolved::DomainNotAllowed(allowed.to_vec())));
    (connection.spec.domain, connection.spec.subdomain) = (Some("ultipro.com:22".to_owned()), Some("service4".to_owned()));
    assert_eq!(of(&connection, &[]), Err(Unresolved::DomainNotAllowed(allowed.to_vec())), "no port but 443");
}

#[test]
fn one_line_end_is_dropped_where_that_is_asked_for_and_nothing_else_ever() {
    for (value, none, newline) in [
        ("secret\n", "secret\n", "secret"),
        ("secret\r\n", "secret\r\n", "secret"),
        ("secret\n\n", "secret\n\n", "secret\n"),
        ("secret\r", "secret\r", "secret\r"),
        ("\r\nsecret ", "\r\nsecret ", "\r\nsecret "),
        ("\n", "\n", ""),
        ("", "", ""),
    ] {
        for (trim, expected) in [(Trim::None, none), (Trim::Newline, newline)] {
            let password = Some(Zeroizing::new(value.as_bytes().to_vec()));
            let values = Values::of(Found { version: None, values: [("password".to_owned(), password)].into() }, trim);
            let found = values.get("password").expect("text").expect("there");
            assert_eq!(found.expose(), expected, "{value:?} {trim:?}");
        }
    }
    assert_eq!(connection().spec.secret_ref.trim, Trim::None);
}

#[test]
fn no_key_serves_two_values_and_none_of_a_credential_the_hosts_name() {
    let keys = |change: fn(&mut SecretKeys)| {
        let mut keys = SecretKeys::default();
        change(&mut keys);
        check_keys(&keys)
    };
    let shared = |key: &str| Err(Unresolved::KeyShared(key.to_owned()));
    assert_eq!(keys(|_| {}), Ok(()));
    assert_eq!(keys(|keys| keys.subdomain = "password".to_owned()), shared("password"));
    assert_eq!(keys(|keys| (keys.password, keys.domain) = ("pw".to_owned(), "pw".to_owned())), shared("pw"));
    // Nor a credential's default key, if that credential was given another key.
    assert_eq!(keys(|keys| (keys.password, keys.subdomain) = ("pw".to_owned(), "password".to_owned())), shared("password"));
    assert_eq!(keys(|keys| keys.user_api_key = "customerApiKey".to_owned()), shared("customerApiKey"));
    assert_eq!(keys(|keys| keys.domain = "subdomain".to_owned()), shared("subdomain"));
    assert_eq!(keys(|keys| keys.domain = "host-domain".to_owned()), Ok(()));
    assert_eq!(keys(|keys| (keys.username, keys.user_api_key) = ("user".to_owned(), "username".to_owned())), Ok(()));
}

/// The CRD rejects these keys, but may have been another when the connection was stored. The values have a form that would
/// otherwise be accepted.
#[test]
fn nothing_is_used_of_a_connection_that_was_stored_with_a_key_for_two_values() {
    const CANARY: &str = "service777";
    let transports = Transports::new(Transport::new(transport::Trust::default()).expect("the platform trusts somebody"));
    let policy = Policy {
        allowed_domains: vec!["ultipro.com".parse().expect("a domain")],
        secret_subdomains: Vec::new(),
        allow_private_addresses: false,
        heartbeat: None,
        words: Arc::new(Words::built_in()),
    };
    let resolved = |keys: serde_json::Value| {
        let mut connection = connection();
        (connection.spec.domain, connection.spec.subdomain) = (None, None);
        connection.spec.secret_ref.keys = serde_json::from_value(keys).expect("keys");
        let names = ["username", "password", "customerApiKey", "userApiKey", "moved"].map(|name| (name, CANARY));
        let Values { by_key, .. } = values(&[&names[..], &[("domain", "ultipro.com"), ("subdomain", "service4")]].concat());
        let references = ReferencedObjects { secret: Some(Found { version: None, values: by_key }), bundle: None };
        resolve(&connection, Vec::new(), references, &policy, &transports).map(|target| target.endpoint.to_string())
    };
    assert_eq!(resolved(serde_json::json!({})).as_deref(), Ok("https://service4.ultipro.com"));

    let names = ["username", "password", "customerApiKey", "userApiKey", "domain", "subdomain"];
    for (field, key) in names.iter().flat_map(|field| names.map(|key| (*field, key))).filter(|(field, key)| field != key) {
        assert_eq!(resolved(serde_json::json!({field: key})), Err(Unresolved::KeyShared(key.to_owned())), "{field}: {key}");
    }
    // Nor a credential's default key, if that credential was given another key.
    for (field, key) in ["domain", "subdomain"].iter().flat_map(|field| names[..4].iter().map(move |key| (*field, *key))) {
        let keys = serde_json::json!({key: "moved", field: key});
        assert_eq!(resolved(keys), Err(Unresolved::KeyShared(key.to_owned())), "{field}: {key}");
    }
}

#[test]
fn only_what_is_used_need_be_text() {
    let mut found = values(&[("username", "u"), ("password", "p"), ("customerApiKey", "c"), ("userApiKey", "k")]);
    found.by_key.insert("keystore.jks".to_owned(), Some(Zeroizing::new(vec![0xff])));
    assert!(found.credentials(&SecretKeys::default(), false).is_ok());
    found.by_key.insert("password".to_owned(), Some(Zeroizing::new(vec![0xff])));
    let not_text = found.credentials(&SecretKeys::default(), false).err();
    assert_eq!(not_text, Some(Unresolved::SecretValueNotText("password".to_owned())));
    found.by_key.insert("password".to_owned(), None);
    let too_long = found.credentials(&SecretKeys::default(), false).err();
    assert_eq!(too_long, Some(Unresolved::SecretValueTooLong("password".to_owned())));
}

#[test]
fn missing_keys_are_named_all_at_once() {
    let keys = SecretKeys { password: "pw".to_owned(), ..Default::default() };
    let missing = |pairs, by_rest_alone| values(pairs).credentials(&keys, by_rest_alone).err();
    let names = |names: &[&str]| Some(Unresolved::SecretKeysMissing(names.iter().map(|n| (*n).to_owned()).collect()));
    let some = [("username", "u"), ("password", "p")];
    assert_eq!(missing(&some, false), names(&["pw", "customerApiKey", "userApiKey"]));
    assert_eq!(missing(&some, true), names(&["pw", "customerApiKey"]));
    let most = [("username", "u"), ("pw", "p"), ("customerApiKey", "c")];
    assert_eq!(missing(&most, false), names(&["userApiKey"]));
    assert_eq!(missing(&most, true), None);
}

#[test]
fn what_is_named_wins_over_profiles_and_each_row_is_wanted_once() {
    let catalogue = Catalogue::built_in();
    let mut spec = connection().spec;
    spec.profiles = vec!["HrisIntegration".to_owned(), "EmployeeData".to_owned()];
    let found = requirements(&spec, &catalogue).expect("known");
    // A named permission is probed by SOAP, although the first profile has it by REST.
    assert_eq!((found[0].row.name.as_str(), found[0].api), ("EmployeePersonDetails", Api::Soap));
    let names: std::collections::BTreeSet<_> = found.iter().map(|found| &found.row.name).collect();
    assert_eq!(names.len(), found.len());
    assert_eq!(found.len(), 12);

    spec.permissions.clear();
    let found = requirements(&spec, &catalogue).expect("known");
    assert_eq!((found[0].row.name.as_str(), found[0].api), ("EmployeePersonDetails", Api::Rest));

    spec.profiles = vec!["Hris".to_owned()];
    spec.permissions = vec![RequiredPermission { name: "EmployeeContacts".to_owned(), api: ApiChoice::Rest }];
    let Err(Unresolved::PermissionsUnknown(unknown)) = requirements(&spec, &catalogue) else { panic!("all known") };
    let said: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    let expected =
        ["permission EmployeeContacts cannot be tested by REST", "there is no profile Hris (nearest: HrisIntegration)"];
    assert_eq!(said, expected);
}
