//! Sees to the data groups as [`crate::groups`] wants them: asks the stores what they have, decides, tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coracle_proto::id::{GroupId, NodeId, Revision, StoreId};
use futures::future::join_all;
use tokio::sync::watch;
use tracing::info;

use super::duty::{Agenda, Duty, Leading, drive};
use crate::clock;
use crate::exchange::{Answers, arrange, statuses, stores, told};
use crate::groups::{Step, Stores, next_steps};
use crate::liveness::detector::POLICY;
use crate::model::{Command, FORMAT_GROUPS};

/// Stores are asked this often: what they answer is small, and nothing waits for it but who takes the place of a lost one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two looks lies less, or this process was stopped itself: then it was deaf, not the stores silent.
const GAP: Duration = Duration::from_secs(3);

const _: () = assert!(LOOK_EVERY.as_millis() < GAP.as_millis());

/// Runs until it is dropped.
pub(super) async fn keep(leading: Leading<'_>) {
    let nodes = leading.context.hub.subscribe_nodes();
    drive(Groups { leading, nodes, answers: Answers::new(), heard: BTreeMap::new(), looked: clock::now() })
        .await;
}

/// What stores answered last, and since when those that do not have been silent.
#[derive(Debug)]
struct Groups<'a> {
    leading: Leading<'a>,
    nodes: watch::Receiver<Revision>,
    answers: Answers,
    heard: BTreeMap<NodeId, Instant>,
    looked: Instant,
}

impl Groups<'_> {
    /// A cluster without stores is looked at when it gets one.
    async fn until_there_are_stores(&mut self) {
        let mut cluster = self.leading.context.hub.subscribe();
        loop {
            let state = self.leading.context.hub.state();
            let format = state.cluster().map_or(0, |cluster| cluster.version);
            if format < FORMAT_GROUPS {
                // An error means that the hub is gone, and this task with it.
                let _ = cluster.changed().await;
                continue;
            }
            if stores(&state).next().is_some() {
                return;
            }
            let _ = self.nodes.changed().await;
        }
    }

    /// Who has not answered for as long as it takes to give one up, by a leader that looked all the time.
    fn silent(&mut self, now: Instant) -> BTreeSet<NodeId> {
        if now.saturating_duration_since(self.looked) >= GAP {
            self.heard.clear();
        }
        self.looked = now;
        self.heard.retain(|node, _| self.answers.contains_key(node));
        for (node, answer) in &self.answers {
            let heard = self.heard.entry(*node).or_insert(now);
            if answer.is_ok() {
                *heard = now;
            }
        }
        let is_silent = |heard: &Instant| now.saturating_duration_since(*heard) >= POLICY.dead_after;
        self.heard.iter().filter(|(_, heard)| is_silent(heard)).map(|(node, _)| *node).collect()
    }
}

/// What one look decided: each by itself, whatever becomes of the others.
#[derive(Debug)]
struct Steps(Vec<Step>);

impl Duty for Groups<'_> {
    const NAME: &'static str = "groups";

    const RETRIED: bool = true;

    type Act = Steps;

    async fn wake(&mut self) {
        self.until_there_are_stores().await;
        tokio::time::sleep(LOOK_EVERY).await;
        self.answers = statuses(self.leading.context).await;
    }

    fn plan(&mut self, now: Instant) -> Agenda<Steps> {
        let state = self.leading.context.hub.state();
        let silent = self.silent(now);
        let answered = self.answers.iter().filter_map(|(node, answer)| Some((*node, answer.as_ref().ok()?)));
        let ids = answered.map(|(node, reply)| (node, StoreId::new(reply.store))).collect();
        let nodes = state.nodes().map(|node| (node.id, node.clone())).collect();
        let groups = state.groups().map(|group| (group.id, group.clone())).collect();
        let steps = next_steps(&Stores { nodes, silent, ids }, &groups, &told(&self.answers));
        // One that did not answer is told when it does.
        let answers = |node: &NodeId| self.answers.get(node).is_some_and(Result::is_ok);
        let now = steps.into_iter().filter(|step| match step {
            Step::Set { .. } => true,
            Step::Arrange { node, .. } => answers(node),
        });
        Agenda::of(Some(Steps(now.collect())).filter(|steps| !steps.0.is_empty()))
    }

    async fn act(&mut self, Steps(steps): Steps) -> Result<(), String> {
        let done = join_all(steps.into_iter().map(|step| self.step(step))).await;
        let failed: Vec<_> = done.into_iter().filter_map(Result::err).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

impl Groups<'_> {
    async fn step(&self, step: Step) -> Result<(), String> {
        match step {
            Step::Set { group, members, begun } => self.set(group, members, begun).await,
            Step::Arrange { group, node } => arrange(self.leading.context, group, node, &self.answers).await,
        }
    }

    async fn set(&self, group: GroupId, members: BTreeSet<NodeId>, begun: bool) -> Result<(), String> {
        info!(%group, ?members, begun, "data group");
        self.leading.decide(Command::SetGroup { group, members, begun }).await.map(drop)
    }
}
