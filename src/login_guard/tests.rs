use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::BoxFuture;
use ukg_pro::credentials::Credentials;
use ukg_pro::endpoint::Endpoint;
use ukg_pro::login::{Refusal, Session, UndeterminedReason};
use ukg_pro::sensitive::Sensitive;
use ukg_pro::transport::Unanswered;

use super::attempts::UNWRITTEN_MAX;
use super::storage::Error;
use super::*;
use crate::login_guard::storage::{Stored, Written};

/// A stand-in for the API server's Secrets, which outlives the ledgers that use it.
#[derive(Default, Clone)]
pub(crate) struct FakeStore(Arc<Mutex<FakeSecrets>>);

#[derive(Default)]
struct FakeSecrets {
    stored: HashMap<u8, Stored>,
    /// The largest size that is accepted; any size if 0.
    most: usize,
    /// The largest write.
    largest: usize,
    version: u32,
    writes: u32,
    /// The number of coming writes that are stored, but whose answer is lost.
    lost: u32,
    /// The number of coming writes that are not stored.
    failing: u32,
    /// The number of writes that were not stored, or whose answer was lost.
    failures: u32,
    /// After this number of successful writes, one fails.
    fail_after: Option<u32>,
}

impl FakeStore {
    pub(crate) fn writes(&self) -> u32 {
        lock(&self.0).writes
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger_with(Limits::default())
    }

    pub(crate) fn ledger_with(&self, limits: Limits) -> Ledger {
        Ledger::new(Box::new(self.clone()), limits).expect("random")
    }

    pub(crate) fn fail(&self, writes: u32) {
        lock(&self.0).failing = writes;
    }

    pub(crate) fn lose(&self, answers: u32) {
        lock(&self.0).lost = answers;
    }

    /// Somebody deletes its Secrets.
    pub(crate) fn clear(&self) {
        lock(&self.0).stored.clear();
    }

    pub(crate) fn failures(&self) -> u32 {
        lock(&self.0).failures
    }
}

impl FakeSecrets {
    /// Returns a copy with the same content, for another sequence of events.
    fn copy(&self) -> Self {
        Self { stored: self.stored.clone(), version: self.version, ..Self::default() }
    }
}

impl Store for FakeStore {
    fn read(&self, part: u8) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(lock(&self.0).stored.get(&part).cloned())
        })
    }

    fn write(&self, part: u8, stored: Stored) -> BoxFuture<'_, Result<Written, Error>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let written = {
                let mut kept = lock(&self.0);
                match kept.fail_after {
                    Some(0) => {
                        kept.fail_after = None;
                        return Err(Error::Deadline);
                    }
                    Some(left) => kept.fail_after = Some(left - 1),
                    None => {}
                }
                if kept.failing > 0 {
                    kept.failing -= 1;
                    kept.failures += 1;
                    return Err(Error::Deadline);
                }
                let present = kept.stored.get(&part).and_then(|stored| stored.version.clone());
                if present != stored.version {
                    return Ok(Written::Conflict);
                }
                if kept.most > 0 && stored.entries.len() > kept.most {
                    return Ok(Written::TooLarge);
                }
                kept.largest = kept.largest.max(stored.entries.len());
                kept.version += 1;
                kept.writes += 1;
                let version = Some(kept.version.to_string());
                kept.stored.insert(part, Stored { version: version.clone(), ..stored });
                if kept.lost > 0 {
                    kept.lost -= 1;
                    kept.failures += 1;
                    return Err(Error::Deadline);
                }
                Written::Done(version)
            };
            tokio::task::yield_now().await;
            Ok(written)
        })
    }
}

fn credentials(values: [&str; 4]) -> Credentials {
    let [username, password, customer_api_key, user_api_key] = values.map(|v| Sensitive::new(v.to_owned()));
    Credentials { username, password, customer_api_key, user_api_key: Some(user_api_key) }
}

fn endpoint() -> Endpoint {
    Endpoint::from_parts("service4", "ultipro.com").expect("good")
}

async fn ids(ledger: &Ledger, password: &str) -> CredentialIds {
    ledger.credential_ids("hr", &endpoint(), &credentials(["u", password, "c", "k"])).await.expect("stored")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

const REFUSED: LoginFailure = LoginFailure::Refused(Refusal::Credentials);
const LOST: LoginFailure = LoginFailure::Unanswered(Unanswered::ConnectionLost);
const UNCLEAR: LoginFailure = LoginFailure::Undetermined(UndeterminedReason::Fault);
const TROUBLE: LoginFailure = LoginFailure::Unanswered(Unanswered::ServerError);
const UNAVAILABLE: LoginFailure = LoginFailure::Unanswered(Unanswered::Unavailable { retry_after: None });
const NOT_SENT: LoginFailure = LoginFailure::Unanswered(Unanswered::ConnectRefused);

async fn begin(ledger: &Ledger, ids: CredentialIds) -> Intent {
    ledger.begin(ids, false, None, StatusRecord::default(), at(0)).await.expect("stored").expect("nobody else")
}

fn login(ledger: &Ledger, ids: CredentialIds) -> Option<Login> {
    ledger.known(ids, at(1)).entry.and_then(|entry| entry.login)
}

#[tokio::test(start_paused = true)]
async fn a_fingerprint_changes_with_each_value_and_with_the_installation() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let of =
        async |ledger: &Ledger, values| ledger.credential_ids("hr", &endpoint(), &credentials(values)).await.expect("stored");
    let base = of(&ledger, ["u", "p", "c", "k"]).await;
    assert_eq!(base, of(&store.ledger(), ["u", "p", "c", "k"]).await, "a restart");
    for (other, same_account) in [
        (["U", "p", "c", "k"], false),
        (["u", "P", "c", "k"], true),
        (["u", "p", "C", "k"], false),
        (["u", "p", "c", "K"], true),
        (["up", "", "c", "k"], false),
    ] {
        let other = of(&ledger, other).await;
        assert_ne!(base.fingerprint, other.fingerprint);
        assert_eq!(base.account == other.account, same_account);
    }
    let elsewhere = Endpoint::from_parts("service5", "ultipro.com").expect("good");
    let elsewhere = ledger.credential_ids("hr", &elsewhere, &credentials(["u", "p", "c", "k"])).await.expect("stored");
    assert!(base.fingerprint != elsewhere.fingerprint && base.account != elsewhere.account);
    let other = of(&FakeStore::default().ledger(), ["u", "p", "c", "k"]).await;
    assert!(base.fingerprint != other.fingerprint && base.account != other.account, "another installation");
}

#[tokio::test(start_paused = true)]
async fn what_each_end_leaves_for_the_next_process() {
    let recorded = StatusRecord { worked: Worked { login: true, rest: true }, tried: None };
    let logged_in = |rest| LoginResult::LoggedIn { rest };
    let not_told = StatusRecord::default();
    for (what, end, recorded, left) in [
        ("refused", LoginResult::LoginFailed(REFUSED), not_told, (Some(Login::Refused(REFUSED)), None)),
        ("refused though it worked", LoginResult::LoginFailed(REFUSED), recorded, (Some(Login::Refused(REFUSED)), None)),
        ("no answer", LoginResult::LoginFailed(LOST), not_told, (Some(Login::Begun), None)),
        ("no answer, but it worked", LoginResult::LoginFailed(LOST), recorded, (None, None)),
        ("not sent", LoginResult::LoginFailed(NOT_SENT), not_told, (None, None)),
        ("unclear", LoginResult::LoginFailed(UNCLEAR), not_told, (Some(Login::Unclear { worked: false }), None)),
        ("trouble of the host", LoginResult::LoginFailed(TROUBLE), not_told, (Some(Login::Unclear { worked: false }), None)),
        ("unclear, but it worked", LoginResult::LoginFailed(UNCLEAR), recorded, (None, None)),
        ("a host that takes no requests", LoginResult::LoginFailed(UNAVAILABLE), not_told, (None, None)),
        ("works", logged_in(None), not_told, (None, None)),
        ("works with REST", logged_in(Some(RestResult::Works)), not_told, (None, None)),
        ("REST refuses", logged_in(Some(RestResult::Refused)), not_told, (None, Some(Rest::Refused))),
        ("REST does not answer", logged_in(Some(RestResult::Unanswered)), not_told, (None, Some(Rest::Begun))),
        ("REST does not answer, but it worked", logged_in(Some(RestResult::Unanswered)), recorded, (None, None)),
    ] {
        let store = FakeStore::default();
        let ledger = store.ledger();
        let ids = ids(&ledger, "p").await;
        let intent = begin(&ledger, ids).await;
        assert_eq!(login(&store.ledger_after(ids).await, ids), Some(Login::Begun), "{what}: killed in between");
        ledger.end(ids, Some(intent), end, recorded, at(1)).await;
        ledger.commit().await.expect("stored");
        let next = store.ledger_after(ids).await;
        let entry = next.known(ids, at(2)).entry;
        assert_eq!(entry.as_ref().map_or((None, None), |entry| (entry.login, entry.rest)), left, "{what}");
        assert!(!next.known(ids, at(2)).login_works, "{what}: what works is not known to the next process");
    }
}

impl FakeStore {
    /// Returns the opened ledger of the next process.
    async fn ledger_after(&self, before: CredentialIds) -> Ledger {
        let ledger = self.ledger();
        assert_eq!(ids(&ledger, "p").await.fingerprint, before.fingerprint);
        ledger
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_stored_before_it_is_told() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let ids = ids(&ledger, "p").await;
    let intent = begin(&ledger, ids).await;
    ledger.end(ids, Some(intent), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(1)).await;
    assert_eq!(login(&store.ledger_after(ids).await, ids), Some(Login::Refused(REFUSED)), "without a commit");
}

#[tokio::test(start_paused = true)]
async fn unclear_answers_are_counted_until_one_is_clear_whoever_remembers() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let ids = ids(&ledger, "p").await;
    let tried = |ledger: &Ledger| ledger.known(ids, at(9)).tried.map(|tried| tried.times);
    let attempt = async |ledger: &Ledger, recorded: StatusRecord, end: LoginResult| {
        let intent = ledger.begin(ids, false, None, recorded, at(0)).await.expect("stored");
        ledger.end(ids, intent, end, recorded, at(0)).await;
    };
    for times in 1..=6 {
        attempt(&ledger, StatusRecord::default(), LoginResult::LoginFailed(if times % 2 == 0 { UNCLEAR } else { TROUBLE }))
            .await;
        assert_eq!(tried(&ledger), Some(times));
    }
    ledger.commit().await.expect("stored");
    assert_eq!(tried(&store.ledger_after(ids).await), Some(6), "the next process knows");
    // The ledger is lost, and the status is not.
    let told = StatusRecord { tried: Some(Attempts { at: at(0), times: 3 }), ..StatusRecord::default() };
    ledger.commit().await.expect("stored");
    lock(&store.0).stored.get_mut(&0).expect("stored").entries.clear();
    let anew = store.ledger_after(ids).await;
    attempt(&anew, told, LoginResult::LoginFailed(UNCLEAR)).await;
    assert_eq!(tried(&anew), Some(4));
    // For values that have worked, trouble of a minute is not written.
    let works = StatusRecord { worked: Worked { login: true, rest: false }, tried: None };
    let ledger = anew;
    ledger.end(ids, None, LoginResult::LoggedIn { rest: None }, StatusRecord::default(), at(0)).await;
    for times in 1..=6 {
        ledger.end(ids, None, LoginResult::LoginFailed(TROUBLE), works, at(0)).await;
        assert_eq!(tried(&ledger), Some(times));
        ledger.commit().await.expect("stored");
        let next = store.ledger_after(ids).await;
        assert_eq!(tried(&next), Some(times).filter(|times| *times > UNWRITTEN_MAX));
        assert!(next.known(ids, at(9)).entry.is_none_or(|entry| entry.has_worked()));
    }
    assert_eq!(ledger.known(ids, at(9)).failed_until, None, "other values of the account are tried");
    ledger.end(ids, None, LoginResult::LoggedIn { rest: None }, works, at(0)).await;
    assert_eq!(tried(&ledger), None);
    ledger.invalidate();
    assert_eq!(tried(&ledger), None);
}

#[tokio::test(start_paused = true)]
async fn requests_have_an_end_whatever_the_answers_are() {
    for (refused_before, refused_per_day) in [(false, 5), (true, 5), (false, 20)] {
        let store = FakeStore::default();
        let ledger = store.ledger_with(Limits { refused_per_day, ..Limits::default() });
        let ids = ids(&ledger, "p").await;
        if refused_before {
            refuse(&ledger, ids).await;
        }
        let mut asked = 0;
        while ledger.known(ids, at(9)).requests_failed_until.is_none() {
            asked += 1;
            let request = ledger.request("uid", &asked.to_string()).await.expect("a key");
            let intent = ledger.begin(ids, false, Some(request), StatusRecord::default(), at(1)).await.expect("stored");
            ledger.end(ids, intent, LoginResult::LoginFailed(UNCLEAR), StatusRecord::default(), at(1)).await;
            let entry = ledger.known(ids, at(9)).entry.expect("known");
            assert!(entry.granted.contains(&request), "the same request is not granted again");
            assert_eq!(refused_now(&ledger, ids), refused_before, "what was seen stands");
            assert!(asked <= 2 * refused_per_day, "refused before {refused_before}");
        }
        assert_eq!(asked + u32::from(refused_before), 2 * refused_per_day);
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_was_not_judged_takes_nothing_from_what_was_known() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let ids = ids(&ledger, "p").await;
    let intent = begin(&ledger, ids).await;
    ledger.end(ids, Some(intent), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(1)).await;
    let asked = Request([1; 8]);
    let intent =
        ledger.begin(ids, false, Some(asked), StatusRecord::default(), at(2)).await.expect("stored").expect("nobody else");
    let begun_again = Some(Login::BegunAgain(REFUSED));
    assert_eq!(login(&ledger, ids), begun_again);
    assert_eq!(login(&store.ledger_after(ids).await, ids), begun_again, "killed in between");
    ledger.end(ids, Some(intent), LoginResult::LoginFailed(NOT_SENT), StatusRecord::default(), at(3)).await;
    assert_eq!(login(&ledger, ids), Some(Login::Refused(REFUSED)));
    let asked = Request([2; 8]);
    let intent =
        ledger.begin(ids, false, Some(asked), StatusRecord::default(), at(4)).await.expect("stored").expect("nobody else");
    ledger.end(ids, Some(intent), LoginResult::LoggedIn { rest: None }, StatusRecord::default(), at(5)).await;
    assert_eq!(login(&store.ledger_after(ids).await, ids), None, "that it works is stored at once");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_granted_once_whatever_happens_after() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let ids = ids(&ledger, "p").await;
    let asked = Request([1; 8]);
    ledger.begin(ids, false, Some(asked), StatusRecord::default(), at(2)).await.expect("stored").expect("nobody else");
    let next = store.ledger_after(ids).await;
    assert_eq!(next.known(ids, at(3)).entry.map(|entry| entry.granted), Some(vec![asked]));
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_could_not_be_stored_is_taken_back() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let ids = ids(&ledger, "p").await;
    store.fail(1);
    assert!(ledger.begin(ids, false, None, StatusRecord::default(), at(0)).await.is_err());
    assert_eq!(ledger.known(ids, at(1)).entry, None);
    // An intent that was stored although the answer was lost is removed by the next write.
    store.lose(1);
    assert!(ledger.begin(ids, false, None, StatusRecord::default(), at(0)).await.is_err());
    assert_eq!(login(&store.ledger_after(ids).await, ids), Some(Login::Begun));
    let other = ledger.credential_ids("hr", &endpoint(), &credentials(["u", "other", "c", "k"])).await.expect("stored");
    begin(&ledger, other).await;
    assert_eq!(login(&store.ledger_after(ids).await, ids), None);
    begin(&ledger, ids).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_operators_one_begins() {
    let store = FakeStore::default();
    let (first, second) = (store.ledger(), store.ledger());
    let ids = ids(&first, "p").await;
    ids_of(&second).await;
    let both = futures::join!(
        first.begin(ids, false, None, StatusRecord::default(), at(0)),
        second.begin(ids, false, None, StatusRecord::default(), at(0))
    );
    let begun = [both.0.expect("stored"), both.1.expect("stored")];
    assert_eq!(begun.iter().flatten().count(), 1, "{begun:?}");
    assert!(second.known(ids, at(1)).entry.is_some() && first.known(ids, at(1)).entry.is_some());
}

async fn ids_of(ledger: &Ledger) -> CredentialIds {
    ids(ledger, "p").await
}

#[tokio::test(start_paused = true)]
async fn as_many_as_begin_at_once_are_a_few_writes() {
    let store = FakeStore::default();
    let ledger = Arc::new(store.ledger());
    ids(&ledger, "p").await;
    let before = store.writes();
    // More than there are concurrent checks. A thousand would not fit into one Secret.
    let begun = (0..100).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let ids = ids(&ledger, &n.to_string()).await;
            begin(&ledger, ids).await
        })
    });
    for begun in futures::future::join_all(begun).await {
        begun.expect("no panic");
    }
    assert!(store.writes() - before <= 3, "{} writes", store.writes() - before);
}

#[tokio::test(start_paused = true)]
async fn what_works_moves_nothing_once_it_is_tidy() {
    let store = FakeStore::default();
    let ledger = Arc::new(store.ledger());
    let tidying = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.flush_loop().await }
    });
    let ids = ids(&ledger, "p").await;
    let intent = begin(&ledger, ids).await;
    let end = LoginResult::LoggedIn { rest: None };
    ledger.end(ids, Some(intent), end, StatusRecord::default(), at(1)).await;
    tokio::time::sleep(2 * FLUSH_DELAY).await;
    assert_eq!(store.ledger_after(ids).await.known(ids, at(1)).entry, None, "the intent is struck out");
    let writes = store.writes();
    for _ in 0..100 {
        assert!(ledger.known(ids, at(2)).login_works);
        ledger.end(ids, None, end, StatusRecord::default(), at(2)).await;
        tokio::time::sleep(2 * FLUSH_DELAY).await;
    }
    assert_eq!(store.writes(), writes);
    tidying.abort();
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_was_deleted_is_written_anew_whole() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let refused = ids(&ledger, "p").await;
    let intent = begin(&ledger, refused).await;
    ledger.end(refused, Some(intent), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(1)).await;
    lock(&store.0).stored.clear();
    let other = ids(&ledger, "other").await;
    begin(&ledger, other).await;
    assert_eq!(login(&store.ledger_after(refused).await, refused), Some(Login::Refused(REFUSED)));
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_restored_from_a_backup_learns_again_what_was_refused_since() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    refuse(&ledger, ids(&ledger, "before").await).await;
    let backup = lock(&store.0).stored.clone();
    let since = ids(&ledger, "since").await;
    refuse(&ledger, since).await;
    lock(&store.0).stored = backup;
    ledger.mark_all_dirty();
    assert!(refused_now(&ledger, ids(&ledger, "since").await), "this process knows");
    ledger.commit().await.expect("stored");
    let next = store.ledger();
    for password in ["before", "since"] {
        let ids = ids(&next, password).await;
        assert!(refused_now(&next, ids), "{password}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_has_a_limit_of_logins_and_of_refusals() {
    let ledger = FakeStore::default().ledger_with(Limits { logins_per_day: 3, refused_per_day: 2 });
    let ids = ids(&ledger, "p").await;
    ledger.count(ids.account, 2, at(0));
    assert_eq!(ledger.known(ids, at(1)).spent_until, None);
    ledger.count(ids.account, 1, at(2));
    let day = at(86_400);
    assert_eq!(ledger.known(ids, at(3)).spent_until, Some(day));
    assert_eq!(ledger.known(ids, day).spent_until, None);
    ledger.count(ids.account, 1, day);
    assert_eq!(ledger.known(ids, day).spent_until, None, "a new day");
    for (n, until) in [(1, None), (2, Some(day)), (3, Some(day))] {
        let other =
            ledger.credential_ids("hr", &endpoint(), &credentials(["u", &n.to_string(), "c", "k"])).await.expect("stored");
        let intent = begin(&ledger, other).await;
        ledger.end(other, Some(intent), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(0)).await;
        assert_eq!(ledger.known(ids, at(1)).failed_until, until, "{n} refused");
    }
    assert_eq!(ledger.known(ids, at(1)).requests_failed_until, None);
}

#[tokio::test(start_paused = true)]
async fn who_waited_while_another_failed_fails_the_same_way() {
    let ledger = Arc::new(Ledger::in_memory().expect("random"));
    let (one, two) = (ids(&ledger, "1").await, ids(&ledger, "2").await);
    let mut first = ledger.login_lock(one).await;
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.login_lock(one).await.failed_meanwhile(None) }
    });
    let stranger = ledger.login_lock(two).await;
    assert_eq!(stranger.failed_meanwhile(None), None, "other values are another line");
    tokio::task::yield_now().await;
    first.failed(REFUSED, None);
    drop(first);
    assert_eq!(waiting.await.expect("no panic"), Some(REFUSED));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ledger.login_lock(one).await.failed_meanwhile(None), None, "who comes later tries by itself");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_lent_for_a_while_and_then_dropped() {
    let ledger = Ledger::in_memory().expect("random");
    let ids = ids(&ledger, "p").await;
    let session = Arc::new(Session::Token(Sensitive::new("token".to_owned())));
    let weak = Arc::downgrade(&session);
    ledger.login_lock(ids).await.succeeded(&session, Sharing { ca_digest: None, time: SHARED_FOR });
    drop(session);
    tokio::time::sleep(SHARED_FOR - Duration::from_millis(1)).await;
    assert!(ledger.login_lock(ids).await.shared(None).is_some());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(ledger.login_lock(ids).await.shared(None).is_none());
    assert_eq!(weak.strong_count(), 0, "nobody keeps it");
}

#[tokio::test(start_paused = true)]
async fn lines_in_which_nobody_waits_are_dropped() {
    let ledger = Ledger::in_memory().expect("random");
    let held = ledger.mutex_for(Fingerprint([0; 16]));
    static NEXT: AtomicU32 = AtomicU32::new(1);
    for _ in 0..3 * MUTEXES_KEPT {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        ledger.mutex_for(Fingerprint(bytes));
    }
    assert!(lock(&ledger.mutexes).all.len() <= MUTEXES_KEPT + 1);
    assert!(Arc::ptr_eq(&held, &ledger.mutex_for(Fingerprint([0; 16]))), "one that is in use stays");
}

fn refused_now(ledger: &Ledger, ids: CredentialIds) -> bool {
    let known = ledger.known(ids, at(2));
    matches!(known.entry.and_then(|entry| entry.login), Some(Login::Refused(_)))
}

async fn refuse(ledger: &Ledger, ids: CredentialIds) {
    let intent = begin(ledger, ids).await;
    ledger.end(ids, Some(intent), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_grows_is_divided_and_each_write_stays_small() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    for n in 0..600 {
        refuse(&ledger, ids(&ledger, &n.to_string()).await).await;
    }
    let (largest, secrets) = {
        let kept = lock(&store.0);
        (kept.largest, kept.stored.len())
    };
    assert!(largest <= PART_BYTES_MAX, "{largest}");
    assert!((5..=32).contains(&secrets), "{secrets}");
    let after = store.ledger();
    for n in 0..600 {
        let ids = ids(&after, &n.to_string()).await;
        assert!(refused_now(&after, ids), "{n}");
    }
    // If one Secret is deleted, the next change of it writes its content again. The others are untouched.
    lock(&store.0).stored.remove(&1);
    for n in 600..700 {
        refuse(&after, ids(&after, &n.to_string()).await).await;
    }
    let again = store.ledger();
    let mut known = 0;
    for n in 0..700 {
        let ids = ids(&again, &n.to_string()).await;
        known += usize::from(refused_now(&again, ids));
    }
    assert_eq!(known, 700);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_killed_while_it_is_divided_has_lost_nothing() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    let mut n = 0;
    // Fills the part until one more refusal divides it.
    while lock(&store.0).stored.get(&0).is_none_or(|stored| stored.entries.len() < PART_BYTES_MAX - 200) {
        refuse(&ledger, ids(&ledger, &n.to_string()).await).await;
        n += 1;
    }
    for killed_after in 0..40 {
        let store = FakeStore(Arc::new(Mutex::new(lock(&store.0).copy())));
        let ledger = store.ledger();
        let (one, two) = (ids(&ledger, "one more").await, ids(&ledger, "and one").await);
        let dividing = async {
            for ids in [one, two] {
                refuse(&ledger, ids).await;
            }
        };
        crate::controller::tests::after_polls(dividing, Some(killed_after)).await;
        drop(ledger);
        let after = store.ledger();
        for n in 0..n {
            let ids = ids(&after, &n.to_string()).await;
            assert!(refused_now(&after, ids), "{n}, killed after {killed_after}");
        }
        refuse(&after, ids(&after, "later").await).await;
        let later = store.ledger();
        assert!(refused_now(&later, ids(&later, "later").await), "killed after {killed_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_too_large_for_the_api_server_is_made_smaller_and_never_stands_still() {
    let store = FakeStore::default();
    lock(&store.0).most = 3_000;
    let ledger = store.ledger();
    for n in 0..2_000 {
        refuse(&ledger, ids(&ledger, &n.to_string()).await).await;
    }
    let last = ids(&ledger, "last").await;
    let intent = ledger.begin(last, false, None, StatusRecord::default(), at(100)).await.expect("stored").expect("first");
    ledger.end(last, Some(intent), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(101)).await;
    let after = store.ledger();
    let last = ids(&after, "last").await;
    assert!(refused_now(&after, last), "what is new stays");
    assert!(lock(&store.0).largest <= 3_000);
    // The cause of the refusal may be gone, so this process tries the full size again too.
    assert!(lock(&ledger.state).most() <= 3_000);
    tokio::time::advance(SIZE_LIMIT_TTL).await;
    assert_eq!(lock(&ledger.state).most(), PART_BYTES_MAX);
    lock(&ledger.state).found_too_large(8_000);
    ledger.invalidate();
    assert_eq!(lock(&ledger.state).most(), PART_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn one_password_with_and_without_a_user_api_key_is_one() {
    let ledger = FakeStore::default().ledger();
    let of = async |password: &str, key: Option<&str>| {
        let Credentials { username, password, customer_api_key, .. } = credentials(["u", password, "c", "k"]);
        let user_api_key = key.map(|key| Sensitive::new(key.to_owned()));
        let credentials = Credentials { username, password, customer_api_key, user_api_key };
        ledger.credential_ids("hr", &endpoint(), &credentials).await.expect("stored")
    };
    let beside = |ids| ledger.known(ids, at(2)).refused_where_one_has_no_key;
    let (with, without, other) = (of("p", Some("k")).await, of("p", None).await, of("p", Some("k2")).await);
    assert_eq!(with.account, without.account);
    refuse(&ledger, with).await;
    assert_eq!((beside(without), beside(other)), (true, false), "another key is another login");
    assert!(!beside(of("q", None).await), "and another password");
    // Only the key was wrong.
    let end = LoginResult::LoggedIn { rest: None };
    let intent = begin(&ledger, other).await;
    ledger.end(other, Some(intent), end, StatusRecord::default(), at(3)).await;
    assert!(!beside(without));

    let (with, without) = (of("r", Some("k")).await, of("r", None).await);
    refuse(&ledger, without).await;
    assert!(beside(with));
}

#[tokio::test(start_paused = true)]
async fn refusals_whose_write_divides_the_ledger_outlast_what_goes_wrong_then() {
    let mut forgotten = Vec::new();
    let mut divided = 0;
    for (what, fault) in [
        ("nothing", 9_u8),
        ("another's write of the first Secret", 0),
        ("a write that fails", 1),
        ("an answer that is lost", 2),
        ("a write that fails, and the new Secret is deleted", 3),
        ("a write that fails, and another writes the new Secret", 4),
    ] {
        for n in 0..3 {
            let store = FakeStore::default();
            let ledger = store.ledger();
            let mut m = 0;
            // A dozen intents still fit, but not their refusals.
            while lock(&ledger.state).table.bytes_of(0, 1) < PART_BYTES_MAX - 40 * 95 {
                refuse(&ledger, ids(&ledger, &format!("{n} filler {m}")).await).await;
                m += 1;
            }
            let mut pending = Vec::new();
            loop {
                let one = ids(&ledger, &format!("{n} last {}", pending.len())).await;
                if lock(&ledger.state).table.bytes_of(0, 1) + 100 > PART_BYTES_MAX {
                    break;
                }
                pending.push((one, begin(&ledger, one).await));
            }
            assert_eq!(lock(&ledger.state).parts(), 1);
            match fault {
                0 => {
                    let mut kept = lock(&store.0);
                    kept.version += 1;
                    let version = Some(kept.version.to_string());
                    kept.stored.get_mut(&0).expect("stored").version = version;
                }
                // The write of the new Secret succeeds, and that of the first fails.
                1 | 3 | 4 => lock(&store.0).fail_after = Some(1),
                2 => store.lose(1),
                _ => {}
            }
            for (one, intent) in &pending {
                ledger.record(*one, Some(intent.clone()), LoginResult::LoginFailed(REFUSED), StatusRecord::default(), at(1));
            }
            let first = ledger.commit().await;
            assert_eq!(first.is_err(), matches!(fault, 1..=4), "{what}");
            divided += usize::from(lock(&store.0).stored.contains_key(&1));
            match fault {
                3 => drop(lock(&store.0).stored.remove(&1).expect("written")),
                4 => lock(&store.0).stored.get_mut(&1).expect("written").version = Some("another's".to_owned()),
                _ => {}
            }
            let here = pending.iter().filter(|(one, _)| !refused_now(&ledger, *one)).count();
            // The background task does this.
            ledger.commit().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let after = store.ledger();
            ids(&after, "opened").await;
            let next = pending.iter().filter(|(one, _)| !refused_now(&after, *one)).count();
            if here + next > 0 {
                forgotten.push(format!(
                    "{what}: of {} refusals {here} are not known here, {next} not to the next process",
                    pending.len()
                ));
            }
        }
    }
    assert!(divided >= 9, "{divided}");
    assert!(forgotten.is_empty(), "{forgotten:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_entered_while_a_write_waits_for_its_time_does_not_make_it_too_large() {
    let store = FakeStore::default();
    let ledger = Arc::new(store.ledger());
    let mut m = 0;
    while lock(&ledger.state).table.bytes_of(0, 1) < PART_BYTES_MAX - 300 {
        refuse(&ledger, ids(&ledger, &format!("filler {m}")).await).await;
        m += 1;
    }
    let begun = (0..64).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let one = ids(&ledger, &n.to_string()).await;
            begin(&ledger, one).await
        })
    });
    for begun in futures::future::join_all(begun).await {
        begun.expect("no panic");
    }
    let largest = lock(&store.0).largest;
    assert!(largest <= PART_BYTES_MAX, "{largest} bytes, {} in base64", largest * 4 / 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_before_an_upgrade_outlasts_one_namespaces_flood() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    for n in 0..60 {
        refuse(&ledger, ids(&ledger, &format!("before {n}")).await).await;
    }
    // An older operator wrote entries without a namespace.
    {
        let mut kept = lock(&store.0);
        for stored in kept.stored.values_mut() {
            stored.entries = stored
                .entries
                .lines()
                .map(|line| {
                    let fields: Vec<_> = line.split(' ').collect();
                    let fields = fields.iter().map(|field| if field.starts_with("o.") { "-" } else { field });
                    fields.collect::<Vec<_>>().join(" ") + "\n"
                })
                .collect();
        }
    }
    let ledger = store.ledger();
    let mut flood = 0;
    for round in 0..40 {
        // They are in use: each is looked up all the time.
        for n in 0..60 {
            let one = ids(&ledger, &format!("before {n}")).await;
            ledger.known(one, at(10 + round));
        }
        for _ in 0..400 {
            flood += 1;
            let one = ledger
                .credential_ids("flood", &endpoint(), &credentials([&flood.to_string(), "p", "c", "k"]))
                .await
                .expect("open");
            let mut state = lock(&ledger.state);
            let entry = Entry {
                login: Some(Login::Refused(REFUSED)),
                ..ledger.failed(one, None, StatusRecord::default(), at(10 + round))
            };
            state.table.set(one.fingerprint, Some(entry));
        }
        while let Err(error) = ledger.commit().await {
            assert!(matches!(error, Error::Contended), "{error}");
        }
    }
    let mut lost = 0;
    for n in 0..60 {
        let one = ids(&ledger, &format!("before {n}")).await;
        lost += u32::from(!refused_now(&ledger, one));
    }
    assert_eq!(lost, 0, "of 60 that were refused before the upgrade, after a flood of {flood}");
}

#[tokio::test(start_paused = true)]
async fn a_full_ledger_of_the_operator_before_is_taken_over_soon() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    for n in 0..5_900 {
        let one = ids(&ledger, &format!("before {n}")).await;
        let entry = Entry { login: Some(Login::Refused(REFUSED)), ..ledger.failed(one, None, StatusRecord::default(), at(0)) };
        lock(&ledger.state).table.set(one.fingerprint, Some(entry));
    }
    let entries = lock(&ledger.state).table.snapshot(0, 1).1;
    lock(&store.0).stored.get_mut(&0).expect("stored").entries = entries;
    let ledger = store.ledger();
    let begun = Instant::now();
    let mut failed = 0;
    let one = ids(&ledger, "new").await;
    while ledger.begin(one, false, None, StatusRecord::default(), at(1)).await.is_err() {
        failed += 1;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "the first login after the upgrade waits {took:?}, {failed} times in vain");
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_that_knows_no_parts_wrote_hides_none_of_them() {
    let store = FakeStore::default();
    let ledger = store.ledger();
    for n in 0..600 {
        refuse(&ledger, ids(&ledger, &n.to_string()).await).await;
    }
    // An older operator replaces the first Secret whole, with what it read of it.
    lock(&store.0).stored.get_mut(&0).expect("stored").parts = 0;
    let after = store.ledger();
    let mut lost = 0;
    for n in 0..600 {
        let one = ids(&after, &n.to_string()).await;
        lost += u32::from(!refused_now(&after, one));
    }
    assert_eq!(lost, 0, "of 600");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_while_this_process_ran_holds_nobody_for_years() {
    let ledger = FakeStore::default().ledger();
    let one = ids(&ledger, "p").await;
    let ahead = at(3 * 365 * 86_400);
    ledger.begin(one, false, None, StatusRecord::default(), ahead).await.expect("stored").expect("nobody else");
    // The clock is right again.
    let entry = ledger.known(one, at(0)).entry.expect("begun");
    let until = a_day_after(entry.at);
    assert!(until <= at(2 * 86_400), "held until {until}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_entries_that_are_gone() {
    let ledger = FakeStore::default().ledger();
    for n in 0..300 {
        let one = ids(&ledger, &n.to_string()).await;
        let intent = begin(&ledger, one).await;
        ledger.known(one, at(1));
        ledger.end(one, Some(intent), LoginResult::LoggedIn { rest: None }, StatusRecord::default(), at(1)).await;
    }
    let asked = lock(&ledger.state).table.asked_len();
    assert_eq!((lock(&ledger.state).table.len(), asked), (0, 0));
}
