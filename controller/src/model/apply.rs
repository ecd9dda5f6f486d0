//! The way of every command: repeated, refused or run; then counted and remembered.

use coracle_proto::id::{GroupId, Revision};
use coracle_proto::key::Key;
use coracle_proto::record::{Outcome, Record, Remembered};
use coracle_proto::status::{Code, Refusal};

use super::edit::{Change, Edit};
use super::{ClusterState, Command, Envelope, REMEMBERED_MAX, assign, cluster, function, group, node};

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The answer: of a repeated request the first one.
    pub outcome: Outcome,
    /// That the command made: of a repeated request the first one's. Zero where there is no cluster.
    pub revision: Revision,
    /// Each changed record once, in the order of keys.
    pub changes: Vec<Change>,
    /// The request was applied before: nothing changed, not even the revision.
    pub repeated: bool,
}

impl ClusterState {
    /// Applies one command, which a leader of `term` appended. Total and pure: a refusal is an outcome.
    ///
    /// Every command makes a revision and is remembered, a refused one too. The exceptions change nothing at
    /// all: a repeated request, and a refusal where there is no cluster yet, for there is nowhere to write it.
    pub fn apply(&mut self, term: u64, envelope: Envelope) -> Applied {
        if let Some(first) = self.remembered(envelope.request) {
            let (outcome, revision) = (first.outcome.clone(), first.revision);
            return Applied { outcome, revision, changes: Vec::new(), repeated: true };
        }
        let request = envelope.request;
        let mut edit = Edit::new(self, envelope.time_ms);
        let run = admit(edit.state, term, &envelope).and_then(|()| run(&mut edit, envelope));
        let outcome = run.unwrap_or_else(|refusal| {
            edit.undo();
            Outcome::Rejected(refusal)
        });
        if edit.cluster().is_none() {
            return Applied { outcome, revision: Revision::ZERO, changes: Vec::new(), repeated: false };
        }
        let (revision, time_ms) = (edit.revision, edit.time_ms);
        edit.put(Record::Remembered(Remembered { request, revision, outcome: outcome.clone() }));
        let forgotten = forget(&mut edit);
        edit.update_cluster(|cluster| {
            cluster.revision = revision;
            cluster.time_ms = time_ms;
            if let Some(forgotten) = forgotten {
                cluster.remembered_from = forgotten.next();
            }
        });
        Applied { outcome, revision, changes: edit.finish(), repeated: false }
    }
}

/// Refuses what must not even be looked at.
fn admit(state: &ClusterState, term: u64, envelope: &Envelope) -> Result<(), Refusal> {
    let creates = matches!(envelope.command, Command::CreateCluster { .. });
    if envelope.group != GroupId::META {
        let sentence = format!("the command is of group {}, not of {}", envelope.group, GroupId::META);
        return Err(Refusal::new(Code::WrongCluster, sentence));
    }
    let Some(cluster) = state.cluster() else {
        let refusal = Refusal::new(Code::WrongCluster, "there is no cluster yet: bootstrap it first");
        return if creates { Ok(()) } else { Err(refusal) };
    };
    if cluster.id != envelope.cluster {
        let sentence = format!("the command is of cluster {}, this is {}", envelope.cluster, cluster.id);
        return Err(Refusal::new(Code::WrongCluster, sentence));
    }
    if creates {
        let sentence = format!("cluster '{}' exists already, as {}", cluster.name, cluster.id);
        return Err(Refusal::new(Code::Conflict, sentence));
    }
    if envelope.since < cluster.remembered_from {
        let sentence = format!(
            "the request is as old as revision {}, and outcomes before {} are forgotten: look whether it was done",
            envelope.since, cluster.remembered_from
        );
        return Err(Refusal::new(Code::OutcomeUnknown, sentence));
    }
    match envelope.term {
        Some(decided) if decided != term => {
            let sentence = format!("it was decided in term {decided}, and this is term {term}: decide anew");
            Err(Refusal::new(Code::Conflict, sentence))
        }
        Some(_) | None => Ok(()),
    }
}

fn run(edit: &mut Edit<'_>, envelope: Envelope) -> Result<Outcome, Refusal> {
    let Envelope { expected, trace, .. } = envelope;
    match envelope.command {
        Command::CreateCluster { name, first, voters_wanted } => {
            cluster::create(edit, envelope.cluster, name, first, voters_wanted)
        }
        Command::SetVotersWanted { voters } => cluster::set_voters_wanted(edit, voters),
        Command::RegisterNode { node } => node::register(edit, node),
        Command::UpdateNode { node } => node::update(edit, node),
        Command::MarkNode { node, state } => node::mark(edit, node, state),
        Command::RemoveNode { node } => node::remove(edit, node),
        Command::Deploy { function, spec, routes, route_grants, digest, size, kind } => {
            function::check_expected(edit, &function, expected)?;
            let content = function::Content { spec, routes, route_grants, digest, size, kind, trace };
            function::deploy(edit, function, content)
        }
        Command::SetTraffic { function, traffic } => {
            function::check_expected(edit, &function, expected)?;
            function::set_traffic(edit, &function, traffic)
        }
        Command::DeleteFunction { function } => {
            function::check_expected(edit, &function, expected)?;
            function::delete(edit, &function)
        }
        Command::RaiseFormat { format } => Ok(cluster::raise_format(edit, format)),
        Command::KeepTime => Ok(Outcome::Done),
        Command::SetGroup { group, members, begun } => group::set(edit, group, members, begun),
        Command::Assign { placements, switches } => Ok(assign::assign(edit, placements, switches)),
    }
}

/// Drops the oldest outcomes that are too many, and gives the revision of the last of them. One command adds
/// one outcome, so that it drops one at most.
fn forget(edit: &mut Edit<'_>) -> Option<Revision> {
    if edit.state.remembered.len() <= REMEMBERED_MAX {
        return None;
    }
    let (revision, oldest) = edit.state.remembered.get_min()?;
    let (revision, request) = (*revision, oldest.record.request);
    edit.remove(Key::Request(revision, request));
    Some(revision)
}
