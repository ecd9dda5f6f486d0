//! Goal: what is put arrives once and whole, what is got is whole or not there, and both go on where they broke off.

use std::path::Path;

use clap::Parser;
use coracle_proto::id::FunctionId;
use coracle_proto::pb;

use super::door::Door;
use super::put::{Look, Source};
use super::sink::Whither;
use super::*;
use crate::client::fake::{Fake, FakeStore, Kept, Script};
use crate::client::now_ms;
use crate::exit::Exit;
use crate::http::fake::FakeGateway;
use crate::output::Talk;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A cluster with a gateway, and a folder.
struct World {
    store: FakeStore,
    gateway: FakeGateway,
    node: Fake,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(kept: Kept) -> Self {
        let store = FakeStore::start(kept).await;
        let gateway = FakeGateway::start(store.clone()).await;
        let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
        Self { store, gateway, node, folder: tempfile::tempdir().unwrap() }
    }

    async fn events(&self) -> Events {
        Events::of(self.node.client().await).unwrap()
    }

    async fn door(&self, key: &str) -> Door {
        let gateways = vec![self.gateway.address.clone()];
        Door::new(self.events().await, gateways, &uploads(), key, Talk::new(true, true))
    }

    async fn source(&self, data: &[u8]) -> Source {
        let path = self.folder.path().join("source");
        std::fs::write(&path, data).unwrap();
        Source::open(&path).await.unwrap()
    }

    fn log(&self) -> Vec<String> {
        self.store.with(|kept| std::mem::take(&mut kept.log))
    }

    fn requests(&self) -> usize {
        self.gateway.with(|front| std::mem::take(&mut front.seen).len())
    }
}

fn to(file: &Path) -> Whither {
    Whither::File(file.to_owned())
}

fn uploads() -> FunctionId {
    "uploads".parse().unwrap()
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn verbs_take_what_they_need() {
    let parse = |line: &str| Line::try_parse_from(["blob"].into_iter().chain(line.split(' ')));
    for good in [
        "create shop/uploads --access read --size 1TiB",
        "put uploads a/b.jpg photo.jpg --meta by=Ada --content-type image/jpeg --if-none-match --resume",
        "get uploads a/b.jpg",
        "get uploads a/b.jpg - --range -100",
        "get uploads a/b.jpg part --range 0-99",
        "put uploads a f --if-match \"abc\"",
        "list uploads 2026/ --limit 10",
        "delete uploads --prefix 2026/",
        "delete uploads a --if-match abc",
        "presign uploads a --method PUT --expires 1h",
        "presign uploads",
        "watch uploads --function thumb --on created --suffix .jpg --batch 10 --reply done",
        "abort uploads a 00ff",
    ] {
        assert!(parse(good).is_ok(), "{good}: {}", parse(good).unwrap_err());
    }
    for bad in [
        "create uploads --access all",
        "put uploads",
        "put uploads a f --meta By=x",
        "put uploads a f --meta by=Jürgen",
        "get uploads a f --range 9-1",
        "get uploads a f --range 0-9 --resume",
        "list uploads --limit 0",
        "put uploads a f --content-type png",
        "put uploads a f --if-match x --if-none-match",
        "delete uploads",
        "delete uploads a --prefix b",
        "presign uploads a --method POST",
        "watch uploads --function thumb --on set",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert!(Line::try_parse_from(["blob", "info", "uploads", ""]).is_err());
    let said = |line: &str| parse(line).unwrap_err().to_string();
    assert!(said("put uploads a f --meta by=Jürgen").contains("'Jürgen': a value goes in a header"));
    let twice = Look { meta: ["1", "2"].map(|it| ("a".to_owned(), it.to_owned())).into(), ..Look::default() };
    assert!(twice.check().unwrap_err().message.contains("'a' stands twice"));
}

#[tokio::test]
async fn what_is_small_goes_with_its_commit_and_is_done_once() {
    let world = World::new(Kept { lost_answers: 2, ..Kept::default() }).await;
    let mut door = world.door("cat.jpg").await;
    let said = Look { guess: "image/jpeg", ..Look::default() };
    let data = bytes(64 << 10);
    let done = put::put(&mut door, world.source(&data).await, &said, false).await.unwrap();
    assert_eq!((world.log(), world.requests()), (vec!["commit cat.jpg".to_owned()], 0));
    let (info, _) = world.store.with(|kept| kept.blobs["cat.jpg"].clone());
    assert_eq!((info.etag, info.bytes, info.content_type.as_str()), (done.etag, 65_536, "image/jpeg"));
}

#[tokio::test]
async fn of_one_part_it_goes_again_where_a_gateway_is_busy_and_has_the_digest_of_its_content() {
    let world = World::new(Kept::default()).await;
    world.gateway.with(|front| front.busy = 2);
    let mut door = world.door("cat.jpg").await;
    let said = Look { content_type: Some("image/jpeg".to_owned()), ..Look::default() };
    let data = bytes(100_000);
    let done = put::put(&mut door, world.source(&data).await, &said, false).await.unwrap();
    assert_eq!(world.requests(), 3);
    let (info, _) = world.store.with(|kept| kept.blobs["cat.jpg"].clone());
    assert_eq!(
        (info.etag, info.bytes, info.content_type.as_str()),
        (done.etag.clone(), 100_000, "image/jpeg")
    );
    assert_eq!(done.etag, link::hex(&etag::digest(&data)));
    world.gateway.with(|front| front.busy = 9);
    let failure = put::put(&mut door, world.source(&data).await, &said, false).await.unwrap_err();
    assert!(failure.message.contains("part 1 of 'cat.jpg': tried 5 times"), "{failure}");
}

#[tokio::test]
async fn who_did_not_put_it_is_told_so_though_it_has_the_same_content() {
    let said = Look { if_none_match: true, ..Look::default() };
    for size in [10, 100_000] {
        let data = bytes(size);
        // Whoever has lost an answer has won all the same.
        let world = World::new(Kept { lost_answers: 1, ..Kept::default() }).await;
        let (mut one, mut two) = (world.door("lock").await, world.door("lock").await);
        put::put(&mut one, world.source(&data).await, &said, false).await.unwrap();
        // Whoever found nobody at first has lost, though what is there has its ETag.
        world.store.with(|kept| {
            let nobody = coracle_proto::status::Refusal::new(Code::NoQuorum, "no majority");
            kept.refusals.push_back(nobody.into());
        });
        let failure = put::put(&mut two, world.source(&data).await, &said, false).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict, "{failure}");
        assert!(world.store.with(|kept| kept.uploads.is_empty()), "nobody would go on with it");
    }
}

#[tokio::test]
async fn what_is_large_goes_in_parts_and_what_is_there_is_not_sent_again() {
    let world = World::new(Kept { lost_answers: 1, ..Kept::default() }).await;
    let data = bytes(2500);
    let said = Look::default();
    let source = world.source(&data).await.in_parts_of(1000);
    let mut door = world.door("a").await;
    let done = put::put(&mut door, source, &said, false).await.unwrap();
    assert_eq!((world.log(), world.requests()), (vec!["begin a".to_owned(), "commit a".to_owned()], 3));
    let expected = data.chunks(1000).map(etag::digest).collect::<Vec<_>>();
    assert_eq!(done.etag, etag::of_parts(&expected));

    // One part of an upload is there, and one that was changed since.
    let part = |number: u32, data: &[u8]| pb::BlobPart {
        number,
        run: 1,
        bytes: data.len() as u64,
        digest: etag::digest(data).to_vec().into(),
    };
    let open = |id: u8, key: &str, begun_ms| pb::BlobUpload {
        id: vec![id; 16].into(),
        bucket: "uploads".to_owned(),
        key: key.to_owned(),
        begun_ms,
        until_ms: now_ms() + 24 * 3_600_000,
        content_type: "image/x".to_owned(),
        parts: vec![part(1, &data[..1000]), part(2, b"other")],
        ..pb::BlobUpload::default()
    };
    // Somebody's that just comes in at once.
    let at_once = pb::BlobUpload { until_ms: now_ms() + 600_000, ..open(4, "b", 9) };
    let uploads = vec![open(1, "b", 5), open(2, "b", 6), open(3, "c", 7), at_once];
    world.store.with(|kept| kept.uploads = uploads);
    let source = world.source(&data).await.in_parts_of(1000);
    let mut door = world.door("b").await;
    let guessed = Look { guess: "text/plain", ..Look::default() };
    put::put(&mut door, source, &guessed, true).await.unwrap();
    assert_eq!((world.log(), world.requests()), (vec!["commit b".to_owned()], 2), "the newest one goes on");
    let (left, kind) = world.store.with(|kept| {
        let left: Vec<_> = kept.uploads.iter().map(|it| it.id[0]).collect();
        (left, kept.blobs["b"].0.content_type.clone())
    });
    assert_eq!((left.as_slice(), kind.as_str()), (&[1, 3, 4][..], "image/x"), "a guess is not said");
}

#[tokio::test]
async fn an_upload_that_fails_says_how_it_goes_on() {
    let world = World::new(Kept::default()).await;
    world.gateway.with(|front| front.busy = 5);
    let source = world.source(&bytes(2500)).await.in_parts_of(1000);
    let failure = put::put(&mut world.door("a").await, source, &Look::default(), false).await.unwrap_err();
    for said in ["part 1 of 'a'", "--resume", "coracle blob abort uploads a"] {
        assert!(failure.message.contains(said), "no '{said}' in {failure}");
    }
    assert_eq!(world.store.with(|kept| kept.uploads.len()), 1);
    // What has ended is not gone on with, and what never fits is not kept.
    let upload = world.store.with(|kept| kept.uploads[0].clone());
    let mut door = world.door("a").await;
    for (exit, left) in [(Exit::NotFound, 1), (Exit::Usage, 0)] {
        let failure = parts::given_up(&mut door, &upload, true, Failure::new(exit, "no")).await;
        let uploads = world.store.with(|kept| kept.uploads.len());
        assert_eq!((failure.message.as_str(), uploads), ("no", left), "{exit:?}");
    }
}

/// A blob that is there.
fn there(world: &World, key: &str, data: &[u8], sizes: &[usize]) {
    let mut at = 0;
    let mut digests = Vec::new();
    let mut parts = Vec::new();
    for size in sizes {
        digests.push(etag::digest(&data[at..at + size]));
        parts.push(pb::BlobPart { bytes: *size as u64, ..pb::BlobPart::default() });
        at += size;
    }
    let etag = if sizes.len() > 1 { etag::of_parts(&digests) } else { link::hex(&etag::digest(data)) };
    let (key, bytes) = (key.to_owned(), data.len() as u64);
    let info = pb::BlobInfo { key: key.clone(), bytes, etag, ..pb::BlobInfo::default() };
    world.gateway.with(|front| front.blobs.insert(link::path(&uploads(), &key), data.to_vec()));
    world.store.with(|kept| kept.blobs.insert(key, (info, parts)));
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_did() {
    let world = World::new(Kept::default()).await;
    let (data, file) = (bytes(50_000), world.folder.path().join("got"));
    there(&world, "a", &data, &[30_000, 20_000]);
    world.gateway.with(|front| front.cuts = vec![25_000, 10_000]);
    let got = get::get(&mut world.door("a").await, &to(&file), false, None).await.unwrap();
    assert_eq!((got, std::fs::read(&file).unwrap()), (50_000, data.clone()));
    let seen = world.gateway.with(|front| std::mem::take(&mut front.seen));
    let ranges: Vec<_> = seen.iter().map(|(_, range, _)| range.as_str()).collect();
    assert_eq!(ranges, ["", "bytes=10000-", "bytes=35000-"]);
    assert!(seen.iter().all(|(_, _, condition)| condition.ends_with("-2\"")), "{seen:?}");
    assert_eq!(std::fs::read_dir(world.folder.path()).unwrap().count(), 1, "nothing stands beside it");
}

#[tokio::test]
async fn what_breaks_off_for_good_says_how_it_goes_on_and_what_was_replaced_is_no_beginning() {
    let world = World::new(Kept::default()).await;
    let (data, file) = (bytes(5000), world.folder.path().join("got"));
    there(&world, "a", &data, &[5000]);
    world.gateway.with(|front| front.cuts = vec![0, 0, 0, 0, 0, 1000]);
    let failure = get::get(&mut world.door("a").await, &to(&file), false, None).await.unwrap_err();
    assert!(failure.message.contains(".part has 1000 B of 4.8 KiB: --resume goes on"), "{failure}");
    let kept = world.folder.path().join(format!("got.{}.part", &link::hex(&etag::digest(&data))[..8]));
    assert_eq!(std::fs::read(&kept).unwrap(), data[..1000]);
    // The blob is another one by now: nothing of it is there.
    let other = bytes(6000);
    there(&world, "a", &other, &[6000]);
    let _ = world.requests();
    get::get(&mut world.door("a").await, &to(&file), true, None).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), other);
    assert_eq!(world.gateway.with(|front| front.seen[0].1.clone()), "", "from its beginning");
}

#[tokio::test]
async fn of_a_range_no_more_than_that_is_asked_for() {
    let world = World::new(Kept::default()).await;
    let (data, file) = (bytes(5000), world.folder.path().join("got"));
    there(&world, "a", &data, &[5000]);
    world.gateway.with(|front| front.cuts = vec![10]);
    for (range, expected) in [("100-199", &data[100..200]), ("-10", &data[4990..]), ("4000-", &data[4000..])]
    {
        let range = Some(range.parse().unwrap());
        let got = get::get(&mut world.door("a").await, &to(&file), false, range).await.unwrap();
        assert_eq!((got, std::fs::read(&file).unwrap().as_slice()), (expected.len() as u64, expected));
    }
    let seen = world.gateway.with(|front| std::mem::take(&mut front.seen));
    let ranges: Vec<_> = seen.iter().map(|(_, range, _)| range.as_str()).collect();
    assert_eq!(ranges, ["bytes=100-199", "bytes=110-199", "bytes=4990-", "bytes=4000-"]);
    let failure =
        get::get(&mut world.door("a").await, &to(&file), false, Some("5000-".parse().unwrap())).await;
    assert_eq!(failure.unwrap_err().exit, Exit::Usage);
}

#[tokio::test]
async fn a_file_is_there_whole_or_not_at_all() {
    let world = World::new(Kept::default()).await;
    let (data, file) = (bytes(5000), world.folder.path().join("got"));
    let part = sink::part_of(&file, &link::hex(&etag::digest(&data)));
    there(&world, "a", &data, &[5000]);
    // What was there is of the same blob.
    std::fs::write(&part, &data[..1234]).unwrap();
    get::get(&mut world.door("a").await, &to(&file), true, None).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), data);
    assert_eq!(world.gateway.with(|front| front.seen[0].1.clone()), "bytes=1234-");
    // What was there is not what it was.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&part, b"something else").unwrap();
    let failure = get::get(&mut world.door("a").await, &to(&file), true, None).await.unwrap_err();
    assert!(failure.message.contains("digest-mismatch"), "{failure}");
    assert!(!file.exists() && !part.exists(), "and it is not gone on from again");
    std::fs::write(&part, bytes(5001)).unwrap();
    // More than the blob has.
    let longer = get::get(&mut world.door("a").await, &to(&file), true, None).await.unwrap_err();
    assert_eq!(longer.exit, Exit::Conflict);
    let missing = get::get(&mut world.door("b").await, &to(Path::new("x")), false, None).await.unwrap_err();
    assert!(missing.exit == Exit::NotFound && missing.message.contains("no blob 'b'"), "{missing}");
    let empty = world.folder.path().join("empty");
    there(&world, "empty", b"", &[0]);
    get::get(&mut world.door("empty").await, &to(&empty), false, None).await.unwrap();
    assert_eq!(std::fs::read(empty).unwrap(), b"");
}

#[tokio::test]
async fn blobs_are_listed_by_pages_and_deleted_once() {
    let world = World::new(Kept::default()).await;
    for key in ["a", "b/1", "b/2", "b/3", "c"] {
        there(&world, key, b"x", &[1]);
    }
    let mut events = world.events().await;
    let keys = |all: Vec<pb::BlobInfo>| all.into_iter().map(|it| it.key).collect::<Vec<_>>();
    assert_eq!(keys(keys::all(&mut events, &uploads(), "", usize::MAX).await.unwrap()).len(), 5);
    assert_eq!(
        keys(keys::all(&mut events, &uploads(), "b/", usize::MAX).await.unwrap()),
        ["b/1", "b/2", "b/3"]
    );
    assert_eq!(keys(keys::all(&mut events, &uploads(), "", 3).await.unwrap()), ["a", "b/1", "b/2"]);
    assert!(keys::delete_one(&mut events, &uploads(), "a", "").await.unwrap());
    assert!(!keys::delete_one(&mut events, &uploads(), "a", "").await.unwrap());
}

#[tokio::test]
async fn many_are_deleted_as_they_were_listed_and_what_is_done_is_told() {
    let world = World::new(Kept::default()).await;
    for key in ["a", "b/1", "b/2", "b/3"] {
        there(&world, key, b"x", &[1]);
    }
    let (mut events, progress) = (world.events().await, Talk::new(true, true).progress(None));
    // The second of them is another one when it is its turn.
    let changed = coracle_proto::status::Refusal::new(Code::PreconditionFailed, "another one");
    world.store.with(|kept| kept.refusals.push_back(changed.into()));
    let gone = keys::clear(&mut events, &uploads(), "b/", &progress).await.unwrap();
    assert_eq!(gone, keys::Gone { deleted: 2, changed: 1 });
    let left: Vec<_> = world.store.with(|kept| kept.blobs.keys().cloned().collect());
    assert_eq!(left, ["a", "b/1"]);
}
