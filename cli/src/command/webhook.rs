//! `coracle webhook`: others call functions by HTTP, and sign what they send.

use std::time::Duration;

use clap::Subcommand;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::events::Events;
use super::queue::name::QueueId;
use super::settings::{Flags, over_present, spec};
use super::{Session, gateway, replies};
use crate::client::Webhooks;
use crate::exit::Failure;
use crate::manifest::{TOLERANCE, Verify, webhook_queue};
use crate::output::view::{Changed, WebhookView};
use crate::units;

/// Below it gateways take what is sent.
const PREFIX: &str = "/.coracle/webhook";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a webhook, or tell it anew; its URL goes to whoever is to send.
    Create(Box<Create>),
    /// List the webhooks of a namespace.
    List(List),
    /// Show a webhook with its URL, and how much came to it.
    Get(Get),
    /// Delete a webhook. What waits in its queue is still delivered.
    Delete(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The webhook: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "WEBHOOK")]
    webhook: FunctionId,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "For GitHub, with a secret that was made just now:\n  \
                        openssl rand -hex 32 | tee hub.key | coracle secret set hub\n  \
                        coracle webhook create push --function build --verify github --secret hub")]
struct Create {
    #[command(flatten)]
    named: Named,
    /// The function of the same namespace that is called.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
    /// In which form the sender signs.
    #[arg(long, value_enum, value_name = "FORM")]
    verify: Verify,
    /// The secret that the sender knows too ('coracle secret set').
    #[arg(long, value_name = "NAME")]
    secret: FunctionName,
    /// Between the sender's time and ours at most; of a new one 5m.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    tolerance: Option<Duration>,
    #[command(flatten)]
    gateway: gateway::Flag,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
}

#[derive(Debug, clap::Args)]
struct Get {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    gateway: gateway::Flag,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(args) => create(args, session).await,
        Verb::List(args) => list(args, session).await,
        Verb::Get(args) => get(args, session).await,
        Verb::Delete(named) => delete(&named.webhook, session).await,
    }
}

/// Where it is sent to, at any gateway.
pub(super) fn path(id: &FunctionId) -> String {
    match id.namespace.as_str() {
        Namespace::DEFAULT => format!("{PREFIX}/{}", id.name),
        namespace => format!("{PREFIX}/{namespace}/{}", id.name),
    }
}

/// In which what comes waits.
pub(super) fn queue_of(id: &FunctionId) -> QueueId {
    QueueId { namespace: id.namespace.clone(), queue: webhook_queue(&id.name) }
}

/// At one that is there just now; without one its path alone.
fn url(id: &FunctionId, gateway: &gateway::Flag, (events, session): (&Events, &Session<'_>)) -> String {
    let gateways = gateway.beside(events, session).unwrap_or_default();
    gateways.first().map_or_else(|| path(id), |gateway| format!("http://{gateway}{}", path(id)))
}

async fn create(args: &Create, session: &Session<'_>) -> Result<(), Failure> {
    let (id, settings) = (&args.named.webhook, args.flags.settings()?);
    let told =
        args.tolerance.map(|told| TOLERANCE.check(u64::try_from(told.as_millis()).unwrap_or(u64::MAX)));
    let told = told.transpose().map_err(|error| Failure::usage(format!("--tolerance: {error}")))?;
    let mut events = Events::reach(session).await?;
    let tolerance_ms = tolerance(told, id, &mut events).await?;
    let function = FunctionId { namespace: id.namespace.clone(), name: args.function.clone() };
    events.find_function(&function).await?;
    replies::check(&settings, &id.namespace, &mut events).await?;
    let settings = over_present(settings, &mut events, &queue_of(id)).await?;
    let wanted = pb::WebhookSpec {
        function: args.function.to_string(),
        verify: args.verify.name().to_owned(),
        secret: args.secret.to_string(),
        tolerance_ms,
        queue: Some(spec(&settings, "")),
    };
    let made = put(&mut events, id, &wanted, false).await?.unwrap_or_default();
    let url = url(id, &args.gateway, (&events, session));
    session.talk.say(session.talk.done(&format!("{function} gets what is sent to {url}")));
    session.output.one(&WebhookView::new(id.namespace.as_str(), made, url))
}

/// As it was told, or as it is; 0: as is usual.
async fn tolerance(told: Option<u64>, id: &FunctionId, events: &mut Events) -> Result<u64, Failure> {
    if let Some(told) = told {
        return Ok(told);
    }
    let all = all(events, &id.namespace).await?;
    let before = all.into_iter().find(|it| it.webhook == id.name.as_str()).and_then(|it| it.spec);
    Ok(before.map_or(0, |spec| spec.tolerance_ms))
}

/// Makes it, or tells it anew; with `dry_run` only looks whether it could be.
pub(super) async fn put(
    events: &mut Events,
    id: &FunctionId,
    spec: &pb::WebhookSpec,
    dry_run: bool,
) -> Result<Option<pb::WebhookDetail>, Failure> {
    let put = async |mut service: Webhooks, place, request| {
        let (place, webhook, spec) = (Some(place), id.name.to_string(), Some(spec.clone()));
        service.put(pb::PutWebhookRequest { place, request, webhook, spec, dry_run }).await
    };
    Ok(events.alter(&format!("webhook {id}"), &id.namespace, put).await?.webhook)
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let found = all(&mut Events::reach(session).await?, &namespace).await?;
    let view = |webhook: pb::WebhookDetail| {
        let id = FunctionId::parse(namespace.as_str(), &webhook.webhook);
        let path = id.as_ref().map(path).unwrap_or_default();
        WebhookView::new(namespace.as_str(), webhook, path)
    };
    session.output.list(&found.into_iter().map(view).collect::<Vec<_>>())
}

/// Those of a namespace.
pub(super) async fn all(
    events: &mut Events,
    namespace: &Namespace,
) -> Result<Vec<pb::WebhookDetail>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Webhooks, place| {
            let (place, after) = (Some(place), after.clone());
            service.list(pb::ListWebhooksRequest { place, after, limit: 0 }).await
        };
        let page = events.ask("webhook list", namespace, page).await?;
        found.extend(page.webhooks);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

async fn get(args: &Get, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.named.webhook;
    let get = async |mut service: Webhooks, place| {
        let (place, webhook) = (Some(place), id.name.to_string());
        service.get(pb::GetWebhookRequest { place, webhook }).await
    };
    let mut events = Events::reach(session).await?;
    let found = events.ask("webhook get", &id.namespace, get).await?;
    let missing = || Refusal::new(Code::WebhookNotFound, format!("there is no webhook '{id}'"));
    let found = found.webhook.ok_or_else(missing)?;
    let url = url(id, &args.gateway, (&events, session));
    session.output.one(&WebhookView::new(id.namespace.as_str(), found, url))
}

async fn delete(id: &FunctionId, session: &Session<'_>) -> Result<(), Failure> {
    session.talk.confirm(&format!("Delete webhook {id}?"), session.shared.yes)?;
    drop_webhook(&mut Events::reach(session).await?, id).await?;
    let queue = format!("what waits in {} is still delivered", queue_of(id));
    session.talk.say(session.talk.done(&format!("webhook {id} is deleted; {queue}")));
    session.output.one(&Changed::new(id, "deleted"))
}

pub(super) async fn drop_webhook(events: &mut Events, id: &FunctionId) -> Result<(), Failure> {
    let drop = async |mut service: Webhooks, place, request| {
        let (place, webhook) = (Some(place), id.name.to_string());
        service.delete(pb::DeleteWebhookRequest { place, request, webhook }).await
    };
    events.alter(&format!("webhook delete {id}"), &id.namespace, drop).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client::fake::{Fake, FakeStore, Kept, Script};
    use crate::exit::Exit;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn verbs_take_what_they_need() {
        let parse = |line: &str| Line::try_parse_from(["webhook"].into_iter().chain(line.split(' ')));
        for good in [
            "create shop/push --function build --verify github --secret hub --tolerance 1m --attempts 5 --path /in",
            "get push",
            "list --namespace shop",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["create push --function build --secret hub", "create push --verify x", "get", "delete"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(path(&"push".parse().unwrap()), "/.coracle/webhook/push");
        assert_eq!(path(&"shop/push".parse().unwrap()), "/.coracle/webhook/shop/push");
    }

    #[tokio::test]
    async fn a_webhook_is_made_listed_and_deleted() {
        let store = FakeStore::start(Kept { lost_answers: 1, ..Kept::default() }).await;
        let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
        let mut events = Events::of(node.client().await).unwrap();
        let id: FunctionId = "push".parse().unwrap();
        let wanted = pb::WebhookSpec { function: "build".into(), secret: "hub".into(), ..Default::default() };
        let failure = put(&mut events, &id, &wanted, true).await.unwrap_err();
        assert!(failure.exit == Exit::NotFound && failure.message.contains("no secret 'hub'"), "{failure}");
        store.with(|kept| kept.secrets.push(pb::SecretDetail { secret: "hub".into(), ..Default::default() }));
        let made = put(&mut events, &id, &wanted, false).await.unwrap().unwrap();
        assert_eq!(made.queue, "webhook/push");
        assert_eq!(all(&mut events, &id.namespace).await.unwrap().len(), 1);
        let other = pb::WebhookSpec { tolerance_ms: 60_000, ..wanted };
        put(&mut events, &id, &other, false).await.unwrap();
        assert_eq!(tolerance(None, &id, &mut events).await, Ok(60_000), "what is not said stays");
        assert_eq!(tolerance(Some(5), &id, &mut events).await, Ok(5));
        drop_webhook(&mut events, &id).await.unwrap();
        assert_eq!(tolerance(None, &id, &mut events).await, Ok(0));
        assert_eq!(drop_webhook(&mut events, &id).await.unwrap_err().exit, Exit::NotFound);
    }
}
