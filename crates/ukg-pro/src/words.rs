//! What the texts of UKG Pro's answers speak of. Data, in one place: `words.yaml` beside this file, to which whoever runs the operator may
//! add by `--config`. Pure.
//!
//! A text is looked at as a whole in lower case, with single blanks; single words count as whole words, so that *unauthorized* is not
//! found in *authorized*, nor *no* in *another*.
//!
//! **Invariant.** No text goes further than here: what comes out is one of a closed set.

use serde::Deserialize;

/// A word or phrase is not longer.
const LENGTH_MAX: usize = 128;
/// All of one file together.
const COUNT_MAX: usize = 1024;

/// The words, by what they speak of.
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

/// Why a list of words cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// An empty word would be found in every text, and a short one in most.
    #[error("words: write phrases of 2 to 128 characters")]
    Length,
    /// Too many.
    #[error("words: write at most 1,024 phrases")]
    Count,
}

/// What keeps an account from logging in, where UKG Pro says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum AccountState {
    /// Locked, mostly after failed logins.
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
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Locked, Self::Disabled, Self::Suspended, Self::Inactive, Self::PasswordExpired, Self::PasswordChange];
}

/// A text of an answer, to be judged.
pub struct Text(String);

impl Text {
    /// This text, as it is looked at.
    pub fn of(text: &str) -> Self {
        let plain = text.replace('\u{2019}', "'").to_lowercase();
        Self(plain.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, phrases: &[String]) -> bool {
        phrases.iter().any(|phrase| self.find(phrase).is_some())
    }

    /// Where a phrase stands, as whole words, but for one that begins or ends with another sign.
    fn find(&self, phrase: &str) -> Option<usize> {
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let (begins, ends) = (is_word(phrase.chars().next()), is_word(phrase.chars().next_back()));
        self.0.match_indices(phrase).map(|(at, _)| at).find(|at| {
            let before = self.0[..*at].chars().next_back();
            let mut after = self.0[at + phrase.len()..].chars().peekable();
            // A plural is the same word.
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

/// The file's form.
#[derive(Deserialize)]
struct File {
    words: Words,
}

impl Words {
    /// What comes with the operator.
    pub fn built_in() -> Self {
        let file: File = serde_saphyr::from_str(include_str!("words.yaml")).expect("a test reads the file that is compiled in");
        file.words
    }

    /// These and those of a file.
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

    /// Each list, by its name in the file.
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

    /// The names of the lists with a phrase that is in one of these texts, or with a code that one of them is.
    pub fn spoken_of(&self, texts: &[&str]) -> Vec<&'static str> {
        let mut words = self.clone();
        let plain: Vec<_> = texts.iter().map(|text| Text::of(text)).collect();
        let is_in = |list: &[String], name: &str| match name.ends_with("Codes") {
            true => texts.iter().any(|text| has_code(list, text)),
            false => plain.iter().any(|text| text.has(list)),
        };
        words.lists().into_iter().filter(|(name, list)| is_in(list, name)).map(|(name, _)| name).collect()
    }

    /// Whether a text speaks of a right that is missing.
    pub fn deny(&self, text: &Text) -> bool {
        let text = text.without(&self.allowed);
        text.has(&self.denied) || (text.has(&self.rights) && text.has(&self.negations))
    }

    /// Whether a query ran and found nobody.
    pub fn find_nobody(&self, text: &Text) -> bool {
        let alone = text.0.trim_matches(|c: char| !c.is_alphanumeric());
        let is_nobody = text.has(&self.nobody) || self.nobody_alone.iter().any(|phrase| phrase == alone);
        is_nobody
            && ![&self.elsewhere, &self.trouble, &self.general, &self.token_expired].into_iter().any(|list| text.has(list))
            && !self.deny(text)
    }

    /// Whether a text speaks of a refused login.
    pub fn refuse(&self, text: &Text) -> bool {
        text.has(&self.refused)
    }

    /// Whether it names the User API key.
    pub fn name_the_user_key(&self, text: &Text) -> bool {
        text.has(&self.user_api_key)
    }

    /// Whether it means the Customer API key.
    pub fn mean_the_customer_key(&self, text: &Text) -> bool {
        text.has(&self.customer_api_key)
    }

    /// The account's state, if a text tells of one that keeps it from logging in.
    pub fn account_state(&self, text: &Text) -> Option<AccountState> {
        // A table may be locked too.
        if self.tell_of_trouble(text) {
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
    pub fn end_the_session(&self, text: &Text) -> bool {
        text.has(&self.token_expired)
    }

    /// Whether a text is UKG Pro's own for trouble of its own.
    pub fn tell_of_general_trouble(&self, text: &Text) -> bool {
        text.has(&self.general)
    }

    /// Whether a text speaks of trouble of the host.
    pub fn tell_of_trouble(&self, text: &Text) -> bool {
        text.has(&self.trouble) || text.has(&self.general)
    }

    /// Whether a message's code means that a right is missing.
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
            assert_eq!(words.deny(&Text::of(text)), denied, "{text}");
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
            assert_eq!(words.find_nobody(&Text::of(text)), nobody, "{text}");
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
        assert!(words.deny(&Text::of("Der Zugriff verweigert")) && words.deny(&Text::of("access denied")));
        assert!(words.find_nobody_by_code(" 42 ") && !words.deny_by_code("42"));
        assert_eq!(more("words: {denied: [\" \"]}"), Err(WordsError::Length));
        assert_eq!(more(&format!("words: {{denied: [{}]}}", "x".repeat(LENGTH_MAX + 1))), Err(WordsError::Length));
        assert!(serde_saphyr::from_str::<File>("words: {denials: []}").is_err());
    }
}
