//! The lint of a Secret's values: it accepts any texts, and no finding tells more about a value than its kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukg_pro::credentials::Credentials;
use ukg_pro::sensitive::Sensitive;
use ukgpro_operator::api::SecretKeys;
use ukgpro_operator::controller::lint::{self, Lint};

fuzz_target!(|values: (String, String, String, Option<String>)| {
    let (username, password, customer_api_key, user_api_key) = values;
    let lint_of = |username: &str| {
        let secret = |text: &str| Sensitive::new(text.to_owned());
        let credentials = Credentials {
            username: secret(username),
            password: secret(&password),
            customer_api_key: secret(&customer_api_key),
            user_api_key: user_api_key.as_deref().map(secret),
        };
        lint::lint(&credentials, &SecretKeys::default(), false)
    };
    let Lint { fatal, suspicious } = lint_of(&username);
    // The texts are fixed: their length does not grow with the values.
    for finding in fatal.iter().chain(&suspicious) {
        assert!(finding.to_string().len() < 200);
    }
    assert_eq!(fatal.is_empty(), lint::text(&fatal).is_empty());
    assert_eq!(lint_of(&username), Lint { fatal, suspicious }, "the same values are judged the same way");
});
