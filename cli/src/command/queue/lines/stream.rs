//! One stream of publishes to whoever leads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use coracle_proto::id::{FunctionId, RequestId};
use coracle_proto::pb;
use coracle_proto::pb::publish_acknowledged::End;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::UNDER_WAY_MAX;
use super::batch::Batch;
use crate::client::{Queues, Stopwatch, final_failure};
use crate::command::events::Events;
use crate::exit::Failure;

/// A store that says nothing for so long while something is under way is left.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    Said(pb::PublishAcknowledged),
    /// Nothing more comes; it may be sent again.
    Broke(String),
    /// It would be the same again.
    Refused(Failure),
}

/// An open one.
#[derive(Debug)]
pub(super) struct Stream {
    sender: mpsc::Sender<pb::PublishNumbered>,
    acknowledged: Streaming<pb::PublishAcknowledged>,
    place: pb::EventsPlace,
    /// How far the group was when something of it was last heard.
    since: u64,
    /// Since something was last heard.
    silence: Stopwatch,
}

impl Stream {
    /// Begins with what is under way.
    pub(super) async fn open(
        events: &mut Events,
        to: &FunctionId,
        under_way: &mut VecDeque<Batch>,
    ) -> Result<Self, Failure> {
        let (opened, batches) = (Cell::new(None), RefCell::new(under_way));
        let attempt = async |mut service: Queues, place: pb::EventsPlace, request: Option<pb::KvRequest>| {
            let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
            let since = request.unwrap_or_default().since;
            for batch in batches.borrow_mut().iter_mut() {
                // There is room for all of them.
                let _ = sender.try_send(numbered(to, &place, since, batch));
            }
            opened.set(Some((sender, place, since)));
            service.publish_all(ReceiverStream::new(receiver)).await
        };
        let acknowledged = events.alter(&format!("publish to {to}"), &to.namespace, attempt).await?;
        let nothing = || Failure::local("publishing", "a stream was opened by nobody");
        let (sender, place, since) = opened.take().ok_or_else(nothing)?;
        Ok(Self { sender, acknowledged, place, since, silence: Stopwatch::start() })
    }

    /// How long nothing was heard.
    pub(super) fn quiet(&self) -> Duration {
        self.silence.elapsed()
    }

    pub(super) fn send(&mut self, to: &FunctionId, batch: &mut Batch) {
        // One that has gone is told when it is heard.
        let _ = self.sender.try_send(numbered(to, &self.place, self.since, batch));
    }

    /// Waits for the next word. May be dropped while it waits.
    pub(super) async fn heard(stream: &mut Option<Self>) -> Heard {
        let Some(stream) = stream else { return Heard::Broke("there is no connection".to_owned()) };
        match tokio::time::timeout(SILENT_MAX, stream.acknowledged.message()).await {
            Ok(Ok(Some(said))) => {
                stream.silence = Stopwatch::start();
                if let Some(End::Reply(reply)) = &said.end {
                    stream.since = stream.since.max(reply.sequence);
                }
                Heard::Said(said)
            }
            Ok(Ok(None)) => Heard::Broke("the store ended the stream".to_owned()),
            Ok(Err(status)) => {
                let reason = status.message().to_owned();
                final_failure(status).map_or(Heard::Broke(reason), Heard::Refused)
            }
            Err(_) => Heard::Broke(format!("no answer within {} s", SILENT_MAX.as_secs())),
        }
    }
}

/// A batch as it is sent, under the id that it got at first.
fn numbered(to: &FunctionId, place: &pb::EventsPlace, since: u64, batch: &mut Batch) -> pb::PublishNumbered {
    let request = batch
        .request
        .get_or_insert_with(|| pb::KvRequest { id: RequestId::new(rand::random()).to_wire(), since });
    let request = pb::PublishRequest {
        place: Some(place.clone()),
        request: Some(request.clone()),
        to: to.name.to_string(),
        messages: batch.messages.clone(),
    };
    pb::PublishNumbered { number: batch.number, request: Some(request) }
}
