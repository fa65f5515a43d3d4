//! The endpoint parser: what it takes is a host as every reader of URLs sees it, and what it advises can be followed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukg_pro::endpoint::{Endpoint, Suggestion};
use url::{Host, Url};

fuzz_target!(|parts: (String, String)| {
    let (subdomain, domain) = parts;
    let suggestion = Suggestion::of(Some(&subdomain), Some(&domain)).map(|suggestion| suggestion.to_string());
    match Endpoint::from_parts(&subdomain, &domain) {
        Ok(endpoint) => {
            let url = Url::parse(&endpoint.url("/services/LoginService")).expect("a URL");
            assert_eq!(url.scheme(), "https");
            assert_eq!(url.host(), Some(Host::Domain(endpoint.host())));
            assert_eq!((url.username(), url.password(), url.path()), ("", None, "/services/LoginService"));
        }
        Err(flaw) => {
            flaw.advice(None);
        }
    }
    if let Some(suggestion) = suggestion {
        // A suggestion is one line for people, whatever was pasted.
        assert!(suggestion.len() < 700 && !suggestion.contains(char::is_control));
    }
});
