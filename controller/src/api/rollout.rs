//! How a version comes up on its nodes, told from the state and the reported phases.

use std::time::{Duration, Instant};

use coracle_proto::id::{FunctionId, Revision, VersionId, VersionNumber};
use coracle_proto::key::Key;
use coracle_proto::pace::Pace;
use coracle_proto::pb::record::Value;
use coracle_proto::pb::{self, Change, RolloutEvent};
use coracle_proto::record::{NodeState, Role};
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use super::overview::{is_ready, replicas};
use crate::clock;
use crate::context::Context;
use crate::liveness::detector::POLICY;

/// Where much changes: what changes meanwhile is told together.
const PACE: Pace = Pace::new(Duration::from_millis(50), 8);

/// How long the gateways may take to hear of it. One that does not (its node is stopped, say) must not keep a deploy
/// that is done from ending.
const GATEWAYS_WAIT: Duration = Duration::from_secs(2);

/// Tells each change until the version is ready on as many nodes as it can be, takes calls, and is known to the
/// gateways, so that whoever calls any of them is answered by it; or until the client leaves.
pub(super) async fn rollout(
    context: &Context,
    function: FunctionId,
    version: VersionNumber,
    out: mpsc::Sender<Result<RolloutEvent, Status>>,
) {
    let mut revisions = context.hub.subscribe();
    let mut softs = context.soft.subscribe();
    let mut told = None;
    let (mut up, mut pace) = (Up::default(), PACE);
    loop {
        revisions.mark_unchanged();
        softs.mark_unchanged();
        let event = match progress(context, &function, version) {
            Ok(event) => event,
            Err(refusal) => {
                // A client that left needs no reason.
                let _ = out.send(Err(refusal.into())).await;
                return;
            }
        };
        let (now, revision) = (clock::now(), context.hub.state().revision());
        let done = up.look(event.done, (now, revision)).is_some_and(|(since, revision)| {
            let late = now.saturating_duration_since(since) >= GATEWAYS_WAIT;
            late || gateways_know(context, &function, revision)
        });
        let event = RolloutEvent { done, ..event };
        if told.as_ref() != Some(&event) {
            told = Some(event.clone());
            if out.send(Ok(event)).await.is_err() {
                return;
            }
        }
        if done {
            return;
        }
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            changed = softs.changed() => if changed.is_err() { return },
            () = out.closed() => return,
        }
        clock::turn(&mut pace).await;
    }
}

/// Since when a version has been up without a break, and of which revision the gateways have to know since then.
#[derive(Debug, Default)]
struct Up(Option<(Instant, Revision)>);

impl Up {
    /// One look more. What is not up any more begins anew: gateways have all their time again to hear of what comes then.
    fn look(&mut self, is_up: bool, now: (Instant, Revision)) -> Option<(Instant, Revision)> {
        self.0 = is_up.then(|| self.0.unwrap_or(now));
        self.0
    }
}

/// Whether each gateway that is heard of routes by a state in which this function is as it was at a revision: what changed of
/// others since need not have come to it.
fn gateways_know(context: &Context, function: &FunctionId, revision: Revision) -> bool {
    let (state, seen, now) = (context.hub.state(), context.soft.nodes(), clock::now());
    let gateways = state.nodes().filter(|node| node.is(Role::Gateway) && node.state == NodeState::Alive);
    let heard = gateways
        .filter_map(|node| seen.get(&node.id))
        .filter(|seen| now.saturating_duration_since(seen.at) < POLICY.suspect_after);
    // What the one that is furthest behind knows, each of them knows: the changes are looked through once.
    let known = heard.map(|seen| Revision::new(seen.status.routing_revision)).min();
    known.is_none_or(|known| !context.hub.has_changed((known, revision), |change| is_of(change, function)))
}

/// Whether a change is one by which calls of a function are routed.
fn is_of(change: &Change, function: &FunctionId) -> bool {
    match change.key.parse() {
        Ok(Key::Function(id)) => id == *function,
        Ok(Key::Version(id) | Key::Replica(id, _)) => id.function == *function,
        // A removed one does not tell whose it was.
        Ok(Key::Route(_)) => match change.record.clone().and_then(|record| pb::Record::decode(record).ok()) {
            Some(pb::Record { value: Some(Value::Route(route)) }) => {
                route.namespace == function.namespace.as_str() && route.function == function.name.as_str()
            }
            Some(_) | None => true,
        },
        Ok(
            Key::Cluster | Key::Group(_) | Key::Namespace(_) | Key::Node(_) | Key::Request(..) | Key::Slots,
        ) => false,
        Err(_) => true,
    }
}

fn progress(
    context: &Context,
    function: &FunctionId,
    number: VersionNumber,
) -> Result<RolloutEvent, Refusal> {
    let state = context.hub.state();
    let record = state
        .function(function)
        .ok_or_else(|| Refusal::new(Code::FunctionNotFound, format!("there is no function '{function}'")))?;
    let number = if number.get() == 0 { record.wanted_version() } else { number };
    let id = VersionId { function: function.clone(), number };
    let version = state
        .version(&id)
        .ok_or_else(|| Refusal::new(Code::VersionNotFound, format!("there is no version '{id}'")))?;
    if !record.kept().contains(&number) {
        let sentence = format!("'{id}' takes no calls any more, and none wait for it");
        return Err(Refusal::new(Code::Conflict, sentence));
    }
    let wanted = version.spec.replicas();
    let takes = |node: &&coracle_proto::record::Node| node.is(Role::Worker) && node.state == NodeState::Alive;
    let workers = u32::try_from(state.nodes().filter(takes).count()).unwrap_or(u32::MAX);
    let replicas = replicas(&state, &context.soft.nodes(), &id);
    let ready = replicas.iter().filter(|replica| is_ready(replica)).count();
    let ready = u32::try_from(ready).unwrap_or(u32::MAX);
    let unplaceable = match workers < wanted {
        true => format!("{wanted} nodes are wanted, {workers} can take it"),
        false => String::new(),
    };
    let done = ready > 0 && ready >= wanted.min(workers) && record.serves(number);
    Ok(RolloutEvent { wanted, ready, replicas, unplaceable, done })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use coracle_proto::id::{Namespace, NodeId, RequestId};

    use super::*;
    use crate::model::samples;

    #[test]
    fn what_breaks_off_begins_anew() {
        let (begun, mut up) = (clock::now(), Up::default());
        let at = |seconds: u64| (begun + Duration::from_secs(seconds), Revision::new(seconds));
        assert_eq!(up.look(false, at(1)), None);
        assert_eq!(up.look(true, at(2)), Some(at(2)));
        assert_eq!(up.look(true, at(3)), Some(at(2)), "since the first look");
        assert_eq!(up.look(false, at(4)), None);
        assert_eq!(up.look(true, at(5)), Some(at(5)), "not since before the break");
    }

    #[test]
    fn changes_are_of_the_function_whose_calls_they_route() {
        let (own, other) = (samples::version("hello", 3), samples::version("other", 3));
        let function = own.function.clone();
        let node = NodeId::new(1);
        for (key, expected) in [
            (Key::Function(own.function.clone()), true),
            (Key::Function(other.function.clone()), false),
            (Key::Version(own.clone()), true),
            (Key::Version(other.clone()), false),
            (Key::Replica(own, node), true),
            (Key::Replica(other, node), false),
            (Key::Cluster, false),
            (Key::Namespace(Namespace::default()), false),
            (Key::Node(node), false),
            (Key::Request(Revision::new(9), RequestId::new(7)), false),
        ] {
            let change = Change { key: key.to_string(), record: None };
            assert_eq!(is_of(&change, &function), expected, "{key}");
        }
        let unknown = Change { key: "of a later program/1".to_owned(), record: None };
        assert!(is_of(&unknown, &function), "nobody knows whose it is");
    }

    #[test]
    fn a_route_is_of_the_function_that_it_leads_to() {
        let function = samples::function("hello");
        let to = |namespace: &str, function: &str| {
            let (namespace, function) = (namespace.to_owned(), function.to_owned());
            let route = pb::Route { namespace, function, ..pb::Route::default() };
            Some(Bytes::from(pb::Record { value: Some(Value::Route(route)) }.encode_to_vec()))
        };
        let key = Key::Route("/a".parse().unwrap()).to_string();
        for (what, record, expected) in [
            ("to it", to("default", "hello"), true),
            ("to another one", to("default", "other"), false),
            ("to one of another namespace", to("team", "hello"), false),
            ("removed: whose it was is not told", None, true),
            ("not readable", Some(Bytes::from_static(&[0xff])), true),
        ] {
            let change = Change { key: key.clone(), record };
            assert_eq!(is_of(&change, &function), expected, "{what}");
        }
    }
}
