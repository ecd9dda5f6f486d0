//! `coracle blob list|info|delete`: what a bucket has.

use coracle_proto::id::FunctionId;
use coracle_proto::pb;

use super::{Key, look, missing};
use crate::client::Blobs;
use crate::command::Session;
use crate::command::events::{Events, bucket_at};
use crate::command::kv::Bucket;
use crate::exit::{Exit, Failure};
use crate::output::Progress;
use crate::output::view::{BlobView, Changed, MovedView};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    bucket: Bucket,
    /// Keys that begin so.
    #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// So many at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
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
    #[arg(long, value_name = "ETAG", conflicts_with = "prefix", value_parser = super::etag::said)]
    if_match: Option<String>,
}

pub(super) async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let limit = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut events = Events::reach(session).await?;
    let found = all(&mut events, &args.bucket.bucket, &args.prefix, limit).await?;
    session.output.list(&found.into_iter().map(BlobView::from).collect::<Vec<_>>())
}

/// In the order of their keys, so many at most.
pub(super) async fn all(
    events: &mut Events,
    id: &FunctionId,
    prefix: &str,
    limit: usize,
) -> Result<Vec<pb::BlobInfo>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let left = limit.saturating_sub(found.len());
        let page = page(events, id, (prefix, &after), left).await?;
        found.extend(page.blobs.into_iter().take(left));
        if page.after.is_empty() || found.len() == limit {
            return Ok(found);
        }
        after = page.after;
    }
}

/// Those behind a key.
async fn page(
    events: &mut Events,
    id: &FunctionId,
    (prefix, after): (&str, &str),
    limit: usize,
) -> Result<pb::BlobListReply, Failure> {
    // Each page has its own time.
    events.renew();
    let page = async |mut service: Blobs, place| {
        let place = Some(bucket_at(place, id.name.as_str()));
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        let limit = u32::try_from(limit).unwrap_or(0);
        service.list(pb::BlobListRequest { place, prefix, after, limit, visitor: None }).await
    };
    events.ask("blob list", &id.namespace, page).await
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
    let progress = session.talk.progress(None);
    let Gone { deleted, changed } = clear(&mut events, id, prefix, &progress).await?;
    drop(progress);
    session.talk.say(session.talk.done(&format!("{} deleted", blobs_are(deleted))));
    if changed > 0 {
        session.talk.say(&format!("{} another one by now, and not deleted", blobs_are(changed)));
    }
    session.output.one(&MovedView::new(id, deleted, "deleted"))
}

fn blobs_are(count: u64) -> String {
    if count == 1 { "1 blob is".to_owned() } else { format!("{count} blobs are") }
}

/// What became of many.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) deleted: u64,
    /// They are not what was listed any more.
    pub(super) changed: u64,
}

/// Deletes those whose keys begin so, a page after the other, each as it was listed.
pub(super) async fn clear(
    events: &mut Events,
    id: &FunctionId,
    prefix: &str,
    progress: &Progress,
) -> Result<Gone, Failure> {
    let (mut gone, mut after) = (Gone::default(), String::new());
    let so_far = |gone: &Gone, failure: Failure| Failure {
        message: format!("{}; {} deleted before", failure.message, blobs_are(gone.deleted)),
        ..failure
    };
    loop {
        let page = page(events, id, (prefix, &after), 0).await.map_err(|failure| so_far(&gone, failure))?;
        for blob in page.blobs {
            events.renew();
            match delete_one(events, id, &blob.key, &blob.etag).await {
                Ok(existed) => gone.deleted += u64::from(existed),
                Err(failure) if failure.exit == Exit::Conflict => gone.changed += 1,
                Err(failure) => return Err(so_far(&gone, failure)),
            }
            progress.status(format!("{} deleted", blobs_are(gone.deleted)));
        }
        if page.after.is_empty() {
            return Ok(gone);
        }
        after = page.after;
    }
}
