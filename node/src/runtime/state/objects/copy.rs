//! Copies of blobs: what they hold is read and written, by the node that runs the call.

use std::sync::Arc;

use futures::TryStreamExt as _;

use super::sent::Sent;
use super::{at, check_holds, found};
use crate::blobs::{Blob, INLINE_BYTES_MAX};
use crate::runtime::state::keeper::{View, deadline};
use crate::runtime::state::operation::Operation;
use crate::runtime::state::trouble::Trouble;

/// A bucket of the function's grants, and a blob in it.
pub(in crate::runtime) type Object = (String, String);

impl View<'_> {
    /// Copies a blob, with what is told of it. Where it is moved it is deleted where it was, when the copy is there.
    pub(in crate::runtime) async fn copy(
        &mut self,
        operation: Operation,
        (from, from_key): Object,
        (to, to_key): Object,
    ) -> Result<(), Trouble> {
        let task = self.keeper.task(operation, 1)?;
        let (hops, idle) = (self.keeper.call()?.next_hops(), self.idle()?);
        let (source, target) = (self.granted(&from), self.granted(&to));
        let subject = target.as_ref().ok().map(|target| target.bucket.name.clone());
        let copying = async {
            let (source, target, _open) = (source?, target?, self.keeper.stream()?);
            let moves = operation == Operation::MoveObject;
            target.check_writes()?;
            if moves {
                source.check_writes()?;
            }
            let (blobs, from, to) =
                (self.keeper.blobs()?, at(&source, from_key.clone())?, at(&target, to_key)?);
            // What is read of the source is asked there.
            if source.bucket != target.bucket {
                check_holds(&*self.keeper.state(), &target.bucket).await?;
            }
            let Blob { info, content } = found(&*blobs, &source, from_key).await?;
            if from == to {
                return Ok(());
            }
            let mut pieces = blobs.read(&source.bucket, &content, 0..info.bytes);
            let mut upload = blobs.upload(&to, idle, INLINE_BYTES_MAX);
            let account = &self.keeper.call()?.account;
            while let Some(piece) = pieces.try_next().await? {
                account.read_blob(piece.len());
                account.wrote_blob(piece.len());
                upload.write(piece).await?;
            }
            let sent = Sent::of(Arc::clone(&blobs), to, upload).await?;
            sent.commit((info.content_type, info.metadata), hops).await?;
            if moves {
                blobs.delete(&from, hops, deadline()).await?;
            }
            Ok(())
        };
        task.run(subject.as_deref(), copying).await
    }
}
