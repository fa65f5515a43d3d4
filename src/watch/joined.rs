//! The watches of several namespaces as one. Pure.
//!
//! **Contract.** Who follows sees one list, whole when the first list of every namespace is, and from then on changes alone: a namespace
//! that is listed anew shows what is there as applied, and what is gone as deleted. With one watch everything passes as it is.
//!
//! **Bound.** Objects are held while a list is under way, and until the first of every namespace is whole.

use std::collections::HashMap;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;

use crate::api::UkgProConnection;

/// By name.
type Listed = HashMap<String, UkgProConnection>;

/// The watches, told apart by their position.
pub struct Joined {
    namespaces: Vec<String>,
    listing: Vec<Listed>,
    /// The first lists that are whole; `None` when all are and have been handed on.
    first: Option<Vec<Option<Listed>>>,
}

impl Joined {
    /// The watches of these namespaces; of the whole cluster if there are none.
    pub fn new(namespaces: &[String]) -> Self {
        let scopes = namespaces.len().max(1);
        let first = (scopes > 1).then(|| vec![None; scopes]);
        Self { namespaces: namespaces.to_vec(), listing: vec![Listed::new(); scopes], first }
    }

    /// What an event of one namespace comes to, given what is known of all.
    pub fn after(
        &mut self,
        scope: usize,
        event: Event<UkgProConnection>,
        store: &Store<UkgProConnection>,
    ) -> Vec<Event<UkgProConnection>> {
        if self.listing.len() == 1 {
            return vec![event];
        }
        match event {
            Event::Init => self.listing[scope].clear(),
            Event::InitApply(object) => drop(self.listing[scope].insert(object.name_any(), object)),
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing[scope]);
                match &mut self.first {
                    Some(first) => first[scope] = Some(listed),
                    None => return anew(&self.namespaces[scope], listed, store),
                }
                return self.whole();
            }
            Event::Apply(object) => match &mut self.first {
                Some(first) => drop(first[scope].get_or_insert_default().insert(object.name_any(), object)),
                None => return vec![Event::Apply(object)],
            },
            Event::Delete(object) => match &mut self.first {
                Some(first) => drop(first[scope].get_or_insert_default().remove(&object.name_any())),
                None => return vec![Event::Delete(object)],
            },
        }
        Vec::new()
    }

    /// The first list of a namespace cannot be had: it holds up the others no more. What comes of it later is told then.
    pub fn without(&mut self, scope: usize) -> Vec<Event<UkgProConnection>> {
        if let Some(first) = &mut self.first {
            first[scope].get_or_insert_default();
        }
        self.whole()
    }

    fn whole(&mut self) -> Vec<Event<UkgProConnection>> {
        if !self.first.as_ref().is_some_and(|first| first.iter().all(Option::is_some)) {
            return Vec::new();
        }
        let objects = self.first.take().into_iter().flatten().flatten().flat_map(HashMap::into_values).map(Event::InitApply);
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }
}

/// A namespace that was listed anew: what is there, and what is not there any more.
fn anew(namespace: &str, listed: Listed, store: &Store<UkgProConnection>) -> Vec<Event<UkgProConnection>> {
    let known = store.state().into_iter().filter(|known| known.metadata.namespace.as_deref() == Some(namespace));
    let gone = known.filter(|known| !listed.contains_key(&known.name_any())).map(|known| Event::Delete(known.as_ref().clone()));
    let gone: Vec<_> = gone.collect();
    gone.into_iter().chain(listed.into_values().map(Event::Apply)).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;

    use super::*;
    use crate::controller::decide::tests::connection;

    fn object(namespace: &str, name: &str) -> UkgProConnection {
        let mut connection = connection();
        connection.metadata.namespace = Some(namespace.to_owned());
        connection.metadata.name = Some(name.to_owned());
        connection
    }

    /// Each event as a word.
    fn words(events: &[Event<UkgProConnection>]) -> Vec<String> {
        let of = |verb: &str, object: &UkgProConnection| format!("{verb} {}", object.name_any());
        let mut words: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Init => "init".to_owned(),
                Event::InitDone => "done".to_owned(),
                Event::InitApply(object) => of("listed", object),
                Event::Apply(object) => of("applied", object),
                Event::Delete(object) => of("deleted", object),
            })
            .collect();
        // Within a list there is no order.
        let ends = usize::from(words.first().is_some_and(|word| word == "init"));
        let last = words.len() - usize::from(words.last().is_some_and(|word| word == "done"));
        words[ends..last].sort();
        words
    }

    #[test]
    fn several_lists_are_one_when_all_are_whole_and_changes_after_that() {
        let (store, mut writer) = reflector::store();
        let mut joined = Joined::new(&["hr".to_owned(), "pay".to_owned()]);
        let mut see = |scope, event| {
            let events = joined.after(scope, event, &store);
            events.iter().for_each(|event| writer.apply_watcher_event(event));
            words(&events)
        };
        let nothing = Vec::<String>::new();
        for (scope, event) in [
            (0, Event::Init),
            (0, Event::InitApply(object("hr", "a"))),
            (0, Event::InitApply(object("hr", "b"))),
            (1, Event::Init),
            (0, Event::InitDone),
            // While the other is still listed.
            (0, Event::Delete(object("hr", "a"))),
            (0, Event::Apply(object("hr", "c"))),
            (1, Event::InitApply(object("pay", "p"))),
        ] {
            assert_eq!(see(scope, event), nothing);
        }
        assert_eq!(see(1, Event::InitDone), ["init", "listed b", "listed c", "listed p", "done"]);
        assert_eq!(see(0, Event::Apply(object("hr", "d"))), ["applied d"]);
        assert_eq!(see(1, Event::Delete(object("pay", "p"))), ["deleted p"]);
        // One is listed anew: the other's stay.
        assert_eq!(see(0, Event::Init), nothing);
        assert_eq!(see(0, Event::InitApply(object("hr", "c"))), nothing);
        assert_eq!(see(0, Event::InitDone), ["applied c", "deleted b", "deleted d"]);
        see(1, Event::Init);
        assert_eq!(see(1, Event::InitDone), nothing);
        assert_eq!(store.state().len(), 1);
    }

    #[test]
    fn a_namespace_that_may_not_be_listed_does_not_hold_up_the_others() {
        let (store, mut writer) = reflector::store();
        let mut joined = Joined::new(&["hr".to_owned(), "gone".to_owned()]);
        joined.after(0, Event::InitApply(object("hr", "a")), &store);
        assert!(joined.after(0, Event::InitDone, &store).is_empty());
        let whole = joined.without(1);
        assert_eq!(words(&whole), ["init", "listed a", "done"]);
        whole.iter().for_each(|event| writer.apply_watcher_event(event));
        assert!(joined.without(1).is_empty(), "once");
        // It may come to be listed after all.
        joined.after(1, Event::Init, &store);
        joined.after(1, Event::InitApply(object("gone", "b")), &store);
        assert_eq!(words(&joined.after(1, Event::InitDone, &store)), ["applied b"]);
    }

    #[test]
    fn one_watch_passes_as_it_is() {
        let (store, _) = reflector::store();
        let mut joined = Joined::new(&["hr".to_owned()]);
        for event in [Event::Init, Event::InitApply(object("hr", "a")), Event::InitDone, Event::Delete(object("hr", "a"))] {
            let expected = words(std::slice::from_ref(&event));
            assert_eq!(words(&joined.after(0, event, &store)), expected);
        }
    }
}
