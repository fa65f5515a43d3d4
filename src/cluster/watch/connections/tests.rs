use super::*;
use crate::api::{REQUESTED_AT, Reason, Verdict};
use crate::controller::decide::tests::{connection, connection_with};

/// A connection of namespace `hr`, by default in its first version.
fn named(name: &str, generation: i64) -> UkgProConnection {
    let mut connection = connection();
    connection.metadata.namespace = Some("hr".to_owned());
    connection.metadata.name = Some(name.to_owned());
    connection.metadata.generation = Some(generation);
    connection.metadata.resource_version = Some(generation.to_string());
    connection
}

fn in_namespace(namespace: &str, name: &str) -> UkgProConnection {
    let mut connection = named(name, 1);
    connection.metadata.namespace = Some(namespace.to_owned());
    connection
}

fn with_uid(uid: &str, connection: UkgProConnection) -> UkgProConnection {
    let mut connection = connection;
    connection.metadata.uid = Some(uid.to_owned());
    connection
}

fn at_version(version: &str, connection: &UkgProConnection) -> UkgProConnection {
    let mut connection = connection.clone();
    connection.metadata.resource_version = Some(version.to_owned());
    connection
}

fn handler(namespaces: &[&str]) -> WatchEventHandler {
    let namespaces: Vec<_> = namespaces.iter().map(|&name| name.to_owned()).collect();
    WatchEventHandler::new(Arc::default(), Arc::default(), &namespaces, None)
}

/// Applies events of the first watch; returns the news of the last event.
fn see(handler: &mut WatchEventHandler, events: impl IntoIterator<Item = Event<RawConnection>>) -> CacheDelta {
    events.into_iter().map(|event| handler.after(0, event)).last().unwrap_or_default()
}

fn listed<const N: usize>(connections: [UkgProConnection; N]) -> Vec<Event<RawConnection>> {
    let objects = connections.into_iter().map(|connection| Event::InitApply(connection.into()));
    std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
}

fn applied(connection: UkgProConnection) -> [Event<RawConnection>; 1] {
    [Event::Apply(connection.into())]
}

fn changed(delta: CacheDelta) -> Vec<String> {
    let mut changed: Vec<_> = delta.changed.into_iter().map(|key| key.name().to_owned()).collect();
    changed.sort();
    changed
}

fn gone(delta: CacheDelta) -> Vec<String> {
    let mut gone: Vec<_> = delta.gone.into_iter().map(|(key, uid)| format!("{} {uid}", key.name())).collect();
    gone.sort();
    gone
}

fn known(handler: &WatchEventHandler) -> Vec<String> {
    let mut known: Vec<_> = handler.connections.all().into_iter().map(|(key, _)| key.name().to_owned()).collect();
    known.sort();
    known
}

#[test]
fn what_is_kept_is_what_a_check_reads() {
    let mut connection = connection_with(Some(Reason::PermissionsMissing));
    connection.metadata.resource_version = Some("7".to_owned());
    connection.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
    let key = ConnectionRef::of(&connection);
    let kept = CachedConnection::of(&connection);
    assert_eq!(kept.connection(&key), connection);
    assert_eq!((kept.state, kept.reason), (Some(Verdict::Forbidden), Some(Reason::PermissionsMissing)));
}

#[test]
fn an_object_is_read_without_what_no_step_needs_and_one_that_cannot_be_read_has_a_name() {
    let object = |spec: serde_json::Value| {
        let object = serde_json::json!({"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection", "spec": spec,
            "metadata": {"name": "acme", "namespace": "hr", "uid": "1", "resourceVersion": "7", "generation": 2,
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}], "labels": {"a": "b"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", REQUESTED_AT: "now"}}});
        serde_json::from_value::<RawConnection>(object).expect("guarded")
    };
    let read = object(serde_json::json!({"secretRef": {"name": "x"}})).read().expect("readable");
    assert_eq!((read.metadata.managed_fields.as_ref(), read.metadata.labels.as_ref()), (None, None));
    assert_eq!(read.metadata.annotations.as_ref().map(std::collections::BTreeMap::len), Some(1));
    assert_eq!((read.requested_at(), read.metadata.generation), (Some("now"), Some(2)));

    let unreadable = object(serde_json::json!({"secretRef": 7}));
    let mut handler = handler(&[]);
    see(&mut handler, listed([named("acme", 1), named("b", 1)]));
    let delta = see(&mut handler, [Event::Apply(unreadable.clone())]);
    assert_eq!(delta.unreadable, Some(ConnectionRef::new(Some("hr"), Some("acme"))));
    assert_eq!((gone(delta).len(), known(&handler)), (1, vec!["b".to_owned()]), "what it was is not what it is");
    see(&mut handler, [Event::Init, Event::InitApply(unreadable), Event::InitApply(named("c", 1).into()), Event::InitDone]);
    assert_eq!(known(&handler), ["c"]);
}

#[test]
fn listed_connections_are_handed_on_when_the_list_is_whole() {
    let mut handler = handler(&[]);
    for event in [Event::Init, Event::InitApply(named("a", 1).into()), Event::InitApply(named("b", 1).into())] {
        assert_eq!(see(&mut handler, [event]), CacheDelta::default());
        assert!(!handler.has_synced());
    }
    assert_eq!(changed(see(&mut handler, [Event::InitDone])), ["a", "b"]);
    assert!(handler.has_synced());
}

#[test]
fn a_relist_hands_on_only_what_changed_meanwhile() {
    let mut handler = handler(&[]);
    see(&mut handler, listed([named("a", 1), named("b", 1)]));
    let relist = listed([named("a", 1), named("b", 2), named("c", 1)]);
    assert_eq!(changed(see(&mut handler, relist)), ["b", "c"]);
}

#[test]
fn a_status_wakes_nothing_and_a_spec_does() {
    let mut handler = handler(&[]);
    see(&mut handler, listed([]));
    assert_eq!(changed(see(&mut handler, applied(named("a", 1)))), ["a"]);
    assert!(changed(see(&mut handler, applied(at_version("2", &named("a", 1))))).is_empty());
    assert_eq!(changed(see(&mut handler, applied(named("a", 3)))), ["a"]);
    assert_eq!(gone(see(&mut handler, [Event::Delete(named("a", 3).into())])).len(), 1);
    assert_eq!(changed(see(&mut handler, applied(named("a", 4)))), ["a"], "re-created");
}

#[test]
fn another_object_of_the_same_name_and_a_request_are_news() {
    let mut handler = handler(&[]);
    see(&mut handler, listed([named("a", 1)]));
    // It was deleted and made again while the watch was broken.
    let mut other = at_version("2", &with_uid("another", named("a", 1)));
    assert_eq!(changed(see(&mut handler, listed([other.clone()]))), ["a"]);
    other.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
    assert_eq!(changed(see(&mut handler, applied(at_version("3", &other)))), ["a"]);
    assert!(changed(see(&mut handler, applied(at_version("4", &other)))).is_empty());
}

#[test]
fn what_a_relist_does_not_show_any_more_is_to_be_forgotten() {
    let mut handler = handler(&[]);
    see(&mut handler, listed([with_uid("1", named("a", 1)), with_uid("2", named("b", 1))]));
    let delta = see(&mut handler, [Event::Init, Event::InitApply(at_version("2", &with_uid("3", named("b", 1))).into())]);
    assert_eq!(gone(delta), ["b 2"], "made again");
    assert_eq!(gone(see(&mut handler, [Event::InitDone])), ["a 1"], "deleted");
    assert_eq!(gone(see(&mut handler, applied(at_version("3", &with_uid("4", named("b", 1)))))), ["b 3"]);
    assert_eq!(gone(see(&mut handler, [Event::Delete(with_uid("4", named("b", 1)).into())])), ["b 4"]);
    assert_eq!(known(&handler), Vec::<String>::new());
}

#[test]
fn what_was_written_is_known_at_once_and_the_watch_does_not_undo_it() {
    let mut handler = handler(&[]);
    see(&mut handler, listed([named("a", 1)]));
    let key = ConnectionRef::of(&named("a", 1));
    let version = |handler: &WatchEventHandler| handler.connections.get(&key).map(|kept| kept.version.to_string());
    handler.connections.record_write(&at_version("9", &named("a", 1)));
    assert_eq!(version(&handler).as_deref(), Some("9"));
    see(&mut handler, applied(at_version("8", &named("a", 1))));
    assert_eq!(version(&handler).as_deref(), Some("9"), "older");
    see(&mut handler, applied(at_version("10", &named("a", 1))));
    handler.connections.record_write(&at_version("9", &named("a", 1)));
    assert_eq!(version(&handler).as_deref(), Some("10"), "the watch was faster");
    see(&mut handler, listed([at_version("3", &named("a", 1))]));
    assert_eq!(version(&handler).as_deref(), Some("3"), "a list is what there is, as after a backup was restored");

    handler.connections.record_write(&at_version("99", &with_uid("another", named("a", 1))));
    assert_eq!(version(&handler).as_deref(), Some("3"), "the write was onto an object that went");
    see(&mut handler, [Event::Delete(named("a", 1).into())]);
    handler.connections.record_write(&at_version("99", &named("a", 1)));
    assert_eq!(version(&handler), None, "the delete was faster");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_anothers_write_goes_on_when_it_is_seen_and_not_for_ever() {
    let mut handler = handler(&[]);
    see(&mut handler, listed([named("a", 1)]));
    let connections = handler.connections.clone();
    let began = tokio::time::Instant::now();
    let waiting = tokio::spawn(async move {
        connections.wait_for_newer(&named("a", 1)).await;
        began.elapsed()
    });
    tokio::task::yield_now().await;
    see(&mut handler, applied(named("a", 2)));
    assert!(waiting.await.expect("ends") < ECHO_DEADLINE);
    handler.connections.wait_for_newer(&named("a", 2)).await;
    assert!(began.elapsed() >= ECHO_DEADLINE, "nothing came");
    let before = began.elapsed();
    handler.connections.stop();
    handler.connections.wait_for_newer(&named("a", 2)).await;
    assert_eq!(began.elapsed(), before, "nothing will");
}

#[test]
fn several_lists_are_one_when_all_are_whole_and_changes_after_that() {
    let mut handler = handler(&["hr", "pay"]);
    for (scope, event) in [
        (0, Event::Init),
        (0, Event::InitApply(in_namespace("hr", "a").into())),
        (0, Event::InitApply(in_namespace("hr", "b").into())),
        (1, Event::Init),
        (0, Event::InitDone),
        // While the other watch still lists.
        (0, Event::Apply(in_namespace("hr", "c").into())),
        (1, Event::InitApply(in_namespace("pay", "p").into())),
    ] {
        assert_eq!(handler.after(scope, event), CacheDelta::default());
    }
    assert_eq!(gone(handler.after(0, Event::Delete(in_namespace("hr", "a").into()))).len(), 1);
    assert_eq!(changed(handler.after(1, Event::InitDone)), ["b", "c", "p"]);
    assert_eq!(changed(handler.after(0, Event::Apply(in_namespace("hr", "d").into()))), ["d"]);
    assert_eq!(gone(handler.after(1, Event::Delete(in_namespace("pay", "p").into()))).len(), 1);
    handler.after(1, Event::Apply(in_namespace("pay", "q").into()));
    // One watch lists again: the connections of the other stay.
    handler.after(0, Event::Init);
    handler.after(0, Event::InitApply(in_namespace("hr", "c").into()));
    assert_eq!(gone(handler.after(0, Event::InitDone)).len(), 2);
    assert_eq!(known(&handler), ["c", "q"]);
    handler.after(1, Event::Init);
    handler.after(1, Event::InitDone);
    assert_eq!(known(&handler), ["c"]);
}

#[test]
fn a_namespace_that_may_not_be_listed_does_not_hold_up_the_others() {
    let mut handler = handler(&["hr", "gone"]);
    handler.after(0, Event::InitApply(in_namespace("hr", "a").into()));
    assert_eq!(handler.after(0, Event::InitDone), CacheDelta::default());
    assert_eq!(changed(handler.without(1)), ["a"]);
    assert_eq!(handler.without(1), CacheDelta::default(), "once");
    assert!(handler.is_usable());
    assert_eq!(handler.unlisted().len(), 1, "it is not listed for that");
    // Its list may succeed after all.
    handler.after(1, Event::Init);
    handler.after(1, Event::InitApply(in_namespace("gone", "b").into()));
    assert_eq!(changed(handler.after(1, Event::InitDone)), ["b"]);
}

#[test]
fn a_connection_is_left_to_the_operator_of_its_class() {
    let of = |class: Option<&str>, version| {
        let mut connection = at_version(version, &named("a", 1));
        connection.spec.controller_class = class.map(str::to_owned);
        connection
    };
    for (mine, other) in [(None, Some("blue")), (Some("blue"), None), (Some("blue"), Some("green"))] {
        let mut handler = WatchEventHandler::new(Arc::default(), Arc::default(), &[], mine.map(str::to_owned));
        assert_eq!(see(&mut handler, listed([of(other, "1")])), CacheDelta::default());
        assert_eq!(changed(see(&mut handler, applied(of(mine, "2")))), ["a"], "it came");
        assert_eq!(gone(see(&mut handler, applied(of(other, "3")))).len(), 1, "it went");
        assert!(handler.connections.all().is_empty());
        assert_eq!(changed(see(&mut handler, listed([of(mine, "4")]))), ["a"]);
        assert_eq!(gone(see(&mut handler, listed([of(other, "5")]))).len(), 0, "told of when it was listed");
        assert!(handler.connections.all().is_empty());
    }
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(is_at("10", "9") && is_at("9", "9") && !is_at("9", "10"));
    assert!(is_at("x", "x") && !is_at("x", "y"));
}

#[test]
fn where_all_lists_are_refused_there_is_nothing_to_look_after() {
    let namespaces = ["a", "b"].map(str::to_owned);
    let mut handler = WatchEventHandler::new(Arc::default(), Arc::default(), &namespaces, None);
    handler.without(0);
    handler.without(1);
    assert!(handler.has_synced() && !handler.is_usable());
    assert_eq!(handler.unlisted(), namespaces);
    handler.after(1, Event::Init);
    handler.after(1, Event::InitDone);
    assert!(handler.is_usable());
    assert_eq!(handler.unlisted(), ["a"]);
}
