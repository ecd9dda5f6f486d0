//! Tests of the table.

use std::collections::BTreeSet;

use coracle_proto::pb::{HeldArtifact, ReplicaPhase, ReplicaStatus, SoftBatch};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::clock;
use crate::soft::news::{News, Phases};

fn status(node: u64, sequence: u64) -> pb::NodeStatus {
    pb::NodeStatus { node, incarnation: 1, sequence, ..pb::NodeStatus::default() }
}

#[test]
fn older_statuses_are_ignored_and_restarts_are_not() {
    let (table, now) = (SoftTable::new(), clock::now());
    assert_eq!(table.accept(status(1, 2), Via::Report, now), Accepted::Changed);
    assert_eq!(table.accept(status(1, 2), Via::Exchange(NodeId::new(9)), now), Accepted::Stale);
    assert_eq!(table.accept(status(1, 1), Via::Report, now), Accepted::Stale);
    assert_eq!(table.accept(status(1, 3), Via::Report, now), Accepted::Renewed);
    let restarted = pb::NodeStatus { incarnation: 2, ..status(1, 1) };
    assert_eq!(table.accept(restarted, Via::Report, now), Accepted::Changed);
    let replicas = vec![ready("a")];
    let changed = pb::NodeStatus { incarnation: 2, replicas, ..status(1, 2) };
    assert_eq!(table.accept(changed, Via::Report, now), Accepted::Changed);
}

#[test]
fn a_new_stream_is_believed_although_its_count_was_set_back() {
    let (table, now) = (SoftTable::new(), clock::now());
    table.accept(pb::NodeStatus { incarnation: 9, ..status(1, 70) }, Via::NewReport, now);
    assert_eq!(table.accept(status(1, 1), Via::Report, now), Accepted::Stale);
    assert_eq!(table.accept(status(1, 1), Via::NewReport, now), Accepted::Changed);
    assert_eq!(table.accept(status(1, 2), Via::Report, now), Accepted::Renewed);
}

fn ready(name: &str) -> ReplicaStatus {
    ReplicaStatus {
        name: name.to_owned(),
        version: 1,
        phase: ReplicaPhase::Ready.into(),
        ..ReplicaStatus::default()
    }
}

fn told(news: News) -> Vec<pb::NodeStatus> {
    news.batches(usize::MAX, clock::now()).flat_map(|batch| batch.nodes).collect()
}

/// As a gateway reads it.
fn phases(news: Phases) -> Vec<pb::NodeStatus> {
    let read = |batch: SoftBatch| SoftBatch::decode(&batch.encode_to_vec()[..]).unwrap().nodes;
    news.flat_map(read).collect()
}

fn direct(table: &SoftTable, after: u64) -> News {
    table.direct_since(after, &BTreeSet::new())
}

#[test]
fn readers_get_what_came_after() {
    let (table, now) = (SoftTable::new(), clock::now());
    table.accept(status(1, 1), Via::Report, now);
    let first = table.phases_since(0);
    let after = first.sequence;
    assert_eq!(phases(first).len(), 1);
    table.accept(status(2, 1), Via::Exchange(NodeId::new(9)), now);
    let second = table.phases_since(after);
    let last = second.sequence;
    assert_eq!(phases(second).iter().map(|status| status.node).collect::<Vec<_>>(), [2]);
    assert!(told(direct(&table, after)).is_empty(), "what a peer told is not told on");
    assert!(phases(table.phases_since(last)).is_empty());
    table.accept(status(1, 2), Via::Report, now);
    assert!(phases(table.phases_since(last)).is_empty(), "that a node lives is nothing to route by");
    assert_eq!(told(direct(&table, last)).len(), 1, "controllers judge by it");
}

/// What reads the wire as another controller, or a gateway, does.
fn apply(lists: &mut BTreeMap<String, i32>, status: &pb::NodeStatus) {
    if status.since == 0 {
        lists.clear();
    }
    for replica in &status.replicas {
        match replica.phase() {
            ReplicaPhase::Unspecified => drop(lists.remove(&replica.name)),
            phase => drop(lists.insert(replica.name.clone(), phase.into())),
        }
    }
}

#[test]
fn a_change_is_told_as_what_changed() {
    let (table, now) = (SoftTable::new(), clock::now());
    let replicas: Vec<_> = (0..1000).map(|at| ready(&format!("f{at}"))).collect();
    let whole = pb::NodeStatus { changes: 1, replicas, ..status(1, 1) };
    table.accept(whole, Via::NewReport, now);
    let mut lists = BTreeMap::new();
    let first = table.phases_since(0);
    let after = first.sequence;
    let mut parts = coracle_proto::soft::Parts::default();
    let whole = phases(first).into_iter().filter_map(|part| parts.join(part));
    whole.for_each(|status| apply(&mut lists, &status));
    assert_eq!(lists.len(), 1000);
    let failed = ReplicaStatus { phase: ReplicaPhase::Failed.into(), reason: "why".into(), ..ready("f7") };
    let gone = ReplicaStatus { phase: ReplicaPhase::Unspecified.into(), ..ready("f8") };
    let delta = pb::NodeStatus { changes: 2, since: 1, replicas: vec![failed, gone], ..status(1, 2) };
    assert_eq!(table.accept(delta, Via::Report, now), Accepted::Changed);
    let news = [(phases(table.phases_since(after)), ""), (told(direct(&table, after)), "why")];
    for (news, reason) in news {
        assert_eq!((news.len(), news[0].replicas.len(), news[0].since, news[0].changes), (1, 2, 1, 2));
        assert_eq!(news[0].replicas[0].reason, reason);
        let mut lists = lists.clone();
        apply(&mut lists, &news[0]);
        assert_eq!((lists.len(), lists["f7"]), (999, ReplicaPhase::Failed.into()));
    }
    let alive = pb::NodeStatus { changes: 2, since: 2, ..status(1, 3) };
    assert_eq!(table.accept(alive, Via::Report, now), Accepted::Renewed);
    assert_eq!(table.nodes()[&NodeId::new(1)].holdings.replicas.len(), 999);
}

#[test]
fn artifacts_alone_are_no_gap_for_gateways() {
    let (table, now) = (SoftTable::new(), clock::now());
    table.accept(pb::NodeStatus { changes: 1, ..status(1, 1) }, Via::NewReport, now);
    let after = table.phases_since(0).sequence;
    let held = HeldArtifact { digest: vec![7; 32].into(), size: 1, age_ms: 0 };
    let artifact = pb::NodeStatus { changes: 2, since: 1, artifacts: vec![held], ..status(1, 2) };
    assert_eq!(table.accept(artifact, Via::Report, now), Accepted::Changed);
    assert!(phases(table.phases_since(after)).is_empty());
    let phase = pb::NodeStatus { changes: 3, since: 2, replicas: vec![ready("a")], ..status(1, 3) };
    table.accept(phase, Via::Report, now);
    let news = phases(table.phases_since(after));
    assert_eq!((news.len(), news[0].since, news[0].changes), (1, 1, 3), "a gateway goes on from 1");
    let dropped = pb::NodeStatus { changes: 4, since: 3, dropped: vec![vec![7; 32].into()], ..status(1, 4) };
    assert_eq!(table.accept(dropped, Via::Report, now), Accepted::Changed);
    assert!(table.nodes()[&NodeId::new(1)].holdings.artifacts.is_empty());
}

#[test]
fn what_was_missed_is_asked_for_and_the_node_lives_meanwhile() {
    let (table, now) = (SoftTable::new(), clock::now());
    let alive = |sequence, changes| pb::NodeStatus { changes, since: changes, ..status(1, sequence) };
    assert_eq!(table.accept(alive(1, 5), Via::Report, now), Accepted::Gap);
    assert_eq!(table.nodes()[&NodeId::new(1)].at, now);
    let delta = pb::NodeStatus { replicas: vec![ready("a")], changes: 6, since: 5, ..status(1, 2) };
    assert_eq!(table.accept(delta, Via::Report, now), Accepted::Gap);
    assert!(told(direct(&table, 1)).is_empty(), "what is not known is not told on");
    let whole = pb::NodeStatus { replicas: vec![ready("a")], changes: 6, ..status(1, 3) };
    assert_eq!(table.accept(whole, Via::Report, now), Accepted::Changed);
    assert_eq!(table.accept(alive(4, 6), Via::Report, now), Accepted::Renewed);
    let asked = told(table.direct_since(table.phases_since(0).sequence, &[NodeId::new(1)].into()));
    assert_eq!((asked.len(), asked[0].since, asked[0].replicas.len()), (1, 0, 1));
}

/// A status that was taken without its lists comes again with them, under the number that it had.
#[test]
fn lists_that_were_missed_are_taken_though_the_node_said_nothing_since() {
    let (table, via, now) = (SoftTable::new(), Via::Exchange(NodeId::new(9)), clock::now());
    let alive = pb::NodeStatus { changes: 5, since: 5, ..status(1, 7) };
    assert_eq!(table.accept(alive.clone(), via, now), Accepted::Gap);
    assert_eq!(table.accept(alive, via, now), Accepted::Stale);
    let whole = pb::NodeStatus { changes: 5, replicas: vec![ready("a")], ..status(1, 7) };
    assert_eq!(table.accept(whole.clone(), via, now), Accepted::Changed);
    assert_eq!(table.accept(whole, via, now), Accepted::Stale);
    assert_eq!(table.nodes()[&NodeId::new(1)].holdings.replicas.len(), 1);
}

/// What becomes of a message between two controllers.
#[derive(Debug, Clone, Copy)]
enum Way {
    Answered,
    Lost,
    AnswerLost,
    /// The other one does not know the node yet.
    Unknown,
}

#[derive(Debug, Clone)]
enum Event {
    /// The node says something of a replica, or that it lives.
    Report(Option<(u8, bool)>),
    Exchange(Way),
    /// The other controller starts anew.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let way = prop_oneof![Just(Way::Answered), Just(Way::Lost), Just(Way::AnswerLost), Just(Way::Unknown)];
    prop_oneof![
        option::of((0..4_u8, any::<bool>())).prop_map(Event::Report),
        way.prop_map(Event::Exchange),
        Just(Event::Restart),
    ]
}

/// One controller tells another one what was reported to it.
#[derive(Debug)]
struct Exchange {
    table: SoftTable,
    other: SoftTable,
    told: u64,
    whole: BTreeSet<NodeId>,
}

impl Exchange {
    fn send(&mut self, way: Way) {
        let news = self.table.direct_since(self.told, &self.whole);
        let sequence = news.sequence;
        if matches!(way, Way::Lost) {
            return;
        }
        let (mut missed, via) = (BTreeSet::new(), Via::Exchange(NodeId::new(9)));
        for status in told(news).into_iter().filter(|_| !matches!(way, Way::Unknown)) {
            let node = NodeId::new(status.node);
            if self.other.accept(status, via, clock::now()) == Accepted::Gap {
                missed.insert(node);
            }
        }
        if !matches!(way, Way::AnswerLost) {
            (self.told, self.whole) = (sequence, missed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was lost: two exchanges later, without a word of the node in between, both know the same.
    #[test]
    fn two_controllers_come_to_know_the_same(events in vec(event(), 0..40)) {
        let mut exchange = Exchange {
            table: SoftTable::new(),
            other: SoftTable::new(),
            told: 0,
            whole: BTreeSet::new(),
        };
        let mut last = status(1, 0);
        for event in events.into_iter().chain([Event::Report(None)]) {
            match event {
                Event::Report(replica) => {
                    let since = last.changes;
                    let mut now = pb::NodeStatus { sequence: last.sequence + 1, since, ..last.clone() };
                    if let Some((name, is_ready)) = replica {
                        let phase = if is_ready { ReplicaPhase::Ready } else { ReplicaPhase::Unspecified };
                        now.replicas = vec![ReplicaStatus { phase: phase.into(), ..ready(&format!("f{name}")) }];
                    }
                    now.changes = since + u64::from(since == 0 || replica.is_some());
                    last = pb::NodeStatus { replicas: Vec::new(), ..now.clone() };
                    exchange.table.accept(now, Via::Report, clock::now());
                }
                Event::Exchange(way) => exchange.send(way),
                Event::Restart => exchange.other = SoftTable::new(),
            }
        }
        exchange.send(Way::Answered);
        exchange.send(Way::Answered);
        let lists = |table: &SoftTable| table.nodes().into_values().map(|seen| seen.holdings.replicas).collect::<Vec<_>>();
        prop_assert_eq!(lists(&exchange.other), lists(&exchange.table));
        prop_assert!(exchange.whole.is_empty());
    }
}

#[test]
fn the_lists_may_be_of_any_length() {
    let (table, now) = (SoftTable::new(), clock::now());
    let failed = |at: usize| ReplicaStatus {
        phase: ReplicaPhase::Failed.into(),
        reason: "r".repeat(4096),
        ..ready(&format!("function-{at}"))
    };
    let replicas: Vec<_> = (0..20_000).map(failed).collect();
    let whole = pb::NodeStatus { changes: 1, replicas, ..status(1, 1) };
    let mut accepted = Vec::new();
    for part in coracle_proto::soft::cut(whole, 1 << 20) {
        assert!(part.encoded_len() <= 1 << 20);
        accepted.push(table.accept(part, Via::NewReport, now));
    }
    assert_eq!(accepted.pop(), Some(Accepted::Changed));
    assert!(accepted.len() > 10 && accepted.iter().all(|it| *it == Accepted::Part));
    let peer = SoftTable::new();
    for batch in direct(&table, 0).batches(1 << 20, now) {
        assert!(batch.encoded_len() <= (1 << 20) + 1024, "{} bytes", batch.encoded_len());
        for part in batch.nodes {
            peer.accept(part, Via::Exchange(NodeId::new(2)), now);
        }
    }
    let reason = peer.nodes()[&NodeId::new(1)].holdings.replicas.values().next().unwrap().reason.len();
    assert_eq!(peer.nodes()[&NodeId::new(1)].holdings.replicas.len(), 20_000);
    assert_eq!(reason, coracle_proto::soft::REASON_BYTES_MAX);
}

#[test]
fn what_is_not_renewed_expires() {
    let (table, now) = (SoftTable::new(), clock::now());
    table.accept(status(1, 1), Via::Report, now);
    table.accept(status(2, 1), Via::Report, now + EXPIRES_AFTER);
    table.expire(now + EXPIRES_AFTER, |_| true);
    assert_eq!(table.nodes().into_keys().collect::<Vec<_>>(), [NodeId::new(2)]);
    table.expire(now + EXPIRES_AFTER, |_| false);
    assert!(table.nodes().is_empty());
}

fn processes(node: u64, sequence: u64, restarts: u64) -> pb::NodeProcesses {
    let child = pb::ChildProcess { restarts, ..pb::ChildProcess::default() };
    pb::NodeProcesses { node, sequence, children: vec![child], ..pb::NodeProcesses::default() }
}

#[test]
fn processes_are_told_on_and_expire_too() {
    let (table, now) = (SoftTable::new(), clock::now());
    let mut urgent = table.subscribe_urgent();
    let mut hurried = move || {
        let changed = urgent.has_changed().unwrap();
        urgent.mark_unchanged();
        changed
    };
    table.accept_processes(processes(1, 2, 0), Via::Report, now);
    assert!(hurried());
    table.accept_processes(processes(1, 1, 7), Via::Report, now);
    assert_eq!(table.processes()[&NodeId::new(1)].children[0].restarts, 0, "older");
    table.accept_processes(processes(1, 3, 0), Via::Report, now);
    assert!(!hurried(), "nothing changed");
    table.accept_processes(processes(1, 4, 1), Via::Report, now);
    assert!(hurried());
    table.accept_processes(processes(2, 1, 0), Via::Exchange(NodeId::new(9)), now + EXPIRES_AFTER);
    let batches = direct(&table, 0).batches(1, now).collect::<Vec<SoftBatch>>();
    let told: Vec<_> = batches.iter().flat_map(|batch| &batch.processes).map(|it| it.node).collect();
    assert_eq!(told, [1], "what a peer told is not told on");
    assert!(phases(table.phases_since(0)).is_empty(), "gateways need none");
    table.expire(now + EXPIRES_AFTER, |_| true);
    assert_eq!(table.processes().into_keys().collect::<Vec<_>>(), [NodeId::new(2)]);
}

#[test]
fn batches_are_cut() {
    let (table, now) = (SoftTable::new(), clock::now());
    for node in 1..=10 {
        table.accept(status(node, 1), Via::Report, now);
    }
    let batches: Vec<_> = direct(&table, 0).batches(12, now).collect();
    assert!(batches.len() > 3, "{}", batches.len());
    let first = batches.iter().filter(|batch| !batch.continued).count();
    assert_eq!(first, 1, "it alone brings alarms: those after it must not end them");
    assert_eq!(batches.iter().map(|batch| batch.nodes.len()).sum::<usize>(), 10);
}
