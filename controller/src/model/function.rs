//! Commands about functions.

use std::collections::BTreeSet;

use coracle_proto::id::{Digest, FunctionId, Namespace, Revision, VersionId, VersionNumber};
use coracle_proto::key::Key;
use coracle_proto::record::{Function, Kind, NamespaceRecord, Outcome, Record, Route, Version, Weight};
use coracle_proto::route::{Match, RouteGrant, RouteSpec};
use coracle_proto::spec::{FunctionSpec, SpecError};
use coracle_proto::status::{Code, Refusal};

use super::ClusterState;
use super::edit::Edit;

/// Functions of one cluster: every controller and gateway keeps all of them in memory.
pub const FUNCTIONS_MAX: usize = 100_000;
/// Versions of one function to which calls can be given back; older ones go with the next deploy.
pub const VERSIONS_MAX: usize = 10;

/// What a deploy brings.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) spec: FunctionSpec,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) route_grants: Vec<RouteGrant>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) kind: Kind,
    /// The deploy's trace; it makes no difference between two versions.
    pub(super) trace: String,
}

impl Content {
    fn is_that_of(&self, function: &Function, version: &Version) -> bool {
        self.digest == version.digest
            && self.kind == version.kind
            && self.spec == version.spec
            && self.routes == function.routes
            && self.route_grants == function.route_grants
    }
}

/// Where a function answers that names no route: at its name and below.
///
/// # Errors
/// Never for a name; the type of a route cannot know that.
pub fn default_route(function: &FunctionId) -> Result<RouteSpec, SpecError> {
    let path = match function.namespace.as_str() {
        Namespace::DEFAULT => format!("/{}", function.name),
        namespace => format!("/{namespace}/{}", function.name),
    };
    RouteSpec::stored("", &path, Match::Prefix)
}

/// Every route at which a function with these own ones answers.
pub(super) fn answers_at(function: &FunctionId, own: &[RouteSpec]) -> Result<BTreeSet<RouteSpec>, SpecError> {
    if own.is_empty() {
        return default_route(function).map(|route| BTreeSet::from([route]));
    }
    Ok(own.iter().cloned().collect())
}

/// Refuses when the function changed after the revision that the client had read; [`Function::updated`] tells.
pub(super) fn check_expected(edit: &Edit<'_>, id: &FunctionId, expected: Revision) -> Result<(), Refusal> {
    if expected == Revision::ZERO {
        return Ok(());
    }
    let refuse = |what: String| {
        let sentence = format!("'{id}' {what}; it was expected as of revision {expected}");
        Err(Refusal::new(Code::Conflict, sentence))
    };
    match edit.state.function(id) {
        None => refuse("does not exist".to_owned()),
        Some(function) if function.updated > expected => {
            refuse(format!("changed at revision {}", function.updated))
        }
        Some(_) => Ok(()),
    }
}

/// Makes a version that gets all calls when it is ready, and the function and its namespace where they are new.
/// Routes and their grants are the function's and change at once. Whether a route takes calls of another namespace was
/// asked at the API's door ([`ClusterState::taken`]).
pub(super) fn deploy(edit: &mut Edit<'_>, id: FunctionId, content: Content) -> Result<Outcome, Refusal> {
    let known = edit.state.function(&id).cloned();
    let latest = known.as_ref().map_or_else(VersionNumber::default, |function| function.latest);
    let last = VersionId { function: id.clone(), number: latest };
    if let (Some(function), Some(version)) = (&known, edit.state.version(&last))
        && content.is_that_of(function, version)
        && function.wanted().iter().all(|part| part.version == latest)
    {
        return Ok(Outcome::Deployed { version: latest, unchanged: true });
    }
    if known.is_none() && edit.state.functions.len() >= FUNCTIONS_MAX {
        let sentence = format!("the cluster has {FUNCTIONS_MAX} functions, as many as it can");
        return Err(Refusal::new(Code::LimitReached, sentence));
    }
    let number = VersionNumber::new(latest.get().saturating_add(1));
    take_routes(edit, &id, known.as_ref(), &content.routes)?;
    if edit.state.namespaces.get(&id.namespace).is_none() {
        edit.put(Record::Namespace(NamespaceRecord { name: id.namespace.clone(), created: edit.revision }));
    }
    edit.put(Record::Version(Version {
        id: VersionId { function: id.clone(), number },
        digest: content.digest,
        size: content.size,
        kind: content.kind,
        spec: content.spec,
        created_ms: edit.time_ms,
        trace: content.trace,
    }));
    let all = vec![Weight { version: number, weight: 1 }];
    let created_ms = known.as_ref().map_or(edit.time_ms, |function| function.created_ms);
    // Where nothing answers yet there is nothing to keep while the version gets ready.
    let (traffic, next) = match known {
        Some(function) => (function.traffic, all),
        None => (all, Vec::new()),
    };
    let function = Function {
        id,
        latest: number,
        traffic,
        next,
        routes: content.routes,
        route_grants: content.route_grants,
        created_ms,
        updated_ms: edit.time_ms,
        updated: edit.revision,
    };
    retire(edit, &function)?;
    edit.put(Record::Function(function));
    Ok(Outcome::Deployed { version: number, unchanged: false })
}

/// Divides the calls anew among versions that exist, as soon as each of them is ready. What calls go to already
/// needs no wait: then whatever else they waited for is given up.
pub(super) fn set_traffic(
    edit: &mut Edit<'_>,
    id: &FunctionId,
    traffic: Vec<Weight>,
) -> Result<Outcome, Refusal> {
    let function = find(edit.state, id)?.clone();
    let invalid =
        |reason: &str| Err(Refusal::new(Code::InvalidArgument, format!("traffic of '{id}': {reason}")));
    if traffic.is_empty() || traffic.iter().any(|part| part.weight == 0) {
        return invalid("at least one version takes calls, and a weight is at least 1");
    }
    let distinct: BTreeSet<_> = traffic.iter().map(|part| part.version).collect();
    if distinct.len() < traffic.len() {
        return invalid("a version stands twice");
    }
    for number in distinct {
        if edit.state.version(&VersionId { function: id.clone(), number }).is_none() {
            let sentence = format!("'{id}' has no version {number}; the last {VERSIONS_MAX} are kept");
            return Err(Refusal::new(Code::VersionNotFound, sentence));
        }
    }
    if function.wanted() != traffic {
        let (updated_ms, updated) = (edit.time_ms, edit.revision);
        let next = if function.traffic == traffic { Vec::new() } else { traffic };
        edit.put(Record::Function(Function { next, updated_ms, updated, ..function }));
    }
    Ok(Outcome::Done)
}

/// Ends the function, and its namespace with the last one in it.
pub(super) fn delete(edit: &mut Edit<'_>, id: &FunctionId) -> Result<Outcome, Refusal> {
    let function = find(edit.state, id)?.clone();
    let versions: Vec<_> = edit.state.versions_of(id).map(|version| version.id.clone()).collect();
    for version in versions {
        edit.drop_replicas_of(&version);
        edit.remove(Key::Version(version));
    }
    for route in answers_at(id, &function.routes).map_err(internal)? {
        edit.remove(Key::Route(route));
    }
    edit.remove(Key::Function(id.clone()));
    let neighbours = [edit.state.functions.get_prev(id), edit.state.functions.get_next(id)];
    if !neighbours.into_iter().flatten().any(|(other, _)| other.namespace == id.namespace) {
        edit.remove(Key::Namespace(id.namespace.clone()));
    }
    Ok(Outcome::Done)
}

fn find<'a>(state: &'a ClusterState, id: &FunctionId) -> Result<&'a Function, Refusal> {
    let missing = || Refusal::new(Code::FunctionNotFound, format!("there is no function '{id}'"));
    state.function(id).ok_or_else(missing)
}

/// Gives the function its routes and takes those away that it no longer names.
fn take_routes(
    edit: &mut Edit<'_>,
    id: &FunctionId,
    known: Option<&Function>,
    own: &[RouteSpec],
) -> Result<(), Refusal> {
    let new = answers_at(id, own).map_err(internal)?;
    if own.len() > new.len() {
        let sentence = format!("routes of '{id}': each once");
        return Err(Refusal::new(Code::InvalidArgument, sentence));
    }
    for route in &new {
        if let Some(other) = edit.state.route(route).filter(|other| other.function != *id) {
            let sentence = format!("route '{route}' of '{id}' belongs to '{}' already", other.function);
            return Err(Refusal::new(Code::RouteConflict, sentence));
        }
    }
    let old = match known {
        Some(function) => answers_at(id, &function.routes).map_err(internal)?,
        None => BTreeSet::new(),
    };
    for route in old.difference(&new) {
        edit.remove(Key::Route(route.clone()));
    }
    for route in new {
        edit.put(Record::Route(Route { spec: route, function: id.clone() }));
    }
    Ok(())
}

/// Ends the oldest versions that are too many, none of which takes calls or waits for them.
fn retire(edit: &mut Edit<'_>, function: &Function) -> Result<(), Refusal> {
    let id = &function.id;
    let versions: Vec<_> = edit.state.versions_of(id).map(|version| version.id.clone()).collect();
    let surplus = versions.len().saturating_sub(VERSIONS_MAX);
    let kept = function.kept();
    let idle: Vec<_> = versions.into_iter().filter(|version| !kept.contains(&version.number)).collect();
    if idle.len() < surplus {
        let sentence = format!(
            "'{id}' has {VERSIONS_MAX} versions that take calls, as many as it can: give all calls to fewer first"
        );
        return Err(Refusal::new(Code::LimitReached, sentence));
    }
    for version in idle.into_iter().take(surplus) {
        edit.drop_replicas_of(&version);
        edit.remove(Key::Version(version));
    }
    Ok(())
}

fn internal(error: SpecError) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
}
