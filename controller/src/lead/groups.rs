//! Sees to the data groups as [`crate::groups`] wants them: asks the stores what they have, decides, tells them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_proto::id::{NodeId, Revision};
use coracle_proto::record::Node;
use tokio::sync::watch;
use tracing::info;

use super::duty::{Agenda, Duty, Leading, drive};
use crate::groups::{Step, next_steps};
use crate::model::{Command, FORMAT_GROUPS};
use crate::stores::{Answers, arrange, statuses, stores, told};

/// Stores are asked this often: what they answer is small, and nothing waits for it but who takes the place of a lost one.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(super) async fn keep(leading: Leading<'_>) {
    let nodes = leading.context.hub.subscribe_nodes();
    drive(Groups { leading, nodes, answers: Answers::new() }).await;
}

/// What stores answered last.
#[derive(Debug)]
struct Groups<'a> {
    leading: Leading<'a>,
    nodes: watch::Receiver<Revision>,
    answers: Answers,
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
}

impl Duty for Groups<'_> {
    const NAME: &'static str = "groups";

    const RETRIED: bool = true;

    type Act = Step;

    async fn wake(&mut self) {
        self.until_there_are_stores().await;
        tokio::time::sleep(LOOK_EVERY).await;
        self.answers = statuses(self.leading.context).await;
    }

    fn plan(&mut self, _: Instant) -> Agenda<Step> {
        let state = self.leading.context.hub.state();
        let nodes: BTreeMap<NodeId, Node> = state.nodes().map(|node| (node.id, node.clone())).collect();
        let groups = state.groups().map(|group| (group.id, group.clone())).collect();
        let steps = next_steps(&nodes, &groups, &told(&self.answers));
        // One that did not answer is told when it does: others do not wait for it.
        let answers = |node: &NodeId| self.answers.get(node).is_some_and(Result::is_ok);
        Agenda::of(steps.into_iter().filter(|step| match step {
            Step::Set { .. } => true,
            Step::Arrange { node, .. } => answers(node),
        }))
    }

    async fn act(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Set { group, members, begun } => {
                info!(%group, ?members, begun, "data group");
                self.leading.decide(Command::SetGroup { group, members, begun }).await.map(drop)
            }
            Step::Arrange { group, node } => arrange(self.leading.context, group, node, &self.answers).await,
        }
    }
}
