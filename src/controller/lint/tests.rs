use proptest::prelude::*;
use ukg_pro::sensitive::Sensitive;

use super::*;

const GOOD: [&str; 4] = ["svc-acme", "correct<horse>&\"battery'", "ACME1", "AK4TQ0ZL81XA"];
const ROLES: [Role; 4] = [Role::Username, Role::Password, Role::CustomerApiKey, Role::UserApiKey];

fn lint_of(values: [&str; 4]) -> Lint {
    let [username, password, customer_api_key, user_api_key] = values.map(|value| Sensitive::new(value.to_owned()));
    lint(&Credentials { username, password, customer_api_key, user_api_key: Some(user_api_key) }, &SecretKeys::default(), false)
}

/// Good values except for this one.
fn with(role: Role, value: &str) -> Lint {
    let mut values = GOOD;
    values[ROLES.iter().position(|each| *each == role).expect("a role")] = value;
    lint_of(values)
}

fn kinds(findings: &[Finding]) -> Vec<ValueFlaw> {
    findings.iter().map(|finding| finding.flaw.clone()).collect()
}

#[test]
fn what_cannot_be_right_is_fatal_wherever_it_stands() {
    use ValueFlaw::*;
    for (value, expected) in [
        ("", vec![Empty]),
        ("s3cr3t!\n", vec![LineEnd]),
        ("s3cr3t!\r\n", vec![LineEnd]),
        ("s3cr3t!\r", vec![LineEnd]),
        ("\n", vec![LineEnd]),
        (" s3cr3t!", vec![SurroundingBlanks]),
        ("s3cr3t!\t", vec![SurroundingBlanks]),
        ("\ns3cr3t!", vec![SurroundingBlanks]),
        ("s3cr3t! \n", vec![LineEnd, SurroundingBlanks]),
        ("\u{feff}s3cr3t!", vec![ByteOrderMark]),
        ("\u{feff}s3cr3t!\r\n", vec![ByteOrderMark, LineEnd]),
        ("s3cr3t!\u{a0}", vec![Invisible]),
        ("s3c\u{200b}r3t!", vec![Invisible]),
        ("s3cr3t!\u{feff}", vec![Invisible]),
        ("s3c\u{ad}r3t!", vec![Invisible]),
        ("s3c\u{0}r3t!", vec![Control]),
        ("s3c\nr3t!", vec![Control]),
        ("s3c\u{ffff}r3t!", vec![Control]),
        ("${UKG_PASSWORD}", vec![Placeholder]),
        ("${UKG_PASSWORD:-}", vec![Placeholder]),
        ("$(UKG_PASSWORD)", vec![Placeholder]),
        ("{{ .Values.ukg.password }}", vec![Placeholder]),
        ("{{x}}", vec![Placeholder]),
        ("ENC[AES256_GCM,data:tA==,iv:0,tag:0,type:str]", vec![Placeholder]),
        ("<password>", vec![Placeholder]),
        ("<your User API key>", vec![Placeholder]),
        ("<no value>", vec![Placeholder]),
        ("REPLACE_ME", vec![Placeholder]),
        ("changeme", vec![Placeholder]),
        ("CHANGE-ME", vec![Placeholder]),
        ("null", vec![Placeholder]),
        ("xxxx", vec![Placeholder]),
        ("XXXXXXXXXXXX", vec![Placeholder]),
        ("********", vec![Placeholder]),
        ("${UKG_PASSWORD}\n", vec![LineEnd, Placeholder]),
        // `printf 'ACME1\n' | base64`, and of longer values.
        ("QUNNRTEK", vec![Base64LineEnd]),
        ("QUs0VFEwWkw4MVhBCg==", vec![Base64LineEnd]),
        ("QUs0VFEwWkw4MVhBDQo=", vec![Base64LineEnd]),
    ] {
        for role in ROLES {
            let found = with(role, value);
            assert_eq!(kinds(&found.fatal), expected, "{value:?} as {role:?}");
            assert_eq!(found.suspicious, [], "{value:?} as {role:?}");
        }
    }
}

#[test]
fn what_may_be_chosen_or_generated_so_is_fatal_in_an_api_key_only() {
    use ValueFlaw::*;
    for (value, flaw) in [
        ("\"s3cr3t\"", Quoted),
        ("'s3cr3t'", Quoted),
        ("`s3cr3t`", Quoted),
        ("\u{201c}s3cr3t\u{201d}", TypographicQuotes),
        ("s3cr3t\u{2019}s", TypographicQuotes),
        ("<aBcDe>", AngleBrackets),
    ] {
        for role in ROLES {
            let found = with(role, value);
            let (fatal, suspicious) =
                if role.is_api_key() { (vec![flaw.clone()], vec![]) } else { (vec![], vec![flaw.clone()]) };
            assert_eq!((kinds(&found.fatal), kinds(&found.suspicious)), (fatal, suspicious), "{value:?} as {role:?}");
        }
    }
}

#[test]
fn what_is_only_odd_is_suspicious_and_never_fatal() {
    use Role::*;
    use ValueFlaw::*;
    for (role, value, flaw) in [
        (Password, "pw-${X}-y", PlaceholderInside),
        (Password, "a{{ x }}b", PlaceholderInside),
        (Password, "changeme123", PlaceholderInside),
        (CustomerApiKey, "REPLACE_ME_1", PlaceholderInside),
        (CustomerApiKey, "QUNNRTE=", Base64),
        (UserApiKey, "QUs0VFEwWkw4MVhB", Base64),
        (Username, "c3ZjLWFjbWU=", Base64),
        (Password, "Y29ycmVjdDxob3JzZT4mImJhdHRlcnkn", Base64),
        (CustomerApiKey, "AK4TQ0ZL81XB", LooksLikeUserApiKey),
        (UserApiKey, "ACME2", LooksLikeCustomerApiKey),
        (Username, "jane.doe@acme.com", EmailAddress),
    ] {
        let found = with(role, value);
        assert_eq!((kinds(&found.fatal), kinds(&found.suspicious)), (vec![], vec![flaw]), "{value:?} as {role:?}");
    }
}

#[test]
fn odd_values_that_may_well_be_right_are_left_alone() {
    assert_eq!(lint_of(GOOD), Lint::default());
    for (role, value) in [
        (Role::Password, "se cret!"),
        (Role::Password, "p&ss<w>ord\"'"),
        (Role::Password, "\"half"),
        (Role::Password, "'"),
        (Role::Password, "pässwörd€"),
        (Role::Password, "<p4$$w0rd>"),
        (Role::Password, "$5{a}(b)"),
        (Role::Password, "a${1}b"),
        (Role::Password, "a{{1}}b"),
        (Role::Password, "ENC[half"),
        (Role::Password, "xx"),
        (Role::Password, "xxxxy"),
        (Role::Password, "a@b.c"),
        (Role::Password, "Tr0ub4dor"),
        // Valid base64, but of bytes that nobody types.
        (Role::Password, "Abcd1234Abcd1234"),
        (Role::Password, "Abcdefg="),
        (Role::Username, "integrations"),
        // Base64 of nine letters, but any twelve letters may be base64 by accident.
        (Role::Username, "c3ZjLWFjbWUx"),
        (Role::Username, "service@acme"),
        (Role::Username, "nullable"),
        (Role::CustomerApiKey, "AB12CD"),
        (Role::UserApiKey, "AK4TQ0ZL81XA9"),
        (Role::UserApiKey, "9c0f7f0e-54d5-4c8e-b0d3-0c5f6f1d2a3b"),
        // Base64 of a text with a line end, but in the shape of a User API key.
        (Role::UserApiKey, "QUNNRTEyMzQK"),
    ] {
        assert_eq!(with(role, value), Lint::default(), "{value:?} as {role:?}");
    }
}

#[test]
fn values_in_each_others_place_are_told_by_both_keys() {
    for (values, fatal, suspicious, why) in [
        (["u", "p", "AK4TQ0ZL81XA", "ACME1"], "", "userApiKey and customerApiKey look swapped", None),
        (["u", "p", "ACME1", "ACME1"], "userApiKey has the same value as customerApiKey", "", Some(Reason::ApiKeysSwapped)),
        (
            ["u", "ACME1", "ACME1", "AK4TQ0ZL81XA"],
            "customerApiKey has the same value as password",
            "",
            Some(Reason::SecretValueMalformed),
        ),
        (
            ["AK4TQ0ZL81XA", "p", "ACME1", "AK4TQ0ZL81XA"],
            "userApiKey has the same value as username",
            "",
            Some(Reason::SecretValueMalformed),
        ),
        (
            ["u", "p\n", "K1", "K1"],
            "password ends with a newline; userApiKey has the same value as customerApiKey",
            "",
            Some(Reason::SecretValueMalformed),
        ),
        (["u", "u", "ACME1", "AK4TQ0ZL81XA"], "", "", None),
        // If a value is known to be wrong, comparing it shows nothing.
        (
            ["u", "p", "changeme", "changeme"],
            "customerApiKey is a placeholder that was not replaced; userApiKey is a placeholder that was not replaced",
            "",
            Some(Reason::SecretValueMalformed),
        ),
        (
            ["u", "p", "AK4TQ0ZL81XA\n", "ACME1"],
            "customerApiKey ends with a newline",
            "userApiKey looks like a Customer API key",
            Some(Reason::SecretValueMalformed),
        ),
    ] {
        let found = lint_of(values);
        assert_eq!((text(&found.fatal).as_str(), text(&found.suspicious).as_str()), (fatal, suspicious), "{values:?}");
        assert_eq!((!found.fatal.is_empty()).then(|| reason(&found.fatal)), why, "{values:?}");
    }
}

#[test]
fn what_basic_authentication_cannot_carry_matters_where_rest_is_used() {
    let of = |username: &str, password: &str, by_rest| {
        let [username, password, customer_api_key] =
            [username, password, "ACME1"].map(|value| Sensitive::new(value.to_owned()));
        let credentials = Credentials { username, password, customer_api_key, user_api_key: None };
        let Lint { fatal, suspicious } = lint(&credentials, &SecretKeys::default(), by_rest);
        (kinds(&fatal), kinds(&suspicious))
    };
    assert_eq!(of("svc:acme", "s3cr3t!:\u{fc}", true), (vec![ValueFlaw::Colon], vec![ValueFlaw::BeyondAscii]));
    assert_eq!(of("svc:acme", "s3cr3t!:\u{fc}", false), (vec![], vec![]));
    assert_eq!(of("svc", "s3cr3t!:", true), (vec![], vec![]));
}

#[test]
fn values_are_named_by_the_keys_that_the_secret_has() {
    let keys = SecretKeys { password: "UKG_PASSWORD".to_owned(), ..SecretKeys::default() };
    let [username, password, customer_api_key, user_api_key] =
        ["u", "p\n", "ACME1", "AK4TQ0ZL81XA"].map(|value| Sensitive::new(value.to_owned()));
    let found = lint(&Credentials { username, password, customer_api_key, user_api_key: Some(user_api_key) }, &keys, false);
    assert_eq!(text(&found.fatal), "UKG_PASSWORD ends with a newline");
}

/// Returns a value with flaws around it, inside it or instead of it.
fn spoilt(core: &str) -> Vec<String> {
    vec![
        core.to_owned(),
        format!("{core}\r\n"),
        format!(" {core}"),
        format!("\u{feff}{core}"),
        format!("\"{core}\""),
        format!("\u{201c}{core}\u{201d}"),
        format!("<{core}>"),
        format!("${{{core}}}"),
        format!("{{{{ {core} }}}}"),
        format!("changeme{core}"),
        format!("{core}@{core}.com"),
        format!("{core}\u{200b}{core}\u{0}"),
        STANDARD.encode(core),
        STANDARD.encode(format!("{core}\n")),
    ]
}

proptest! {
    #[test]
    fn no_value_gets_into_the_words(core in "[A-Z0-9]{6,24}", other in "[A-Z0-9]{6,24}", role in 0..4_usize) {
        for value in spoilt(&core) {
            let mut values = [other.as_str(); 4];
            values[role] = &value;
            let found = lint_of(values);
            let words = format!("{}. {}. {found:?}", text(&found.fatal), text(&found.suspicious));
            prop_assert!(!words.contains(&value));
            for part in [&core, &other] {
                let quoted = (0..=part.len() - 4).any(|at| words.contains(&part[at..at + 4]));
                prop_assert!(!quoted, "{words}");
            }
        }
    }

    #[test]
    fn the_words_for_values_of_any_length_are_the_same(first in "[A-Z]{13,40}!", second in "[A-Z]{13,40}!") {
        for role in ROLES {
            for (first, second) in spoilt(&first).iter().zip(spoilt(&second)).take(12) {
                prop_assert_eq!(with(role, first), with(role, &second));
            }
        }
    }

    #[test]
    fn any_text_is_judged_and_what_is_left_alone_can_be_sent(values in prop::array::uniform4(any::<String>())) {
        let found = lint_of([&values[0], &values[1], &values[2], &values[3]]);
        if found.fatal.is_empty() {
            for value in &values {
                prop_assert!(!value.is_empty() && value.trim() == value && !value.contains(char::is_control));
            }
            prop_assert_ne!(&values[2], &values[3]);
        }
    }

    #[test]
    fn api_keys_in_their_usual_shapes_are_never_suspected(customer in "[A-Za-z0-9]{5}", user in "[A-Za-z0-9]{12}") {
        prop_assume!(placeholder(&customer).is_none() && placeholder(&user).is_none());
        prop_assert_eq!(lint_of([GOOD[0], GOOD[1], &customer, &user]), Lint::default());
        prop_assert_eq!(kinds(&lint_of([GOOD[0], GOOD[1], &user, &customer]).fatal), []);
    }

    #[test]
    fn passwords_as_they_are_generated_are_never_kept_from_being_tried(
        password in "[A-Za-z0-9]{4,12}[!@#$%^&*()+={}\\[\\]<>?/\"'.,:;|~`-]{1,3}[A-Za-z0-9!@#$%^&*]{3,12}"
    ) {
        prop_assert_eq!(kinds(&with(Role::Password, &password).fatal), []);
    }
}

#[test]
fn a_customer_api_key_that_no_header_can_carry_is_told_before_it_is_tried() {
    let flaws_of = |role| flaws(role, "ÄCME1");
    assert_eq!(flaws_of(Role::CustomerApiKey), [ValueFlaw::NotAscii]);
    assert!(rules_out_a_login(Role::CustomerApiKey, &ValueFlaw::NotAscii));
    for role in [Role::Username, Role::Password, Role::UserApiKey] {
        assert_eq!(flaws_of(role), []);
    }
}
