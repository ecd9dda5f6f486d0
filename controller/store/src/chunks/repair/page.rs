//! Which chunks of some commits, or of some parts of uploads, are not on the disk. Their files are looked at, not read.

use crate::chunks::name::chunks_of;
use crate::chunks::{ChunkError, ChunkName, GroupChunks, file};
use crate::model::{self, UploadId};
use crate::replicas::Replica;

/// Commits that are walked at once: the files of so many are looked at while nothing else is done with the disk.
pub(super) const PAGE: usize = 64;
/// Chunks that are known to be missing at once, which takes some 16 s to fetch: then it is looked what came meanwhile. Of one blob it
/// may be more.
const MISSING_MAX: usize = 256;

/// What is missing of some commits, with the version of each.
pub(super) struct Commits {
    /// The version to go on from; none: that was the last page.
    pub(super) next: Option<u64>,
    /// Behind the last commit.
    pub(super) end: u64,
    pub(super) missing: Vec<(u64, ChunkName, u64)>,
}

/// What is missing of some parts, with their upload.
pub(super) struct Parts {
    /// The upload to go on from, and its page; none: that was the last one.
    pub(super) next: Option<(UploadId, u32)>,
    pub(super) missing: Vec<(UploadId, ChunkName, u64)>,
}

pub(super) fn commits(
    chunks: &GroupChunks,
    replica: &Replica,
    from: u64,
    most: usize,
) -> Result<Commits, ChunkError> {
    let view = replica.state();
    let unreadable = |stop| unreadable(chunks, &stop);
    let commits = model::commits(&view, from, most).map_err(unreadable)?;
    let (is_last, mut end, mut missing) = (commits.len() < most, from, Vec::new());
    for (version, upload) in commits {
        let parts = model::committed(&view, upload).map_err(unreadable)?.unwrap_or_default();
        let all = parts.iter().flat_map(|part| chunks_of(upload, part));
        let lacking = all.filter(|(name, bytes)| !has(chunks, name, *bytes));
        missing.extend(lacking.map(|(name, bytes)| (version, name, bytes)));
        end = version.saturating_add(1);
        if missing.len() >= MISSING_MAX {
            return Ok(Commits { next: Some(end), end, missing });
        }
    }
    Ok(Commits { next: (!is_last).then_some(end), end, missing })
}

/// The first page of parts from one on, where it is of an upload that is wanted.
pub(super) fn parts(
    chunks: &GroupChunks,
    replica: &Replica,
    from: (UploadId, u32),
    only: Option<UploadId>,
) -> Result<Parts, ChunkError> {
    let view = replica.state();
    let found = model::parts_page(&view, from).map_err(|stop| unreadable(chunks, &stop))?;
    let Some(page) = found.filter(|page| only.is_none_or(|only| only == page.upload)) else {
        return Ok(Parts { next: None, missing: Vec::new() });
    };
    let upload = page.upload;
    let all = page.parts.iter().flat_map(|part| chunks_of(upload, part));
    let lacking = all.filter(|(name, bytes)| !has(chunks, name, *bytes));
    let missing = lacking.map(|(name, bytes)| (upload, name, bytes)).collect();
    Ok(Parts { next: Some((upload, page.page.saturating_add(1))), missing })
}

fn has(chunks: &GroupChunks, name: &ChunkName, bytes: u64) -> bool {
    file::has(&name.path(&chunks.folder), bytes)
}

fn unreadable(chunks: &GroupChunks, stop: &coracle_raft::Stop) -> ChunkError {
    ChunkError::Disk { path: chunks.folder.clone(), source: std::io::Error::other(stop.to_string()) }
}
