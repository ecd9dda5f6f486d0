//! `coracle blob`: files in buckets.

mod buckets;
mod door;
mod etag;
mod get;
mod keys;
mod kind;
mod link;
mod parts;
mod put;
mod sink;
mod span;
mod tries;
mod uploads;

use clap::Subcommand;
use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::Session;
use super::events::{Events, bucket_at};
use super::kv::{self, Bucket};
use crate::client::Blobs;
use crate::exit::Failure;
use crate::manifest::Holds;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a bucket for blobs, or give one other bounds and another access: what is not said stays.
    Create(buckets::Create),
    /// List the buckets of a namespace that hold blobs.
    Buckets(kv::buckets::Buckets),
    /// Delete a bucket with all that is in it.
    Drop(kv::buckets::DropBucket),
    /// Have a function get an event of each blob that is created or deleted.
    Watch(Box<buckets::Watch>),
    /// Have it get no more of them; what waits is still delivered.
    Unwatch(kv::buckets::Unwatch),
    /// List blobs.
    List(keys::List),
    /// Show what is told of a blob.
    Info(Key),
    /// Put a file, or what stdin has.
    Put(Box<put::Put>),
    /// Get a blob into a file, or to stdout.
    Get(get::Get),
    /// Delete a blob, or all whose keys begin alike.
    Delete(keys::Delete),
    /// Make a URL by which anybody gets or puts a blob for a while.
    Presign(link::Presign),
    /// List uploads in parts that are not done.
    Uploads(uploads::Uploads),
    /// Give such an upload up.
    Abort(uploads::Abort),
}

#[derive(Debug, clap::Args)]
struct Key {
    #[command(flatten)]
    bucket: Bucket,
    /// The key: text, which may have slashes.
    #[arg(value_name = "KEY", value_parser = key)]
    key: String,
}

/// Bytes of a blob: of stdin they are not known before.
const BLOB_BYTES_MAX: u64 = 5 << 30;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 1 << 10;

fn key(text: &str) -> Result<String, String> {
    let good = (1..=KEY_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    let expected = || format!("a key has 1 to {KEY_BYTES_MAX} bytes, and no control characters");
    if good { Ok(text.to_owned()) } else { Err(expected()) }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(args) => buckets::create(args, session).await,
        Verb::Buckets(args) => kv::buckets::list(args, Holds::Blobs, session).await,
        Verb::Drop(args) => kv::buckets::drop_it(args, Holds::Blobs, session).await,
        Verb::Watch(args) => args.run(session).await,
        Verb::Unwatch(args) => kv::buckets::unwatch(args, session).await,
        Verb::List(args) => keys::list(args, session).await,
        Verb::Info(key) => keys::info(key, session).await,
        Verb::Put(args) => put::run(args, session).await,
        Verb::Get(args) => get::run(args, session).await,
        Verb::Delete(args) => keys::delete(args, session).await,
        Verb::Presign(args) => link::run(args, session).await,
        Verb::Uploads(args) => uploads::list(args, session).await,
        Verb::Abort(args) => uploads::abort(args, session).await,
    }
}

/// A blob with where its parts end; none where there is none.
async fn look(events: &mut Events, id: &FunctionId, key: &str) -> Result<Option<pb::BlobGetReply>, Failure> {
    let get = async |mut service: Blobs, place| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (key, visitor) = (key.to_owned(), None);
        service.get(pb::BlobGetRequest { place, key, visitor, info_only: false }).await
    };
    let found = events.ask("blob", &id.namespace, get).await?;
    Ok(found.info.is_some().then_some(found))
}

fn missing(id: &FunctionId, key: &str) -> Failure {
    Refusal::new(Code::BlobNotFound, format!("bucket {id} has no blob '{key}'")).into()
}

#[cfg(test)]
mod tests;
