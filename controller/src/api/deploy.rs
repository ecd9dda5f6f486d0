//! New versions and the way back: what is proposed must be held by enough workers first.

use std::time::Instant;

use coracle_proto::codec::{Door, InField as _, route_grants_from_wire, routes_from_wire, spec_from_wire};
use coracle_proto::id::{Digest, FunctionId, VersionNumber};
use coracle_proto::pb::{ChangeContext, DeployReply, DeployRequest, RollbackReply};
use coracle_proto::record::{Function, Outcome, Route, Weight};
use coracle_proto::route::RouteGrant;
use coracle_proto::spec::FunctionSpec;
use coracle_proto::status::{Code, Refusal};

use super::artifacts;
use super::ask::{answered, ask};
use crate::context::Context;
use crate::model::{ClusterState, Command, Taken};
use crate::propose::{Decided, barrier, propose};

/// Routes of others that are named in an answer; the others are counted.
const NOTES_MAX: usize = 5;

/// Proposes a version whose artifact is stored.
///
/// # Errors
/// `artifact-missing` when too few workers hold it, `route-conflict` when a new route would take calls of another
/// namespace; else what the state says.
pub(super) async fn deploy(
    context: &Context,
    asked: DeployRequest,
    deadline: Instant,
) -> Result<DeployReply, Refusal> {
    let wire = asked.deploy.in_field("deploy")?;
    let function = FunctionId::parse(&wire.namespace, &wire.name).in_field("deploy.name")?;
    let digest = Digest::try_from(&wire.digest[..]).in_field("deploy.digest")?;
    let spec = spec_from_wire(wire.spec.unwrap_or_default(), Door::Api)?;
    let routes = routes_from_wire(wire.routes, Door::Api)?;
    let route_grants = route_grants_from_wire(&wire.route_grants, Door::Api)?;
    // Size and kind are what the workers found, not what the client says.
    let stored = match artifacts::renew(context, digest).await {
        Ok(stored) => stored,
        Err(refusal) => {
            // An earlier try found enough copies, and a holder may have died since.
            barrier(context, deadline).await?;
            return reply(answered(context, asked.context.as_ref()).ok_or(refusal)?);
        }
    };
    let granted = spec.limits().memory_bytes;
    if stored.memory_min > granted {
        let sentence = format!(
            "memory: {granted} bytes are granted, and the function's memories have {} from their start: it could never begin",
            stored.memory_min
        );
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    // Asked of the newest state, and not again when the command is applied: what is committed between counts as later, and
    // a later route that goes further takes nothing from this one.
    barrier(context, deadline).await?;
    let state = context.hub.state();
    if let Some(taken) = state.taken(&function, &routes) {
        return reply(answered(context, asked.context.as_ref()).ok_or_else(|| refuse(&function, &taken))?);
    }
    let mut notes = notes(&state.kept_by_others(&function, &routes, &route_grants));
    let ended = state.function(&function).map(|known| ended(&known.route_grants, &route_grants));
    notes.extend(ended.into_iter().flatten());
    drop(state);
    if !stored.listens.is_empty() {
        notes.push(format!(
            "it holds {}, and nobody connects to a function: it is called by the platform, by what it exports as \
             'wasi:http/incoming-handler', or as a command that reads a request from its standard input and answers on its \
             standard output (docs/guide.md)",
            stored.listens
        ));
    }
    notes.extend(unused(&spec, stored.wants));
    let (size, kind) = (stored.size, stored.kind);
    let command = Command::Deploy { function, spec, routes, route_grants, digest, size, kind };
    let ask = ask(context, asked.context, command)?;
    Ok(DeployReply { notes, ..reply(propose(context, ask, deadline).await?)? })
}

/// What a component has use for and its function was not granted.
fn unused(spec: &FunctionSpec, (keyvalue, blobs): (bool, bool)) -> Vec<String> {
    let mut notes = Vec::new();
    if keyvalue && spec.keyvalue().is_empty() {
        notes.push(
            "it exports a watcher of values and has no 'keyvalue': what it watches cannot be opened for it, and each change that it is told of is a dead letter".to_owned(),
        );
    }
    if blobs && spec.blobs().is_empty() {
        notes.push("it imports 'wasi:blobstore' and has no 'blobs': it can open no bucket".to_owned());
    }
    notes
}

fn refuse(function: &FunctionId, Taken { route, owner }: &Taken) -> Refusal {
    let (namespace, owner_namespace) = (&function.namespace, &owner.function.namespace);
    let sentence = format!(
        "route '{route}' of '{function}' would take calls from '{}' of '{}', and these belong to namespace \
         '{owner_namespace}': choose another route, or let '{}' grant it (grant-routes = [\"{namespace}\"] in its \
         manifest, or --grant-routes {namespace})",
        owner.spec, owner.function, owner.function
    );
    Refusal::new(Code::RouteConflict, sentence)
}

/// What stays with others: a deploy takes nothing away from who was there before, and says so.
fn notes(kept: &[&Route]) -> Vec<String> {
    let note = |route: &&Route| {
        format!(
            "calls to '{}' go to '{}', which was there before: delete it, or deploy it with other routes, to have them",
            route.spec, route.function
        )
    };
    let mut notes: Vec<_> = kept.iter().take(NOTES_MAX).map(note).collect();
    if kept.len() > NOTES_MAX {
        notes.push(format!(
            "and so do those to {} other routes: see 'coracle route list'",
            kept.len() - NOTES_MAX
        ));
    }
    notes
}

/// Grants that end with the deploy: one that says nothing of them ends them, and a manifest that was written before may.
fn ended(before: &[RouteGrant], now: &[RouteGrant]) -> Option<String> {
    let gone: Vec<_> =
        before.iter().filter(|grant| !now.contains(grant)).map(|it| format!("'{it}'")).collect();
    (!gone.is_empty()).then(|| {
        format!(
            "routes below its own are granted no longer to {}: what is there stays, and nothing new comes",
            gone.join(", ")
        )
    })
}

fn reply(decided: Decided) -> Result<DeployReply, Refusal> {
    match decided.outcome {
        Outcome::Deployed { version, unchanged } => {
            let revision = decided.revision.get();
            Ok(DeployReply { revision, version: version.get(), unchanged, notes: Vec::new() })
        }
        other @ (Outcome::Done
        | Outcome::NodeRegistered(_)
        | Outcome::Assigned { .. }
        | Outcome::Rejected(_)) => {
            Err(Refusal::new(Code::Internal, format!("a deploy was answered with {other:?}")))
        }
    }
}

/// Gives all calls to an earlier version: the named one, or for 0 the one before the present one. A deploy that
/// still waits to be ready counts as the present one: it is given up.
///
/// # Errors
/// `function-not-found`, `version-not-found`; else what the state says.
pub(super) async fn rollback(
    context: &Context,
    function: FunctionId,
    version: VersionNumber,
    asked: Option<ChangeContext>,
    deadline: Instant,
) -> Result<RollbackReply, Refusal> {
    barrier(context, deadline).await?;
    let version = match (version.get(), answered(context, asked.as_ref())) {
        (0, None) => before(context, &function)?,
        (0, Some(_)) => find(&context.hub.state(), &function)?.wanted_version(),
        _ => version,
    };
    let traffic = vec![Weight { version, weight: 1 }];
    let ask = ask(context, asked, Command::SetTraffic { function, traffic })?;
    let decided = propose(context, ask, deadline).await?;
    Ok(RollbackReply { revision: decided.revision.get(), version: version.get() })
}

fn before(context: &Context, function: &FunctionId) -> Result<VersionNumber, Refusal> {
    let state = context.hub.state();
    let main = find(&state, function)?.wanted_version();
    let earlier =
        state.versions_of(function).map(|version| version.id.number).filter(|number| *number < main);
    earlier.max().ok_or_else(|| {
        Refusal::new(Code::VersionNotFound, format!("'{function}' has no version before {main}"))
    })
}

fn find<'a>(state: &'a ClusterState, function: &FunctionId) -> Result<&'a Function, Refusal> {
    let missing = || Refusal::new(Code::FunctionNotFound, format!("there is no function '{function}'"));
    state.function(function).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use coracle_proto::spec::Draft;

    use super::*;

    #[test]
    fn what_a_component_has_use_for_and_was_not_granted_is_told() {
        let granted = |keyvalue: &[&str], blobs: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let draft = Draft { keyvalue: owned(keyvalue), blobs: owned(blobs), ..Draft::default() };
            FunctionSpec::new(draft).unwrap()
        };
        let notes = unused(&granted(&[], &[]), (true, true));
        assert!(notes[0].contains("a watcher of values and has no 'keyvalue'"), "{notes:?}");
        assert!(notes.len() == 2 && notes[1].contains("'wasi:blobstore' and has no 'blobs'"), "{notes:?}");
        assert_eq!(unused(&granted(&["b"], &["c"]), (true, true)), [""; 0]);
        assert_eq!(unused(&granted(&[], &[]), (false, false)), [""; 0]);
    }
}
