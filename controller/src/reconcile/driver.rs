//! Proposes what the planner decides, while this node leads: at once when something changed, and now and then
//! because silence changes things too.

use std::time::Duration;

use coracle_proto::pace::Pace;
use coracle_proto::status::Refusal;
use coracle_proto::{attr, trace};
use tracing::{Instrument as _, Span, info, info_span, warn};

use super::alarm;
use super::plan::{Plan, plan};
use crate::clock;
use crate::context::Context;
use crate::model::{Command, Placement};
use crate::placer::POLICY;
use crate::propose::{Ask, propose};
use crate::soft::{Heard, INTERVAL};

/// A new leader knows what all nodes say only after they said it to whom they report, and that one told it.
const FIRST_AFTER: Duration = INTERVAL.saturating_mul(2);
/// Rounds where much changes: what changes meanwhile is planned for together.
const PACE: Pace = Pace::new(Duration::from_millis(20), 4);
/// Without any change: a node that falls silent tells nobody.
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);
/// A round that is not taken over by then is planned anew.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The name under which this driver raises alarms.
const SOURCE: &str = "placement";

/// Runs until it is dropped.
pub(crate) async fn drive(context: &Context, term: u64) {
    let mut revisions = context.hub.subscribe();
    let mut urgent = context.soft.subscribe_urgent();
    let (mut heard, mut pace) = (Heard::default(), PACE);
    tokio::time::sleep(FIRST_AFTER).await;
    loop {
        revisions.mark_unchanged();
        urgent.mark_unchanged();
        let state = context.hub.state();
        let round = plan(&state, heard.refresh(&context.soft.nodes(), clock::now()), &POLICY);
        let alarm = alarm::unplaceable(&round.unplaceable, round.unplaceable_count);
        context.soft.set_alarms(SOURCE, alarm.into_iter().collect());
        let more = round.more;
        let done = if round.is_empty() { Ok(()) } else { take(context, term, round).await };
        if let Err(reason) = &done {
            warn!(%reason, "a round was not taken over");
        }
        if !more || done.is_err() {
            let changed = async {
                tokio::select! {
                    // Both channels live as long as the context.
                    _ = revisions.changed() => {}
                    _ = urgent.changed() => {}
                }
            };
            // Whether it was the time or a change that ended the wait makes no difference.
            let _ = tokio::time::timeout(AT_LEAST_EVERY, changed).await;
            clock::turn(&mut pace).await;
        }
    }
}

async fn take(context: &Context, term: u64, round: Plan) -> Result<(), Refusal> {
    let span = info_span!(
        parent: None,
        attr::SPAN_RECONCILE,
        { attr::SERVICE } = attr::SERVICE_CONTROLLER,
        placements = round.placements.len(),
        switches = round.switches.len()
    );
    let state = context.hub.state();
    let now_ms = context.clock.at(clock::now());
    let deploy = |placement: &Placement| state.version(&placement.version)?.deploy_trace(now_ms);
    // What a deploy led to is a part of its trace; a round that serves several is shown in that of the first.
    let whole = round.placements.iter().find_map(deploy);
    if let Some(whole) = whole {
        trace::join_from_text(&span, whole);
    }
    for placement in &round.placements {
        let own = deploy(placement).filter(|own| Some(*own) != whole);
        tell(&span, own, placement);
    }
    for switch in &round.switches {
        info!(parent: &span, function = %switch.function, "its calls go where they were asked to");
    }
    let command = Command::Assign { placements: round.placements, switches: round.switches };
    let ask = Ask::decided(context, term, command);
    propose(context, ask, clock::now() + PROPOSE_TIMEOUT).instrument(span).await.map(drop)
}

/// One span for each decision: the planner itself neither logs nor takes measurable time.
fn tell(round: &Span, deploy: Option<&str>, placement: &Placement) {
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
