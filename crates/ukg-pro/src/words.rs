//! Classifies the texts of UKG Pro's answers by phrases. They are data, in `words.yaml` beside this file, and whoever runs the
//! operator may add to them with `--config`. Pure.
//!
//! A text is compared as a whole, in lower case with single blanks. Single words match whole words only: *unauthorized* does not
//! match in *authorized*, nor *no* in *another*.
//!
//! **Invariant.** No text leaves this module: every result is one of a closed set.

use serde::Deserialize;

/// Characters of a phrase at most.
const LENGTH_MAX: usize = 128;
/// Phrases of one file at most.
const COUNT_MAX: usize = 1024;

/// The phrases, by their meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Words {
    allowed: Vec<String>,
    denied: Vec<String>,
    rights: Vec<String>,
    negations: Vec<String>,
    nobody: Vec<String>,
    nobody_alone: Vec<String>,
    elsewhere: Vec<String>,
    refused: Vec<String>,
    user_api_key: Vec<String>,
    customer_api_key: Vec<String>,
    locked: Vec<String>,
    disabled: Vec<String>,
    suspended: Vec<String>,
    inactive: Vec<String>,
    password_expired: Vec<String>,
    password_change: Vec<String>,
    token_expired: Vec<String>,
    general: Vec<String>,
    trouble: Vec<String>,
    denied_codes: Vec<String>,
    nobody_codes: Vec<String>,
}

/// Why a list of phrases is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Too long, or too short: an empty phrase matches every text, and a short one most.
    #[error("words: write phrases of 2 to 128 characters")]
    Length,
    /// Too many phrases.
    #[error("words: write at most 1,024 phrases")]
    Count,
}

/// The state that keeps an account from logging in, if UKG Pro names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum AccountState {
    /// Locked, usually after failed logins.
    #[error("the account is locked")]
    Locked,
    /// Disabled.
    #[error("the account is disabled")]
    Disabled,
    /// Suspended.
    #[error("the account is suspended")]
    Suspended,
    /// Not active.
    #[error("the account is not active")]
    Inactive,
    /// Its password has expired.
    #[error("the password has expired")]
    PasswordExpired,
    /// Its password must be changed.
    #[error("the password must be changed")]
    PasswordChange,
}

impl AccountState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Locked, Self::Disabled, Self::Suspended, Self::Inactive, Self::PasswordExpired, Self::PasswordChange];
}

/// A normalised text of an answer.
pub struct Text(String);

impl Text {
    /// Normalises a text.
    pub fn of(text: &str) -> Self {
        let plain = text.replace('\u{2019}', "'").to_lowercase();
        Self(plain.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, phrases: &[String]) -> bool {
        phrases.iter().any(|phrase| self.find(phrase).is_some())
    }

    /// Returns where a phrase occurs as whole words. An end of the phrase that is not a letter or digit needs no word boundary.
    fn find(&self, phrase: &str) -> Option<usize> {
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let (begins, ends) = (is_word(phrase.chars().next()), is_word(phrase.chars().next_back()));
        self.0.match_indices(phrase).map(|(at, _)| at).find(|at| {
            let before = self.0[..*at].chars().next_back();
            let mut after = self.0[at + phrase.len()..].chars().peekable();
            // A plural matches too.
            let _ = after.next_if_eq(&'s');
            let goes_on = (begins && is_word(before)) || (ends && is_word(after.next()));
            !goes_on
        })
    }

    fn without(&self, phrases: &[String]) -> Self {
        let mut left = Self(self.0.clone());
        for phrase in phrases {
            while let Some(at) = left.find(phrase) {
                left.0.replace_range(at..at + phrase.len(), " ");
            }
        }
        left
    }
}

/// The format of the file.
#[derive(Deserialize)]
struct File {
    words: Words,
}

impl Words {
    /// Returns the built-in phrases.
    pub fn built_in() -> Self {
        let file: File = serde_saphyr::from_str(include_str!("words.yaml")).expect("a test reads the file that is compiled in");
        file.words
    }

    /// Adds the phrases of a file.
    pub fn extended(mut self, more: Self) -> Result<Self, WordsError> {
        let mut more = more;
        let mut count = 0;
        for ((_, list), (_, added)) in self.lists().into_iter().zip(more.lists()) {
            for phrase in added.drain(..) {
                let Text(phrase) = Text::of(&phrase);
                if !(2..=LENGTH_MAX).contains(&phrase.chars().count()) {
                    return Err(WordsError::Length);
                }
                count += 1;
                list.push(phrase);
            }
        }
        if count > COUNT_MAX { Err(WordsError::Count) } else { Ok(self) }
    }

    /// Returns each list with its name in the file.
    fn lists(&mut self) -> [(&'static str, &mut Vec<String>); 21] {
        let Self { allowed, denied, rights, negations, nobody, elsewhere, refused, user_api_key, customer_api_key, .. } = self;
        let Self { locked, disabled, suspended, inactive, password_expired, password_change, .. } = self;
        let Self { nobody_alone, general, token_expired, trouble, denied_codes, nobody_codes, .. } = self;
        [
            ("allowed", allowed),
            ("denied", denied),
            ("rights", rights),
            ("negations", negations),
            ("nobody", nobody),
            ("nobodyAlone", nobody_alone),
            ("elsewhere", elsewhere),
            ("refused", refused),
            ("userApiKey", user_api_key),
            ("customerApiKey", customer_api_key),
            ("locked", locked),
            ("disabled", disabled),
            ("suspended", suspended),
            ("inactive", inactive),
            ("passwordExpired", password_expired),
            ("passwordChange", password_change),
            ("tokenExpired", token_expired),
            ("general", general),
            ("trouble", trouble),
            ("deniedCodes", denied_codes),
            ("nobodyCodes", nobody_codes),
        ]
    }

    /// Returns the names of the lists of which a phrase occurs in one of these texts, or a code equals one.
    pub fn matching_lists(&self, texts: &[&str]) -> Vec<&'static str> {
        let mut words = self.clone();
        let plain: Vec<_> = texts.iter().map(|text| Text::of(text)).collect();
        let is_in = |list: &[String], name: &str| match name.ends_with("Codes") {
            true => texts.iter().any(|text| has_code(list, text)),
            false => plain.iter().any(|text| text.has(list)),
        };
        words.lists().into_iter().filter(|(name, list)| is_in(list, name)).map(|(name, _)| name).collect()
    }

    /// Whether a text says that a permission is missing.
    pub fn says_denied(&self, text: &Text) -> bool {
        let text = text.without(&self.allowed);
        text.has(&self.denied) || (text.has(&self.rights) && text.has(&self.negations))
    }

    /// Whether a text says that a query ran and found nobody.
    pub fn says_nobody_found(&self, text: &Text) -> bool {
        let alone = text.0.trim_matches(|c: char| !c.is_alphanumeric());
        let is_nobody = text.has(&self.nobody) || self.nobody_alone.iter().any(|phrase| phrase == alone);
        is_nobody
            && ![&self.elsewhere, &self.trouble, &self.general, &self.token_expired].into_iter().any(|list| text.has(list))
            && !self.says_denied(text)
    }

    /// Whether a text says that a login was refused.
    pub fn says_login_refused(&self, text: &Text) -> bool {
        text.has(&self.refused)
    }

    /// Whether a text names the User API key.
    pub fn names_user_key(&self, text: &Text) -> bool {
        text.has(&self.user_api_key)
    }

    /// Whether a text means the Customer API key.
    pub fn names_customer_key(&self, text: &Text) -> bool {
        text.has(&self.customer_api_key)
    }

    /// Returns the account's state, if a text names one that prevents a login.
    pub fn account_state(&self, text: &Text) -> Option<AccountState> {
        // A database table may be locked too.
        if self.says_trouble(text) {
            return None;
        }
        AccountState::ALL.into_iter().find(|state| {
            text.has(match state {
                AccountState::Locked => &self.locked,
                AccountState::Disabled => &self.disabled,
                AccountState::Suspended => &self.suspended,
                AccountState::Inactive => &self.inactive,
                AccountState::PasswordExpired => &self.password_expired,
                AccountState::PasswordChange => &self.password_change,
            })
        })
    }

    /// Whether a text says that the session has ended.
    pub fn says_session_ended(&self, text: &Text) -> bool {
        text.has(&self.token_expired)
    }

    /// Whether a text has UKG Pro's own words for trouble on its side.
    pub fn says_general_error(&self, text: &Text) -> bool {
        text.has(&self.general)
    }

    /// Whether a text says that the host has trouble.
    pub fn says_trouble(&self, text: &Text) -> bool {
        text.has(&self.trouble) || text.has(&self.general)
    }

    /// Whether a message's code means that a permission is missing.
    pub fn deny_by_code(&self, code: &str) -> bool {
        has_code(&self.denied_codes, code)
    }

    /// Whether a message's code means that nobody was found.
    pub fn find_nobody_by_code(&self, code: &str) -> bool {
        has_code(&self.nobody_codes, code)
    }
}

fn has_code(codes: &[String], code: &str) -> bool {
    codes.iter().any(|known| known.eq_ignore_ascii_case(code.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_told_from_what_only_sounds_like_one() {
        let words = Words::built_in();
        for (text, denied) in [
            ("Access is denied.", true),
            ("User does not have access to this service", true),
            ("You have no access to this data", true),
            ("This operation is not allowed for your security role", true),
            ("Insufficient rights", true),
            ("Forbidden", true),
            ("You do not have permission", true),
            ("You don\u{2019}t have the privilege", true),
            ("Missing  permissions\n", true),
            ("Insufficient privilege", true),
            ("access granted", false),
            ("No errors, access granted", false),
            ("permission checked", false),
            ("The user is authorized", false),
            ("Permission", false),
            ("Invalid page number", false),
            ("An unauthorizedly odd word", false),
            ("", false),
        ] {
            assert_eq!(words.says_denied(&Text::of(text)), denied, "{text}");
        }
    }

    #[test]
    fn that_nobody_is_found_is_told_from_that_something_else_is_not() {
        let words = Words::built_in();
        for (text, nobody) in [
            ("No employees were found", true),
            ("no records", true),
            ("Not found.", true),
            ("No matching employees", true),
            ("No recording", false),
            ("Session not found", false),
            ("Query timed out, no results", false),
            ("No data: an error has occurred", false),
            ("No data source configured", false),
            ("No dataset", false),
            ("No data", true),
            ("User access key not found", false),
            ("Service not found", false),
            ("No data: you do not have permission", false),
            ("Not foundry", false),
            ("", false),
        ] {
            assert_eq!(words.says_nobody_found(&Text::of(text)), nobody, "{text}");
        }
    }

    #[test]
    fn an_accounts_state_is_one_of_a_closed_list() {
        let words = Words::built_in();
        for (text, state) in [
            ("The account is locked", Some(AccountState::Locked)),
            ("Your account has been LOCKED out", Some(AccountState::Locked)),
            ("user is disabled", Some(AccountState::Disabled)),
            ("account suspended", Some(AccountState::Suspended)),
            ("the account is not active", Some(AccountState::Inactive)),
            ("Your password has expired", Some(AccountState::PasswordExpired)),
            ("You must change your password", Some(AccountState::PasswordChange)),
            ("unlocked", None),
            ("User authentication failed", None),
        ] {
            assert_eq!(words.account_state(&Text::of(text)), state, "{text}");
        }
    }

    #[test]
    fn whoever_runs_the_operator_may_add_words_and_none_that_is_in_every_text() {
        let more = |yaml: &str| Words::built_in().extended(serde_saphyr::from_str::<File>(yaml).expect("YAML").words);
        let words = more("words: {denied: [\"Zugriff  VERWEIGERT\"], nobodyCodes: [\"42\"]}").expect("good");
        assert!(words.says_denied(&Text::of("Der Zugriff verweigert")) && words.says_denied(&Text::of("access denied")));
        assert!(words.find_nobody_by_code(" 42 ") && !words.deny_by_code("42"));
        assert_eq!(more("words: {denied: [\" \"]}"), Err(WordsError::Length));
        assert_eq!(more(&format!("words: {{denied: [{}]}}", "x".repeat(LENGTH_MAX + 1))), Err(WordsError::Length));
        assert!(serde_saphyr::from_str::<File>("words: {denials: []}").is_err());
    }
}
