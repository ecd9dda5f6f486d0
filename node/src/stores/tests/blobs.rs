//! Goal: content goes to all members of its group at once and is kept when a majority says so; whoever fails or lags is left out,
//! and is passed over when it is read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::status::Code;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::asking::World;
use super::fake::Store;
use crate::blobs::{
    At, Blobs as _, CHUNK_BYTES, Commit, Content, Finished, INLINE_BYTES_MAX, Listing, Upload as _, hex,
};
use crate::clock;
use crate::stores::{Begin, READS_MAX};
use crate::values::Bucket;
use crate::worker::tests::until;

const LONG: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(600);
const C: usize = CHUNK_BYTES as usize;

/// Three members, of which the first one leads.
struct Three {
    stores: [Store; 3],
    world: World,
}

impl Three {
    async fn start() -> Self {
        let stores = [Store::start().await, Store::start().await, Store::start().await];
        stores[1].state().follows = true;
        stores[2].state().follows = true;
        stores[0].state().blob_buckets.insert("shop/b".to_owned(), Default::default());
        let world = World::new(&[&stores[0], &stores[1], &stores[2]]);
        Self { stores, world }
    }

    async fn send(&self, data: &[u8]) -> Result<Finished, Code> {
        let mut upload = self.world.stores.upload(&at("k"), IDLE, INLINE_BYTES_MAX);
        for piece in data.chunks(100_000) {
            upload.write(Bytes::copy_from_slice(piece)).await.map_err(|refusal| refusal.code)?;
        }
        upload.finish().await.map_err(|refusal| refusal.code)
    }

    async fn put(&self, data: &[u8]) -> Content {
        let finished = self.send(data).await.unwrap();
        let told = (finished.bytes, finished.etag.as_str());
        assert_eq!(told, (data.len() as u64, hex(&Sha256::digest(data)).as_str()));
        self.commit(finished).await
    }

    async fn commit(&self, Finished { content, bytes, etag }: Finished) -> Content {
        let commit = Commit { content, etag, content_type: String::new(), metadata: [].into() };
        let info = self.world.stores.commit(&at("k"), commit, 3, clock::now() + LONG).await.unwrap();
        assert_eq!((info.bytes, info.content_type.as_str()), (bytes, "application/octet-stream"));
        let blob = self.world.stores.blob(&at("k"), clock::now() + LONG).await.unwrap().unwrap();
        assert_eq!(blob.info, info);
        blob.content
    }

    async fn read(&self, content: &Content, range: std::ops::Range<u64>) -> Result<Vec<u8>, Code> {
        let mut pieces = self.world.stores.read(&at("k").bucket, content, range);
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|refusal| refusal.code)?;
            assert!(!piece.is_empty() && piece.len() <= 256 << 10);
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    fn chunks(&self) -> [usize; 3] {
        std::array::from_fn(|index| self.stores[index].state().kept.chunks.len())
    }

    fn uploads(&self) -> usize {
        self.stores[0].state().blob_buckets["shop/b"].uploads.len()
    }
}

fn at(key: &str) -> At {
    At { bucket: Bucket { namespace: "shop".parse().unwrap(), name: "b".to_owned() }, key: key.to_owned() }
}

/// Bytes of which no two chunks are alike.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[tokio::test]
async fn what_is_small_is_in_the_record_and_the_rest_at_all_members() {
    let three = Three::start().await;
    for bytes in [0, 1, INLINE_BYTES_MAX] {
        let data = content(bytes);
        let kept = three.put(&data).await;
        assert_eq!(kept, Content::Inline(data.clone().into()));
        assert_eq!(three.read(&kept, 0..bytes as u64).await, Ok(data));
    }
    assert_eq!((three.chunks(), three.uploads()), ([0; 3], 0));
    for (bytes, chunks) in [(INLINE_BYTES_MAX + 1, 1), (C, 2), (C + 1, 4), (2 * C + 64 * 1024, 7)] {
        let data = content(bytes);
        let kept = three.put(&data).await;
        until("all members have it", || three.chunks() == [chunks; 3]).await;
        assert!(matches!(&kept, Content::Parts { parts, .. } if parts.len() == 1), "{kept:?}");
        let end = bytes as u64;
        let within = [0..end, 0..1, end - 1..end, end / 2..end / 2 + 3, 5..5];
        for range in within {
            let expected = &data[range.start as usize..range.end as usize];
            assert!(three.read(&kept, range.clone()).await.unwrap() == expected, "{range:?} of {bytes}");
        }
    }
    let (listing, deadline) = (Listing::default(), clock::now() + LONG);
    let page = three.world.stores.blobs(&at("k").bucket, listing, deadline).await.unwrap();
    assert_eq!(page.blobs.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["k"]);
    assert_eq!(three.stores[0].state().blob_hops[0], 3);
    assert_eq!(three.world.stores.delete(&at("k"), 0, deadline).await, Ok(true));
    assert_eq!(three.world.stores.delete(&at("k"), 0, deadline).await, Ok(false));
    assert_eq!(three.world.stores.blob(&at("k"), deadline).await, Ok(None));
}

#[tokio::test]
async fn a_member_that_refuses_or_goes_in_the_middle_is_left_out() {
    for early in [true, false] {
        let three = Three::start().await;
        {
            let kept = &mut three.stores[1].state().kept;
            kept.refuses = early.then_some(Code::DiskFull);
            kept.breaks_after = (!early).then_some(C as u64 + 300_000);
        }
        let data = content(3 * C + 5);
        let kept = three.put(&data).await;
        until("the others have all", || (three.chunks()[0], three.chunks()[2]) == (4, 4)).await;
        assert_eq!(three.chunks()[1], usize::from(!early));
        assert!(three.read(&kept, 0..data.len() as u64).await.unwrap() == data);
    }
}

#[tokio::test]
async fn one_that_takes_nothing_holds_up_the_others_for_a_moment() {
    let three = Three::start().await;
    three.stores[2].state().kept.stalls = true;
    let (data, begun) = (content(4 * C), clock::now());
    three.put(&data).await;
    println!("with one that stalls: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "it was waited for at each chunk");
    until("the others have all", || three.chunks() == [4, 4, 0]).await;
}

/// One that is slow, and never silent for long, is waited for a moment in each chunk, and not with each piece.
#[tokio::test]
async fn one_that_is_slow_does_not_set_the_pace() {
    let three = Three::start().await;
    three.stores[2].state().kept.slow = Duration::from_millis(300);
    let (data, begun) = (content(3 * C), clock::now());
    three.put(&data).await;
    println!("with one that is slow: {:?}", begun.elapsed());
    // At its pace it would be a minute.
    assert!(begun.elapsed() < Duration::from_secs(15), "it set the pace");
    until("the others have all", || three.chunks() == [3, 3, 0]).await;
}

#[tokio::test]
async fn members_without_a_place_are_asked_once_more() {
    let three = Three::start().await;
    for store in &three.stores[1..] {
        store.state().kept.full_for = 1;
    }
    let data = content(70_000);
    let kept = three.put(&data).await;
    until("all have it", || three.chunks() == [1; 3]).await;
    assert!(three.read(&kept, 0..data.len() as u64).await.unwrap() == data);
    for store in &three.stores[1..] {
        store.state().kept.full_for = u32::MAX;
    }
    assert_eq!(three.send(&data).await, Err(Code::Overloaded), "and then it is told");
}

/// They say so when all that their windows take has left for them.
#[tokio::test]
async fn members_that_wait_for_a_place_in_vain_are_asked_once_more() {
    let three = Three::start().await;
    for store in &three.stores[1..] {
        let kept = &mut store.state().kept;
        (kept.stalls, kept.full_for) = (true, 1);
    }
    let data = content(2 << 20);
    let refused = async {
        // All but a few pieces of this wait for them in their streams.
        until("much is on its way", || three.stores[0].state().kept.taken > (1 << 20) + (384 << 10)).await;
        three.stores[1..].iter().for_each(|store| store.state().kept.stalls = false);
    };
    let (kept, ()) = tokio::join!(three.put(&data), refused);
    until("all have it", || three.chunks() == [1; 3]).await;
    assert!(three.read(&kept, 0..data.len() as u64).await.unwrap() == data);
}

#[tokio::test]
async fn so_many_chunks_are_read_at_once_and_no_more() {
    let three = Three::start().await;
    let data = content(3 * C);
    let kept = three.put(&data).await;
    until("all have it", || three.chunks() == [3; 3]).await;
    let places = Arc::clone(&three.world.stores.inner.reads);
    let mut taken = Arc::clone(&places).try_acquire_many_owned(READS_MAX as u32).unwrap();
    assert_eq!(three.read(&kept, 0..1).await, Err(Code::Overloaded));
    // With one place all of it is read, without any that is asked for ahead.
    let last = taken.split(1);
    drop(last);
    assert!(three.read(&kept, 0..data.len() as u64).await.unwrap() == data);
    assert_eq!(places.available_permits(), 1, "it is given back");
    // What cannot be read takes no place of those who write.
    assert!(three.send(&data).await.is_ok());
}

/// What was asked of it ahead is asked of another one too, and the one that reads well meanwhile goes on.
#[tokio::test]
async fn only_the_one_that_fails_is_passed_over() {
    let three = Three::start().await;
    let data = content(4 * C);
    let kept = three.put(&data).await;
    until("all have it", || three.chunks() == [4; 3]).await;
    let mut pieces = three.world.stores.read(&at("k").bucket, &kept, 0..data.len() as u64);
    let mut read = pieces.next().await.unwrap().unwrap().len();
    let asked = || three.stores.iter().filter(|store| store.state().kept.gets > 0).count();
    let first = three.stores.iter().find(|store| store.state().kept.given > 0).unwrap();
    first.state().kept.breaks_after = Some(0);
    while let Some(piece) = pieces.next().await {
        read += piece.unwrap().len();
    }
    assert_eq!((read, asked()), (data.len(), 2), "the third one is asked for nothing");
}

#[tokio::test]
async fn without_a_majority_nothing_is_kept_and_it_is_said_why() {
    let three = Three::start().await;
    for store in &three.stores[1..] {
        store.state().kept.breaks_after = Some(0);
    }
    assert_eq!(three.send(&content(C + 1)).await, Err(Code::NoQuorum));
    until("the upload is given up", || three.uploads() == 0).await;
    for store in &three.stores[1..] {
        store.state().kept.breaks_after = None;
        store.state().kept.refuses = Some(Code::DiskFull);
    }
    assert_eq!(three.send(&content(C + 1)).await, Err(Code::DiskFull));
    let read = three.world.stores.blob(&at("k"), clock::now() + LONG).await;
    assert_eq!(read, Ok(None));
}

/// Twenty at once may have 64 MiB at a gateway: beside this, their connections have 400 KiB each.
#[tokio::test]
async fn who_sends_waits_for_those_who_take() {
    for count in [1, 20] {
        let three = Three::start().await;
        for store in &three.stores {
            store.state().kept.stalls = true;
        }
        let piece = Bytes::from(content(64 << 10));
        let mut uploads: Vec<_> =
            (0..count).map(|_| (three.world.stores.upload(&at("k"), IDLE, INLINE_BYTES_MAX), 0)).collect();
        let sending = uploads.iter_mut().map(async |(upload, sent)| {
            loop {
                upload.write(piece.clone()).await.unwrap();
                *sent += piece.len();
            }
        });
        let sending = futures::future::join_all(sending);
        assert!(tokio::time::timeout(Duration::from_secs(2), sending).await.is_err());
        let all: usize = uploads.iter().map(|(_, sent)| sent).sum();
        println!("{count} at once: {all} bytes");
        // Half a mebibyte waits for each, the same for all; the rest is in windows and sockets.
        assert!(
            uploads.iter().all(|(_, sent)| (512 << 10..3 << 20).contains(sent)),
            "{all} bytes were taken"
        );
        assert!(all < 40 << 20, "{all} bytes were taken");
        for store in &three.stores {
            store.state().kept.stalls = false;
        }
        // What was dropped half-way leaves nothing.
        drop(uploads);
        until("the uploads are given up", || three.uploads() == 0).await;
    }
}

#[tokio::test]
async fn what_is_sent_with_little_inline_is_in_chunks_and_can_be_given_up() {
    let three = Three::start().await;
    let mut upload = three.world.stores.upload(&at("k"), IDLE, 10);
    upload.write(Bytes::from_static(b"01234567890")).await.unwrap();
    let finished = upload.finish().await.unwrap();
    let id = finished.content.upload().unwrap();
    assert_eq!(three.uploads(), 1);
    three.world.stores.give_up(&at("k"), id);
    until("it is given up", || three.uploads() == 0).await;
    let mut upload = three.world.stores.upload(&at("k"), IDLE, 10);
    upload.write(Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(upload.finish().await.unwrap().content, Content::Inline("0123456789".into()));
    assert_eq!(three.uploads(), 0);
    let nothing = three.world.stores.upload(&at("k"), IDLE, 0).finish().await.unwrap().content;
    assert_eq!(nothing, Content::Inline(Bytes::new()));
}

#[tokio::test]
async fn what_came_before_the_upload_was_opened_is_kept_with_it() {
    let three = Three::start().await;
    for (before, after) in [("x", ""), ("x", "yz"), ("", "yz")] {
        let mut sending = three.world.stores.blobs_for_functions().send(&at("k"), Begin::default());
        sending.push(before.as_bytes()).await.unwrap();
        sending.open().await.unwrap();
        sending.push(after.as_bytes()).await.unwrap();
        let finished = Box::new(sending).finish().await.unwrap();
        let kept = three.commit(finished).await;
        assert!(matches!(&kept, Content::Parts { parts, .. } if parts.len() == 1), "{kept:?}");
        let data = format!("{before}{after}").into_bytes();
        assert_eq!(three.read(&kept, 0..data.len() as u64).await, Ok(data));
    }
    let mut nothing = three.world.stores.blobs_for_functions().send(&at("k"), Begin::default());
    nothing.open().await.unwrap();
    assert_eq!(nothing.end().await.unwrap().0, Content::Inline(Bytes::new()));
    until("its upload is given up", || three.uploads() == 0).await;
}

#[tokio::test]
async fn what_a_blob_is_is_told_without_its_content() {
    let three = Three::start().await;
    let info = async || three.world.stores.info(&at("k"), clock::now() + LONG).await.unwrap();
    assert_eq!(info().await, None);
    three.put(b"data").await;
    assert_eq!(info().await.map(|info| info.bytes), Some(4));
}

#[tokio::test]
async fn an_upload_is_renewed_while_bytes_come() {
    let three = Three::start().await;
    let mut upload = three.world.stores.upload(&at("k"), Duration::from_millis(90), INLINE_BYTES_MAX);
    let renewed = || three.stores[0].state().blob_buckets["shop/b"].renewed;
    let begun = clock::now();
    while renewed() < 2 {
        assert!(begun.elapsed() < LONG);
        upload.write(Bytes::from(vec![b'x'; 1 + INLINE_BYTES_MAX / 64])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await; // a bounded poll
    }
    upload.finish().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(60), "at a third of its time");
}

#[tokio::test]
async fn a_member_that_fails_a_reader_is_passed_over_from_the_next_byte_on() {
    let three = Three::start().await;
    let data = content(3 * C + 7);
    let kept = three.put(&data).await;
    until("all have it", || three.chunks() == [4; 3]).await;
    // Two of them fail in the middle of a chunk, whoever is asked first.
    for store in &three.stores[..2] {
        let state = &mut store.state().kept;
        state.breaks_after = Some(state.taken + 500_000);
    }
    assert!(three.read(&kept, 0..data.len() as u64).await.unwrap() == data);
    // One has lost its chunks, the other ones are still broken.
    three.stores[2].state().kept.chunks.retain(|key, _| key.2 != 1);
    let read = three.read(&kept, 0..data.len() as u64).await;
    assert_eq!(read.map(|data| data.len()), Err(Code::NoQuorum));
    three.stores[0].state().kept.breaks_after = None;
    assert!(three.read(&kept, 0..data.len() as u64).await.unwrap() == data);
}

#[tokio::test]
async fn who_reads_slowly_is_sent_little_ahead() {
    let three = Three::start().await;
    let data = content(6 * C);
    let kept = three.put(&data).await;
    let mut pieces = three.world.stores.read(&at("k").bucket, &kept, 0..data.len() as u64);
    let mut read = pieces.next().await.unwrap().unwrap().len() as u64;
    let given = || three.stores.iter().map(|store| store.state().kept.given).sum::<u64>();
    let mut before = 0;
    while before != given() {
        before = given();
        tokio::time::sleep(Duration::from_millis(200)).await; // a bounded poll
    }
    // Two streams are open, each with its window and what its sender has beyond that.
    assert!(before < 4 << 20, "{before} bytes were sent");
    while let Some(piece) = pieces.next().await {
        read += piece.unwrap().len() as u64;
    }
    assert_eq!((read, given()), (data.len() as u64, data.len() as u64), "each byte once");
}
