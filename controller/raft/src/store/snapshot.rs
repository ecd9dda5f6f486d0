//! Snapshot files: a head, every record in key order, and a count, each framed and checksummed.
//!
//! A file is written aside, synced, and renamed over the older one; who has the older one open reads it to
//! its end. There is only ever one.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;

use super::disk;
use crate::codec::record::{SnapshotItem, Stored as _};
use crate::options::Identity;
use crate::types::{LogId, SnapshotMeta};

/// The longest item of a snapshot file: a record is far below it, a damaged length most likely above.
const ITEM_BYTES_MAX: u32 = 64 << 20;

const KEY: &[u8] = b"snapshot";

/// A snapshot on disk, open. One that is being received is deleted unless it is adopted.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) file: File,
    incoming: Option<Incoming>,
}

#[derive(Debug)]
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        // It is gone already when it was adopted; if it cannot be removed, the next start does it.
        let _ = fs::remove_file(&self.0);
    }
}

impl SnapshotFile {
    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// The snapshots of one group. Clones share the folder.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    identity: Identity,
    /// Makes the files being written distinct.
    serial: AtomicU64,
    /// Where the newest one ends; held while it is replaced, so that an older one never wins.
    newest: Mutex<Option<LogId>>,
}

impl Snapshots {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("snapshot")
    }

    pub(crate) fn new(dir: &Path, identity: Identity, newest: Option<LogId>) -> Self {
        let (dir, newest) = (dir.to_owned(), Mutex::new(newest));
        Self(Arc::new(Folder { dir, identity, serial: AtomicU64::new(0), newest }))
    }

    /// The newest snapshot, all of it checked: a follower would refuse a damaged one, and be sent it again.
    pub(crate) async fn current(&self) -> io::Result<Option<(SnapshotMeta, SnapshotFile)>> {
        let _held = self.0.newest.lock().await;
        let folder = Arc::clone(&self.0);
        let open = move || open_current(&folder.dir, &folder.identity);
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
    }

    /// A new file for a snapshot that is written or received.
    pub(crate) fn create(&self) -> io::Result<SnapshotFile> {
        let serial = self.0.serial.fetch_add(1, Ordering::Relaxed);
        let path = self.0.dir.join(format!("snapshot-{serial}.tmp"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(SnapshotFile { file, incoming: Some(Incoming(path)) })
    }

    /// Writes the records of a state. Blocks.
    pub(crate) fn write(
        &self,
        meta: &SnapshotMeta,
        records: &mut dyn Iterator<Item = (Bytes, Bytes)>,
    ) -> io::Result<SnapshotFile> {
        let snapshot = self.create()?;
        let mut out = BufWriter::new(&snapshot.file);
        let Identity { cluster, group, .. } = self.0.identity;
        write_item(&mut out, &SnapshotItem::Head { cluster, group, meta: meta.clone() })?;
        let mut count = 0;
        for (key, value) in records {
            write_item(&mut out, &SnapshotItem::Record { key, value })?;
            count += 1;
        }
        write_item(&mut out, &SnapshotItem::End { records: count })?;
        out.flush()?;
        drop(out);
        Ok(snapshot)
    }

    /// Reads a whole file and checks all of it.
    pub(crate) fn read(
        &self,
        snapshot: &mut SnapshotFile,
    ) -> io::Result<(SnapshotMeta, Vec<(Bytes, Bytes)>)> {
        let mut records = Vec::new();
        let meta = read_all(&mut snapshot.file, &self.0.identity, |key, value| records.push((key, value)))?;
        Ok((meta, records))
    }

    /// Makes a finished file the current snapshot, unless that one is newer or is this one.
    pub(crate) async fn adopt(&self, snapshot: &SnapshotFile, last: Option<LogId>) -> io::Result<()> {
        let mut newest = self.0.newest.lock().await;
        let copy;
        let path = match &snapshot.incoming {
            Some(Incoming(path)) if last >= *newest => path,
            Some(_) => return Ok(()),
            None if last <= *newest => return Ok(()),
            // Another member's current one: openraft's own tests hand it over like this.
            None => {
                copy = self.copy(snapshot)?;
                let Some(Incoming(path)) = &copy.incoming else { return Ok(()) };
                path
            }
        };
        File::open(path)?.sync_all()?;
        disk::replace(path, &Self::path(&self.0.dir))?;
        *newest = last;
        Ok(())
    }

    fn copy(&self, snapshot: &SnapshotFile) -> io::Result<SnapshotFile> {
        let (mut from, mut copy) = (&snapshot.file, self.create()?);
        from.rewind()?;
        io::copy(&mut from, &mut copy.file)?;
        Ok(copy)
    }
}

/// Whether an error of this module means that the file is not what was written.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Opens the current snapshot, after it was read to its end.
pub(crate) fn open_current(
    dir: &Path,
    identity: &Identity,
) -> io::Result<Option<(SnapshotMeta, SnapshotFile)>> {
    let mut file = match File::open(Snapshots::path(dir)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = read_all(&mut file, identity, |_, _| ())?;
    Ok(Some((meta, SnapshotFile { file, incoming: None })))
}

/// Reads a file from its head to its end, checks all of it, and passes each record on.
fn read_all(
    file: &mut File,
    identity: &Identity,
    mut each: impl FnMut(Bytes, Bytes),
) -> io::Result<SnapshotMeta> {
    file.rewind()?;
    let mut input = BufReader::new(file);
    let meta = read_head(&mut input, identity)?;
    let mut read = 0;
    loop {
        match read_item(&mut input)? {
            SnapshotItem::Record { key, value } => each(key, value),
            SnapshotItem::End { records } if records == read => break,
            SnapshotItem::End { .. } | SnapshotItem::Head { .. } => {
                return Err(invalid("its records are not complete"));
            }
        }
        read += 1;
    }
    if input.read(&mut [0])? != 0 {
        return Err(invalid("something follows its end"));
    }
    Ok(meta)
}

fn write_item(out: &mut impl Write, item: &SnapshotItem) -> io::Result<()> {
    let framed = item.seal(KEY);
    let len = u32::try_from(framed.len()).ok().filter(|len| *len <= ITEM_BYTES_MAX);
    let len = len.ok_or_else(|| invalid(&format!("a record of {} bytes is over the limit", framed.len())))?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(&framed)
}

fn read_item(input: &mut impl Read) -> io::Result<SnapshotItem> {
    let mut len = [0; 4];
    input.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > ITEM_BYTES_MAX {
        return Err(invalid(&format!("a record of {len} bytes is over the limit of {ITEM_BYTES_MAX}")));
    }
    let mut framed = vec![0; len as usize];
    input.read_exact(&mut framed)?;
    Ok(SnapshotItem::unseal(KEY, &framed)?)
}

fn read_head(input: &mut impl Read, identity: &Identity) -> io::Result<SnapshotMeta> {
    match read_item(input)? {
        SnapshotItem::Head { cluster, group, meta }
            if (cluster, group) == (identity.cluster, identity.group) =>
        {
            Ok(meta)
        }
        SnapshotItem::Head { .. } => Err(invalid("it is of another cluster or group")),
        SnapshotItem::Record { .. } | SnapshotItem::End { .. } => {
            Err(invalid("it does not begin with its head"))
        }
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {reason}"))
}
