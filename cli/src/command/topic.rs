//! `coracle topic`: what is published to one goes to all who have subscribed.

use clap::Subcommand;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::Session;
use super::events::Events;
use super::granted::{self, Kind};
use super::queue::name::QueueId;
use super::replies;
use super::settings::{Flags, over_present, spec};
use crate::client::Topics;
use crate::exit::Failure;
use crate::output::view::{Changed, TopicView};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a topic; one that is there stays as it is.
    Create(Named),
    /// List the topics of a namespace.
    List(List),
    /// Show a topic with its subscribers.
    Get(Named),
    /// Delete a topic. The queues of its subscribers go when they are empty.
    Delete(Delete),
    /// From now on a function gets what is published.
    Subscribe(Box<Subscribe>),
    /// It gets nothing new; what waits in its queue is still delivered.
    Unsubscribe(Unsubscribe),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The topic: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "TOPIC")]
    topic: FunctionId,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
}

#[derive(Debug, clap::Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// Also while it has subscribers, or functions may publish to it.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct Subscribe {
    #[command(flatten)]
    named: Named,
    /// The function of the same namespace that gets it.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args)]
struct Unsubscribe {
    #[command(flatten)]
    named: Named,
    /// The function that gets it no more.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(named) => create(&named.topic, session).await,
        Verb::List(args) => list(args, session).await,
        Verb::Get(named) => get(&named.topic, session).await,
        Verb::Delete(args) => delete(args, session).await,
        Verb::Subscribe(args) => subscribe(args, session).await,
        Verb::Unsubscribe(args) => unsubscribe(args, session).await,
    }
}

async fn create(id: &FunctionId, session: &Session<'_>) -> Result<(), Failure> {
    let made = put(&mut Events::reach(session).await?, id, false).await?.unwrap_or_default();
    session.talk.say(session.talk.done(&format!("topic {id} is there")));
    session.output.one(&TopicView::new(id.namespace.as_str(), made))
}

/// Makes it where there is none; with `dry_run` only looks whether it could be.
pub(super) async fn put(
    events: &mut Events,
    id: &FunctionId,
    dry_run: bool,
) -> Result<Option<pb::TopicDetail>, Failure> {
    let put = async |mut service: Topics, place, request| {
        let (place, topic) = (Some(place), id.name.to_string());
        service.put(pb::PutTopicRequest { place, request, topic, dry_run }).await
    };
    Ok(events.alter(&format!("topic {id}"), &id.namespace, put).await?.topic)
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let found = all(&mut Events::reach(session).await?, &namespace).await?;
    let view = |topic| TopicView::new(namespace.as_str(), topic);
    session.output.list(&found.into_iter().map(view).collect::<Vec<_>>())
}

/// Those of a namespace.
pub(super) async fn all(events: &mut Events, namespace: &Namespace) -> Result<Vec<pb::TopicDetail>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Topics, place| {
            let (place, after) = (Some(place), after.clone());
            service.list(pb::ListTopicsRequest { place, after, limit: 0 }).await
        };
        let page = events.ask("topic list", namespace, page).await?;
        found.extend(page.topics);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

async fn get(id: &FunctionId, session: &Session<'_>) -> Result<(), Failure> {
    let get = async |mut service: Topics, place| {
        let (place, topic) = (Some(place), id.name.to_string());
        service.get(pb::GetTopicRequest { place, topic }).await
    };
    let found = Events::reach(session).await?.ask("topic get", &id.namespace, get).await?;
    let missing = || Refusal::new(Code::QueueNotFound, format!("there is no topic '{id}'"));
    session.output.one(&TopicView::new(id.namespace.as_str(), found.topic.ok_or_else(missing)?))
}

async fn delete(args: &Delete, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.named.topic;
    session.talk.confirm(&format!("Delete topic {id}?"), session.shared.yes)?;
    let mut events = Events::reach(session).await?;
    if !args.force {
        granted::refuse(&mut events, id, Kind::Topic).await?;
        replies::refuse(&mut events, id).await?;
    }
    drop_topic(&mut events, id, args.force).await?;
    session.talk.say(session.talk.done(&format!("topic {id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
}

pub(super) async fn drop_topic(events: &mut Events, id: &FunctionId, force: bool) -> Result<(), Failure> {
    let drop = async |mut service: Topics, place, request| {
        let (place, topic) = (Some(place), id.name.to_string());
        service.delete(pb::DeleteTopicRequest { place, request, topic, force }).await
    };
    events.alter(&format!("topic delete {id}"), &id.namespace, drop).await.map(|_| ())
}

async fn subscribe(args: &Subscribe, session: &Session<'_>) -> Result<(), Failure> {
    let (id, settings) = (&args.named.topic, args.flags.settings()?);
    let mut events = Events::reach(session).await?;
    let function = FunctionId { namespace: id.namespace.clone(), name: args.function.clone() };
    events.find_function(&function).await?;
    replies::check(&settings, &id.namespace, &mut events).await?;
    let queue = format!("topic/{}/{}", id.name, args.function);
    let queue = QueueId { namespace: id.namespace.clone(), queue };
    let settings = over_present(settings, &mut events, &queue).await?;
    let spec = spec(&settings, args.function.as_str());
    let made = join(&mut events, id, &spec, false).await?.unwrap_or_default();
    session.talk.say(session.talk.done(&format!("{function} gets what is published to {id}")));
    session.output.one(&TopicView::new(id.namespace.as_str(), made))
}

/// Subscribes the function that the queue's settings name, or tells its queue anew.
pub(super) async fn join(
    events: &mut Events,
    id: &FunctionId,
    spec: &pb::QueueSpec,
    dry_run: bool,
) -> Result<Option<pb::TopicDetail>, Failure> {
    let subscribe = async |mut service: Topics, place, request| {
        let (place, topic, spec) = (Some(place), id.name.to_string(), Some(spec.clone()));
        service.subscribe(pb::SubscribeRequest { place, request, topic, spec, dry_run }).await
    };
    Ok(events.alter(&format!("topic {id}"), &id.namespace, subscribe).await?.topic)
}

async fn unsubscribe(args: &Unsubscribe, session: &Session<'_>) -> Result<(), Failure> {
    let (id, function) = (&args.named.topic, args.function.as_str());
    let question = format!("Have {function} get nothing more of what is published to {id}?");
    session.talk.confirm(&question, session.shared.yes)?;
    let left = leave(&mut Events::reach(session).await?, id, function).await?.unwrap_or_default();
    let queue = format!("what waits in topic/{}/{function} is still delivered", id.name);
    session.talk.say(session.talk.done(&format!("{function} gets nothing more of {id}; {queue}")));
    session.output.one(&TopicView::new(id.namespace.as_str(), left))
}

pub(super) async fn leave(
    events: &mut Events,
    id: &FunctionId,
    function: &str,
) -> Result<Option<pb::TopicDetail>, Failure> {
    let leave = async |mut service: Topics, place, request| {
        let (place, topic, function) = (Some(place), id.name.to_string(), function.to_owned());
        service.unsubscribe(pb::UnsubscribeRequest { place, request, topic, function }).await
    };
    Ok(events.alter(&format!("topic {id}"), &id.namespace, leave).await?.topic)
}

#[cfg(test)]
mod tests;
