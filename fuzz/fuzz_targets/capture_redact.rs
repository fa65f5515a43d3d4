//! The redactor: whatever a host sends, of a text nobody compiled in not a byte is in the capture, and the capture is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukg_pro::capture::redact;
use ukg_pro::transport::Answer;

const CANARY: &str = "Zqx7Wv9k";

fuzz_target!(|input: (u16, String, Vec<u8>)| {
    let (status, content_type, mut body) = input;
    // In place of every tab, so that the fuzzer decides where it stands.
    while let Some(at) = body.iter().position(|byte| *byte == b'\t') {
        body.splice(at..=at, CANARY.bytes());
        if body.len() > 1 << 17 {
            return;
        }
    }
    let content_type = content_type.replace('\t', CANARY);
    let answer = Answer::new(status, &content_type, &body);
    let capture = format!("{:?}", redact("LoginService/Authenticate", &answer));
    assert!(!capture.contains(CANARY) && !capture.contains(&CANARY.to_lowercase()));
    assert!(capture.len() < 1 << 20);
});
