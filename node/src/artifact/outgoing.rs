//! An artifact on its way out: read in chunks; what cannot be read is given up.

use std::io::{Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use coracle_proto::id::Digest;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::io::ReaderStream;
use tracing::Instrument as _;

use super::store::blocking;
use super::{ArtifactError, CHUNK_BYTES, OnDisk, Store};

/// Opens an artifact to send it from `offset` on.
///
/// # Errors
/// When it is not here, or not any more.
pub(super) async fn outgoing(
    store: &Arc<Store>,
    digest: Digest,
    offset: u64,
) -> Result<(OnDisk, impl Stream<Item = Result<Bytes, ArtifactError>> + Send + use<>), ArtifactError> {
    let store = Arc::clone(store);
    let opening = Arc::clone(&store);
    let (held, file) = blocking(move || {
        let (held, mut file) = opening.open_file(&digest)?;
        let path = opening.path(&digest);
        file.seek(SeekFrom::Start(offset)).map_err(ArtifactError::io(&path))?;
        Ok((held, file))
    })
    .await?;
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES);
    let chunks = chunks.map(move |data| {
        data.map_err(|error| {
            tokio::spawn(reread(Arc::clone(&store), digest).in_current_span());
            ArtifactError::io(&store.path(&digest))(error)
        })
    });
    Ok((held, chunks))
}

/// After a read that failed: reads all of it once more, and gives it up if that fails as well.
async fn reread(store: Arc<Store>, digest: Digest) {
    if let Err(error) = blocking(move || store.verify(&digest)).await {
        tracing::debug!(%digest, "an artifact could not be sent: {error}");
    }
}
