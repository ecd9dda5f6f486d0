//! Goal: each rule of values once: versions, bounds, time to live, all or nothing, lists.

use super::bench::{Bench, effected, perform, place, set, text, write};
use crate::model::{
    BUCKET_BYTES_MAX, Change, Due, Effected, KEY_BYTES_MAX, OP_STEPS_MAX, Op, Outcome, PAGE_MAX, Page,
    PageBounds, Reason, ToHold, VALUE_BYTES_MAX, due, values,
};

fn with_ttl(data: &str, ttl_ms: u64) -> Change {
    Change::Set { data: text(data), ttl_ms: Some(ttl_ms) }
}

fn cas(expected: Option<u64>, data: &str) -> Change {
    Change::CompareAndSet { expected, data: text(data), ttl_ms: None }
}

const fn bounds(most: usize) -> PageBounds {
    PageBounds { most, bytes_max: usize::MAX, keys_only: false }
}

fn list(bench: &Bench, prefix: &str, after: Option<&[u8]>, most: usize) -> Page {
    values(&bench.records, &place("a"), prefix.as_bytes(), after, bounds(most), bench.now_ms).unwrap()
}

fn names(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| std::str::from_utf8(&entry.key).unwrap()).collect()
}

#[test]
fn each_write_has_a_greater_version() {
    let mut bench = Bench::with_bucket(9, 999);
    let first = bench.set("k", "one");
    let second = bench.set("k", "two");
    assert!(second > first);
    assert_eq!(bench.value("k").unwrap().version, second);
    assert_eq!(effected(&bench.write("k", Change::Delete)), [Effected::Deleted { existed: true }]);
    assert_eq!(effected(&bench.write("k", Change::Delete)), [Effected::Deleted { existed: false }]);
    assert!(bench.value("k").is_none());
    assert!(bench.set("k", "three") > second, "also after it was away");
}

#[test]
fn a_compare_and_set_meets_the_version_or_changes_nothing() {
    let mut bench = Bench::with_bucket(9, 999);
    let absent = bench.write("k", cas(None, "one"));
    let [Effected::Written { version, number: None }] = effected(&absent) else { panic!("{absent:?}") };
    assert_eq!(bench.refused(perform(vec![write("k", cas(None, "two"))])), Reason::Mismatch);
    assert_eq!(bench.refused(perform(vec![write("k", cas(Some(version + 1), "two"))])), Reason::Mismatch);
    assert!(matches!(bench.write("k", cas(Some(*version), "two")), Outcome::Performed(_)));
    assert_eq!(bench.data("k").as_deref(), Some("two"));
}

#[test]
fn an_increment_counts_in_decimal_and_does_not_overflow() {
    let mut bench = Bench::with_bucket(9, 999);
    for (by, sum) in [(5, 5), (-7, -2), (i64::MAX, i64::MAX - 2)] {
        let outcome = bench.write("n", Change::Increment { by });
        let [Effected::Written { number, .. }] = effected(&outcome) else { panic!("{outcome:?}") };
        assert_eq!(*number, Some(sum));
        assert_eq!(bench.data("n"), Some(sum.to_string()));
    }
    assert_eq!(bench.refused(perform(vec![write("n", Change::Increment { by: 3 })])), Reason::Overflow);
    bench.set("n", "many");
    assert_eq!(bench.refused(perform(vec![write("n", Change::Increment { by: 1 })])), Reason::NotANumber);
}

#[test]
fn effects_are_all_done_or_none() {
    let mut bench = Bench::with_bucket(2, 999);
    bench.set("a", "1");
    let effects = vec![write("a", Change::Delete), write("b", set("2")), write("a", cas(Some(1), "3"))];
    assert_eq!(bench.refused(perform(effects)), Reason::Mismatch);
    assert_eq!((bench.data("a").as_deref(), bench.data("b")), (Some("1"), None));
    let swap = vec![write("a", Change::Delete), write("b", set("2")), write("c", set("3"))];
    assert!(
        matches!(bench.run(perform(swap)), Outcome::Performed(_)),
        "the later ones see what the first made room"
    );
    assert_eq!(bench.bucket().map(|bucket| (bucket.keys, bucket.bytes)), Some((2, 4)));
}

#[test]
fn a_bucket_has_bounds_that_are_named() {
    let mut bench = Bench::with_bucket(2, 10);
    bench.set("a", "1234");
    assert_eq!(bench.refused(perform(vec![write("b", set("12345"))])), Reason::BucketFullBytes);
    bench.set("b", "1");
    assert_eq!(bench.refused(perform(vec![write("c", set(""))])), Reason::BucketFullKeys);
    let smaller = Op::PutBucket { bucket: place("a"), keys_max: 1, bytes_max: 1, holds: ToHold::Any };
    bench.run(smaller);
    bench.set("a", "12");
    assert_eq!(bench.refused(perform(vec![write("a", set("123"))])), Reason::NeverFits);
    let nowhere = Op::DropBucket { bucket: place("z"), force: false, begun: false };
    assert_eq!(bench.refused(nowhere), Reason::NoBucket);
}

#[test]
fn sizes_have_bounds() {
    let mut bench = Bench::with_bucket(9, BUCKET_BYTES_MAX);
    let (key, data) = ("k".repeat(KEY_BYTES_MAX), "v".repeat(VALUE_BYTES_MAX));
    bench.set(&key, &data);
    assert_eq!(bench.data(&key), Some(data.clone()));
    for (key, data) in [(key + "k", "v".to_owned()), ("k".to_owned(), data + "v")] {
        assert_eq!(bench.refused(perform(vec![write(&key, set(&data))])), Reason::TooLarge);
    }
    assert_eq!(bench.refused(perform(vec![write("", set("v"))])), Reason::Invalid);
}

#[test]
fn what_expired_is_not_there_and_is_swept_in_steps() {
    let mut bench = Bench::with_bucket(9, 999);
    bench.write("a", with_ttl("1", 10));
    bench.write("b", with_ttl("1", 20));
    bench.write("b", Change::Increment { by: 1 });
    bench.set("c", "stays");
    assert_eq!(due(&bench.records, Due::Values, 0, u64::MAX).unwrap(), Some(bench.now_ms + 10));
    bench.now_ms += 9;
    assert_eq!(bench.data("a").as_deref(), Some("1"));
    bench.now_ms += 1;
    assert_eq!(bench.data("a"), None, "though nothing has swept it");
    bench.now_ms += 10;
    assert_eq!(bench.data("b"), None, "an increment leaves the time to live");
    assert!(matches!(bench.write("a", cas(None, "2")), Outcome::Performed(_)), "what expired is not there");
    let sweep = |steps| Op::Sweep { due: Due::Values, steps, from_ms: 0 };
    assert_eq!(bench.run(sweep(1)), Outcome::Moved { moved: 1, more: true, next: 0 });
    assert_eq!(bench.run(sweep(1)), Outcome::Moved { moved: 0, more: false, next: 0 });
    assert_eq!(names(&list(&bench, "", None, 9)), ["a", "c"]);
    assert_eq!(bench.bucket().unwrap().keys, 2);
    assert_eq!(due(&bench.records, Due::Values, 0, u64::MAX).unwrap(), None);
}

#[test]
fn a_list_goes_on_where_its_page_ended() {
    let mut bench = Bench::with_bucket(99, 9999);
    for key in ["a", "ab", "ab\0", "abc", "ac", "b"] {
        bench.set(key, "v");
    }
    bench.write("aba", with_ttl("gone", 1));
    bench.now_ms += 1;
    assert_eq!(names(&list(&bench, "ab", None, 9)), ["ab", "ab\0", "abc"]);
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = list(&bench, "a", after.as_deref(), 2);
        all.extend(names(&page).into_iter().map(str::to_owned));
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, ["a", "ab", "ab\0", "abc", "ac"]);
    assert_eq!(names(&list(&bench, "ab", Some(b"z"), 9)), [""; 0]);
    assert_eq!(names(&list(&bench, "ab", Some(b"a"), PAGE_MAX * 2)), ["ab", "ab\0", "abc"]);
}

#[test]
fn a_bucket_is_dropped_in_steps() {
    let mut bench = Bench::with_bucket(999, 99_999);
    for number in 0..=OP_STEPS_MAX {
        bench.write(&format!("{number}"), with_ttl("v", 5));
    }
    let drop = || Op::DropBucket { bucket: place("a"), force: false, begun: false };
    let most = u32::try_from(OP_STEPS_MAX).unwrap();
    assert_eq!(bench.run(drop()), Outcome::Moved { moved: most, more: true, next: 0 });
    assert_eq!(bench.bucket().unwrap().keys, 1);
    assert_eq!(bench.run(drop()), Outcome::Moved { moved: 1, more: false, next: 0 });
    assert_eq!((bench.bucket(), due(&bench.records, Due::Values, 0, u64::MAX).unwrap()), (None, None));
    assert_eq!(bench.records.len(), 1, "the group's own record");
}

#[test]
fn a_page_holds_no_more_than_its_bytes_and_keys_alone_when_they_are_asked_for() {
    let mut bench = Bench::with_bucket(9, BUCKET_BYTES_MAX);
    let large = "v".repeat(VALUE_BYTES_MAX);
    for key in ["a", "b", "c", "d"] {
        bench.set(key, &large);
    }
    let page = |after: Option<&[u8]>, bytes_max, keys_only| {
        let bounds = PageBounds { most: PAGE_MAX, bytes_max, keys_only };
        values(&bench.records, &place("a"), b"", after, bounds, bench.now_ms).unwrap()
    };
    let two = page(None, 2 * (VALUE_BYTES_MAX + 1), false);
    assert_eq!((names(&two), two.after.as_deref()), (vec!["a", "b"], Some(&b"b"[..])));
    let rest = page(Some(b"b"), 2 * (VALUE_BYTES_MAX + 1), false);
    assert_eq!((names(&rest), &rest.after), (vec!["c", "d"], &None));
    let first = page(None, 1, false);
    assert_eq!((names(&first), first.after.as_deref()), (vec!["a"], Some(&b"a"[..])), "one in any case");
    let keys = page(None, 4, true);
    assert_eq!((names(&keys), &keys.after), (vec!["a", "b", "c", "d"], &None));
    assert!(keys.entries.iter().all(|it| it.value.data.is_empty() && it.value.version > 0));
}
