//! `coracle kv buckets|watch|unwatch`: which buckets there are, and whom their changes are told.

use std::cell::Cell;

use clap::ValueEnum;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use coracle_proto::pb;

use super::Bucket;
use crate::client::Keeper;
use crate::command::Session;
use crate::command::events::{Events, bucket_at};
use crate::command::queue::name::QueueId;
use crate::command::settings::{self, over_present, watch_queue};
use crate::exit::Failure;
use crate::manifest::Settings;
use crate::output::view::BucketView;

#[derive(Debug, clap::Args)]
pub(super) struct Buckets {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    bucket: Bucket,
    /// The function of the same namespace that gets an event of each change.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
    /// Of which changes.
    #[arg(long, value_enum, value_name = "CHANGE", value_delimiter = ',', default_value = "set,delete")]
    on: Vec<On>,
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
pub(super) struct Unwatch {
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

pub(super) async fn list(args: &Buckets, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let found = all(&mut Events::reach(session).await?, &namespace).await?;
    let view = |bucket| BucketView::new(namespace.as_str(), bucket);
    session.output.list(&found.into_iter().map(view).collect::<Vec<_>>())
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

pub(super) async fn watch(args: &Watch, session: &Session<'_>) -> Result<(), Failure> {
    let (id, settings) = (&args.bucket.bucket, args.flags.settings()?);
    let mut events = Events::reach(session).await?;
    let function = FunctionId { namespace: id.namespace.clone(), name: args.function.clone() };
    events.find_function(&function).await?;
    let watcher = pb::KvWatcher {
        function: args.function.to_string(),
        queue: String::new(),
        sets: args.on.contains(&On::Set),
        deletes: args.on.contains(&On::Delete),
        prefix: args.prefix.clone(),
        suffix: args.suffix.clone(),
    };
    let queue = format!("bucket/{}/{}", id.name, args.function);
    let queue = QueueId { namespace: id.namespace.clone(), queue };
    let settings = over_present(settings, &mut events, &queue).await?;
    let made = begin(&mut events, id, &watcher, &settings).await?.unwrap_or_default();
    session.talk.say(session.talk.done(&format!("{function} gets an event of each such change of {id}")));
    session.output.one(&BucketView::new(id.namespace.as_str(), made))
}

/// Has a function watch a bucket, or tells it anew.
pub(in crate::command) async fn begin(
    events: &mut Events,
    id: &FunctionId,
    watcher: &pb::KvWatcher,
    settings: &Settings,
) -> Result<Option<pb::KvBucket>, Failure> {
    let watch = async |mut keeper: Keeper, place, request| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (watcher, queue) = (Some(watcher.clone()), Some(watch_queue(settings)));
        keeper.watch(pb::KvWatchRequest { place, request, watcher, queue, dry_run: false }).await
    };
    Ok(events.alter(&format!("bucket {id}"), &id.namespace, watch).await?.bucket)
}

pub(super) async fn unwatch(args: &Unwatch, session: &Session<'_>) -> Result<(), Failure> {
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

/// Makes it, or gives it other bounds.
pub(in crate::command) async fn put(
    events: &mut Events,
    id: &FunctionId,
    (keys_max, bytes_max): (u64, u64),
) -> Result<(), Failure> {
    let put = async |mut keeper: Keeper, place, request| {
        let place = Some(bucket_at(place, id.name.as_str()));
        keeper
            .put_bucket(pb::KvPutBucketRequest { place, request, keys_max, bytes_max, ..Default::default() })
            .await
    };
    events.alter(&format!("bucket {id}"), &id.namespace, put).await.map(|_| ())
}

/// Takes it away with all that is in it.
pub(in crate::command) async fn drop_bucket(
    events: &mut Events,
    id: &FunctionId,
    force: bool,
) -> Result<(), Failure> {
    let tried = Cell::new(false);
    let drop = async |mut keeper: Keeper, place| {
        let (again, place) = (tried.replace(true), Some(bucket_at(place, id.name.as_str())));
        match keeper.drop_bucket(pb::KvDropBucketRequest { place, force, request: None }).await {
            // It was there a moment ago: whoever was asked before has done it.
            Err(status) if again && status.code() == tonic::Code::NotFound => {
                Ok(tonic::Response::new(pb::KvChangeReply::default()))
            }
            answered => answered,
        }
    };
    events.ask(&format!("kv drop {id}"), &id.namespace, drop).await.map(|_| ())
}

#[cfg(test)]
mod tests;
