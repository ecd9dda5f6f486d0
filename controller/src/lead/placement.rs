//! Places functions: plans at once when something changed, and now and then because silence changes things too.

use std::time::{Duration, Instant};

use coracle_proto::id::Revision;
use coracle_proto::pace::Pace;
use coracle_proto::{attr, trace};
use tokio::sync::watch;
use tracing::{Instrument as _, Span, info, info_span};

use super::duty::{Agenda, Duty, Leading, drive};
use crate::clock;
use crate::context::Context;
use crate::model::{Command, Placement};
use crate::placer::POLICY;
use crate::reconcile::alarm;
use crate::reconcile::plan::{Plan, plan};
use crate::soft::{Heard, INTERVAL};

/// A new leader knows what all nodes say only after they said it to whom they report, and that one told it.
const FIRST_AFTER: Duration = INTERVAL.saturating_mul(2);
/// Rounds where much changes: what changes meanwhile is planned for together.
const PACE: Pace = Pace::new(Duration::from_millis(20), 4);
/// Without any change: a node that falls silent tells nobody.
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub(super) async fn place(leading: Leading<'_>) {
    let context = leading.context;
    let (mut revisions, urgent) = (context.hub.subscribe(), context.soft.subscribe_urgent());
    tokio::time::sleep(FIRST_AFTER).await;
    revisions.mark_changed();
    drive(Places { leading, revisions, urgent, heard: Heard::default(), pace: PACE }).await;
}

/// What wakes the planner, and what it heard.
#[derive(Debug)]
struct Places<'a> {
    leading: Leading<'a>,
    revisions: watch::Receiver<Revision>,
    urgent: watch::Receiver<u64>,
    heard: Heard,
    pace: Pace,
}

impl Duty for Places<'_> {
    const NAME: &'static str = "placement";

    type Act = Plan;

    async fn wake(&mut self) {
        let changed = async {
            tokio::select! {
                // Both channels live as long as the context.
                _ = self.revisions.changed() => {}
                _ = self.urgent.changed() => {}
            }
        };
        // Whether it was the time or a change that ended the wait makes no difference.
        let _ = tokio::time::timeout(AT_LEAST_EVERY, changed).await;
        clock::turn(&mut self.pace).await;
    }

    fn plan(&mut self, now: Instant) -> Agenda<Plan> {
        self.revisions.mark_unchanged();
        self.urgent.mark_unchanged();
        let context = self.leading.context;
        let state = context.hub.state();
        let round = plan(&state, self.heard.refresh(&context.soft.nodes(), now), &POLICY);
        let alarm = alarm::unplaceable(&round.unplaceable, round.unplaceable_count);
        context.soft.set_alarms(Self::NAME, alarm.into_iter().collect());
        let more = round.more;
        Agenda { acts: (!round.is_empty()).then_some(round).into_iter().collect(), more }
    }

    async fn act(&mut self, round: Plan) -> Result<(), String> {
        let span = info_span!(
            parent: None,
            attr::SPAN_RECONCILE,
            { attr::SERVICE } = attr::SERVICE_CONTROLLER,
            placements = round.placements.len(),
            switches = round.switches.len()
        );
        show(self.leading.context, &span, &round);
        let command = Command::Assign { placements: round.placements, switches: round.switches };
        self.leading.decide(command).instrument(span).await.map(drop)
    }
}

/// What a deploy led to is a part of its trace; a round that serves several is shown in that of the first.
fn show(context: &Context, span: &Span, round: &Plan) {
    let state = context.hub.state();
    let now_ms = context.clock.at(clock::now());
    let deploy = |placement: &Placement| state.version(&placement.version)?.deploy_trace(now_ms);
    let whole = round.placements.iter().find_map(deploy);
    if let Some(whole) = whole {
        trace::join_from_text(span, whole);
    }
    for placement in &round.placements {
        let own = deploy(placement).filter(|own| Some(*own) != whole);
        show_one(span, own, placement);
    }
    for switch in &round.switches {
        info!(parent: span, function = %switch.function, "its calls go where they were asked to");
    }
}

/// One span for each decision: the planner itself neither logs nor takes measurable time.
fn show_one(round: &Span, deploy: Option<&str>, placement: &Placement) {
    let span = info_span!(
        parent: round,
        attr::SPAN_PLACE,
        { attr::FUNCTION } = %placement.version.function,
        { attr::FUNCTION_VERSION } = placement.version.number.get(),
    );
    if let Some(deploy) = deploy {
        trace::join_from_text(&span, deploy);
    }
    let add: Vec<_> = placement.add.iter().map(|node| node.get()).collect();
    let drop: Vec<_> = placement.drop.iter().map(|(node, _)| node.get()).collect();
    info!(parent: &span, version = %placement.version, ?add, ?drop, "placed");
}
