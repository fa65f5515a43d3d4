//! The text format of the ledger: one entry on each line.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ukg_pro::login::{LoginFailure, Refusal, UndeterminedReason};

use crate::login_guard::entries::{
    ACCOUNT, Account, BEGUN_AGAIN, Entry, Fingerprint, HEADER, Login, NamespaceId, ORIGIN, PasswordId, ProcessTag, Request,
    Rest,
};

pub(super) fn line(Fingerprint(fingerprint): Fingerprint, entry: &Entry) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (login, how) = match entry.login {
        None => ("-", ""),
        Some(Login::Begun) => ("begun", ""),
        Some(Login::Unclear { worked: false }) => ("unclear", ""),
        Some(Login::Unclear { worked: true }) => ("unclear-worked", ""),
        Some(Login::Refused(failure)) => ("", word(failure)),
        Some(Login::BegunAgain(failure)) => (BEGUN_AGAIN, word(failure)),
    };
    let rest = match entry.rest {
        None => "-",
        Some(Rest::Begun) => "begun",
        Some(Rest::Refused) => "refused",
    };
    let granted = entry.granted.iter().map(|Request(request)| encode(request));
    // Stored among the requests, where an operator that does not know of origins ignores it.
    let origin = format!("{ORIGIN}{}.{}", encode(&entry.namespace_id.0), encode(&entry.password_id.0));
    let granted = granted.chain([origin]).collect::<Vec<_>>().join(",");
    let mut line = String::new();
    let (at, used, times) = (entry.at.as_second(), entry.used.as_second(), entry.times);
    let (account, process_tag) = (encode(&entry.account.0), encode(&entry.process_tag.0));
    // Writing to a String does not fail.
    let _ =
        writeln!(line, "{} {account} {login}{how} {rest} {times} {at} {used} {granted} {process_tag}", encode(&fingerprint));
    line
}

pub(super) fn word(failure: LoginFailure) -> &'static str {
    match failure {
        LoginFailure::Refused(Refusal::Credentials) => "credentials",
        LoginFailure::Refused(Refusal::CustomerApiKey) => "customer-api-key",
        LoginFailure::Refused(Refusal::UserApiKey) => "user-api-key",
        LoginFailure::Refused(Refusal::Account(state)) => {
            ACCOUNT.into_iter().find(|(of, _)| *of == state).map_or("account", |(_, word)| word)
        }
        LoginFailure::Undetermined(_) | LoginFailure::Unanswered(_) => "unexplained",
    }
}

pub(super) fn failure(word: &str) -> LoginFailure {
    match word {
        "credentials" => LoginFailure::Refused(Refusal::Credentials),
        "customer-api-key" => LoginFailure::Refused(Refusal::CustomerApiKey),
        "user-api-key" => LoginFailure::Refused(Refusal::UserApiKey),
        word if let Some((state, _)) = ACCOUNT.into_iter().find(|(_, known)| *known == word) => {
            LoginFailure::Refused(Refusal::Account(state))
        }
        _ => LoginFailure::Undetermined(UndeterminedReason::Failed),
    }
}

/// Parses entries, skips unreadable lines and counts them. An unknown word stands for a refusal, which a newer operator may have
/// written.
pub(super) fn parse(text: &str) -> (HashMap<Fingerprint, Entry>, usize) {
    let mut unreadable = 0;
    let lines = text.lines().filter(|line| *line != HEADER && !line.is_empty());
    let entries = lines.filter_map(|line| {
        let entry = entry(line);
        unreadable += usize::from(entry.is_none());
        entry
    });
    let entries = entries.collect();
    (entries, unreadable)
}

pub(super) fn entry(line: &str) -> Option<(Fingerprint, Entry)> {
    let fields: Vec<_> = line.split(' ').collect();
    let [fingerprint, account, login, rest, times, at, used, granted, process_tag] = fields.as_slice() else { return None };
    let second = |text: &str| text.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
    let login = match (*login, login.strip_prefix(BEGUN_AGAIN)) {
        ("-", _) => None,
        ("begun", _) => Some(Login::Begun),
        ("unclear", _) => Some(Login::Unclear { worked: false }),
        ("unclear-worked", _) => Some(Login::Unclear { worked: true }),
        (_, Some(word)) => Some(Login::BegunAgain(failure(word))),
        (word, None) => Some(Login::Refused(failure(word))),
    };
    let rest = match *rest {
        "-" => None,
        "begun" => Some(Rest::Begun),
        _ => Some(Rest::Refused),
    };
    let origin = granted.split(',').find_map(|piece| piece.strip_prefix(ORIGIN)?.split_once('.'));
    let (namespace_id, password_id) =
        origin.and_then(|(namespace_id, values)| bytes(namespace_id).zip(bytes(values))).unwrap_or_default();
    let entry = Entry {
        account: Account(bytes(account)?),
        login,
        rest,
        times: times.parse().ok()?,
        at: second(at)?,
        granted: granted.split(',').filter_map(bytes).map(Request).collect(),
        process_tag: ProcessTag(bytes(process_tag)?),
        used: second(used)?,
        namespace_id: NamespaceId(namespace_id),
        password_id: PasswordId(password_id),
    };
    Some((Fingerprint(bytes(fingerprint)?), entry))
}

pub(super) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
