//! `coracle blob create|watch`: buckets that hold blobs.

use clap::ValueEnum;

use crate::command::Session;
use crate::command::events::Events;
use crate::command::kv::Bucket;
use crate::command::kv::buckets::{Watcher, put, watch};
use crate::exit::Failure;
use crate::manifest::{Access, BucketEntry, Holds};
use crate::output::view::Changed;
use crate::units;

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    bucket: Bucket,
    /// What those may do who come by HTTP without a signature.
    #[arg(long, value_enum, value_name = "ACCESS", default_value = "signed")]
    access: Access,
    /// Blobs that it may have.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    keys: u64,
    /// What they may come to, such as 1TiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes, default_value = "10GiB")]
    size: u64,
}

pub(super) async fn create(args: &Create, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.bucket.bucket;
    let Create { keys, size, access, .. } = args;
    let (id_of, holds) = (id.clone(), Holds::Blobs);
    let wanted =
        BucketEntry { id: id_of, line: 0, keys_max: *keys, bytes_max: *size, holds, access: *access };
    put(&mut Events::reach(session).await?, &wanted, false).await?;
    session.talk.say(session.talk.done(&format!("bucket {id} is there; its access is {}", access.name())));
    session.output.one(&Changed::new(id, "created"))
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    watcher: Watcher,
    /// Of which changes.
    #[arg(long, value_enum, value_name = "CHANGE", value_delimiter = ',', default_value = "created,deleted")]
    on: Vec<On>,
}

/// A change of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// Also where it replaces another one.
    Created,
    Deleted,
}

impl Watch {
    pub(super) async fn run(&self, session: &Session<'_>) -> Result<(), Failure> {
        let on = (self.on.contains(&On::Created), self.on.contains(&On::Deleted));
        watch(&self.watcher, Holds::Blobs, on, session).await
    }
}
