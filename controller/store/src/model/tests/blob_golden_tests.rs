//! Goal: what this format wrote of blobs once is read for ever, and written again with the same bytes.

use bytes::Bytes;
use coracle_proto::id::RequestId;

use super::bench::{Bench, perform, place};
use super::blob_bench::{KEY, change, here, only_if, part, parts, put_blobs, upload};
use super::golden_tests::{again, bytes, line, name};
use crate::model::codec::{self, Stored as _};
use crate::model::record::{Committed, UploadParts, Uploads};
use crate::model::{
    Access, Asked, Begin, Blob, BlobBecomes, Bucket, Due, Effected, Holds, Look, Op, Outcome, Part, Reason,
    Refusal, Reply, Request, ToHold, Upload, UploadId,
};

/// As written by the first program that had them. Lines are never changed.
const BLOBS: &str = include_str!("golden/format_1_blobs.txt");
const ID: UploadId = UploadId::new(9, 10);

fn look() -> Look {
    Look { content_type: "text/plain".into(), metadata: [("name".to_owned(), "value".to_owned())].into() }
}

fn ops() -> Vec<Op> {
    let named = || upload("k", ID);
    let values = Op::PutBucket { bucket: place("a"), keys_max: 10, bytes_max: 1000, holds: ToHold::Values };
    let begin = Begin { bucket: place("b"), key: "k".into(), time_ms: 10_000, look: look(), bytes: 77 };
    vec![
        values,
        put_blobs(10, 1000, None),
        put_blobs(10, 1000, Some(Access::Open)),
        Op::BeginUpload(begin),
        Op::RenewUpload(named()),
        Op::PutPart { upload: named(), part: part(2, 3, 4) },
        Op::AbortUpload(named()),
        perform(vec![
            only_if(change("k", here("data")), "tag", true),
            change("k", parts(ID, vec![part(1, 2, 3)])),
            change("k", BlobBecomes::Nothing),
        ]),
        Op::Sweep { due: Due::Uploads, steps: 5, from_ms: 9 },
    ]
}

fn outcomes() -> Vec<Outcome> {
    let refused = |reason| Outcome::Refused(Refusal { reason, subject: "x".to_owned(), found: 1, bound: 2 });
    let etag = "tag".to_owned();
    vec![
        Outcome::UploadBegun(ID),
        Outcome::Performed(vec![Effected::Committed {
            version: 4,
            bytes: 5,
            etag,
            modified_ms: 6,
            existed: true,
        }]),
        refused(Reason::NoUpload),
        refused(Reason::Precondition),
        refused(Reason::UploadsFull),
        refused(Reason::BucketDropping),
    ]
}

fn records() -> String {
    let holds = |access| Holds::Blobs { access, key: KEY };
    let bucket = |access| {
        let (keys, bytes, watched, dropping_ms, uploads) = (1, 2, false, 0, 0);
        let (keys_max, bytes_max, holds) = (10, 1000, holds(access));
        Bucket { keys_max, bytes_max, keys, bytes, watched, dropping_ms, holds, uploads }
    };
    let blob = Blob { version: 4, bytes: 5, etag: "tag".into(), modified_ms: 6, look: look(), upload: None };
    let bare = Part { digest: Bytes::new(), ..part(1, 2, 3) };
    let upload = Upload {
        bucket: place("b"),
        key: "k".into(),
        begun_ms: 1,
        time_ms: 10_000,
        until_ms: 10_001,
        look: look(),
    };
    [Access::Signed, Access::Read, Access::Open]
        .map(|access| line("record", "Bucket", &bucket(access).encode()))
        .concat()
        + &line("record", "Bucket", &Bucket { uploads: 3, ..bucket(Access::Signed) }.encode())
        + &line("record", "Blob", &blob.encode())
        + &line("record", "Blob", &Blob { upload: Some(ID), ..blob }.encode())
        + &line("record", "Committed", &Committed { version: 4, parts: vec![bare] }.encode())
        + &line("record", "Upload", &upload.encode())
        + &line("record", "UploadParts", &UploadParts { parts: vec![part(1, 2, 3)] }.encode())
        + &line("record", "Uploads", &Uploads { count: 3 }.encode())
}

fn written() -> String {
    let bench = Bench::new();
    let request = Some(Request { id: RequestId::new(0xb2), since: 6 });
    let asked = ops().into_iter().map(|op| {
        let batch = bench.batch(vec![Asked { request, op: op.clone() }]);
        let bytes = codec::encode(&batch);
        assert_eq!(codec::decode(&bytes).unwrap(), batch);
        line("entry", &name(&op), &bytes)
    });
    let told = outcomes().into_iter().map(|outcome| {
        let (name, reply) = (name(&outcome), Reply::Outcomes(vec![outcome]));
        let bytes = codec::encode_reply(&reply);
        assert_eq!(codec::decode_reply(&bytes).unwrap(), reply);
        line("reply", &name, &bytes)
    });
    asked.chain(told).collect::<String>() + &records()
}

#[test]
fn what_was_written_of_blobs_is_written_again_with_the_same_bytes() {
    for line in BLOBS.lines() {
        let [what, name, hex] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let stored = bytes(hex);
        let again = match (what, name) {
            ("entry", _) => codec::encode(&codec::decode(&stored).unwrap()),
            ("reply", _) => codec::encode_reply(&codec::decode_reply(&stored).unwrap()),
            ("record", "Bucket") => again::<Bucket>(&stored),
            ("record", "Blob") => again::<Blob>(&stored),
            ("record", "Committed") => again::<Committed>(&stored),
            ("record", "Upload") => again::<Upload>(&stored),
            ("record", "UploadParts") => again::<UploadParts>(&stored),
            ("record", "Uploads") => again::<Uploads>(&stored),
            other => panic!("{other:?} is no kind of line"),
        };
        assert_eq!(again, stored, "{what} {name} is written otherwise now");
    }
}

/// Fails when something new is not in the file, or when the same is written in another way.
#[test]
fn the_golden_file_has_all_of_blobs() {
    let written = written();
    assert_eq!(BLOBS, written, "this program would write:\n{written}");
}
