//! What a data group replicates and the operations that change it: pure, total, and each costs what it changes.
//!
//! [`apply`] is the only way in. It takes a [`Batch`] off the log and drafts the records that come of it. What is read
//! without a change ([`value`], [`active`], [`message`], [`invocation`], [`due`] and others) is a function of a view, so
//! that any replica can answer it. Who is told of changed keys asks [`touched`] what they are about.
//!
//! No operation does more than a named number of steps (`limits`): what has more to do says so, and is asked again.

mod apply;
mod blob;
mod bucket;
mod census;
/// Entries, answers and records to and from their bytes.
pub mod codec;
mod edit;
mod effect;
mod fault;
mod group;
mod hops;
mod invocation;
mod keys;
mod kv;
mod limits;
mod luck;
mod moment;
mod name;
mod op;
mod outcome;
mod queue;
mod record;
mod refusal;
mod remembered;
mod schedule;
mod secret;
mod sweep;
mod view;
mod webhook;

#[cfg(test)]
mod tests;

pub use apply::{apply, rehearse};
pub use blob::{
    Becoming, BlobEntry, BlobPage, PartsPage, Standing, UploadId, UploadIdError, blob, blob_data, blobs,
    commits, committed, has_chunks, parts_page, standing, upload, upload_parts, uploads,
};
pub use bucket::{Listed, bucket, buckets};
pub use group::{Group, TIME_STEP_MAX_MS, group};
pub use invocation::{Listing, Mark, Phase, Seen, Wanted, answer, invocation, invocations};
pub use keys::{Due, Touched, touched};
pub use kv::{Entry, Page, PageBounds, value, values};
pub use limits::{
    AGE_MS_MAX, ANSWER_BYTES_MAX, ANSWER_HEADER_BYTES_MAX, ANSWERS_BYTES_MAX, ATTEMPTS_MAX,
    ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, BACKOFF_MS_MAX, BATCH_BYTES_MAX, BATCH_OPS_MAX, BATCH_STEPS_MAX,
    BLOB_BYTES_MAX, BLOB_INLINE_MAX, BUCKET_BLOB_BYTES_MAX, BUCKET_BYTES_MAX, BUCKET_BYTES_MIN,
    BUCKET_KEYS_MAX, BUCKETS_MAX, CHANGE_BYTES_MAX, CHUNK_BYTES_MAX, CLAIM_MS_MAX, COPIES_MAX,
    DEAD_KEEP_MS_MAX, DEDUP_MS, DEDUPS_MAX, DELAY_MS_MAX, EFFECTS_MAX, ERROR_BYTES_MAX,
    FINGERPRINT_BYTES_MAX, GATHER_MS_MAX, GATHERED_MAX, HEADER_BYTES_MAX, HEADERS_MAX, HEARERS_MAX, HOPS_MAX,
    KEEP_MS_MAX, KEY_BYTES_MAX, MESSAGE_BYTES_MAX, OFFER_MS_MAX, OP_STEPS_MAX, PAGE_MAX, PARTS_MAX,
    PATH_BYTES_MAX, PUBLISHED_MAX, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, QUEUES_MAX, RECORD_MS, RECORDS_MAX,
    REMEMBERED_MAX, REPORTS_MAX, SCHEDULES_MAX, SECRET_BYTES_MAX, SECRETS_MAX, TEXT_BYTES_MAX,
    TOLERANCE_MS_MAX, TOLERANCE_MS_MIN, UPLOAD_MS_MAX, UPLOAD_MS_MIN, URI_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use name::{Heard, Name, NameError, Owner, Place};
pub use op::{
    Asked, Batch, Begin, BlobBecomes, BlobChange, BlobContent, Change, Check, Deletion, Effect, FORMAT, Kept,
    Op, Other, Publish, Request, Span, Tick, ToHold, UploadName, Verdict, Write,
};
pub use outcome::{Claimed, Effected, Fate, Outcome, Reply};
pub use queue::{
    Peeked, QueuePage, Waiting, active, all_queues, all_topics, counts, dead, held, message, named_count,
    queue, queue_page, queues, ready, topic, topics, waiting,
};
pub use record::{
    Access, Answer, Before, Blob, Bucket, Burial, Cause, Claim, Counts, Definition, Delivery, Ended, Fence,
    Fired, Form, Holds, How, HttpHead, Invocation, Look, Manner, Message, Missed, Overlap, Part, Queue,
    Report, Schedule, Sealed, Secret, Settings, SigningKey, State, Terms, Ticket, Topic, Upload, Value,
    Watcher, Webhook, kept_error,
};
pub use refusal::{Reason, Refusal};
pub use schedule::{all_schedules, schedule, schedules, schedules_count};
pub use secret::{secret, secrets, users};
pub use sweep::due;
pub use webhook::{Arrived, Sent, Signed, Wrong, all_webhooks, challenge, verify, webhook, webhooks};
