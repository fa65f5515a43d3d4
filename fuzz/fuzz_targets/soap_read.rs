//! The SOAP reader and those who judge by it: any bytes are an answer or an error, and no arbitrary ones are a success.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukg_pro::login::{self, Session};
use ukg_pro::outcome::{self, Outcome};
use ukg_pro::soap::read;
use ukg_pro::transport::Answer;
use ukg_pro::words::Words;

static WORDS: std::sync::LazyLock<Words> = std::sync::LazyLock::new(Words::built_in);

fuzz_target!(|data: &[u8]| {
    let [status, body @ ..] = data else { return };
    let envelope = read::envelope(body);
    let fault = envelope.as_ref().ok().and_then(read::fault);
    let status = [200, 400, 401, 403, 404, 405, 415, 429, 500, 503][usize::from(*status) % 10];
    let answer = Answer::new(status, "application/soap+xml; charset=utf-8", body);
    // A session or a grant needs a well-formed envelope that is no fault, with the status of a success.
    if let Ok(Session::Token(token)) = login::read_answer(&answer, &WORDS) {
        assert!(status == 200 && envelope.is_ok() && fault.is_none() && !token.expose().trim().is_empty());
    }
    for disputed in [false, true] {
        if outcome::read_soap(&answer, disputed, &WORDS) == Outcome::Granted {
            assert!(status == 200 && envelope.is_ok() && fault.is_none());
        }
    }
});
