//! `coracle kv`: values that the cluster keeps.

pub(super) mod buckets;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::pb::{self, kv_write};
use coracle_proto::status::{Code, Refusal};
use tokio::io::AsyncReadExt as _;

use super::{Session, input};
use crate::client::{Client, Keeper, Once, Seen, Whose};
use crate::exit::Failure;
use crate::manifest::Holds;
use crate::output::view::{Changed, EntryView, NumberView};
use crate::output::{door, print, unwritten};
use crate::units;

/// Of a value: what is larger is refused before all of it is read.
const VALUE_BYTES_MAX: u64 = 256 << 10;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a bucket, or give one other bounds: what is not said stays.
    Create(Create),
    /// Delete a bucket with all that is in it.
    Drop(buckets::DropBucket),
    /// List the buckets of a namespace.
    Buckets(buckets::Buckets),
    /// Have a function get an event of each change of a bucket.
    Watch(Box<buckets::Watch>),
    /// Have it get no more of them; what waits is still delivered.
    Unwatch(buckets::Unwatch),
    /// Write the value of a key to stdout.
    Get(Key),
    /// Set the value of a key.
    Set(Set),
    /// Delete a key.
    Delete(Key),
    /// Add to a number, which begins at 0.
    Increment(Increment),
    /// List keys with their values' versions.
    List(List),
}

#[derive(Debug, clap::Args)]
pub(super) struct Bucket {
    /// The bucket: [NAMESPACE/]NAME.
    #[arg(value_name = "BUCKET")]
    pub(super) bucket: FunctionId,
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    bucket: Bucket,
    #[command(flatten)]
    bounds: buckets::Bounds,
}

#[derive(Debug, clap::Args)]
struct Key {
    #[command(flatten)]
    bucket: Bucket,
    /// The key.
    #[arg(value_name = "KEY")]
    key: String,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    key: Key,
    /// The value; without it, that of --file.
    #[arg(value_name = "VALUE", required_unless_present = "file", conflicts_with = "file")]
    value: Option<String>,
    /// Take the value from this file; - for stdin.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Forget it after so long, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    ttl: Option<Duration>,
    /// Only where it is at this version; 0: only where there is none.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Increment {
    #[command(flatten)]
    key: Key,
    /// How much; less than zero takes away.
    #[arg(value_name = "BY", default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    bucket: Bucket,
    /// Keys that begin so.
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(args) => create(args, session).await,
        Verb::Drop(args) => buckets::drop_it(args, Holds::Values, session).await,
        Verb::Buckets(args) => buckets::list(args, Holds::Values, session).await,
        Verb::Watch(args) => args.run(session).await,
        Verb::Unwatch(args) => buckets::unwatch(args, session).await,
        Verb::Get(args) => get(args, session).await,
        Verb::Set(args) => set(args, session).await,
        Verb::Delete(args) => delete(args, session).await,
        Verb::Increment(args) => increment(args, session).await,
        Verb::List(args) => list(args, session).await,
    }
}

/// A bucket of a cluster, and the way to whoever keeps it.
struct Asking {
    client: Client,
    namespace: Namespace,
    bucket: String,
    cluster: Bytes,
}

impl Asking {
    async fn of(bucket: &Bucket, session: &Session<'_>) -> Result<Self, Failure> {
        let client = session.connect().await?;
        let cluster = client.info()?.cluster.to_wire();
        let FunctionId { namespace, name } = bucket.bucket.clone();
        Ok(Self { client, namespace, bucket: name.to_string(), cluster })
    }

    async fn ask<T>(
        &mut self,
        what: &str,
        attempt: impl AsyncFn(Keeper, pb::KvPlace, u64) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        let Self { client, namespace, bucket, cluster } = self;
        let place = |group| pb::KvPlace {
            cluster_id: cluster.clone(),
            group,
            namespace: namespace.to_string(),
            bucket: bucket.clone(),
        };
        let attempt = async |keeper, seen: Seen| attempt(keeper, place(seen.group), seen.sequence).await;
        client.keep(what, Whose::Namespace(namespace), attempt).await
    }

    /// One write, done once however often it is sent.
    async fn write(
        &mut self,
        what: &str,
        key: &str,
        change: kv_write::Change,
    ) -> Result<pb::KvWritten, Failure> {
        let once = Once::new();
        let write = pb::KvWrite { key: Bytes::copy_from_slice(key.as_bytes()), change: Some(change) };
        let write = async |mut keeper: Keeper, place, since| {
            let (request, writes) = (Some(pb::KvRequest { id: once.id(), since }), vec![write.clone()]);
            once.heard(
                keeper.write(pb::KvWriteRequest { place: Some(place), request, writes, hops: 0 }).await,
            )
        };
        Ok(self.ask(what, write).await?.written.pop().unwrap_or_default())
    }
}

async fn create(args: &Create, session: &Session<'_>) -> Result<(), Failure> {
    buckets::make((&args.bucket.bucket, Holds::Values), &args.bounds, None, session).await
}

async fn get(args: &Key, session: &Session<'_>) -> Result<(), Failure> {
    let mut asking = Asking::of(&args.bucket, session).await?;
    let key = Bytes::copy_from_slice(args.key.as_bytes());
    let get = async |mut keeper: Keeper, place, _| {
        keeper.get(pb::KvGetRequest { place: Some(place), key: key.clone(), version_only: false }).await
    };
    let entry = asking.ask("kv get", get).await?.entry.ok_or_else(|| missing(args))?;
    if session.output.is_for_people() {
        return whole(&entry.value).map_err(|error| unwritten(&error));
    }
    session.output.one(&EntryView::from(entry))
}

fn whole(value: &[u8]) -> std::io::Result<()> {
    let mut body = door::Body::to_stdout();
    body.write(value)?;
    body.finish()
}

fn missing(args: &Key) -> Refusal {
    let sentence = format!("bucket {} has no key '{}'", args.bucket.bucket, args.key);
    Refusal::new(Code::KeyNotFound, sentence)
}

async fn set(args: &Set, session: &Session<'_>) -> Result<(), Failure> {
    let value = match (&args.value, &args.file) {
        (Some(value), _) => Bytes::copy_from_slice(value.as_bytes()),
        (None, file) => read(file.clone().unwrap_or_default()).await?,
    };
    let ttl_ms = args.ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let mut asking = Asking::of(&args.key.bucket, session).await?;
    let change = kv_write::Change::Set(pb::KvSet { value, ttl_ms, if_version: args.if_version });
    let written = asking.write("kv set", &args.key.key, change).await?;
    session.talk.say(session.talk.done(&format!("{} is set, at version {}", args.key.key, written.version)));
    session.output.one(&Changed::new(&args.key.key, "set").at(written.version))
}

async fn read(file: PathBuf) -> Result<Bytes, Failure> {
    let failed = |error| Failure::local(file.display(), error);
    let opened = input::open(&file).await.map_err(failed)?;
    let mut value = Vec::new();
    opened.take(VALUE_BYTES_MAX + 1).read_to_end(&mut value).await.map_err(failed)?;
    if value.len() as u64 > VALUE_BYTES_MAX {
        let most = units::show_bytes(VALUE_BYTES_MAX);
        return Err(Failure::usage(format!("{}: a value has at most {most}", file.display())));
    }
    Ok(value.into())
}

async fn delete(args: &Key, session: &Session<'_>) -> Result<(), Failure> {
    let mut asking = Asking::of(&args.bucket, session).await?;
    let written = asking.write("kv delete", &args.key, kv_write::Change::Delete(pb::KvDelete {})).await?;
    if !written.existed {
        return Err(missing(args).into());
    }
    session.talk.say(session.talk.done(&format!("{} is deleted", args.key)));
    session.output.one(&Changed::new(&args.key, "deleted"))
}

async fn increment(args: &Increment, session: &Session<'_>) -> Result<(), Failure> {
    let mut asking = Asking::of(&args.key.bucket, session).await?;
    let change = kv_write::Change::Increment(pb::KvIncrement { by: args.by });
    let written = asking.write("kv increment", &args.key.key, change).await?;
    let number = written.number.unwrap_or_default();
    if session.output.is_for_people() {
        return print(&format!("{number}\n"));
    }
    session.output.one(&NumberView::new(&args.key.key, written.version, number))
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let mut asking = Asking::of(&args.bucket, session).await?;
    let prefix = Bytes::copy_from_slice(args.prefix.as_bytes());
    let (mut rows, mut after) = (Vec::new(), Bytes::new());
    loop {
        let list = async |mut keeper: Keeper, place, _| {
            let (prefix, after) = (prefix.clone(), after.clone());
            keeper
                .list(pb::KvListRequest { place: Some(place), prefix, after, limit: 0, keys_only: true })
                .await
        };
        let page = asking.ask("kv list", list).await?;
        rows.extend(page.entries.into_iter().map(EntryView::from));
        if page.after.is_empty() {
            return session.output.list(&rows);
        }
        after = page.after;
    }
}
