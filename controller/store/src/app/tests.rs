//! Stores of one cluster in this process, over real connections: what blobs hold is repaired, and garbage goes.

mod stores;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_proto::status::Code;

use self::stores::{ChunkPiece, Stores, chunk, pieces, soon};
use crate::model::{CHUNK_BYTES_MAX, UploadId};

/// Of node `at`.
fn folder(stores: &Stores, at: usize, upload: &Bytes) -> PathBuf {
    let id = UploadId::try_from(&upload[..]).unwrap();
    stores.all[at].dir.path().join("store-chunks/1").join(id.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_a_majority_has_comes_to_all_members() {
    let mut stores = Stores::start(3).await;
    let upload = stores.begin().await;
    let data = chunk(7, usize::try_from(CHUNK_BYTES_MAX).unwrap());
    for at in [0, 1] {
        assert_eq!(stores.put(at, (&upload, 11, 0), pieces(&data)).await.unwrap(), CHUNK_BYTES_MAX);
    }
    let rest = chunk(8, 5);
    for at in [1, 2] {
        stores.put(at, (&upload, 11, 1), pieces(&rest)).await.unwrap();
    }
    stores.commit(&upload, 11, CHUNK_BYTES_MAX + 5).await;
    stores.has(2, (&upload, 11, 0), &data).await;
    stores.has(0, (&upload, 11, 1), &rest).await;
    soon("it is counted", || stores.shown(2).repaired == 1 && stores.shown(0).repaired == 1).await;
    assert_eq!((stores.shown(1).repaired, stores.shown(2).damaged), (0, 0));
    // Whoever comes later gets all of it.
    stores.join().await;
    stores.has(3, (&upload, 11, 0), &data).await;
    stores.has(3, (&upload, 11, 1), &rest).await;
    // And gives it away when it goes.
    stores.leave(3).await;
    soon("its chunks are gone", || !stores.all[3].dir.path().join("store-chunks/1").exists()).await;
    stores.end().await;
}

/// Whoever goes may have what nobody else has: it goes when the one that comes has it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_replaced_goes_when_the_new_one_has_all_chunks() {
    let mut stores = Stores::start(3).await;
    let upload = stores.begin().await;
    let data = chunk(7, 100_000);
    for at in 0..3 {
        stores.put(at, (&upload, 11, 0), pieces(&data)).await.unwrap();
    }
    stores.commit(&upload, 11, 100_000).await;
    stores.add().await;
    // Its disk takes no chunks: there is a file where their folder is to be.
    let blocked = stores.all[3].dir.path().join("store-chunks");
    fs::write(&blocked, b"").unwrap();
    // The leader, which is told of it: it hands over, and keeps what it has.
    let goes = stores.leads().unwrap();
    let others: Vec<usize> = (0..4).filter(|at| *at != goes).collect();
    stores.arrange(true, &others, true).await;
    soon("another one leads", || stores.leads().is_some_and(|at| at != goes)).await;
    soon("the new one looks", || stores.shown(3).missing == 1).await;
    let leading = stores.served(stores.leads().unwrap());
    soon("the new one has the whole log", || {
        let followers = leading.replica.status().followers;
        followers.get(&NodeId::new(4)).is_some_and(|it| it.lag == 0)
    })
    .await;
    // As long as several looks of the leader.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stores.voters(), [0, 1, 2], "the new one lacks a chunk");
    assert!(folder(&stores, goes, &upload).exists());
    fs::remove_file(&blocked).unwrap();
    soon("the new one votes", || stores.voters() == others).await;
    assert_eq!(stores.get(3, (&upload, 11, 0), (0, 0)).await.unwrap(), data);
    assert!(stores.shown(3).is_whole());
    stores.arrange(true, &others, false).await;
    soon("its chunks are gone", || !stores.all[goes].dir.path().join("store-chunks/1").exists()).await;
    stores.end().await;
}

/// More than are looked at at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_blobs_are_repaired_as_they_come_and_when_a_member_does() {
    let mut stores = Stores::start(3).await;
    let data = chunk(5, 10);
    for number in 0..70 {
        let key = number.to_string();
        let upload = stores.begin_of(&key).await;
        for at in [0, 1] {
            stores.put(at, (&upload, 11, 0), pieces(&data)).await.unwrap();
        }
        stores.commit_of(&key, &upload, 11, 10).await;
    }
    soon("what came is fetched", || stores.shown(2).repaired == 70).await;
    stores.join().await;
    soon("so is all of it", || stores.shown(3).repaired == 70 && stores.shown(3).is_whole()).await;
    soon("and it votes", || stores.voters() == [0, 1, 2, 3]).await;
    assert_eq!((stores.shown(0).repaired, stores.shown(1).missing), (0, 0));
    stores.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_were_put_are_repaired_and_a_secret_is_in_nobodys_way() {
    let mut stores = Stores::start(3).await;
    stores.put_secret().await;
    let (upload, becoming) = (stores.begin().await, stores.begin().await);
    let data = chunk(5, 70_000);
    for at in [0, 1] {
        stores.put(at, (&upload, 11, 0), pieces(&data)).await.unwrap();
        stores.put(at, (&becoming, 12, 0), pieces(&data)).await.unwrap();
    }
    stores.put_part(&becoming, 12, 70_000).await;
    stores.has(2, (&becoming, 12, 0), &data).await;
    stores.commit(&upload, 11, 70_000).await;
    stores.has(2, (&upload, 11, 0), &data).await;
    soon("all is there", || (0..3).all(|at| stores.shown(at).is_whole())).await;
    // And whoever comes later, also by a walk of all.
    stores.join().await;
    stores.has(3, (&becoming, 12, 0), &data).await;
    stores.has(3, (&upload, 11, 0), &data).await;
    stores.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_and_not_served_and_is_repaired() {
    let stores = Stores::start(3).await;
    let upload = stores.begin().await;
    let data = chunk(9, 300_000);
    for at in 0..3 {
        stores.put(at, (&upload, 11, 0), pieces(&data)).await.unwrap();
    }
    stores.commit(&upload, 11, 300_000).await;
    let file = folder(&stores, 1, &upload).join("000000000000000b-0");
    let mut bytes = fs::read(&file).unwrap();
    bytes[200_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = stores.get(1, (&upload, 11, 0), (0, 0)).await.unwrap_err();
    assert_eq!(refused.code, Code::BlobNotFound, "{refused}");
    stores.has(1, (&upload, 11, 0), &data).await;
    assert_eq!(stores.shown(1).damaged, 1);
    assert_eq!(stores.get(0, (&upload, 11, 0), (299_998, 9)).await.unwrap(), data[299_998..]);
    stores.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_nothing_goes_and_what_is_read_stays() {
    let stores = Stores::start(3).await;
    let (kept, broken) = (stores.begin().await, stores.begin().await);
    let data = chunk(1, 70_000);
    for at in 0..3 {
        for run in [11, 12] {
            stores.put(at, (&kept, run, 0), pieces(&data)).await.unwrap();
        }
        stores.put(at, (&broken, 11, 0), pieces(&data)).await.unwrap();
    }
    // Folders in the place of files are not unlinked, and hold up nothing else.
    for number in 1..6 {
        fs::create_dir(folder(&stores, 0, &kept).join(format!("000000000000000d-{number}"))).unwrap();
    }
    stores.commit(&kept, 11, 70_000).await;
    stores.abort(&broken).await;
    for at in 0..3 {
        soon("the broken upload is gone", || !folder(&stores, at, &broken).exists()).await;
        let other_run = folder(&stores, at, &kept).join("000000000000000c-0");
        soon("the run that nobody names is gone", || !other_run.exists()).await;
        assert_eq!(stores.get(at, (&kept, 11, 0), (0, 0)).await.unwrap(), data);
    }
    let late = stores.put(0, (&broken, 11, 0), pieces(&data)).await.unwrap_err();
    assert_eq!(late.code, Code::UploadNotFound, "{late}");
    // A blob in its place: what it held goes as well, where nobody reads it.
    let read_at = stores.served(0).chunks;
    read_at.note_read_at(
        UploadId::try_from(&kept[..]).unwrap(),
        crate::clock::now() + Duration::from_secs(3600),
    );
    let next = stores.begin().await;
    stores.put(0, (&next, 11, 0), pieces(&data)).await.unwrap();
    stores.commit(&next, 11, 70_000).await;
    soon("what was replaced is gone", || !folder(&stores, 1, &kept).exists()).await;
    assert_eq!(stores.get(0, (&kept, 11, 0), (0, 0)).await.unwrap(), data, "whoever reads it goes on");
    fs::remove_dir_all(folder(&stores, 0, &kept)).unwrap();
    stores.has(1, (&next, 11, 0), &data).await;
    assert_eq!(stores.blob().await, (next, 1, 70_000));
    stores.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_chunk_is_refused_and_leaves_nothing() {
    let stores = Stores::start(1).await;
    let upload = stores.begin().await;
    let data = chunk(1, 70_000);
    let put = async |pieces: Vec<ChunkPiece>| stores.put(0, (&upload, 11, 0), pieces).await.unwrap_err();
    let mut other = pieces(&data);
    other.last_mut().unwrap().digest = vec![0; 32].into();
    let refused = put(other).await;
    assert!(refused.code == Code::InvalidArgument && refused.message.contains("digest"), "{refused}");
    let mut endless = pieces(&data);
    endless.last_mut().unwrap().digest.clear();
    let refused = put(endless).await;
    assert!(refused.message.contains("without a digest"), "{refused}");
    let refused = put(pieces(&chunk(1, usize::try_from(CHUNK_BYTES_MAX).unwrap() + 1))).await;
    assert!(refused.message.contains("at most"), "{refused}");
    let large = vec![ChunkPiece { data: chunk(1, 256 * 1024 + 1), ..ChunkPiece::default() }];
    assert!(put(large).await.message.contains("a piece has"));
    assert!(put(pieces(&chunk(1, 0))).await.message.contains("at least one byte"));
    soon("nothing stays", || fs::read_dir(folder(&stores, 0, &upload)).unwrap().count() == 0).await;
    let refused = stores.get(0, (&upload, 11, 0), (0, 0)).await.unwrap_err();
    assert_eq!(refused.code, Code::BlobNotFound);
    let short = Bytes::from_static(b"../../../../etc");
    let refused = stores.put(0, (&short, 11, 0), pieces(&data)).await.unwrap_err();
    assert!(refused.code == Code::InvalidArgument && refused.message.contains("name.upload"), "{refused}");
    stores.end().await;
}
