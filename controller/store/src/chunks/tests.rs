//! Chunks of one group on the disk, without a group.

use coracle_proto::status::{Code, Refusal};

use super::*;
use crate::model::UploadId;

const NAME: ChunkName = ChunkName { upload: UploadId::new(1, 2), run: 3, number: 0 };

fn chunks(dir: &Path, reserve_bytes: u64) -> GroupChunks {
    Chunks::new(dir, ChunkLimits { reserve_bytes, ..ChunkLimits::DEFAULT }).of(GroupId::new(7))
}

#[tokio::test]
async fn a_chunk_lies_where_its_name_says_and_goes_with_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = chunks(dir.path(), 0);
    assert!(chunks.read(NAME, 0, None).await.unwrap().is_none());
    let mut receiving = chunks.write(NAME).await.unwrap();
    receiving.write("some ".into()).await.unwrap();
    receiving.write("data".into()).await.unwrap();
    assert_eq!(receiving.finish(None).await.unwrap(), 9);
    let mut reading = chunks.read(NAME, 5, Some(2)).await.unwrap().unwrap();
    assert_eq!(reading.next().await.unwrap().unwrap(), "da");
    assert!(reading.next().await.unwrap().is_none());
    let file = "store-chunks/7/00000000000000010000000000000002/0000000000000003-0";
    assert!(dir.path().join(file).is_file());
    let all = Chunks::new(dir.path(), ChunkLimits::DEFAULT);
    all.forget(GroupId::new(8)).await;
    assert!(dir.path().join(file).is_file());
    all.forget(GroupId::new(7)).await;
    assert!(!dir.path().join("store-chunks/7").exists(), "nobody finds it");
    // It is unlinked by and by; where that was not done, when the store begins.
    let is_empty = async || {
        while fs::read_dir(dir.path().join(FOLDER)).unwrap().count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_empty()).await.expect("it goes");
    fs::create_dir_all(dir.path().join("store-chunks/.gone-7-1/a")).unwrap();
    all.clear();
    tokio::time::timeout(Duration::from_secs(10), is_empty()).await.expect("what was left goes");
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let error = chunks(dir.path(), u64::MAX / 2).write(NAME).await.unwrap_err();
    assert!(matches!(error, ChunkError::Full { .. }), "{error}");
    assert_eq!(Refusal::from(error).code, Code::DiskFull);
}

/// Of whatever group: each may come to be as large as a chunk may.
#[tokio::test]
async fn what_was_begun_counts_as_if_it_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let all = Chunks::new(dir.path(), ChunkLimits { reserve_bytes: 0, ..ChunkLimits::DEFAULT });
    let (one, other) = (all.of(GroupId::new(7)), all.of(GroupId::new(8)));
    one.write(NAME).await.unwrap().finish(None).await.unwrap();
    let fit = os::free_bytes(dir.path()).unwrap() / CHUNK_BYTES_MAX;
    let begun: Vec<_> = (0..2 * fit).map(|_| one.begun.one_more()).collect();
    assert!(matches!(other.write(NAME).await.unwrap_err(), ChunkError::Full { .. }));
    drop(begun);
    assert!(other.write(NAME).await.is_ok());
}

#[tokio::test]
async fn as_many_are_written_at_once_as_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = chunks(dir.path(), 0);
    let mut impatient = chunks.clone();
    impatient.places.wait_for(Duration::from_millis(1));
    let mut writing = Vec::new();
    for run in 0..places::WRITING_MAX as u64 {
        writing.push(chunks.write(ChunkName { run, ..NAME }).await.unwrap());
    }
    let error = impatient.write(NAME).await.unwrap_err();
    assert_eq!(Refusal::from(error).code, Code::Overloaded, "none was done in time");
    assert!(chunks.write_fetched(NAME).await.is_ok(), "repair does not wait for senders");
    let waits = tokio::spawn({
        let chunks = chunks.clone();
        async move { chunks.write(NAME).await }
    });
    writing.pop();
    assert!(waits.await.unwrap().is_ok());
}
