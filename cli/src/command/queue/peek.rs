//! `coracle queue peek`: what waits in a queue.

use coracle_proto::pb;

use super::name::QueueId;
use crate::client::Queues;
use crate::command::Session;
use crate::command::events::Events;
use crate::exit::Failure;
use crate::output::view::WaitingView;

/// Messages of one answer.
const PAGE_MAX: u32 = 1_000;
/// Those of one answer with their bodies, 64 KiB each at most: some MiB.
const BODIES_MAX: u32 = 100;
/// Messages of one list.
const LIST_MAX: i64 = 100_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The queue: [NAMESPACE/]NAME, or a name of the platform's, such as function/NAME.
    #[arg(value_name = "QUEUE")]
    queue: QueueId,
    /// So many at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
    /// With their attributes and data.
    #[arg(long)]
    bodies: bool,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let mut events = Events::reach(session).await?;
    session.output.list(&waiting(&mut events, &args.queue, args.limit, args.bodies).await?)
}

/// The first so many.
pub(super) async fn waiting(
    events: &mut Events,
    id: &QueueId,
    limit: u32,
    bodies: bool,
) -> Result<Vec<WaitingView>, Failure> {
    let most = if bodies { BODIES_MAX } else { PAGE_MAX };
    let (mut rows, mut from) = (Vec::new(), 0);
    loop {
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let ask = async |mut service: Queues, place| {
            let (place, queue, limit) = (Some(place), id.queue.clone(), left.min(most));
            service.peek(pb::PeekRequest { place, queue, from, limit, bodies }).await
        };
        let page = events.queues("queue peek", &id.namespace, ask).await?;
        rows.extend(page.messages.into_iter().take(left as usize).map(WaitingView::from));
        if page.next == 0 || rows.len() >= limit as usize {
            return Ok(rows);
        }
        from = page.next;
    }
}
