//! Stores of one cluster in this process, over real connections: what blobs hold is repaired, and garbage goes.

mod stores;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
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
    // A blob in its place: what it held goes as well.
    let next = stores.begin().await;
    stores.put(0, (&next, 11, 0), pieces(&data)).await.unwrap();
    stores.commit(&next, 11, 70_000).await;
    soon("what was replaced is gone", || !folder(&stores, 1, &kept).exists()).await;
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
    assert_eq!(fs::read_dir(folder(&stores, 0, &upload)).unwrap().count(), 0, "nothing stays");
    let refused = stores.get(0, (&upload, 11, 0), (0, 0)).await.unwrap_err();
    assert_eq!(refused.code, Code::BlobNotFound);
    let short = Bytes::from_static(b"../../../../etc");
    let refused = stores.put(0, (&short, 11, 0), pieces(&data)).await.unwrap_err();
    assert!(refused.code == Code::InvalidArgument && refused.message.contains("name.upload"), "{refused}");
    stores.end().await;
}
