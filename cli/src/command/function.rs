//! `coracle function list|get|delete|rollback`.

use clap::Subcommand;
use coracle_proto::id::{FunctionId, Namespace, VersionNumber};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::deploy::rollout;
use super::events::Events;
use super::kv::buckets;
use super::queue::all_queues;
use super::{Read, Session, schedule, topic};
use crate::client::{Admin, Client};
use crate::exit::{Exit, Failure};
use crate::output::view::{Changed, FunctionDetailView, FunctionView};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List functions.
    List(List),
    /// Show a function with its limits, versions and replicas.
    Get(Get),
    /// Delete a function with its routes and versions.
    Delete(Delete),
    /// Send all calls to an earlier version.
    Rollback(Rollback),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of one namespace.
    #[arg(long)]
    namespace: Option<Namespace>,
    #[command(flatten)]
    read: Read,
}

#[derive(Debug, clap::Args)]
struct Get {
    /// NAME, or NAMESPACE/NAME.
    name: FunctionId,
    #[command(flatten)]
    read: Read,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// NAME, or NAMESPACE/NAME.
    name: FunctionId,
    /// Also while queues, topics, buckets or schedules name it.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct Rollback {
    /// NAME, or NAMESPACE/NAME.
    name: FunctionId,
    /// To which version; without it to the one before.
    #[arg(long, value_name = "VERSION")]
    to: Option<VersionNumber>,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::List(list) => run_list(list, session).await,
        Verb::Get(get) => run_get(get, session).await,
        Verb::Delete(delete) => run_delete(delete, session).await,
        Verb::Rollback(rollback) => run_rollback(rollback, session).await,
    }
}

async fn run_list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.as_ref().map(ToString::to_string).unwrap_or_default();
    let request = pb::ListFunctionsRequest { namespace, stale: args.read.stale };
    let mut client = session.connect().await?;
    let list = async |mut admin: Admin| admin.list_functions(request.clone()).await;
    let reply = client.call("function list", list).await?;
    session.output.list(&reply.functions.into_iter().map(FunctionView::from).collect::<Vec<_>>())
}

async fn run_get(args: &Get, session: &Session<'_>) -> Result<(), Failure> {
    let detail = get(&mut session.connect().await?, &args.name, args.read).await?;
    session.output.one(&FunctionDetailView::from(detail))
}

async fn run_delete(args: &Delete, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.name;
    let question = format!("Delete the function '{id}' with all its versions?");
    session.talk.confirm(&question, session.shared.yes)?;
    let mut client = session.connect().await?;
    if !args.force {
        client = nobody_calls(id, client).await?;
    }
    let delete = async |mut admin: Admin, context| {
        let (namespace, name) = parts(id);
        admin.delete_function(pb::DeleteFunctionRequest { context: Some(context), namespace, name }).await
    };
    client.change(&format!("function delete {id}"), delete).await?;
    session.talk.say(session.talk.done(&format!("{id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
}

/// Refuses where something would call it in vain.
async fn nobody_calls(id: &FunctionId, client: Client) -> Result<Client, Failure> {
    let mut events = Events::of(client)?;
    let named = if events.keeps_anything().await? { names(id, &mut events).await? } else { Vec::new() };
    if named.is_empty() {
        return Ok(events.into_client());
    }
    let what = format!("'{id}' is named by {}", named.join(", "));
    let sentence = "what they bring would be dead letters; --force deletes it all the same";
    Err(Failure::new(Exit::Conflict, format!("{what}: {sentence}")))
}

/// Whatever calls it.
async fn names(id: &FunctionId, events: &mut Events) -> Result<Vec<String>, Failure> {
    let (namespace, function) = (&id.namespace, id.name.as_str());
    let mut named = Vec::new();
    let mut add = |kind: &str, name: &str| {
        // Those that the platform made go by who has subscribed, and its own is no reason.
        if let Ok(it) = FunctionId::parse(namespace.as_str(), name) {
            named.push(format!("{kind} {it}"));
        }
    };
    for queue in all_queues(events, "queues", namespace, function).await? {
        add("queue", &queue.queue);
    }
    for topic in topic::all(events, namespace).await? {
        if topic.subscribers.iter().any(|it| it.function == function) {
            add("topic", &topic.topic);
        }
    }
    for bucket in buckets::all(events, namespace).await? {
        if bucket.watchers.iter().any(|it| it.function == function) {
            add("bucket", &bucket.bucket);
        }
    }
    for schedule in schedule::all(events, namespace).await? {
        if schedule.spec.as_ref().is_some_and(|spec| spec.function == function) {
            add("schedule", &schedule.schedule);
        }
    }
    Ok(named)
}

async fn run_rollback(args: &Rollback, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.name;
    let mut client = session.connect().await?;
    // Named here and not by the server: 'the one before' is another one when the request is sent again.
    let wanted = match args.to {
        Some(version) => version.get(),
        None => before(&mut client, id).await?,
    };
    let roll = async |mut admin: Admin, context| {
        let (namespace, name) = parts(id);
        let request = pb::RollbackRequest { context: Some(context), namespace, name, version: wanted };
        admin.rollback(request).await
    };
    let reply = client.change(&format!("function rollback {id}"), roll).await?;
    if !session.shared.no_wait {
        rollout::wait(&mut client, id, reply.version, session.talk).await?;
    }
    session.talk.say(session.talk.done(&format!("calls of {id} go to version {}", reply.version)));
    session.output.one(&Changed::new(id, "rolled-back").at(reply.version))
}

/// The version before the one that takes the calls, or that waits for them: a deploy that never gets ready is
/// given up like this.
async fn before(client: &mut Client, id: &FunctionId) -> Result<u64, Failure> {
    let detail = get(client, id, Read::default()).await?;
    let function = detail.function.unwrap_or_default();
    let wanted = if function.next.is_empty() { function.traffic } else { function.next };
    let main = wanted.iter().max_by_key(|part| (part.weight, part.version)).map_or(0, |part| part.version);
    let earlier = detail.versions.iter().map(|version| version.number).filter(|number| *number < main);
    let sentence = || format!("'{id}' has no version before {main}");
    earlier.max().ok_or_else(|| Refusal::new(Code::VersionNotFound, sentence()).into())
}

async fn get(client: &mut Client, id: &FunctionId, read: Read) -> Result<pb::FunctionDetail, Failure> {
    let (namespace, name) = parts(id);
    let request = pb::GetFunctionRequest { namespace, name, stale: read.stale };
    client
        .call(&format!("function '{id}'"), async |mut admin| admin.get_function(request.clone()).await)
        .await
}

fn parts(id: &FunctionId) -> (String, String) {
    (id.namespace.to_string(), id.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{Fake, FakeStore, Kept, Script, queue};

    async fn asked(kept: Option<Kept>) -> Result<(), Failure> {
        let store = FakeStore::start(kept.unwrap_or_default()).await;
        let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
        nobody_calls(&"work".parse().unwrap(), node.client().await).await.map(drop)
    }

    #[tokio::test]
    async fn a_function_that_something_calls_is_not_deleted() {
        let subscriber = pb::Subscriber { function: "work".to_owned(), ..pb::Subscriber::default() };
        let watcher = pb::KvWatcher { function: "work".to_owned(), ..pb::KvWatcher::default() };
        let spec = |function: &str| {
            Some(pb::ScheduleSpec { function: function.to_owned(), ..pb::ScheduleSpec::default() })
        };
        let schedule = |name: &str, function: &str| pb::ScheduleDetail {
            schedule: name.to_owned(),
            spec: spec(function),
            ..pb::ScheduleDetail::default()
        };
        let kept = Kept {
            queues: vec![queue("jobs", "work"), queue("function/work", "work"), queue("other", "else")],
            topics: vec![
                pb::TopicDetail { topic: "news".to_owned(), subscribers: vec![subscriber], published: 0 },
                pb::TopicDetail { topic: "quiet".to_owned(), ..pb::TopicDetail::default() },
            ],
            buckets: vec![pb::KvBucket {
                bucket: "images".to_owned(),
                watchers: vec![watcher],
                ..pb::KvBucket::default()
            }],
            schedules: vec![schedule("nightly", "work"), schedule("weekly", "else")],
            ..Kept::default()
        };
        let failure = asked(Some(kept)).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        let named = "'work' is named by queue jobs, topic news, bucket images, schedule nightly:";
        assert!(failure.message.starts_with(named) && failure.message.contains("--force"), "{failure}");
    }

    #[tokio::test]
    async fn one_that_nothing_calls_may_go_also_where_nothing_is_kept() {
        let own = Kept { queues: vec![queue("function/work", "work")], ..Kept::default() };
        asked(Some(own)).await.unwrap();
        let without = Fake::start(Script::default()).await;
        nobody_calls(&"work".parse().unwrap(), without.client().await).await.unwrap();
    }
}
