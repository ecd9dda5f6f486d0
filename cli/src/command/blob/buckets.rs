//! `coracle blob create|watch`: buckets that hold blobs.

use clap::ValueEnum;

use crate::command::Session;
use crate::command::kv::Bucket;
use crate::command::kv::buckets::{Bounds, Watcher, make, watch};
use crate::exit::Failure;
use crate::manifest::{Access, Holds};

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    bucket: Bucket,
    /// What those may do who come by HTTP without a signature; a new bucket is signed.
    #[arg(long, value_enum, value_name = "ACCESS")]
    access: Option<Access>,
    #[command(flatten)]
    bounds: Bounds,
}

pub(super) async fn create(args: &Create, session: &Session<'_>) -> Result<(), Failure> {
    make((&args.bucket.bucket, Holds::Blobs), &args.bounds, args.access, session).await
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
