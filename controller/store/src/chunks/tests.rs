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
    assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 0);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let error = chunks(dir.path(), u64::MAX / 2).write(NAME).await.unwrap_err();
    assert!(matches!(error, ChunkError::Full { .. }), "{error}");
    assert_eq!(Refusal::from(error).code, Code::DiskFull);
}

#[tokio::test]
async fn as_many_are_written_at_once_as_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = chunks(dir.path(), 0);
    let mut writing = Vec::new();
    for run in 0..WRITING_MAX as u64 {
        writing.push(chunks.write(ChunkName { run, ..NAME }).await.unwrap());
    }
    let error = chunks.write(NAME).await.unwrap_err();
    assert_eq!(Refusal::from(error).code, Code::Overloaded);
    writing.pop();
    assert!(chunks.write(NAME).await.is_ok());
}
