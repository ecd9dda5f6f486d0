//! Buckets, whatever they hold: which there are, whom their changes are told, and how they go.

use std::cell::Cell;

use clap::ValueEnum;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use coracle_proto::pb;

use super::Bucket;
use crate::client::Keeper;
use crate::command::Session;
use crate::command::events::{Events, bucket_at};
use crate::command::granted::{self, Kind};
use crate::command::queue::name::QueueId;
use crate::command::replies;
use crate::command::settings::{self, over_present, watch_queue};
use crate::exit::{Exit, Failure};
use crate::manifest::{Access, BucketEntry, Holds, Settings};
use crate::output::view::{BucketView, Changed};
use crate::units;

#[derive(Debug, clap::Args)]
pub(in crate::command) struct Buckets {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
}

/// What a bucket may have.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::command) struct Bounds {
    /// Keys that it may have; a new bucket 1,000,000.
    #[arg(long, value_name = "N")]
    pub(super) keys: Option<u64>,
    /// What all of it may come to, such as 1TiB; a new bucket 1GiB, one for blobs 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(super) size: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    watcher: Watcher,
    /// Of which changes.
    #[arg(long, value_enum, value_name = "CHANGE", value_delimiter = ',', default_value = "set,delete")]
    on: Vec<On>,
}

impl Watch {
    pub(super) async fn run(&self, session: &Session<'_>) -> Result<(), Failure> {
        let on = (self.on.contains(&On::Set), self.on.contains(&On::Delete));
        watch(&self.watcher, Holds::Values, on, session).await
    }
}

/// Who watches a bucket, and how.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Watcher {
    #[command(flatten)]
    bucket: Bucket,
    /// The function of the same namespace that gets an event of each change.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
    /// Only of keys that begin so.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only of keys that end so.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    suffix: String,
    #[command(flatten)]
    flags: settings::Flags,
}

#[derive(Debug, clap::Args)]
pub(in crate::command) struct DropBucket {
    #[command(flatten)]
    bucket: Bucket,
    /// Also while functions watch it, or may use it.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::command) struct Unwatch {
    #[command(flatten)]
    bucket: Bucket,
    /// The function that gets no more of them.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
}

/// A change of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Set,
    Delete,
}

/// Those that hold such.
pub(in crate::command) async fn list(
    args: &Buckets,
    holds: Holds,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let mut found = all(&mut Events::reach(session).await?, &namespace).await?;
    found.retain(|it| holds_of(it) == holds);
    let view = |bucket| BucketView::new(namespace.as_str(), bucket);
    session.output.list(&found.into_iter().map(view).collect::<Vec<_>>())
}

/// What it holds; stores from before there were blobs do not say it.
pub(in crate::command) fn holds_of(bucket: &pb::KvBucket) -> Holds {
    match bucket.holds() {
        pb::KvHolds::Unspecified | pb::KvHolds::Values => Holds::Values,
        pb::KvHolds::Blobs => Holds::Blobs,
    }
}

/// Whoever may read and write it without a signature.
pub(in crate::command) fn access_of(bucket: &pb::KvBucket) -> Access {
    match bucket.access() {
        pb::BlobAccess::Unspecified | pb::BlobAccess::Signed => Access::Signed,
        pb::BlobAccess::Read => Access::Read,
        pb::BlobAccess::Open => Access::Open,
    }
}

/// Refuses one that holds something else; what is not there is refused by the store.
async fn expect(events: &mut Events, id: &FunctionId, holds: Holds) -> Result<(), Failure> {
    let all = all(events, &id.namespace).await?;
    let found = all.iter().find(|it| it.bucket == id.name.as_str()).map(holds_of);
    match found.filter(|found| *found != holds) {
        None => Ok(()),
        Some(other) => {
            let verb = match other {
                Holds::Values => "kv",
                Holds::Blobs => "blob",
            };
            let sentence = format!("bucket {id} holds {}: take 'coracle {verb}'", other.name());
            Err(Failure::new(Exit::Refused, sentence))
        }
    }
}

/// Those of a namespace.
pub(in crate::command) async fn all(
    events: &mut Events,
    namespace: &Namespace,
) -> Result<Vec<pb::KvBucket>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut keeper: Keeper, place: pb::EventsPlace| {
            let pb::EventsPlace { cluster_id, group, namespace } = place;
            let after = after.clone();
            keeper
                .list_buckets(pb::KvListBucketsRequest { cluster_id, group, namespace, after, limit: 0 })
                .await
        };
        let page = events.ask("kv buckets", namespace, page).await?;
        found.extend(page.buckets);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

/// Of changes of both kinds, or of one.
pub(in crate::command) async fn watch(
    args: &Watcher,
    holds: Holds,
    (sets, deletes): (bool, bool),
    session: &Session<'_>,
) -> Result<(), Failure> {
    let (id, settings) = (&args.bucket.bucket, args.flags.settings()?);
    let mut events = Events::reach(session).await?;
    expect(&mut events, id, holds).await?;
    let function = FunctionId { namespace: id.namespace.clone(), name: args.function.clone() };
    events.find_function(&function).await?;
    replies::check(&settings, &id.namespace, &mut events).await?;
    let watcher = pb::KvWatcher {
        function: args.function.to_string(),
        queue: String::new(),
        sets,
        deletes,
        prefix: args.prefix.clone(),
        suffix: args.suffix.clone(),
    };
    let queue = format!("bucket/{}/{}", id.name, args.function);
    let queue = QueueId { namespace: id.namespace.clone(), queue };
    let settings = over_present(settings, &mut events, &queue).await?;
    let made = begin(&mut events, id, &watcher, &settings, false).await?.unwrap_or_default();
    session.talk.say(session.talk.done(&format!("{function} gets an event of each such change of {id}")));
    session.output.one(&BucketView::new(id.namespace.as_str(), made))
}

/// Has a function watch a bucket, or tells it anew; with `dry_run` only looks whether it could.
pub(in crate::command) async fn begin(
    events: &mut Events,
    id: &FunctionId,
    watcher: &pb::KvWatcher,
    settings: &Settings,
    dry_run: bool,
) -> Result<Option<pb::KvBucket>, Failure> {
    let watch = async |mut keeper: Keeper, place, request| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (watcher, queue) = (Some(watcher.clone()), Some(watch_queue(settings)));
        keeper.watch(pb::KvWatchRequest { place, request, watcher, queue, dry_run }).await
    };
    Ok(events.alter(&format!("bucket {id}"), &id.namespace, watch).await?.bucket)
}

pub(in crate::command) async fn unwatch(args: &Unwatch, session: &Session<'_>) -> Result<(), Failure> {
    let (id, function) = (&args.bucket.bucket, args.function.as_str());
    let question = format!("Have {function} get no more events of {id}?");
    session.talk.confirm(&question, session.shared.yes)?;
    let left = end(&mut Events::reach(session).await?, id, function).await?.unwrap_or_default();
    let queue = format!("what waits in bucket/{}/{function} is still delivered", id.name);
    session.talk.say(session.talk.done(&format!("{function} watches {id} no more; {queue}")));
    session.output.one(&BucketView::new(id.namespace.as_str(), left))
}

/// Has it watch no more.
pub(in crate::command) async fn end(
    events: &mut Events,
    id: &FunctionId,
    function: &str,
) -> Result<Option<pb::KvBucket>, Failure> {
    let unwatch = async |mut keeper: Keeper, place, request| {
        let (place, function) = (Some(bucket_at(place, id.name.as_str())), function.to_owned());
        keeper.unwatch(pb::KvUnwatchRequest { place, request, function }).await
    };
    Ok(events.alter(&format!("bucket {id}"), &id.namespace, unwatch).await?.bucket)
}

/// What a person asks for: what is not said stays as it is, or is as is usual.
pub(in crate::command) async fn make(
    (id, holds): (&FunctionId, Holds),
    bounds: &Bounds,
    access: Option<Access>,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let mut events = Events::reach(session).await?;
    let (sentence, outcome) = make_or_change(&mut events, (id, holds), bounds, access).await?;
    session.talk.say(session.talk.done(&sentence));
    session.output.one(&Changed::new(id, outcome))
}

/// Answers with what was done.
async fn make_or_change(
    events: &mut Events,
    (id, holds): (&FunctionId, Holds),
    bounds: &Bounds,
    access: Option<Access>,
) -> Result<(String, &'static str), Failure> {
    expect(events, id, holds).await?;
    let all = all(events, &id.namespace).await?;
    // One that is being deleted is none: the store says when it may be made again.
    let before = all.iter().find(|it| it.bucket == id.name.as_str() && !it.dropping);
    let mut now = BucketEntry::usual(id.clone(), holds);
    if let Some(it) = before {
        (now.keys_max, now.bytes_max, now.access) = (it.keys_max, it.bytes_max, access_of(it));
    }
    let wanted = BucketEntry {
        keys_max: bounds.keys.unwrap_or(now.keys_max),
        bytes_max: bounds.size.unwrap_or(now.bytes_max),
        access: access.unwrap_or(now.access),
        ..now.clone()
    };
    let changes = wanted.changes(&now);
    if before.is_some() && changes.is_empty() {
        return Ok((format!("bucket {id} is unchanged"), "unchanged"));
    }
    put(events, &wanted, false).await?;
    Ok(match (before, holds) {
        (Some(_), _) => (format!("bucket {id} is changed: {}", changes.join(", ")), "changed"),
        (None, Holds::Values) => (format!("bucket {id} is made"), "created"),
        (None, Holds::Blobs) => {
            (format!("bucket {id} is made; its access is {}", wanted.access.name()), "created")
        }
    })
}

/// Makes it, or gives it other bounds; with `dry_run` only looks whether it could be.
pub(in crate::command) async fn put(
    events: &mut Events,
    wanted: &BucketEntry,
    dry_run: bool,
) -> Result<(), Failure> {
    let BucketEntry { id, line: _, keys_max, bytes_max, holds, access } = wanted;
    let (holds, access) = match (holds, access) {
        (Holds::Values, _) => (pb::KvHolds::Values, pb::BlobAccess::Unspecified),
        (Holds::Blobs, Access::Signed) => (pb::KvHolds::Blobs, pb::BlobAccess::Signed),
        (Holds::Blobs, Access::Read) => (pb::KvHolds::Blobs, pb::BlobAccess::Read),
        (Holds::Blobs, Access::Open) => (pb::KvHolds::Blobs, pb::BlobAccess::Open),
    };
    let put = async |mut keeper: Keeper, place, request| {
        let told = pb::KvPutBucketRequest {
            place: Some(bucket_at(place, id.name.as_str())),
            request,
            keys_max: *keys_max,
            bytes_max: *bytes_max,
            dry_run,
            holds: holds.into(),
            access: access.into(),
        };
        keeper.put_bucket(told).await
    };
    events.alter(&format!("bucket {id}"), &id.namespace, put).await.map(|_| ())
}

/// What a person asks for.
pub(in crate::command) async fn drop_it(
    args: &DropBucket,
    holds: Holds,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let id = &args.bucket.bucket;
    session.talk.confirm(&format!("Delete bucket {id} with all that is in it?"), session.shared.yes)?;
    let mut events = Events::reach(session).await?;
    expect(&mut events, id, holds).await?;
    if !args.force {
        granted::refuse(&mut events, id, Kind::of(holds)).await?;
    }
    drop_bucket(&mut events, id, args.force).await?;
    session.talk.say(session.talk.done(&format!("bucket {id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
}

/// Takes it away with all that is in it.
pub(in crate::command) async fn drop_bucket(
    events: &mut Events,
    id: &FunctionId,
    force: bool,
) -> Result<(), Failure> {
    let tried = Cell::new(false);
    let drop = async |mut keeper: Keeper, place, request| {
        let (again, place) = (tried.replace(true), Some(bucket_at(place, id.name.as_str())));
        match keeper.drop_bucket(pb::KvDropBucketRequest { place, force, request }).await {
            // It was there a moment ago: whoever was asked before has done it.
            Err(status) if again && status.code() == tonic::Code::NotFound => {
                Ok(tonic::Response::new(pb::KvChangeReply::default()))
            }
            answered => answered,
        }
    };
    events.alter(&format!("drop bucket {id}"), &id.namespace, drop).await.map(|_| ())
}

#[cfg(test)]
mod tests;
