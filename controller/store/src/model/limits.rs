//! Every bound of the model, with its reason. They belong to the format: what is refused on one replica is refused on all.

/// Operations in an entry: as many as gather while two entries are on their way at 100,000 a second.
pub const BATCH_OPS_MAX: usize = 512;
/// Bytes of an entry: it is copied to each replica in one message, and a slow disk syncs it in a few milliseconds.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Records that the sweeps, claims and purges of one entry may go through together: some milliseconds of work, for
/// which everybody in the group waits.
pub const BATCH_STEPS_MAX: usize = 4096;
/// Those of one operation, so that a sweep leaves room for others of its entry.
pub const OP_STEPS_MAX: usize = 256;
/// Effects that are done all or not at all: what one call of a function may have buffered, and the event that it answers.
pub const EFFECTS_MAX: usize = PUBLISHED_MAX + 1;
/// Messages that are published at once.
pub const PUBLISHED_MAX: usize = 256;
/// Bytes of a value; what is larger is a blob.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a value's key.
pub const KEY_BYTES_MAX: usize = 1024;
/// Values that one page of a list has, and records that are looked at for it.
pub const PAGE_MAX: usize = 1000;
/// Outcomes that are remembered for requests that come again: 100 MB at most, minutes of a busy group.
pub const REMEMBERED_MAX: u64 = 100_000;
/// Bytes of a message's data; what is larger is a chunk file that it names.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a message's source, id and group, each of which is part of a key.
pub const TEXT_BYTES_MAX: usize = 256;
/// Attributes of a message: a CloudEvent has nine of its own.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of all attributes of a message, which become headers of a call.
pub const ATTRIBUTE_BYTES_MAX: usize = 4 * 1024;
/// Headers of a request or an answer that is kept: what the gateway lets in.
pub const HEADERS_MAX: usize = 128;
/// Bytes of all headers of a request, names and values.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a request's URI, and of its route.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Bytes of what tells a request from another one of the same id: a hash of 256 bits.
pub const FINGERPRINT_BYTES_MAX: usize = 32;
/// Bytes that are kept of an error, for people.
pub const ERROR_BYTES_MAX: usize = 1024;
/// Bytes of the body of an answer that is kept.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of its headers.
pub const ANSWER_HEADER_BYTES_MAX: usize = 8 * 1024;
/// Bytes of all answers that a queue keeps, their headers among them: above it bodies are not kept.
pub const ANSWERS_BYTES_MAX: u64 = 256 << 20;
/// Reports of attempts that an invocation's record has, the last ones: 11 KB at most.
pub const REPORTS_MAX: usize = 8;
/// How long an invocation's record is kept after its end.
pub const RECORD_MS: u64 = DAY_MS;
/// Records of what has ended that a queue keeps: above it the oldest go sooner, and are counted. 100 MB of usual ones.
pub const RECORDS_MAX: u64 = 100_000;
/// How long a message may be delayed: 15 days.
pub const DELAY_MS_MAX: u64 = 15 * DAY_MS;
/// How long a message that the platform could not run waits for its next chance: a node or a replica comes meanwhile.
pub const OFFER_MS_MAX: u64 = 5 * 60 * 1000;
/// How long a claim may last without being extended, whatever a clock says.
pub const CLAIM_MS_MAX: u64 = DAY_MS;
/// How long the id of a message is remembered.
pub const DEDUP_MS: u64 = DAY_MS;
/// Ids that a queue remembers: above it the oldest go sooner, and are counted. 100 MB of keys.
pub const DEDUPS_MAX: u64 = 1_000_000;
/// Queues and topics of a group, other than the queues of functions: ten times as many as anybody was seen to have, and listed in
/// some tenths of a second.
pub const QUEUES_MAX: u64 = 10_000;
/// Buckets of a group, as its queues.
pub const BUCKETS_MAX: u64 = 10_000;
/// Keys that a bucket may ask for: 50 GB of records of small ones.
pub const BUCKET_KEYS_MAX: u64 = 100_000_000;
/// Bytes that a bucket may ask for, at least: one key has room.
pub const BUCKET_BYTES_MIN: u64 = 1 << 10;
/// The same at most.
pub const BUCKET_BYTES_MAX: u64 = 64 << 30;
/// Bytes of the largest event of a change: a key that is no text stands in it three times, percent-encoded and in base64.
pub const CHANGE_BYTES_MAX: u64 = 16 << 10;
/// Functions that hear one topic, or one bucket: each message is written once for each of them.
pub const HEARERS_MAX: usize = 100;
/// Copies of messages that the operations of one entry make for them together: some tens of milliseconds of work, for which everybody in
/// the group waits. 20 messages for a hundred functions.
pub const COPIES_MAX: usize = 2048;
/// Calls for events that may stand behind each other, as among calls of functions.
pub const HOPS_MAX: u64 = 16;
/// Attempts of a message that a queue may ask for.
pub const ATTEMPTS_MAX: u32 = 100;
/// The longest wait between two of them.
pub const BACKOFF_MS_MAX: u64 = DAY_MS;
/// How long a message may wait at most: two weeks.
pub const AGE_MS_MAX: u64 = 14 * DAY_MS;
/// How long dead letters may be kept at most.
pub const DEAD_KEEP_MS_MAX: u64 = 90 * DAY_MS;
/// Messages that a queue may ask for: 10 GB of records and rows of small ones.
pub const QUEUE_MESSAGES_MAX: u64 = 10_000_000;
/// Their bytes.
pub const QUEUE_BYTES_MAX: u64 = 64 << 30;
/// Bytes that a bucket of blobs may ask for at most.
pub const BUCKET_BLOB_BYTES_MAX: u64 = 16 << 40;
/// Bytes of a blob: what S3 takes in one request.
pub const BLOB_BYTES_MAX: u64 = 5 << 30;
/// Bytes of a blob that is kept in its record, without chunks: as of a message.
pub const BLOB_INLINE_MAX: usize = 64 * 1024;
/// Bytes of a chunk, a part's last one has fewer: one is kept in memory by whoever sends or reads, and its sync takes some tens of ms.
pub const CHUNK_BYTES_MAX: u64 = 4 << 20;
/// Parts of an upload: as S3 has it. The commit that names them all has room in an entry.
pub const PARTS_MAX: u32 = 10_000;
/// Parts that one record has: a part that comes writes 6 KB.
pub(super) const PARTS_OF_PAGE: u32 = 100;
/// Open uploads of a group.
pub(super) const UPLOADS_MAX: u64 = 10_000;
/// And of a bucket: nobody takes all of the group by one signature.
pub(super) const UPLOADS_OF_BUCKET_MAX: u64 = 1_000;
/// The least and the longest time of an upload.
pub const UPLOAD_MS_MIN: u64 = 10_000;
/// The same at most: a week.
pub const UPLOAD_MS_MAX: u64 = 7 * DAY_MS;
/// Bytes of a blob's metadata with its content type.
pub(super) const METADATA_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a content type: RFC 6838 has names of 127 on both sides.
pub(super) const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Bytes of an etag.
pub(super) const ETAG_BYTES_MAX: usize = 128;
/// Schedules of a group: all of them are kept in the leader's memory, some KB each.
pub const SCHEDULES_MAX: u64 = 10_000;
/// Bytes of a secret: a private key in text has three thousand.
pub const SECRET_BYTES_MAX: usize = 4096;
/// Secrets of a group, as its queues.
pub const SECRETS_MAX: u64 = 10_000;
/// How long the value before of a secret may stay good.
pub const KEEP_MS_MAX: u64 = 30 * DAY_MS;
/// How far the time of a webhook's sender may be from the group's at least: senders tell whole seconds.
pub const TOLERANCE_MS_MIN: u64 = 1000;
/// The same at most: a request is good for twice as long, and its id is remembered for that.
pub const TOLERANCE_MS_MAX: u64 = DEDUP_MS / 2;
/// Bytes of the path at which a function wants its messages.
pub const PATH_BYTES_MAX: usize = 1024;
/// Messages of one call: what one operation may publish, too.
pub const GATHERED_MAX: u32 = 256;
/// How long a message may wait for others of its call.
pub const GATHER_MS_MAX: u64 = 60 * 1000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

const _: () = assert!(2 * TOLERANCE_MS_MAX <= DEDUP_MS);
const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX + 1024 <= BATCH_BYTES_MAX);
const _: () =
    assert!(MESSAGE_BYTES_MAX + HEADER_BYTES_MAX + 2 * URI_BYTES_MAX + 16 * 1024 <= BATCH_BYTES_MAX);
// A part's number and digest in a commit, with their tags.
const _: () = assert!(PARTS_MAX as usize * 45 + 8192 <= BATCH_BYTES_MAX);
const _: () = assert!(BLOB_INLINE_MAX + KEY_BYTES_MAX + METADATA_BYTES_MAX + 1024 <= BATCH_BYTES_MAX);
const _: () = assert!(PARTS_MAX.is_multiple_of(PARTS_OF_PAGE));
const _: () = assert!(OP_STEPS_MAX <= BATCH_STEPS_MAX);
const _: () = assert!(HEARERS_MAX <= COPIES_MAX);
const _: () = assert!(2 * (TEXT_BYTES_MAX + 3 * KEY_BYTES_MAX) + 2 * KEY_BYTES_MAX <= 16 << 10);
