//! Goal: each rule of blobs once: kinds, uploads, commits, conditions, bounds, events, ends.

use super::bench::{Bench, effected, perform, place, reason, set, text, write};
use super::blob_bench::{
    KEY, TIME_MS, begin, change, here, only_if, only_named, part, parts, put_blobs, upload,
};
use crate::model::limits::UPLOADS_OF_BUCKET_MAX;
use crate::model::{
    Access, BATCH_STEPS_MAX, BLOB_BYTES_MAX, BLOB_INLINE_MAX, BUCKET_BLOB_BYTES_MAX, BUCKET_BYTES_MAX,
    BlobBecomes, Check, Due, Effect, Effected, Holds, Look, Name, OP_STEPS_MAX, Op, Outcome, PARTS_MAX, Part,
    Place, Reason, Settings, SigningKey, Standing, ToHold, UploadId, Watcher, blob_data, blobs, bucket,
    commits, committed, standing, uploads, waiting,
};

/// `printf data | sha256sum`
const DATA_HASH: &str = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7";

fn holds(bench: &Bench, name: &str) -> Holds {
    bucket(&bench.records, &place(name)).unwrap().unwrap().bucket.holds
}

fn check(key: &str, version: u64) -> Effect {
    Effect::Check(Check { bucket: place("b"), key: text(key), version })
}

#[test]
fn what_a_bucket_holds_never_changes_and_its_key_is_drawn_once() {
    let mut bench = Bench::with_blobs(4, 1000);
    let other = ToHold::Blobs { access: Some(Access::Read), key: SigningKey([8; 32]) };
    let put = |holds, bytes_max| Op::PutBucket { bucket: place("b"), keys_max: 5, bytes_max, holds };
    assert_eq!(holds(&bench, "b"), Holds::Blobs { access: Access::Signed, key: KEY });
    assert_eq!(bench.run(put(other, 1000)), Outcome::Done);
    assert_eq!(holds(&bench, "b"), Holds::Blobs { access: Access::Read, key: KEY });
    assert_eq!(bench.run(put_blobs(4, 1000, None)), Outcome::Done);
    assert_eq!(bench.run(put(ToHold::Any, BUCKET_BLOB_BYTES_MAX)), Outcome::Done);
    assert_eq!(holds(&bench, "b"), Holds::Blobs { access: Access::Read, key: KEY }, "as it was");
    assert_eq!(bench.refused(put(ToHold::Values, 1000)), Reason::Invalid);
    assert_eq!(bench.refused(put(ToHold::Any, BUCKET_BLOB_BYTES_MAX + 1)), Reason::Invalid);
    let values = |holds, bytes_max| Op::PutBucket { bucket: place("a"), keys_max: 5, bytes_max, holds };
    assert_eq!(bench.refused(values(ToHold::Any, BUCKET_BYTES_MAX + 1)), Reason::Invalid);
    assert_eq!(bench.run(values(ToHold::Any, BUCKET_BYTES_MAX)), Outcome::Done);
    assert_eq!(bench.refused(values(other, 1000)), Reason::Invalid);
    assert_eq!(format!("{KEY:?}"), "SigningKey", "it stands in no log");
}

#[test]
fn what_asks_for_the_other_kind_is_refused_by_name() {
    let mut bench = Bench::with_bucket(4, 1000);
    bench.run(put_blobs(4, 1000, None));
    let mut refused = |op: Op| match bench.run(op) {
        Outcome::Refused(refusal) => (refusal.reason, refusal.to_string()),
        other => panic!("{other:?}"),
    };
    let Effect::Write(value) = write("k", set("v")) else { unreachable!() };
    let value = Effect::Write(crate::model::Write { bucket: place("b"), ..value });
    let expected = (Reason::Invalid, "bucket 'shop/b' holds blobs, no values".to_owned());
    assert_eq!(refused(perform(vec![value])), expected);
    let Effect::Blob(blob) = change("k", here("v")) else { unreachable!() };
    let blob = crate::model::BlobChange { bucket: place("a"), ..*blob };
    let expected = (Reason::Invalid, "bucket 'shop/a' holds values, no blobs".to_owned());
    assert_eq!(refused(perform(vec![Effect::Blob(Box::new(blob))])), expected);
    let Op::BeginUpload(of) = begin("k", 0) else { unreachable!() };
    assert_eq!(refused(Op::BeginUpload(crate::model::Begin { bucket: place("a"), ..of })), expected);
}

#[test]
fn a_small_blob_is_kept_in_its_record_and_replaced_as_a_whole() {
    let mut bench = Bench::with_blobs(4, 1000);
    let first = bench.put_blob("k", "data");
    let blob = bench.blob("k").unwrap();
    assert_eq!((blob.bytes, &blob.etag[..], blob.upload), (4, DATA_HASH, None));
    assert_eq!((&blob.look.content_type[..], blob.modified_ms), ("application/octet-stream", bench.now_ms));
    assert_eq!(blob_data(&bench.records, &place("b"), "k").unwrap(), "data");
    let outcome = bench.run(perform(vec![change("k", here("other"))]));
    assert!(matches!(effected(&outcome), [Effected::Committed { version, existed: true, bytes: 5, .. }]
        if *version > first));
    let delete = || perform(vec![change("k", BlobBecomes::Nothing)]);
    assert_eq!(effected(&bench.run(delete())), [Effected::Deleted { existed: true }]);
    assert_eq!(effected(&bench.run(delete())), [Effected::Deleted { existed: false }]);
    assert_eq!((bench.blob("k"), bench.rows("KDMS")), (None, 0));
    let large = "x".repeat(BLOB_INLINE_MAX + 1);
    assert_eq!(bench.refused(perform(vec![change("k", here(&large))])), Reason::TooLarge);
}

#[test]
fn an_upload_becomes_a_blob_with_the_parts_that_are_named() {
    let mut bench = Bench::with_blobs(4, 10_000);
    let id = bench.begin("k");
    assert_eq!(standing(&bench.records, id).unwrap(), Standing::Open);
    assert_eq!(id.sequence(), bench.group().sequence);
    let later = UploadId::new(id.sequence() + 1, 0);
    assert_eq!(standing(&bench.records, later).unwrap(), Standing::ToCome);
    let (one, again, last) = (part(1, 11, 500), part(1, 12, 600), part(PARTS_MAX, 13, 7));
    for part in [&one, &last, &again] {
        assert_eq!(bench.put_part("k", id, part.clone()), Outcome::Done);
    }
    assert_eq!(crate::model::upload_parts(&bench.records, id).unwrap(), [again.clone(), last.clone()]);
    let commit = |named| perform(vec![change("k", parts(id, named))]);
    for wrong in [vec![], vec![only_named(&last), only_named(&again)], vec![only_named(&one)]] {
        assert_eq!(bench.refused(commit(wrong)), Reason::Invalid, "none, not in order, replaced");
    }
    let missing = only_named(&part(2, 1, 1));
    assert_eq!(bench.refused(commit(vec![missing])), Reason::Invalid);
    let outcome = bench.run(commit(vec![only_named(&again), only_named(&last)]));
    let [Effected::Committed { version, bytes: 607, etag, existed: false, .. }] = effected(&outcome) else {
        panic!("{outcome:?}");
    };
    assert!(etag.len() == 66 && etag.ends_with("-2"), "{etag}");
    let kept: Vec<_> =
        [again, last].into_iter().map(|part| Part { digest: bytes::Bytes::new(), ..part }).collect();
    assert_eq!(committed(&bench.records, id).unwrap().unwrap(), kept);
    assert_eq!(standing(&bench.records, id).unwrap(), Standing::Committed(kept));
    assert_eq!(commits(&bench.records, 0, 9).unwrap(), [(*version, id)]);
    assert_eq!(commits(&bench.records, version + 1, 9).unwrap(), []);
    assert_eq!(bench.rows("UPNO"), 0, "nothing of the upload stays");
    assert_eq!(bench.refused(commit(vec![part(1, 11, 500)])), Reason::NoUpload);
    bench.put_blob("k", "small");
    assert_eq!((standing(&bench.records, id).unwrap(), bench.rows("MS")), (Standing::Ended, 0));
}

#[test]
fn parts_may_be_told_with_the_commit_alone_and_an_upload_is_that_of_its_blob() {
    let mut bench = Bench::with_blobs(4, BLOB_BYTES_MAX + 99);
    let id = bench.begin("k");
    let commit = |key: &str, bytes| perform(vec![change(key, parts(id, vec![part(1, 11, bytes)]))]);
    assert_eq!(bench.refused(commit("other", 5)), Reason::NoUpload);
    assert_eq!(bench.refused(commit("k", BLOB_BYTES_MAX + 1)), Reason::TooLarge);
    assert_eq!(bench.refused(Op::RenewUpload(upload("other", id))), Reason::NoUpload);
    let bare = Part { digest: bytes::Bytes::new(), ..part(1, 11, 5) };
    assert_eq!(bench.refused(perform(vec![change("k", parts(id, vec![bare]))])), Reason::Invalid);
    assert!(matches!(bench.run(commit("k", BLOB_BYTES_MAX)), Outcome::Performed(_)));
    assert_eq!(bench.blob("k").unwrap().bytes, BLOB_BYTES_MAX);
}

#[test]
fn an_upload_ends_by_its_time_unless_something_is_heard_of_it() {
    let mut bench = Bench::with_blobs(4, 10_000);
    let id = bench.begin("k");
    let sweep = || Op::Sweep { due: Due::Uploads, steps: 9, from_ms: 0 };
    let moved = |bench: &mut Bench| match bench.run(sweep()) {
        Outcome::Moved { moved, .. } => moved,
        other => panic!("{other:?}"),
    };
    for heard in
        [Op::RenewUpload(upload("k", id)), Op::PutPart { upload: upload("k", id), part: part(3, 1, 1) }]
    {
        bench.now_ms += TIME_MS - 1;
        assert_eq!((moved(&mut bench), bench.run(heard)), (0, Outcome::Done));
    }
    let other = bench.begin("other");
    assert_eq!(uploads(&bench.records, &place("b"), None, 9).unwrap().len(), 2);
    assert_eq!(uploads(&bench.records, &place("b"), Some(id), 9).unwrap()[0].id, other);
    assert_eq!(bench.run(Op::AbortUpload(upload("other", other))), Outcome::Done);
    bench.now_ms += TIME_MS;
    assert_eq!((moved(&mut bench), bench.rows("UPNO")), (1, 0));
    assert_eq!(standing(&bench.records, id).unwrap(), Standing::Ended);
    assert_eq!(bench.refused(Op::RenewUpload(upload("k", id))), Reason::NoUpload);
    assert!(!bench.records.keys().any(|key| key.starts_with(b"tu")), "no timer stays");
}

#[test]
fn conditions_are_asked_with_the_change() {
    let mut bench = Bench::with_blobs(4, 1000);
    let put = |etag: &str, none| perform(vec![only_if(change("k", here("data")), etag, none)]);
    assert_eq!(bench.refused(put("*", false)), Reason::Precondition);
    assert_eq!(bench.refused(put("x", false)), Reason::Precondition);
    assert!(matches!(bench.run(put("", true)), Outcome::Performed(_)));
    assert_eq!(bench.refused(put("", true)), Reason::Precondition);
    assert_eq!(bench.refused(put("x", false)), Reason::Precondition);
    assert!(matches!(bench.run(put("*", false)), Outcome::Performed(_)));
    assert!(matches!(bench.run(put(DATA_HASH, false)), Outcome::Performed(_)));
    let delete = |etag| perform(vec![only_if(change("k", BlobBecomes::Nothing), etag, false)]);
    assert_eq!(bench.refused(delete("x")), Reason::Precondition);
    assert!(matches!(bench.run(delete(DATA_HASH)), Outcome::Performed(_)));
    assert_eq!(effected(&bench.run(delete("*"))), [Effected::Deleted { existed: false }]);
}

#[test]
fn what_was_read_is_checked_by_version() {
    let mut bench = Bench::with_blobs(4, 1000);
    assert!(matches!(bench.run(perform(vec![check("k", 0)])), Outcome::Performed(_)));
    let version = bench.put_blob("k", "data");
    assert_eq!(effected(&bench.run(perform(vec![check("k", version)]))), [Effected::Checked]);
    assert_eq!(bench.refused(perform(vec![check("k", 0)])), Reason::Mismatch);
    assert_eq!(
        bench.refused(perform(vec![check("k", version + 1), change("l", here("x"))])),
        Reason::Mismatch
    );
}

#[test]
fn a_bucket_has_bounds_and_what_never_fits_is_refused_for_good() {
    let mut bench = Bench::with_blobs(2, 100);
    bench.put_blob("a", &"x".repeat(60));
    let put = |key: &str, bytes| change(key, here(&"x".repeat(bytes)));
    assert_eq!(bench.refused(perform(vec![put("b", 40)])), Reason::BucketFullBytes);
    assert_eq!(bench.refused(perform(vec![put("b", 100)])), Reason::NeverFits);
    assert_eq!(bench.refused(perform(vec![put("b", 50), put("c", 50)])), Reason::NeverFits, "together");
    assert!(matches!(bench.run(perform(vec![put("a", 99)])), Outcome::Performed(_)), "in its place");
    bench.put_blob("a", "");
    bench.put_blob("b", "");
    assert_eq!(bench.refused(perform(vec![put("c", 1)])), Reason::BucketFullKeys);
    let three = ["a", "b", "c"].map(|key| put(key, 0)).to_vec();
    assert_eq!(bench.refused(perform(three)), Reason::NeverFits);
    assert_eq!(bench.refused(begin("k", 100)), Reason::NeverFits, "it is said before anything is sent");
    assert!(matches!(bench.run(begin("k", 99)), Outcome::UploadBegun(_)));
    assert_eq!(bench.refused(begin("k", BLOB_BYTES_MAX + 1)), Reason::TooLarge);
    assert!(matches!(bench.run(put_blobs(1, 1, None)), Outcome::Done), "it is over its bounds now");
    assert!(matches!(bench.run(perform(vec![change("a", BlobBecomes::Nothing)])), Outcome::Performed(_)));
}

#[test]
fn a_write_of_values_that_never_fits_is_refused_for_good() {
    let mut bench = Bench::with_bucket(2, 100);
    bench.set("a", &"x".repeat(60));
    let large = |bytes| set(&"x".repeat(bytes));
    assert_eq!(bench.refused(perform(vec![write("b", large(50))])), Reason::BucketFullBytes);
    assert_eq!(bench.refused(perform(vec![write("b", large(100))])), Reason::NeverFits);
    assert_eq!(bench.refused(perform(vec![write("b", large(60)), write("c", large(60))])), Reason::NeverFits);
    let three = ["x", "y", "z"].map(|key| write(key, set(""))).to_vec();
    assert_eq!(bench.refused(perform(three)), Reason::NeverFits);
    let spared = vec![write("b", large(60)), write("b", crate::model::Change::Delete), write("c", large(60))];
    assert_eq!(bench.refused(perform(spared)), Reason::BucketFullBytes, "an empty one has room");
}

#[test]
fn names_and_looks_have_bounds() {
    let mut bench = Bench::with_blobs(4, 1000);
    let long = "k".repeat(1025);
    for (key, expected) in [
        ("", Reason::Invalid),
        ("a\nb", Reason::Invalid),
        ("\u{85}", Reason::Invalid),
        (&long, Reason::TooLarge),
    ] {
        assert_eq!(bench.refused(perform(vec![change(key, here("x"))])), expected, "{key}");
        assert_eq!(bench.refused(begin(key, 0)), expected, "{key}");
    }
    let put = |content_type: &str, name: &str, value: &str, etag: &str| {
        let Effect::Blob(mut it) = change("k", here("x")) else { unreachable!() };
        let BlobBecomes::Content(content) = &mut it.becomes else { unreachable!() };
        let metadata = [(name.to_owned(), value.to_owned())].into();
        content.look = Look { content_type: content_type.to_owned(), metadata };
        content.etag = etag.to_owned();
        perform(vec![Effect::Blob(it)])
    };
    let long = "v".repeat(2048);
    for (op, expected) in [
        (put("text/\u{e4}", "n", "v", ""), Reason::Invalid),
        (put("text/plain", "N", "v", ""), Reason::Invalid),
        (put("text/plain", "", "v", ""), Reason::Invalid),
        (put("text/plain", "n", "a\r\nb", ""), Reason::Invalid),
        (put("text/plain", "n", &long, ""), Reason::TooLarge),
        (put("text/plain", "n", "v", "a\"b"), Reason::Invalid),
    ] {
        assert_eq!(bench.refused(op), expected);
    }
    assert!(matches!(bench.run(put("text/plain", "n-1", "gr\u{fc}n", "tag")), Outcome::Performed(_)));
    let blob = bench.blob("k").unwrap();
    assert_eq!((&blob.etag[..], &blob.look.content_type[..]), ("tag", "text/plain"));
}

#[test]
fn who_watches_is_told_in_the_same_operation() {
    let mut bench = Bench::with_blobs(4, 1000);
    let function = Name::parse("f").unwrap();
    let (prefix, suffix) = ("p".to_owned(), String::new());
    let watcher = Watcher { function: function.clone(), sets: true, deletes: true, prefix, suffix };
    let settings = Settings { messages_max: 2, ..Settings::DEFAULT };
    assert_eq!(bench.run(Op::Watch { bucket: place("b"), watcher, settings }), Outcome::Done);
    bench.put_blob("other", "data");
    let version = bench.put_blob("p\"1", "data");
    bench.run(perform(vec![change("p\"1", BlobBecomes::Nothing)]));
    let queue = Place::of_watcher(&place("b"), &function).unwrap();
    let told = waiting(&bench.records, &queue, 0, 9).unwrap().messages;
    let shown: Vec<_> = told
        .iter()
        .map(|it| (&it.body.attributes["type"][..], &it.body.attributes["subject"][..], &it.body.data[..]))
        .collect();
    let json = |version| {
        format!(
            "{{\"bucket\":\"b\",\"key\":\"p\\\"1\",\"version\":{version},\"bytes\":4,\"etag\":\"{DATA_HASH}\",\"contentType\":\"application/octet-stream\"}}"
        )
    };
    let deleted: u64 = told[1].body.attributes["sequence"].parse().unwrap();
    assert!(deleted > version);
    let (created, gone) = (json(version), json(deleted));
    assert_eq!(
        shown,
        [
            ("dev.coracle.blob.created", "p\"1", created.as_bytes()),
            ("dev.coracle.blob.deleted", "p\"1", gone.as_bytes())
        ]
    );
    let before = bench.blob("p2");
    let outcome = bench.run(perform(vec![change("p2", here("x"))]));
    assert_eq!((reason(&outcome), bench.blob("p2")), (Reason::QueueFullMessages, before));
}

#[test]
fn a_bucket_goes_with_its_blobs_and_uploads_in_steps() {
    let mut bench = Bench::with_blobs(999, 99_999);
    for number in 0..OP_STEPS_MAX + 3 {
        bench.put_blob(&format!("k{number}"), "x");
    }
    let id = bench.begin("k");
    bench.run(perform(vec![change("k", parts(id, vec![part(1, 1, 5)]))]));
    for _ in 0..3 {
        let id = bench.begin("k");
        bench.put_part("k", id, part(150, 1, 5));
    }
    let drop = |begun| Op::DropBucket { bucket: place("b"), force: false, begun };
    assert!(matches!(bench.run(drop(false)), Outcome::Moved { more: true, .. }));
    assert_eq!(bench.refused(begin("k", 0)), Reason::BucketDropping);
    assert_eq!(bench.refused(perform(vec![change("k", here("x"))])), Reason::BucketDropping);
    for _ in 0..4 {
        if matches!(bench.run(drop(true)), Outcome::Moved { more: false, .. }) {
            assert_eq!(bench.rows("KDMSUPNObBt"), 0);
            return;
        }
    }
    panic!("it does not end");
}

#[test]
fn blobs_are_listed_by_prefix_in_pages() {
    let mut bench = Bench::with_blobs(9, 1000);
    for key in ["a", "b/1", "b/2", "b/3", "c"] {
        bench.put_blob(key, "x");
    }
    let list = |prefix, after, most| {
        let page = blobs(&bench.records, &place("b"), prefix, after, most).unwrap();
        (page.entries.into_iter().map(|it| it.key).collect::<Vec<_>>(), page.after)
    };
    assert_eq!(list("", None, 9).0.len(), 5);
    assert_eq!(list("b/", None, 2), (vec!["b/1".into(), "b/2".into()], Some("b/2".into())));
    assert_eq!(list("b/", Some("b/2"), 2), (vec!["b/3".into()], None));
    assert_eq!(list("b/", Some("z"), 2), (vec![], None));
}

#[test]
fn a_bucket_has_so_many_open_uploads_and_others_have_theirs() {
    let mut bench = Bench::with_blobs(9, 1000);
    let first = bench.begin("k");
    for _ in 1..UPLOADS_OF_BUCKET_MAX {
        bench.begin("k");
    }
    let Outcome::Refused(why) = bench.run(begin("k", 0)) else { panic!("one too many") };
    assert_eq!((why.reason, why.bound), (Reason::UploadsFull, UPLOADS_OF_BUCKET_MAX));
    assert!(why.to_string().contains("bucket 'shop/b'"), "{why}");
    bench.run(Op::AbortUpload(upload("k", first)));
    let next = bench.begin("k");
    bench.run(perform(vec![change("k", parts(next, vec![part(1, 1, 5)]))]));
    bench.begin("k");
    bench.now_ms += TIME_MS;
    while bench.sweep(Due::Uploads) > 0 {}
    let counted = bucket(&bench.records, &place("b")).unwrap().unwrap().bucket.uploads;
    assert_eq!((counted, bench.rows("N")), (0, 0));
}

/// One entry does so much, for which everybody waits, whoever asks for it.
#[test]
fn ends_of_uploads_with_many_parts_are_counted_as_steps() {
    let mut bench = Bench::with_blobs(999, 99_999);
    let full: Vec<_> = (0..45)
        .map(|_| {
            let id = bench.begin("k");
            for page in 0..PARTS_MAX / 100 {
                bench.put_part("k", id, part(page * 100 + 1, 1, 5));
            }
            id
        })
        .collect();
    let plain = bench.begin("k");
    let abort = |id| Op::AbortUpload(upload("k", id));
    let outcomes = bench.run_all(full.iter().copied().chain([plain]).map(abort).collect());
    let busy = |outcome: &&Outcome| matches!(outcome, Outcome::Refused(why) if why.reason == Reason::Busy);
    let refused = outcomes.iter().filter(busy).count();
    assert_eq!(refused, full.len() - BATCH_STEPS_MAX / 100, "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&Outcome::Done), "who has none needs none");
}
