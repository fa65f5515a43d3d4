//! The readers of REST answers: any bytes are an outcome, and a grant needs a success.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukg_pro::login;
use ukg_pro::outcome::{self, Outcome};
use ukg_pro::transport::Answer;
use ukg_pro::words::Words;

static WORDS: std::sync::LazyLock<Words> = std::sync::LazyLock::new(Words::built_in);

fuzz_target!(|data: &[u8]| {
    let [status, kind, body @ ..] = data else { return };
    let status = [200, 204, 301, 400, 401, 403, 404, 405, 429, 500][usize::from(*status) % 10];
    let kind = ["application/json", "application/problem+json", "text/html", ""][usize::from(*kind) % 4];
    let answer = Answer::new(status, kind, body);
    if outcome::read_rest(&answer, &WORDS) == Outcome::Granted {
        assert!(status == 200 && kind != "text/html");
    }
    if login::read_basic(&answer, &WORDS).is_ok() {
        assert!(matches!(status, 200 | 204 | 403) && kind != "text/html");
    }
});
