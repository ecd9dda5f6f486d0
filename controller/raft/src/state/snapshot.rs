//! Snapshots: a view of a state that is streamed to whoever needs it, and the file in which a received one waits.
//!
//! The stream is a head, every record in key order, and their number, each framed and checksummed. Nothing of it is
//! kept: the sender's state is its snapshot, and so is the receiver's once it is installed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId};
use tokio::sync::mpsc;

use crate::codec::record::{SnapshotItem, Stored as _};
use crate::network::CHUNK_BYTES;
use crate::reader::{RecordsIter, View};
use crate::state_machine::StateMachine;
use crate::types::{LogId, SnapshotMeta};

/// The longest item: a record is far below it, a damaged length most likely above.
const ITEM_BYTES_MAX: u32 = 64 << 20;

/// Chunks that are made ahead of the network.
const CHUNKS_AHEAD: usize = 2;

const KEY: &[u8] = b"snapshot";

/// A state between two applies, of any type.
pub(crate) trait Records: Send + Sync {
    fn records(&self) -> RecordsIter<'_>;
}

impl<S: StateMachine> Records for S {
    fn records(&self) -> RecordsIter<'_> {
        Box::new(StateMachine::records(self).map(Ok))
    }
}

impl Records for View {
    fn records(&self) -> RecordsIter<'_> {
        self.all()
    }
}

/// A snapshot, as openraft hands it about.
#[derive(Clone)]
pub(crate) enum SnapshotData {
    /// Of this member's state: costs nothing.
    View(Arc<dyn Records>),
    /// Received whole from another member.
    Received(Arc<ReceivedFile>),
}

/// A file that is deleted with its last owner.
#[derive(Debug)]
pub(crate) struct ReceivedFile {
    path: PathBuf,
    pub(crate) file: File,
}

impl Drop for ReceivedFile {
    fn drop(&mut self) {
        // If it cannot be removed, the next start does it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Where received snapshots wait.
#[derive(Debug, Clone)]
pub(crate) struct Staging {
    dir: PathBuf,
    cluster: ClusterId,
    group: GroupId,
    /// Makes the files distinct.
    serial: Arc<AtomicU64>,
}

impl Staging {
    pub(crate) fn new(dir: &Path, cluster: ClusterId, group: GroupId) -> Self {
        Self { dir: dir.to_owned(), cluster, group, serial: Arc::default() }
    }

    /// A new file for a snapshot that is received.
    pub(crate) fn create(&self) -> io::Result<ReceivedFile> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("snapshot-{}-{serial}.tmp", self.group));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(ReceivedFile { path, file })
    }

    /// Reads a received file from its head to its end, and checks all of it. Blocks.
    pub(crate) fn check(&self, received: &ReceivedFile) -> io::Result<SnapshotMeta> {
        let (meta, mut records) = self.read(received)?;
        records.try_for_each(|record| record.map(drop))?;
        Ok(meta)
    }

    /// The records of a snapshot, if it is the one announced. Blocks, and so does what it gives.
    pub(crate) fn records<'a>(
        &self,
        snapshot: &'a SnapshotData,
        announced: Option<LogId>,
    ) -> io::Result<RecordsIter<'a>> {
        let received = match snapshot {
            SnapshotData::View(view) => return Ok(view.records()),
            SnapshotData::Received(received) => received,
        };
        let (meta, records) = self.read(received)?;
        if meta.last_log_id != announced {
            return Err(invalid("it is not the one announced"));
        }
        Ok(Box::new(records))
    }

    /// The head of a received file, and its records as they are read.
    fn read<'a>(&self, received: &'a ReceivedFile) -> io::Result<(SnapshotMeta, ReceivedRecords<'a>)> {
        (&received.file).rewind()?;
        let mut input = BufReader::new(&received.file);
        let meta = self.read_head(&mut input)?;
        Ok((meta, ReceivedRecords { input, read: 0, ended: false }))
    }

    fn read_head(&self, input: &mut impl Read) -> io::Result<SnapshotMeta> {
        match read_item(input)? {
            SnapshotItem::Head { cluster, group, meta } if (cluster, group) == (self.cluster, self.group) => {
                Ok(meta)
            }
            SnapshotItem::Head { .. } => Err(invalid("it is of another cluster or group")),
            SnapshotItem::Record { .. } | SnapshotItem::End { .. } => {
                Err(invalid("it does not begin with its head"))
            }
        }
    }
}

/// The records of a received file. The last thing that it gives is an error, unless all of it was there.
struct ReceivedRecords<'a> {
    input: BufReader<&'a File>,
    read: u64,
    ended: bool,
}

impl ReceivedRecords<'_> {
    fn record(&mut self) -> io::Result<Option<(Bytes, Bytes)>> {
        match read_item(&mut self.input)? {
            SnapshotItem::Record { key, value } => {
                self.read += 1;
                Ok(Some((key, value)))
            }
            SnapshotItem::End { records } if records == self.read => match self.input.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(invalid("something follows its end")),
            },
            SnapshotItem::End { .. } | SnapshotItem::Head { .. } => {
                Err(invalid("its records are not complete"))
            }
        }
    }
}

impl Iterator for ReceivedRecords<'_> {
    type Item = io::Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

/// The stream of a view, made on a thread that blocks, a few chunks ahead of who takes them.
pub(crate) fn chunks(
    cluster: ClusterId,
    group: GroupId,
    meta: SnapshotMeta,
    view: Arc<dyn Records>,
) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        // Who takes them may have left; an item that is too long ends the stream, and the receiver misses the rest.
        let made =
            send_items(cluster, group, meta, view.as_ref(), |chunk| sender.blocking_send(chunk).is_ok());
        if let Err(error) = made {
            tracing::error!(%error, "a snapshot was not sent");
        }
    });
    receiver
}

fn send_items(
    cluster: ClusterId,
    group: GroupId,
    meta: SnapshotMeta,
    view: &dyn Records,
    mut send: impl FnMut(Bytes) -> bool,
) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    write_item(&mut chunk, &SnapshotItem::Head { cluster, group, meta })?;
    let mut count = 0;
    for record in view.records() {
        let (key, value) = record?;
        write_item(&mut chunk, &SnapshotItem::Record { key, value })?;
        count += 1;
        while chunk.len() >= CHUNK_BYTES {
            let rest = chunk.split_off(CHUNK_BYTES);
            if !send(Bytes::from(std::mem::replace(&mut chunk, rest))) {
                return Ok(());
            }
        }
    }
    write_item(&mut chunk, &SnapshotItem::End { records: count })?;
    send(Bytes::from(chunk));
    Ok(())
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

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {reason}"))
}
