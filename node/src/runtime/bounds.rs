//! What one instance may have at most, beside what its function was granted.

use crate::values::{KEY_BYTES_MAX, VALUE_BYTES_MAX, WRITES_MAX};

/// Core instances of one instance: the largest of real programs, CPython's, has 14.
pub(super) const INSTANCES_MAX: u32 = 200;
/// Linear memories of one instance: real programs have one, those that carry an adapter two.
pub(super) const MEMORIES_MAX: u32 = 4;
/// Tables of one instance: real programs have one or two.
pub(super) const TABLES_MAX: u32 = 16;

/// Host resources of one instance: streams, requests, timers. Scripting languages use some dozens.
pub(super) const RESOURCES_MAX: usize = 512;
/// Of them, streams and what waits for them that an instance may keep from one call to the next. Libraries open the three
/// standard streams once, and two libraries of one program may each do so. Who keeps more opens them at each call, and would
/// fill the table at the expense of a later caller.
pub(super) const STREAMS_KEPT_MAX: usize = 16;
/// Handles in the component's own tables.
pub(super) const HANDLES_MAX: usize = 16_384;
/// What the engine keeps at once for one instance of 0.3: tasks, and ends of streams and futures. A body takes six; servers that
/// answer one request use some dozens.
pub(super) const CONCURRENT_MAX: usize = 4096;
/// What each body takes of them: a stream and its two ends, and the same for the future of its trailers.
const CONCURRENT_OF_BODY: usize = 6;
/// Bytes that one call of a host function may copy out of a component: a header block, or what a stream takes at once.
/// The host may keep them.
pub(super) const COMPONENT_CALL_BYTES_MAX: usize = 64 << 10;
/// The same where the function may keep something: a value with its key, or as many of them as are set at once.
pub(super) const STATE_CALL_BYTES_MAX: usize = 320 << 10;
/// Host resources of such an instance: fewer, for each may hold more.
pub(super) const STATE_RESOURCES_MAX: usize = 128;
/// Of them, buckets that are open at once, handles to swap values by, blobs and lists of them.
pub(super) const BUCKETS_OPEN_MAX: usize = 100;
/// Keys that one call reads and changes, and messages that it publishes. Each asks another node.
pub(super) const STATE_OPERATIONS_MAX: usize = 1000;
/// Bytes of keys and values that one call is given.
pub(super) const STATE_READ_BYTES_MAX: usize = 64 << 20;
/// Keys of a batch: as many as are changed together.
pub(super) const BATCH_KEYS_MAX: usize = WRITES_MAX;
/// Bytes of values that a batch reads: the host holds all of them at once.
pub(super) const BATCH_READ_BYTES_MAX: usize = 4 << 20;
/// Blobs, and lists of them, that one call reads and writes at once. Each may hold some pieces, or a chunk.
pub(super) const BLOB_STREAMS_MAX: usize = 16;
/// Bytes of a blob that is read into the guest's memory at once: the host holds all of them, as those of a batch.
pub(super) const BLOB_WHOLE_BYTES_MAX: usize = BATCH_READ_BYTES_MAX;
/// Bytes of a blob that are written before it is known where it goes.
pub(super) const BLOB_HELD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a message that is published.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Bytes that one call of a core module's may read or write. The host keeps none of them.
pub(super) const MODULE_CALL_BYTES_MAX: usize = 16 << 20;
/// What a guest may write to a stream at once.
pub(super) const WRITE_BYTES_MAX: usize = 64 << 10;
/// Random bytes that one call of a host function may ask for.
pub(super) const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// In-memory size of the header fields of one message.
pub(super) const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Writes that wait in one body that a guest makes, and bytes of one of them.
pub(super) const BODY_CHUNKS_MAX: usize = 1;
pub(super) const BODY_CHUNK_BYTES: usize = 16 << 10;
/// Of an answer as a stream, what waits to be taken: a frame, and the word that it was the last.
pub(super) const BODY_PIECES_MAX: usize = 2;
/// What the host may keep for one instance beside its `memory`: as much as `memory` is where nobody asks for more.
const HOST_BYTES_MAX: usize = 128 << 20;

/// A body under way: the implementation adds a chunk to those that are asked for. In 0.3 it keeps one, and one waits here.
const BODY_BYTES_MAX: usize = (BODY_CHUNKS_MAX + 1) * BODY_CHUNK_BYTES;
/// A request: its header fields, and method, scheme and authority, of which each is one string of the guest's.
const REQUEST_BYTES_MAX: usize = FIELDS_BYTES_MAX + 3 * COMPONENT_CALL_BYTES_MAX;

const _: () = assert!(STREAMS_KEPT_MAX * 2 <= RESOURCES_MAX, "most of them are for the call");
const _: () = assert!(RESOURCES_MAX * REQUEST_BYTES_MAX <= HOST_BYTES_MAX);
const _: () = assert!(STATE_RESOURCES_MAX * (FIELDS_BYTES_MAX + 3 * STATE_CALL_BYTES_MAX) <= HOST_BYTES_MAX);
const _: () = assert!(BUCKETS_OPEN_MAX < STATE_RESOURCES_MAX && STREAMS_KEPT_MAX * 2 <= STATE_RESOURCES_MAX);
const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX + MESSAGE_BYTES_MAX / 2 <= STATE_CALL_BYTES_MAX);
const _: () = assert!(BLOB_STREAMS_MAX * BLOB_HELD_BYTES_MAX <= HOST_BYTES_MAX);
const _: () = assert!(BLOB_WHOLE_BYTES_MAX <= STATE_READ_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX <= BATCH_READ_BYTES_MAX);
const _: () = assert!(RESOURCES_MAX * (BODY_BYTES_MAX + FIELDS_BYTES_MAX) <= HOST_BYTES_MAX);
const _: () =
    assert!(CONCURRENT_MAX / CONCURRENT_OF_BODY * (BODY_BYTES_MAX + FIELDS_BYTES_MAX) <= HOST_BYTES_MAX);
const _: () =
    assert!(BODY_CHUNK_BYTES <= COMPONENT_CALL_BYTES_MAX && WRITE_BYTES_MAX <= COMPONENT_CALL_BYTES_MAX);
