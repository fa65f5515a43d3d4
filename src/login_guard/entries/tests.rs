use ukg_pro::login::UndeterminedReason;

use super::*;

pub(crate) fn request(n: u8) -> Request {
    Request([n; 8])
}

fn fingerprint(n: usize) -> Fingerprint {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Fingerprint(bytes)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn entry(login: Option<Login>, second: i64) -> Entry {
    Entry { account: Account([7; 8]), login, at: at(second), used: at(second), times: 1, ..Entry::default() }
}

const REFUSED: Option<Login> = Some(Login::Refused(LoginFailure::Refused(Refusal::Credentials)));
const DAY: i64 = 86_400;

#[test]
fn every_entry_is_read_as_it_was_written() {
    let failures = [
        LoginFailure::Refused(Refusal::Credentials),
        LoginFailure::Refused(Refusal::CustomerApiKey),
        LoginFailure::Refused(Refusal::UserApiKey),
        LoginFailure::Undetermined(UndeterminedReason::Failed),
    ];
    let logins = failures.into_iter().flat_map(|failure| [Some(Login::Refused(failure)), Some(Login::BegunAgain(failure))]);
    let logins = logins.chain([None, Some(Login::Begun)]);
    let mut table = EntryTable::default();
    for (n, login) in logins.enumerate() {
        for (m, rest) in [None, Some(Rest::Begun), Some(Rest::Refused)].into_iter().enumerate() {
            let granted = (0..m).map(|m| request(u8::try_from(m).expect("small"))).collect();
            let entry =
                Entry { rest, granted, process_tag: ProcessTag([1, 2, 3, 4]), times: 9, used: at(5), ..entry(login, 0) };
            table.set(fingerprint(10 * n + m), Some(entry));
        }
    }
    let mut read = EntryTable::default();
    read.rebase(0, 1, &table.snapshot(0, 1).1);
    assert_eq!(read.entries, table.entries);
    assert_eq!(read.entries.len(), 30);
}

#[test]
fn what_cannot_be_read_is_left_out_and_an_unknown_word_is_a_refusal() {
    let mut table = EntryTable::default();
    table.set(fingerprint(1), Some(entry(REFUSED, 0)));
    let text = table.snapshot(0, 1).1;
    for (what, text, entries, refused) in [
        ("a word of a newer operator", text.replace(" credentials ", " new-word "), 1, true),
        ("a field too few", text.replace(" credentials ", " "), 0, false),
        ("no time", text.replace("1800000000", "soon"), 0, false),
        ("another line", format!("{text}nonsense\n\n"), 1, true),
        ("nothing", String::new(), 0, false),
    ] {
        let mut read = EntryTable::default();
        read.rebase(0, 1, &text);
        assert_eq!(read.len(), entries, "{what}");
        assert_eq!(
            read.get(fingerprint(1)).is_some_and(|entry| matches!(entry.login, Some(Login::Refused(_)))),
            refused,
            "{what}"
        );
    }
}

#[test]
fn the_last_request_of_each_connection_is_remembered() {
    let mut entry = Entry::default();
    let of = |connection: u8, value: u8| Request([[connection; 4], [value; 4]].concat().try_into().expect("eight"));
    [of(1, 1), of(2, 1), of(1, 2)].into_iter().for_each(|request| entry.grant(request));
    assert_eq!(entry.granted, [of(2, 1), of(1, 2)]);
    (3..200).for_each(|connection| entry.grant(of(connection, 1)));
    assert_eq!((entry.granted.len(), entry.granted.last()), (GRANTED_MAX, Some(&of(199, 1))));
}

#[test]
fn only_what_differs_from_what_is_stored_is_unsaved() {
    let mut table = EntryTable::default();
    table.set(fingerprint(1), Some(entry(Some(Login::Begun), 0)));
    assert!(table.has_unsaved());
    table.set(fingerprint(1), None);
    assert!(!table.has_unsaved(), "an intent that is settled before it was stored");
    table.set(fingerprint(1), Some(entry(Some(Login::Begun), 0)));
    let (_, snapshot) = table.snapshot(0, 1);
    table.set(fingerprint(1), Some(entry(REFUSED, 1)));
    table.saved(0, 1, &snapshot);
    assert!(table.has_unsaved(), "it was changed while it was stored");
    let (_, snapshot) = table.snapshot(0, 1);
    table.saved(0, 1, &snapshot);
    assert!(!table.has_unsaved());
    let version = table.version();
    table.set(fingerprint(1), Some(entry(REFUSED, 1)));
    assert_eq!(table.version(), version, "the same is no change");
}

/// `mine` was made when `stored_states` was stored; `theirs` is what another process has stored meanwhile.
#[test]
fn what_was_seen_wins_and_an_intent_gives_way() {
    let begun = |process_tag| Some(Entry { process_tag: ProcessTag([process_tag; 4]), ..entry(Some(Login::Begun), 0) });
    let refused = |process_tag| Some(Entry { process_tag: ProcessTag([process_tag; 4]), ..entry(REFUSED, 0) });
    for (what, stored_states, mine, theirs, expected) in [
        ("nobody else", None, begun(1), None, begun(1)),
        ("both began", None, begun(1), begun(2), begun(2)),
        ("another was refused", None, begun(1), refused(2), refused(2)),
        ("I was refused, another began", None, refused(1), begun(2), refused(1)),
        ("I settled what another began anew", begun(1), None, begun(2), begun(2)),
        ("I settled mine", begun(1), None, begun(1), None),
        ("another struck out what I am refused with", begun(1), refused(1), None, refused(1)),
        ("it was stored though no answer came", None, begun(1), begun(1), begun(1)),
    ] {
        let mut table = EntryTable::default();
        table.set(fingerprint(1), stored_states);
        let (_, snapshot) = table.snapshot(0, 1);
        table.saved(0, 1, &snapshot);
        table.set(fingerprint(1), mine);
        let mut other = EntryTable::default();
        other.set(fingerprint(1), theirs.clone());
        other.set(fingerprint(2), refused(2));
        table.rebase(0, 1, &other.snapshot(0, 1).1);
        assert_eq!(table.get(fingerprint(1)), expected.as_ref(), "{what}");
        assert_eq!(table.get(fingerprint(2)), refused(2).as_ref(), "{what}: what only the other knows");
        assert_eq!(table.has_unsaved(), expected != theirs, "{what}");
    }
}

#[test]
fn failures_of_an_account_are_counted_for_a_day() {
    let mut table = EntryTable::default();
    for (n, second, times) in [(1, 0, 1), (2, 100, 3), (3, 200, 1)] {
        table.set(fingerprint(n), Some(Entry { times, ..entry(REFUSED, second) }));
    }
    table.set(fingerprint(4), Some(Entry { account: Account([8; 8]), ..entry(REFUSED, 300) }));
    let until = |limit, now| table.failed_often_until(Account([7; 8]), limit, false, at(now));
    assert_eq!(until(6, 300), None);
    assert_eq!(until(5, 300), Some(at(DAY)), "four are left when the first is a day old");
    assert_eq!(until(4, 300), Some(at(DAY + 100)));
    assert_eq!(until(1, 300), Some(at(DAY + 200)));
    assert_eq!(until(5, DAY), None);
    assert_eq!(until(4, DAY), Some(at(DAY + 100)));
    assert_eq!(until(1, DAY + 200), None);
}

#[test]
fn the_book_is_bounded_and_what_nothing_asks_for_is_pruned() {
    let mut table = EntryTable::default();
    for n in 0..=1_000 {
        table.set(fingerprint(n), Some(entry(REFUSED, i64::try_from(n).expect("small"))));
    }
    table.shrink(0, 1, 10_000);
    assert!(table.bytes_of(0, 1) <= 10_000 && table.bytes_of(0, 1) > 9_800, "{}", table.bytes_of(0, 1));
    assert_eq!(table.bytes_of(0, 1), table.snapshot(0, 1).1.len());
    assert!(table.get(fingerprint(0)).is_none() && table.get(fingerprint(1_000)).is_some());
    table.set(fingerprint(7), Some(entry(REFUSED, 7)));

    table.note_use(fingerprint(7), at(80 * DAY));
    let version = table.version();
    table.note_use(fingerprint(7), at(81 * DAY));
    assert_eq!(table.version(), version, "nothing moves at rest");
    table.prune(at(100 * DAY));
    assert_eq!(table.len(), 1);
    assert!(table.get(fingerprint(7)).is_some(), "it is still asked for");
}

/// Returns an entry of a namespace, a different one for each number.
fn owned(namespace_id: u8, used: i64) -> Entry {
    Entry { namespace_id: NamespaceId([namespace_id; 4]), ..entry(REFUSED, used) }
}

/// Returns a digest, because real fingerprints are digests, whose bits are evenly distributed.
fn digest(n: u32) -> Fingerprint {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &n.to_be_bytes());
    Fingerprint(hash.as_ref()[..16].try_into().expect("sixteen"))
}

#[test]
fn a_hundred_thousand_refusals_of_one_namespace_push_out_none_of_the_others() {
    let (mut table, most) = (EntryTable::default(), super::super::PART_BYTES_MAX);
    // Forty other namespaces have ten entries each, refused long ago and asked for by nothing since.
    for n in 0..400 {
        table.set(digest(n), Some(owned(u8::try_from(n % 40).expect("small"), 0)));
    }
    for round in 0..100_u32 {
        for n in 0..1_000 {
            table.set(digest(1_000 + round * 1_000 + n), Some(owned(200, 1_000 + i64::from(round))));
        }
        (0..PARTS_MAX).for_each(|part| table.shrink(part, PARTS_MAX, most));
    }
    assert!((0..400).all(|n| table.get(digest(n)).is_some()), "one of another namespace is lost");
    for part in 0..PARTS_MAX {
        let bytes = table.snapshot(part, PARTS_MAX).1.len();
        assert!(bytes <= most, "{bytes}");
        // The size as it is sent: in base64, with the rest of the object.
        assert!(bytes * 4 / 3 + 1_024 <= 16_000, "{bytes}");
    }
    assert!(table.len() > 3_500, "{}", table.len());
}

#[test]
fn of_one_namespace_what_is_asked_for_stays_longest() {
    let mut table = EntryTable::default();
    (0..100).for_each(|n| table.set(digest(n), Some(owned(1, i64::from(n)))));
    // The first refusal is the oldest, but a connection still has these values. That is not written down for weeks.
    let version = table.version();
    table.note_use(digest(0), at(1_000));
    assert_eq!(table.version(), version);
    table.shrink(0, 1, 2_000);
    assert!(table.get(digest(0)).is_some() && table.get(digest(1)).is_none() && table.get(digest(99)).is_some());
}

#[test]
fn what_is_divided_is_found_in_its_part_and_nowhere_else() {
    let mut table = EntryTable::default();
    (0..100).for_each(|n| table.set(digest(n), Some(owned(1, 0))));
    let mut read = EntryTable::default();
    for part in 0..4 {
        read.rebase(part, 4, &table.snapshot(part, 4).1);
    }
    assert_eq!(read.len(), 100);
    assert!((0..100).all(|n| read.get(digest(n)) == table.get(digest(n))));
    // A copy from when there was only one part does not count.
    let whole = table.snapshot(0, 1).1;
    table.set(digest(7), None);
    read.rebase(0, 4, &whole);
    assert_eq!(read.len(), 100);
    read.rebase(digest(7).part(4), 4, &table.snapshot(digest(7).part(4), 4).1);
    assert_eq!((read.len(), read.get(digest(7))), (99, None));
}

#[test]
fn lines_that_cannot_be_read_are_counted_and_the_others_count() {
    let mut table = EntryTable::default();
    (0..3).for_each(|n| table.set(digest(n), Some(owned(1, 0))));
    let text = table.snapshot(0, 1).1;
    let broken = format!("{text}not a line\n{}", text.lines().nth(1).expect("a line").replace(' ', "\u{fffd} "));
    let mut read = EntryTable::default();
    assert_eq!(read.rebase(0, 1, &broken), 2);
    assert_eq!(read.len(), 3);
    // The format of an operator that knew no namespaces.
    let old = "AAAAAAAAAAAAAAAAAAAAAA BwcHBwcHBwc credentials - 1 1800000000 1800000000 - AQEBAQ\n";
    assert_eq!(EntryTable::default().rebase(0, 1, old), 0);
}

#[test]
fn a_time_that_has_not_come_counts_from_now() {
    let mut table = EntryTable::default();
    let years = 10 * 365 * DAY;
    table.set(fingerprint(1), Some(Entry { times: 1, used: at(years), ..entry(REFUSED, years) }));
    let mut read = EntryTable::default();
    read.rebase(0, 1, &table.snapshot(0, 1).1);
    read.count_from(at(0));
    let entry = read.get(fingerprint(1)).expect("kept");
    assert_eq!((entry.uncertain_until(), entry.times_within_a_day(at(DAY))), (at(DAY), 0));
    assert!(read.has_unsaved(), "and is stored so");
    read.prune(at(100 * DAY));
    assert!(read.is_empty(), "it is not kept for years either");
}
