//! `coracle function list|get|delete|rollback`.

use clap::Subcommand;
use coracle_proto::id::{FunctionId, Namespace, VersionNumber};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::deploy::rollout;
use super::{Read, Session};
use crate::client::{Admin, Client};
use crate::exit::Failure;
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
    Delete(Named),
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
struct Named {
    /// NAME, or NAMESPACE/NAME.
    name: FunctionId,
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
        Verb::Delete(named) => run_delete(&named.name, session).await,
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

async fn run_delete(id: &FunctionId, session: &Session<'_>) -> Result<(), Failure> {
    let question = format!("Delete the function '{id}' with all its versions?");
    session.talk.confirm(&question, session.shared.yes)?;
    let mut client = session.connect().await?;
    let delete = async |mut admin: Admin, context| {
        let (namespace, name) = parts(id);
        admin.delete_function(pb::DeleteFunctionRequest { context: Some(context), namespace, name }).await
    };
    client.change(&format!("function delete {id}"), delete).await?;
    session.talk.say(session.talk.done(&format!("{id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
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
