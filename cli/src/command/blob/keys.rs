//! `coracle blob list|info|delete`: what a bucket has.

use coracle_proto::id::FunctionId;
use coracle_proto::pb;

use super::{Key, look, missing};
use crate::client::Blobs;
use crate::command::Session;
use crate::command::events::{Events, bucket_at};
use crate::command::kv::Bucket;
use crate::exit::Failure;
use crate::output::view::{BlobView, Changed, MovedView};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    bucket: Bucket,
    /// Keys that begin so.
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    bucket: Bucket,
    /// The key.
    #[arg(value_name = "KEY", value_parser = super::key, required_unless_present = "prefix", conflicts_with = "prefix")]
    key: Option<String>,
    /// All whose keys begin so; '' for all.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only where it has this ETag.
    #[arg(long, value_name = "ETAG", conflicts_with = "prefix")]
    if_match: Option<String>,
}

pub(super) async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let found = all(&mut Events::reach(session).await?, &args.bucket.bucket, &args.prefix).await?;
    session.output.list(&found.into_iter().map(BlobView::from).collect::<Vec<_>>())
}

/// In the order of their keys.
pub(super) async fn all(
    events: &mut Events,
    id: &FunctionId,
    prefix: &str,
) -> Result<Vec<pb::BlobInfo>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Blobs, place| {
            let place = Some(bucket_at(place, id.name.as_str()));
            let (prefix, after) = (prefix.to_owned(), after.clone());
            service.list(pb::BlobListRequest { place, prefix, after, limit: 0, visitor: None }).await
        };
        let page = events.ask("blob list", &id.namespace, page).await?;
        found.extend(page.blobs);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
        // Each page has its own time.
        events.renew();
    }
}

pub(super) async fn info(args: &Key, session: &Session<'_>) -> Result<(), Failure> {
    let (id, key) = (&args.bucket.bucket, &args.key);
    let found = look(&mut Events::reach(session).await?, id, key).await?.and_then(|it| it.info);
    session.output.one(&BlobView::from(found.ok_or_else(|| missing(id, key))?))
}

pub(super) async fn delete(args: &Delete, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.bucket.bucket;
    let (Some(key), None) = (&args.key, &args.prefix) else {
        return delete_all(id, args.prefix.as_deref().unwrap_or_default(), session).await;
    };
    let condition = args.if_match.clone().unwrap_or_default();
    if !delete_one(&mut Events::reach(session).await?, id, key, &condition).await? {
        return Err(missing(id, key));
    }
    session.talk.say(session.talk.done(&format!("{key} is deleted")));
    session.output.one(&Changed::new(key, "deleted"))
}

/// Whether it was there.
pub(super) async fn delete_one(
    events: &mut Events,
    id: &FunctionId,
    key: &str,
    if_match: &str,
) -> Result<bool, Failure> {
    let delete = async |mut service: Blobs, place, request| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (key, if_match) = (key.to_owned(), if_match.to_owned());
        service.delete(pb::BlobDeleteRequest { place, request, key, if_match, hops: 0, visitor: None }).await
    };
    Ok(events.alter(&format!("blob '{key}'"), &id.namespace, delete).await?.existed)
}

async fn delete_all(id: &FunctionId, prefix: &str, session: &Session<'_>) -> Result<(), Failure> {
    let which = if prefix.is_empty() { String::new() } else { format!(" whose keys begin with '{prefix}'") };
    session.talk.confirm(&format!("Delete all blobs of bucket {id}{which}?"), session.shared.yes)?;
    let mut events = Events::reach(session).await?;
    let mut deleted = 0;
    for blob in all(&mut events, id, prefix).await? {
        events.renew();
        deleted += u64::from(delete_one(&mut events, id, &blob.key, "").await?);
    }
    let blobs = if deleted == 1 { "1 blob is".to_owned() } else { format!("{deleted} blobs are") };
    session.talk.say(session.talk.done(&format!("{blobs} deleted")));
    session.output.one(&MovedView::new(id, deleted, "deleted"))
}
