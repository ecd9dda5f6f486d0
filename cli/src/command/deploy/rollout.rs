//! The last step of a change: a version comes up on its nodes, and a person sees how.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::status::Code;
use tonic::Streaming;

use super::upload::waiting_behind;
use crate::client::{Admin, Client, Deadline, final_failure};
use crate::exit::{Exit, Failure};
use crate::output::{Progress, Talk};

/// A node that failed so often is placed around (design, section 5): when every one did, nothing is left to wait for.
const ATTEMPTS_MAX: u32 = 3;
/// Whoever waits sees for how long.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Before another node is asked when the stream broke.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until a version is ready on all of its nodes and takes calls; the nodes are returned as text.
pub(in crate::command) async fn wait(
    client: &mut Client,
    id: &FunctionId,
    version: u64,
    talk: Talk,
) -> Result<String, Failure> {
    let progress = talk.progress(None);
    let mut board = Board::default();
    let what = format!("rollout of {id} version {version}");
    loop {
        let ask = async |mut admin: Admin| {
            let (namespace, name) = (id.namespace.to_string(), id.name.to_string());
            admin.rollout(pb::RolloutRequest { namespace, name, version }).await
        };
        match client.call(&what, ask).await {
            Ok(events) => {
                let followed = board.follow(events, client.deadline(), &progress, talk).await;
                if let Some(done) = followed.map_err(|failure| failure.during(&what))? {
                    return Ok(done);
                }
            }
            Err(failure) if !client.deadline().is_over() => return Err(failure),
            Err(_) => {}
        }
        if client.deadline().is_over() {
            return Err(board.timed_out(client.deadline().total()).during(&what));
        }
        client.leave();
        client.deadline().pause(PAUSE).await;
    }
}

/// What is known of the replicas.
#[derive(Debug, Default)]
struct Board {
    replicas: BTreeMap<u64, Replica>,
    wanted: u32,
    unplaceable: String,
    done: bool,
    /// For how long each node has been at what it does, as far as was heard.
    busy: BTreeMap<u64, Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Replica {
    phase: pb::ReplicaPhase,
    reason: String,
    attempts: u32,
    /// Compilations before its own.
    ahead: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Ready everywhere.
    Ready,
    /// Ready on all nodes that can hold it, and those are too few.
    Short,
    /// Every node gave up.
    Failed,
    /// Still coming up.
    Waiting,
}

impl Board {
    /// Tells what comes, until the version is ready: then on which nodes. None where the stream broke, or
    /// the time is up.
    async fn follow(
        &mut self,
        mut events: Streaming<pb::RolloutEvent>,
        deadline: Deadline,
        progress: &Progress,
        talk: Talk,
    ) -> Result<Option<String>, Failure> {
        let mut left = deadline.left();
        while !deadline.is_over() {
            let next = tokio::time::timeout(deadline.at_most(TELL_EVERY), events.message()).await;
            let now_left = deadline.left();
            self.passed(left.saturating_sub(now_left));
            left = now_left;
            let Ok(next) = next else {
                progress.status(self.waiting_for());
                continue;
            };
            let event = match next {
                Ok(Some(event)) => event,
                // A node that went away tells no more: the next one knows the same.
                Ok(None) => return Ok(None),
                Err(status) => return final_failure(status).map_or(Ok(None), Err),
            };
            for (good, line) in self.take(event) {
                progress.line(if good { talk.done(&line) } else { talk.failed(&line) });
            }
            match self.verdict() {
                Verdict::Ready => return Ok(Some(self.ready_nodes())),
                Verdict::Short => {
                    progress.line(&format!("  fewer replicas than wanted: {}", self.unplaceable));
                    return Ok(Some(self.ready_nodes()));
                }
                Verdict::Failed => return Err(self.failed()),
                Verdict::Waiting => progress.status(self.waiting_for()),
            }
        }
        Ok(None)
    }

    /// Takes over what was told; what is new is returned as lines, good or bad.
    fn take(&mut self, event: pb::RolloutEvent) -> Vec<(bool, String)> {
        let mut lines = Vec::new();
        let mut now = BTreeMap::new();
        for wire in event.replicas {
            let status = wire.status.unwrap_or_default();
            let replica = Replica {
                phase: status.phase(),
                reason: status.reason.clone(),
                attempts: status.attempts,
                ahead: status.ahead,
            };
            let known = self.replicas.get(&wire.node);
            if known != Some(&replica) {
                lines.extend(replica.line(wire.node));
            }
            if known.is_none_or(|known| known.word() != replica.word()) {
                self.busy.insert(wire.node, Duration::ZERO);
            }
            now.insert(wire.node, replica);
        }
        self.replicas = now;
        self.wanted = event.wanted;
        self.unplaceable = event.unplaceable;
        self.done = event.done;
        lines
    }

    /// Time went by.
    fn passed(&mut self, time: Duration) {
        self.busy.values_mut().for_each(|busy| *busy += time);
    }

    fn verdict(&self) -> Verdict {
        let all = |is: fn(&Replica) -> bool| !self.replicas.is_empty() && self.replicas.values().all(is);
        if self.done {
            return if self.unplaceable.is_empty() { Verdict::Ready } else { Verdict::Short };
        }
        if all(|replica| replica.phase == pb::ReplicaPhase::Failed && replica.attempts >= ATTEMPTS_MAX) {
            return Verdict::Failed;
        }
        Verdict::Waiting
    }

    fn ready_nodes(&self) -> String {
        let ready = |(node, replica): (&u64, &Replica)| {
            (replica.phase == pb::ReplicaPhase::Ready).then(|| node.to_string())
        };
        let nodes: Vec<_> = self.replicas.iter().filter_map(ready).collect();
        let noun = if nodes.len() == 1 { "node" } else { "nodes" };
        format!("{noun} {}", nodes.join(", "))
    }

    /// `node 1 ready, node 2 compiling, 12 s`, or that no node was chosen yet.
    fn waiting_for(&self) -> String {
        let describe = |(node, replica): (&u64, &Replica)| {
            let busy = self.busy.get(node).filter(|busy| replica.is_busy() && busy.as_secs() > 0);
            let busy = busy.map(|busy| format!(", {} s", busy.as_secs())).unwrap_or_default();
            format!("{}{busy}", replica.describe(*node))
        };
        let replicas: Vec<_> = self.replicas.iter().map(describe).collect();
        match (replicas.is_empty(), self.unplaceable.is_empty()) {
            (true, true) => "no node was chosen yet".to_owned(),
            (true, false) => format!("no node can take it: {}", self.unplaceable),
            (false, true) => replicas.join(", "),
            (false, false) => format!("{} ({})", replicas.join(", "), self.unplaceable),
        }
    }

    fn failed(&self) -> Failure {
        Failure::new(Exit::Refused, format!("no node can run it: {}", self.waiting_for()))
    }

    fn timed_out(&self, waited: Duration) -> Failure {
        let (wanted, waited, waiting) = (self.wanted, waited.as_secs(), self.waiting_for());
        let go_on = "the cluster goes on; see 'coracle function get'";
        let message = format!("not ready on {wanted} nodes after {waited} s: {waiting}; {go_on}");
        Failure::coded(Exit::TimedOut, Code::TimedOut, message)
    }
}

impl Replica {
    fn is_busy(&self) -> bool {
        matches!(self.phase, pb::ReplicaPhase::Fetching | pb::ReplicaPhase::Compiling)
    }

    fn word(&self) -> &'static str {
        match self.phase {
            pb::ReplicaPhase::Compiling if self.ahead > 0 => "waiting",
            pb::ReplicaPhase::Unspecified => "not heard of yet",
            pb::ReplicaPhase::Fetching => "fetching",
            pb::ReplicaPhase::Compiling => "compiling",
            pb::ReplicaPhase::Ready => "ready",
            pb::ReplicaPhase::Failed => "failed",
        }
    }

    fn describe(&self, node: u64) -> String {
        if self.phase == pb::ReplicaPhase::Compiling && self.ahead > 0 {
            return format!("node {node} {}", waiting_behind(self.ahead));
        }
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("node {node} {}{reason}", self.word())
    }

    /// What is worth a line: the waiting is not.
    fn line(&self, node: u64) -> Option<(bool, String)> {
        match self.phase {
            pb::ReplicaPhase::Unspecified => None,
            pb::ReplicaPhase::Fetching | pb::ReplicaPhase::Compiling | pb::ReplicaPhase::Ready => {
                Some((true, self.describe(node)))
            }
            pb::ReplicaPhase::Failed => {
                Some((false, format!("{} (attempt {})", self.describe(node), self.attempts)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(replicas: &[(u64, pb::ReplicaPhase, u32)], unplaceable: &str, done: bool) -> pb::RolloutEvent {
        let replicas = replicas.iter().map(|(node, phase, attempts)| pb::RolloutReplica {
            node: *node,
            status: Some(pb::ReplicaStatus {
                phase: (*phase).into(),
                attempts: *attempts,
                reason: if *attempts > 0 { "no space".into() } else { String::new() },
                ..pb::ReplicaStatus::default()
            }),
        });
        let replicas = replicas.collect();
        pb::RolloutEvent { wanted: 2, ready: 0, replicas, unplaceable: unplaceable.into(), done }
    }

    use pb::ReplicaPhase::{Compiling, Failed, Fetching, Ready};

    #[test]
    fn each_change_is_told_once() {
        let mut board = Board::default();
        assert_eq!(board.take(event(&[], "", false)), []);
        assert_eq!(board.waiting_for(), "no node was chosen yet");
        let lines = board.take(event(&[(1, Fetching, 0), (2, Compiling, 0)], "", false));
        assert_eq!(lines, [(true, "node 1 fetching".into()), (true, "node 2 compiling".into())]);
        assert_eq!(
            board.take(event(&[(1, Fetching, 0), (2, Ready, 0)], "", false)),
            [(true, "node 2 ready".into())]
        );
        assert_eq!(board.verdict(), Verdict::Waiting);
        board.take(event(&[(1, Ready, 0), (2, Ready, 0)], "", true));
        assert_eq!((board.verdict(), board.ready_nodes().as_str()), (Verdict::Ready, "nodes 1, 2"));
    }

    #[test]
    fn a_compilation_that_waits_says_for_how_many_and_how_long() {
        let mut board = Board::default();
        let mut waiting = event(&[(1, Compiling, 0), (2, Ready, 0)], "", false);
        let ahead = |event: &mut pb::RolloutEvent, ahead| {
            event.replicas[0].status.as_mut().unwrap().ahead = ahead;
        };
        ahead(&mut waiting, 3);
        assert_eq!(board.take(waiting.clone())[0], (true, "node 1 waiting behind 3 compilations".into()));
        board.passed(Duration::from_secs(5));
        ahead(&mut waiting, 1);
        assert_eq!(board.take(waiting.clone()), [(true, "node 1 waiting behind 1 compilation".into())]);
        board.passed(Duration::from_secs(4));
        assert_eq!(board.waiting_for(), "node 1 waiting behind 1 compilation, 9 s, node 2 ready");
        let failure = board.timed_out(Duration::from_secs(9));
        assert!(failure.message.contains("waiting behind 1 compilation, 9 s"), "{failure}");
        ahead(&mut waiting, 0);
        assert_eq!(board.take(waiting), [(true, "node 1 compiling".into())]);
        board.passed(Duration::from_secs(12));
        assert_eq!(board.waiting_for(), "node 1 compiling, 12 s, node 2 ready");
    }

    #[test]
    fn a_failure_is_final_when_every_node_gave_up() {
        let mut board = Board::default();
        let lines = board.take(event(&[(1, Failed, 1), (2, Ready, 0)], "", false));
        assert_eq!(lines[0], (false, "node 1 failed: no space (attempt 1)".into()));
        assert_eq!(board.verdict(), Verdict::Waiting);
        board.take(event(&[(1, Failed, 3)], "", false));
        assert_eq!(board.verdict(), Verdict::Failed);
        let failure = board.failed();
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.message, "no node can run it: node 1 failed: no space");
    }

    #[test]
    fn too_few_nodes_are_no_failure_while_one_serves() {
        let mut board = Board::default();
        board.take(event(&[(1, Ready, 0)], "node 2: dead", false));
        assert_eq!(board.verdict(), Verdict::Waiting, "it is ready, and its calls go to the version before");
        board.take(event(&[(1, Ready, 0)], "node 2: dead", true));
        assert_eq!(board.verdict(), Verdict::Short);
        board.take(event(&[], "node 2: dead", false));
        assert_eq!(board.verdict(), Verdict::Waiting);
        let failure = board.timed_out(Duration::from_secs(9));
        assert_eq!(failure.exit, Exit::TimedOut);
        assert!(failure.message.contains("after 9 s: no node can take it: node 2: dead"), "{failure}");
    }
}
