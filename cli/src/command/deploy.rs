//! `coracle deploy`: upload, change, rollout, each step told; the whole is one trace.

mod flags;
mod kept;
pub(super) mod rollout;
mod upload;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::codec::{route_grants_to_wire, spec_to_wire};
use coracle_proto::pb;
use tracing::{Instrument as _, Span, field, info_span};

use self::flags::Flags;
use self::kept::{Kept, Prune};
use self::upload::Artifact;
pub(crate) use self::view::Deployed;
use self::view::Planned;
use super::Session;
use crate::client::{Admin, Client, Deadline, Targets};
use crate::exit::Failure;
use crate::manifest::{self, FunctionEntry, Manifest};
use crate::output::Talk;

/// How long a deploy may take, unless it was told: a compilation alone may take three minutes.
const WAIT: Duration = Duration::from_secs(300);

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without MANIFEST, coracle.toml in this folder is taken. With NAME and FILE, flags say what a manifest would."
)]
pub(crate) struct Args {
    /// A manifest or its folder; or a function's name and its .wasm file ('-': stdin).
    #[arg(value_name = "MANIFEST | NAME FILE", num_args = 0..=2)]
    source: Vec<String>,
    /// Delete what the manifest's namespaces have and it does not name: queues, topics, buckets, triggers, schedules.
    #[arg(long)]
    prune: bool,
    /// Change nothing: show what would become of queues, topics, buckets, triggers, schedules, or why it cannot be. Of
    /// functions only their files are looked for: not what they import, nor whose their routes are.
    #[arg(long)]
    dry_run: bool,
    /// Of these also what has messages or values.
    #[arg(long, requires = "prune")]
    force: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Args {
    /// The manifest, if it is one that is deployed.
    fn manifest_file(&self) -> Option<PathBuf> {
        match self.source.as_slice() {
            [] => Some(PathBuf::from(manifest::FILE_NAME)),
            [path] => Some(file_of(Path::new(path))),
            [_, ..] => None,
        }
    }

    fn wanted(&self) -> Result<Manifest, Failure> {
        match self.source.as_slice() {
            [name, file] => {
                if self.prune {
                    return Err(Failure::usage("--prune: it goes with a manifest"));
                }
                Ok(Manifest { functions: vec![self.flags.function(name, file)?], ..Manifest::default() })
            }
            [] => self.manifest(Path::new(manifest::FILE_NAME)),
            [manifest, ..] => self.manifest(Path::new(manifest)),
        }
    }

    fn manifest(&self, path: &Path) -> Result<Manifest, Failure> {
        if let Some(flag) = self.flags.first_given() {
            let hint = "it goes with 'deploy NAME FILE'; in a manifest it is a key";
            return Err(Failure::usage(format!("{flag}: {hint}")));
        }
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let hint = "it is no manifest; to deploy a file, name the function: coracle deploy NAME";
            return Err(Failure::usage(format!("{}: {hint} {}", path.display(), path.display())));
        }
        read_manifest(path)
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    manifest::read(&file_of(path)).map_err(|error| Failure::usage(error.to_string()))
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(manifest::FILE_NAME) } else { path.to_owned() }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let wanted = args.wanted()?;
    let deadline = Deadline::after(session.wait(WAIT));
    let prune = args.prune.then_some(Prune { force: args.force, yes: session.shared.yes });
    let plan = Plan { deadline, wait: !session.shared.no_wait, talk: session.talk, prune };
    let manifest = args.manifest_file();
    let targets =
        session.targets_of(manifest.as_deref().unwrap_or_else(|| Path::new(manifest::FILE_NAME)))?;
    if args.dry_run {
        return session.output.list(&try_all(&wanted, targets, plan).await?);
    }
    let (deployed, done) = deploy_all(&wanted, targets, plan).await;
    // Also before a failure: what was deployed stays deployed.
    match (deployed.as_slice(), manifest) {
        ([], Some(_)) if done.is_ok() && !session.output.is_for_people() => {
            session.output.list::<Deployed>(&[])?;
        }
        ([], _) => {}
        ([one], None) => session.output.one(one)?,
        (many, _) => session.output.list(many)?,
    }
    for one in &deployed {
        session.talk.say(&format!("try: coracle invoke {}", one.function()));
    }
    done
}

/// Deploys all functions of a manifest and waits until they are ready: for `coracle dev`.
pub(crate) async fn deploy_manifest(
    path: &Path,
    targets: Targets,
    talk: Talk,
) -> Result<Vec<Deployed>, Failure> {
    let wanted = read_manifest(path)?;
    let plan = Plan { deadline: Deadline::after(WAIT), wait: true, talk, prune: None };
    let (deployed, done) = deploy_all(&wanted, targets, plan).await;
    done.map(|()| deployed)
}

/// How a deploy goes.
#[derive(Debug, Clone, Copy)]
struct Plan {
    deadline: Deadline,
    /// Until the versions are ready everywhere.
    wait: bool,
    talk: Talk,
    /// What the manifest does not name is deleted.
    prune: Option<Prune>,
}

/// Deploys one after the other, those that grant routes first, for the others may need it; what is kept for them is made
/// before, and what calls them afterwards. Answers with those that were, and why it ended before the last.
async fn deploy_all(
    manifest: &Manifest,
    targets: Targets,
    plan: Plan,
) -> (Vec<Deployed>, Result<(), Failure>) {
    let functions = &manifest.functions;
    let names: Vec<_> = functions.iter().map(|function| function.id.to_string()).collect();
    let span = info_span!(
        "deploy",
        { attr::SERVICE } = attr::SERVICE_CLI,
        { attr::FUNCTION } = names.join(","),
        otel.kind = "client",
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
    );
    let mut deployed = Vec::with_capacity(functions.len());
    let all = async {
        let (kept, mut client) = look(manifest, targets, (plan, false)).await?;
        if let Some(kept) = &kept {
            client = kept.before_functions(client).await?;
        }
        let (granting, others): (Vec<_>, Vec<_>) =
            functions.iter().partition(|function| !function.route_grants.is_empty());
        for function in granting.into_iter().chain(others) {
            deployed.push(deploy(function, &mut client, plan).await?);
        }
        client = match &kept {
            Some(kept) => kept.after_functions(client).await?,
            None => Kept::tell_left(manifest, client, plan.talk).await?,
        };
        plan.talk.say(&format!("trace {}", client.trace()));
        Ok(())
    };
    let done = all.instrument(span.clone()).await;
    mark(&span, done.as_ref().err());
    (deployed, done)
}

/// What is wrong on this side is said before anybody is asked, and all of it before the first function is deployed.
async fn look(
    manifest: &Manifest,
    targets: Targets,
    (plan, dry_run): (Plan, bool),
) -> Result<(Option<Kept<'_>>, Client), Failure> {
    for function in &manifest.functions {
        Artifact::find(&function.component)?;
    }
    let client = Client::connect(targets, plan.deadline, plan.talk).await?;
    Kept::look(manifest, (plan.prune, dry_run), client, plan.talk).await
}

/// What a deploy would do, as far as it can be seen; nothing is changed.
async fn try_all(manifest: &Manifest, targets: Targets, plan: Plan) -> Result<Vec<Planned>, Failure> {
    let (kept, client) = look(manifest, targets, (plan, true)).await?;
    let mut planned = match &kept {
        Some(kept) => kept.planned(client).await?,
        None => {
            Kept::tell_left(manifest, client, plan.talk).await?;
            Vec::new()
        }
    };
    planned
        .extend(manifest.functions.iter().map(|it| Planned::new(&format!("function {}", it.id), "deploy")));
    Ok(planned)
}

fn mark(span: &Span, failure: Option<&Failure>) {
    if let Some(failure) = failure {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", failure.message.as_str());
    }
}

async fn deploy(function: &FunctionEntry, client: &mut Client, plan: Plan) -> Result<Deployed, Failure> {
    let id = &function.id;
    let artifact = Artifact::read(&function.component).await?;
    let stored = upload::upload(client, &artifact, id, plan.talk).await?;
    let change = pb::Deploy {
        namespace: id.namespace.to_string(),
        name: id.name.to_string(),
        spec: Some(spec_to_wire(&function.spec)),
        routes: function.routes.iter().map(pb::RouteSpec::from).collect(),
        route_grants: route_grants_to_wire(&function.route_grants),
        digest: artifact.digest.to_wire(),
        size: artifact.size(),
        kind: stored.kind,
    };
    let send = async |mut admin: Admin, context| {
        admin.deploy(pb::DeployRequest { context: Some(context), deploy: Some(change.clone()) }).await
    };
    let reply = client.change(&format!("deploy {id}"), send).await?;
    let talk = plan.talk;
    if reply.unchanged {
        talk.say(talk.done(&format!("{id} is unchanged: version {} has the same content", reply.version)));
    } else {
        talk.say(talk.done(&format!("{id} version {} is committed", reply.version)));
    }
    for note in &reply.notes {
        talk.say(&format!("note: {note}"));
    }
    if plan.wait {
        let ready = rollout::wait(client, id, reply.version, talk).await?;
        talk.say(talk.done(&format!("{id} version {} is ready on {ready}", reply.version)));
    }
    Ok(Deployed::new(function, &artifact, &stored, &reply, &client.info()?.gateways))
}

#[cfg(test)]
mod tests;
