//! The words that may appear in a capture. Pure.
//!
//! Texts and names become sequences of words that are compiled in here. Everything else becomes a placeholder for its kind. No
//! type here contains a `String`, so a server's bytes cannot be copied.
//!
//! A piece of text becomes either words or one placeholder: `p4ss-word` does not become `<word>` and `word`. Words that are
//! likely only in a passphrase or a person's name (above all first names) do not belong here.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use serde::{Serialize, Serializer};

/// Words kept of a text. UKG Pro's longest known text has 26.
pub const PIECES_MAX: usize = 40;
/// The maximum length of a name. UKG Pro's are shorter.
const NAME_MAX: usize = 64;

const WORDS: &str = "
    a about above according again all allow allowed already also although an and another any anymore are as at attempt attempts
    authenticate authenticated authenticating authentication authorisation authorised authorization authorize authorized
    available back bad be because been before being below between block blocked body both bound but by call called calls can
    can't cannot certificate certificates change changed character characters check checked choose client closed code codes
    combination complete completed configuration configured conflict connect connected connection contact contain contains content
    context continue continues contract contracts correct correctly could create created credential credentials current currently
    customer data database date day days deactivated default delete deleted denied deny deserialization deserialize deserializing
    detail detailed details did different directory disabled dispatcher do document does doesn't don't due during each
    element elements email empty enable enabled encountered end ended endpoint ensure enter entered entity environment error
    errors exceed exceeded exceeds exception exist existing exists expected expire expired expires failed fails failure false fault
    few field fields file filter filtermismatch find for forbidden form format formatter found from full further gateway general
    generic get given go granted group groups guid had handle handled has have header headers help host hour hours how however
    http https id identifier identity if ignored import in inactive include includes including incorrect incorrectly information
    inner input insecure insufficient internal invalid invalidsecurity is isn't issue issues it item items its key keys known last
    later length level license limit limited limits list listener local lock locked lockout log logged login logins logon long
    longer made maintenance make malformed many match matches maximum may mean message messages method minimum minute minutes
    mismatch missing modified more moved must name named namespace need needed needs new no node none not nothing null number
    numbers object occured occurred occurs of off ok on once one only open operation operations operator option optional or order
    other our out over own page pages parameter parameters parse parsed parsing part partial password passwords path payload per
    perform performed permission permissions permitted please policy possible post prevented previous principal privilege
    privileges problem process processed processing profile properties property protected protocol provide provided provider
    proxy query quota quotas range rate reach reached read reading reason receive received receiver record records redirect
    refused reject rejected remove removed request requested requests require required requires reserved reset resource resources
    response responses result results resume retries retry return returned returns right rights role roles row rows rule rules
    same schema scope second seconds section secure security see send sender sent separate server servers service services session
    sessions set setting settings should sign signature signed since size soap some something specified start state status stop
    string subcode submit submitted success successful successfully such support supported suspended system table tenant
    terminated text than that the their them then there these they this those through throttled throttling time timed timeout
    times to token tokens too transaction transport true try type types unable unauthorised unauthorized unavailable unexpected
    unhandled unique unknown unprocessable unrecognized unsupported until up update updated uri url us usage use used user
    username users uses using valid validate validated validating validation value values verification verified verify version
    via view violation wait warning warnings was we web welcome were what when where whether which while who why will with within
    without wrong wsdl xml you your zero

    access account accounts action active activity address addresses addressing administration administrator admin api apis
    application applications array arrays assembly basic bearer binding book boolean buffer build cache count counter culture
    cultures dateadded enum envelope event fatal format framework function handler html impersonation infrastructure instance int
    integration invoke json lang language link links log logentryid metadata model module nil nonce paging pageinfo pagenumber
    pagesize predicate problem query reference referenced relation security serialization severity stack statement status
    structure subdomain domain template thread title total trace ultipro ukg pro uuid warning

    agency alternate annual balance base benefit beneficiary birth business calendar city codes company companies compensation
    compensations component contact contacts contribution cost country county defined deduction deductions department dependent
    description direct division earning earnings effective eligibility email emergency employee employees employer employment
    ethnic exempt export extension factor federal find first former frequency full gender gross hire hired history home
    hourly identifier individual info informations information integration job jobs labor last leave line location locations
    mailing manager marital master middle military national net org organization original pay payroll pays paygroup
    payperiods people period periods person personal personnel phone phones place plan plans position postal prefix previous
    primary project pto race rate rates reason region rehire relationship review salaries salary sales schedule scheduled
    secondary seniority shift sso ssouser state statements street suffix supervisor supplemental tax taxes temporary terminate
    termination terminations total title union unit user weekly work working year yearly zip

    alert entry guid identity last lower mask mode mustunderstand nillable operationcontext private public quick reply role select
    subject summary text understand understood upper encoding relates

    faultcode faultstring faultactor detail
";

/// Compounds that may appear in a text: terms of UKG Pro and WCF. In a name every compound of known words may appear, but not in
/// a text: service accounts are called `IntegrationUser` and `api.service`, and a refusal may repeat that.
const COMPOUNDS: [&str; 17] = [
    "AddressFilter",
    "ClientAccessKey",
    "ContractFilter",
    "CustomerApiKey",
    "EmployeeNumber",
    "EndpointDispatcher",
    "FilterMismatch",
    "LoginService",
    "MustUnderstand",
    "PageNumber",
    "PageSize",
    "TokenRequest",
    "UltiProToken",
    "UserAccessKey",
    "UserApiKey",
    "UserName",
    "e-mail",
];

static KNOWN: LazyLock<HashSet<&'static str>> = LazyLock::new(|| WORDS.split_whitespace().collect());

/// Whether a lower-case word may appear in a capture.
#[cfg(test)]
pub(super) fn is_known(word: &str) -> bool {
    KNOWN.contains(word)
}

/// The letter case of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Capital,
    Upper,
}

/// A word of the vocabulary with its case, or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Word(&'static str, Case),
    /// A placeholder, a compound, or a separator.
    Mark(&'static str),
    /// A number in the range of HTTP statuses, which often form error codes.
    Status(u16),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Word(word, Case::Lower) | Piece::Mark(word) => f.write_str(word),
            Piece::Word(word, Case::Upper) => f.write_str(&word.to_ascii_uppercase()),
            Piece::Word(word, Case::Capital) => {
                let (first, rest) = word.split_at(1);
                write!(f, "{}{rest}", first.to_ascii_uppercase())
            }
            Piece::Status(status) => write!(f, "{status}"),
        }
    }
}

/// Returns the known word, if the text is one in one of the three cases.
fn word(text: &str) -> Option<Piece> {
    // No word is longer, so longer texts are not even converted.
    if text.is_empty() || text.len() > 24 || !text.is_ascii() {
        return None;
    }
    let known = KNOWN.get(text.to_ascii_lowercase().as_str())?;
    let upper = |text: &str| !text.bytes().any(|byte| byte.is_ascii_lowercase());
    let lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let case = match text {
        _ if lower(text) => Case::Lower,
        _ if upper(&text[..1]) && lower(&text[1..]) => Case::Capital,
        _ if upper(text) => Case::Upper,
        _ => return None,
    };
    Some(Piece::Word(known, case))
}

/// The name of an element or key: known words in camel case or joined by `_`, `-` or `.`, or else a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Vec<Piece>);

impl Name {
    /// Redacts a name.
    pub fn of(text: &str) -> Self {
        Self(identifier(text).unwrap_or_else(|| vec![Piece::Mark("<name>")]))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| piece.fmt(f))
    }
}

/// Returns all words of a compound, or `None` if one is unknown.
fn identifier(text: &str) -> Option<Vec<Piece>> {
    if text.is_empty() || text.len() > NAME_MAX || !text.is_ascii() {
        return None;
    }
    let mut pieces = Vec::new();
    for part in text.split_inclusive(['_', '-', '.']) {
        let mark = ["_", "-", "."].into_iter().find(|mark| part.ends_with(mark));
        let part = mark.and_then(|mark| part.strip_suffix(mark)).unwrap_or(part);
        match word(part) {
            Some(word) => pieces.push(word),
            None => {
                for hump in humps(part) {
                    pieces.push(word(hump)?);
                }
            }
        }
        pieces.extend(mark.map(Piece::Mark));
    }
    Some(pieces)
}

/// Splits `UserAPIKey` into `User`, `API`, `Key`.
fn humps(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let starts = |at: usize| {
        let (before, here) = (bytes[at - 1], bytes[at]);
        let next_is_lower = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        here.is_ascii_uppercase() && (!before.is_ascii_uppercase() || next_is_lower)
    };
    let mut humps = Vec::new();
    let mut begin = 0;
    for at in 1..bytes.len() {
        if starts(at) {
            humps.push(&text[begin..at]);
            begin = at;
        }
    }
    humps.push(&text[begin..]);
    humps
}

/// A text, in known words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said(Vec<Piece>);

impl Said {
    /// Redacts a text.
    pub fn of(text: &str) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for chunk in text.split_whitespace() {
            let found = reduced(chunk);
            // Adjacent unknown parts become one placeholder.
            if matches!(found, Piece::Mark(_)) && pieces.last() == Some(&found) {
                continue;
            }
            if pieces.len() >= 2 * PIECES_MAX {
                pieces.push(Piece::Mark(" <more>"));
                break;
            }
            if !pieces.is_empty() {
                pieces.push(Piece::Mark(" "));
            }
            pieces.push(found);
        }
        Self(pieces)
    }

    /// Redacts a code: as a name if possible, or else as a text.
    pub fn code(text: &str) -> Self {
        identifier(text.trim()).map_or_else(|| Self::of(text), Self)
    }

    /// Returns the kind of a text, without any of its words.
    pub fn kind_of(text: &str) -> Self {
        Self(vec![match kind(text.trim()) {
            "<word>" => Piece::Mark("<text>"),
            kind => Piece::Mark(kind),
        }])
    }

    /// Redacts a number, unless it can be an HTTP status.
    pub fn number(number: Option<u64>) -> Self {
        Self(vec![number.and_then(status).unwrap_or(Piece::Mark("<number>"))])
    }

    /// Returns the number of pieces.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| piece.fmt(f))
    }
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn status(number: u64) -> Option<Piece> {
    u16::try_from(number).ok().filter(|number| (100..600).contains(number)).map(Piece::Status)
}

/// Redacts what is between two blanks, without the punctuation around it.
fn reduced(chunk: &str) -> Piece {
    let bare = chunk.trim_matches(['.', ',', ';', ':', '!', '?', '(', ')', '[', ']', '"', '\'']);
    let compound = || COMPOUNDS.iter().find(|compound| **compound == bare).map(|compound| Piece::Mark(compound));
    let number = || bare.parse().ok().filter(|_| bare.len() == 3).and_then(status);
    word(bare).or_else(compound).or_else(number).unwrap_or_else(|| Piece::Mark(kind(bare)))
}

/// Returns the placeholder for a text.
fn kind(text: &str) -> &'static str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"-.,:/".contains(&byte));
    if text.contains("://") {
        "<url>"
    } else if is_guid(text) {
        "<guid>"
    } else if text.contains('@') {
        "<email>"
    } else if digits(text) {
        "<number>"
    } else {
        "<word>"
    }
}

fn is_guid(text: &str) -> bool {
    let text = text.trim_matches(['{', '}']);
    let groups: Vec<_> = text.split('-').collect();
    groups.len() == 5
        && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| group.len() == length)
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
