use super::*;
use crate::controller::decide::tests::{connection, connection_with};

fn named(name: &str, generation: i64) -> UkgProConnection {
    let mut connection = connection();
    connection.metadata.name = Some(name.to_owned());
    connection.metadata.generation = Some(generation);
    connection
}

fn names(mut found: Vec<ConnectionRef>) -> Vec<String> {
    found.sort();
    found.into_iter().map(|key| key.name().to_owned()).collect()
}

fn secret(name: &str, version: &str) -> PartialObjectMeta<Secret> {
    let mut secret = PartialObjectMeta::<Secret>::default();
    secret.metadata.namespace = Some("hr".to_owned());
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.resource_version = Some(version.to_owned());
    secret
}

fn enter(index: &SecretIndex, connection: &UkgProConnection) {
    index.enter(&ConnectionRef::of(connection), connection);
}

fn index() -> SecretIndex {
    let index = SecretIndex::default();
    ["a", "b"].iter().for_each(|name| enter(&index, &named(name, 1)));
    index
}

#[test]
fn a_secret_wakes_the_connections_that_have_not_read_it() {
    let index = index();
    assert!(index.after(None, &Event::Apply(secret("other", "1"))).is_empty());
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "1")))), ["a", "b"]);
    // One check read the version before the watch showed it: no news for it, but still news for the other.
    index.read(&named("a", 1), "acme-ukg-pro", Some("2"));
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "2")))), ["b"]);
    index.read(&named("b", 1), "acme-ukg-pro", Some("2"));
    assert!(index.after(None, &Event::Apply(secret("acme-ukg-pro", "2"))).is_empty());
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "3")))), ["a", "b"]);
    assert_eq!(names(index.after(None, &Event::Delete(secret("acme-ukg-pro", "3")))), ["a", "b"]);
    index.read(&named("a", 1), "acme-ukg-pro", None);
    assert_eq!(names(index.after(None, &Event::Delete(secret("acme-ukg-pro", "3")))), ["b"]);
}

#[test]
fn an_event_that_comes_before_the_read_of_its_version_is_done_with_by_that_read() {
    let index = index();
    let (a, key) = (named("a", 1), ConnectionRef::of(&named("a", 1)));
    assert!(index.is_read(&key), "nothing has been seen that it could not have read");
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "1")))), ["a", "b"]);
    assert!(!index.is_read(&key));
    index.read(&a, "acme-ukg-pro", Some("1"));
    assert!(index.is_read(&key) && !index.is_read(&ConnectionRef::of(&named("b", 1))));
    index.after(None, &Event::Delete(secret("acme-ukg-pro", "1")));
    assert!(!index.is_read(&key));
    index.read(&a, "acme-ukg-pro", None);
    assert!(index.is_read(&key));
}

#[test]
fn after_a_restart_only_what_has_changed_is_news() {
    let mut settled = connection_with(Some(Reason::AllPermissionsGranted));
    settled.metadata.name = Some("a".to_owned());
    let mut unsettled = settled.clone();
    unsettled.metadata.name = Some("b".to_owned());
    unsettled.metadata.generation = Some(2);
    let index = SecretIndex::default();
    enter(&index, &settled);
    enter(&index, &unsettled);
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "7")))), ["b"], "as its status says");
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "8")))), ["a", "b"]);
}

#[test]
fn a_new_leader_looks_at_what_no_other_has_read() {
    let settled = connection_with(Some(Reason::AllPermissionsGranted));
    let key = ConnectionRef::of(&settled);
    for (seen, expected) in [(None, false), (Some("7"), false), (Some("8"), true)] {
        let index = SecretIndex::default();
        // The connection was created while this process was a standby, so this process has read nothing of it.
        enter(&index, &UkgProConnection { status: None, ..settled.clone() });
        if let Some(version) = seen {
            index.after(None, &Event::Apply(secret("acme-ukg-pro", version)));
        }
        assert_eq!(index.is_news(&key, &settled), expected, "{seen:?}");
        assert!(index.after(None, &Event::Apply(secret("acme-ukg-pro", "7"))).is_empty(), "{seen:?}: as the other has read");
    }
    let index = SecretIndex::default();
    enter(&index, &settled);
    index.after(None, &Event::Delete(secret("acme-ukg-pro", "7")));
    assert!(index.is_news(&key, &settled), "it is gone");
}

#[test]
fn what_a_check_read_that_was_not_made_is_news_whenever_its_event_comes() {
    let settled = connection_with(Some(Reason::AllPermissionsGranted));
    let key = ConnectionRef::of(&settled);
    let changed = || Event::Apply(secret("acme-ukg-pro", "8"));
    for event_comes_first in [true, false] {
        let index = SecretIndex::default();
        enter(&index, &settled);
        index.after(None, &Event::Apply(secret("acme-ukg-pro", "7")));
        index.read(&settled, "acme-ukg-pro", Some("8"));
        if event_comes_first {
            assert!(index.after(None, &changed()).is_empty(), "the check that has read it is under way");
        }
        // The check had no result: its host is to be asked later.
        let is_news = index.is_news(&key, &settled);
        let woken = index.after(None, &changed());
        assert!(is_news == event_comes_first && (is_news || !woken.is_empty()), "event first: {event_comes_first}");
        assert!(!index.is_read(&key));
    }
}

#[test]
fn a_relist_of_secrets_finds_what_was_changed_or_deleted_meanwhile() {
    for (listed, read, woken) in [
        (Some("2"), Some("2"), vec!["b"]),
        (Some("3"), Some("2"), vec!["a", "b"]),
        (None, Some("2"), vec!["a", "b"]),
        (None, None, vec!["b"]),
        (Some("3"), None, vec!["a", "b"]),
    ] {
        let index = index();
        index.read(&named("a", 1), "acme-ukg-pro", read);
        let mut found = index.after(None, &Event::Init);
        if let Some(version) = listed {
            found.extend(index.after(None, &Event::InitApply(secret("acme-ukg-pro", version))));
        }
        found.extend(index.after(None, &Event::InitDone));
        assert_eq!(names(found), woken, "listed {listed:?}, read {read:?}");
    }
}

#[test]
fn a_connection_that_comes_while_secrets_are_listed_is_not_woken_twice() {
    let index = SecretIndex::default();
    assert!(index.after(None, &Event::Init).is_empty());
    assert!(index.after(None, &Event::InitApply(secret("acme-ukg-pro", "1"))).is_empty());
    enter(&index, &named("a", 1));
    assert!(index.after(None, &Event::InitDone).is_empty(), "its Secret was listed before it was known to be in use");
}

#[test]
fn the_index_forgets_what_nobody_uses() {
    let index = index();
    let mut moved = named("a", 2);
    moved.spec.secret_ref.name = "new".to_owned();
    enter(&index, &moved);
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "1")))), ["b"]);
    assert_eq!(names(index.after(None, &Event::Apply(secret("new", "1")))), ["a"]);
    for name in ["a", "b"] {
        index.leave(&ConnectionRef::of(&named(name, 1)));
    }
    assert!(index.index().by_secret.is_empty() && index.index().by_connection.is_empty());
}

#[test]
fn the_secrets_of_a_connection_are_told_in_one_order() {
    let mut all = named("a", 1);
    let candidate = crate::api::SecretReference { name: "candidate".to_owned(), ..all.spec.secret_ref.clone() };
    all.spec.candidate_secret_ref = Some(candidate);
    let authority = serde_json::json!({"kind": "Secret", "name": "authority"});
    all.spec.ca_ref = serde_json::from_value(authority).expect("a reference");
    let with_reads: Vec<_> = secrets_of(&all).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names_of(&all).collect::<Vec<_>>(), with_reads);
    assert_eq!(with_reads, ["acme-ukg-pro", "candidate", "authority"]);
    // One Secret in two places counts as one use.
    all.spec.candidate_secret_ref = Some(all.spec.secret_ref.clone());
    let index = SecretIndex::default();
    enter(&index, &all);
    assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "1")))), ["a"]);
}
