//! `coracle queue publish --lines`: each line a message, in batches of which some are under way at once.

mod read;
mod stream;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::pb::publish_acknowledged::End;
use coracle_proto::status::{Again, Code, Refusal};

use self::read::{Batches, Gathered};
use self::stream::{Heard, Stream};
use super::message::Flags;
use crate::client::{Deadline, Stopwatch, now_ms};
use crate::command::events::Events;
use crate::command::{Session, WAIT, input};
use crate::exit::{Exit, Failure};
use crate::ground::Signals;
use crate::output::view::PublishedView;
use crate::output::{Progress, Talk};
use crate::units::show_duration;

/// Batches that wait for their acknowledgement: a store takes 64 at once of all.
const UNDER_WAY_MAX: usize = 16;
/// Before a store is asked again that broke off, or whose queue is full.
const PAUSE: Duration = Duration::from_millis(200);

/// Some messages that are published together.
#[derive(Debug)]
struct Batch {
    number: u64,
    /// From 1.
    first_line: u64,
    messages: Vec<pb::PublishMessage>,
    /// Kept when it is sent again: it is done once.
    request: Option<pb::KvRequest>,
}

impl Batch {
    fn last_line(&self) -> u64 {
        self.first_line.saturating_add(self.messages.len() as u64).saturating_sub(1)
    }
}

/// What was acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    published: u64,
    /// Those of them that were there already.
    repeated: u64,
    /// Queues that have them.
    copies: u64,
}

impl Sum {
    fn add(&mut self, reply: &pb::PublishReply) {
        for one in &reply.published {
            self.published = self.published.saturating_add(1);
            self.repeated = self.repeated.saturating_add(u64::from(one.repeated));
            self.copies = self.copies.saturating_add(one.copies.into());
        }
    }
}

pub(super) async fn run(
    to: &FunctionId,
    flags: &Flags,
    file: &Path,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let failed = |error| Failure::usage(format!("--data: {}: {error}", file.display()));
    let opened = input::open(file).await.map_err(failed)?;
    let watch = Stopwatch::start();
    let events = Events::reach(session).await?;
    let mut signals = Signals::new()?;
    let mut publisher = Publisher::new(to, flags, events, session.wait(WAIT));
    let progress = session.talk.progress(None);
    let done = publisher.all(Batches::of(opened), &mut signals, &progress).await;
    drop(progress);
    publisher.tell(session.talk, watch, done.is_ok());
    let Sum { published, repeated, copies } = publisher.sum;
    session.output.one(&PublishedView::many(to, (published, repeated, copies)))?;
    done
}

/// What is to be done next.
enum Next {
    Gathered(Option<Gathered>),
    Heard(Heard),
    Stopped,
}

/// Publishes to one queue or topic.
struct Publisher<'a> {
    to: &'a FunctionId,
    flags: &'a Flags,
    events: Events,
    /// How long nothing may be acknowledged.
    patience: Duration,
    until: Deadline,
    stream: Option<Stream>,
    /// The oldest first.
    under_way: VecDeque<Batch>,
    batches: u64,
    lines: u64,
    sum: Sum,
}

impl<'a> Publisher<'a> {
    fn new(to: &'a FunctionId, flags: &'a Flags, events: Events, patience: Duration) -> Self {
        Self {
            to,
            flags,
            events,
            patience,
            until: Deadline::after(patience),
            stream: None,
            under_way: VecDeque::new(),
            batches: 0,
            lines: 0,
            sum: Sum::default(),
        }
    }

    /// Until the lines end, one of them is refused, or somebody stops it; what is under way then is waited for.
    async fn all(
        &mut self,
        mut lines: Batches,
        signals: &mut Signals,
        progress: &Progress,
    ) -> Result<(), Failure> {
        // Batches overtake each other.
        let most = if self.flags.has_group() { 1 } else { UNDER_WAY_MAX };
        let (mut ended, mut end) = (false, Ok(()));
        while !(ended && self.under_way.is_empty()) {
            let (room, waits) = (self.under_way.len() < most, !self.under_way.is_empty());
            let next = tokio::select! {
                gathered = lines.next(), if !ended && room => Next::Gathered(gathered),
                heard = Stream::heard(&mut self.stream), if waits => Next::Heard(heard),
                () = signals.next() => Next::Stopped,
            };
            let went = match next {
                Next::Gathered(None) => {
                    ended = true;
                    Ok(())
                }
                Next::Gathered(Some(Ok(data))) => self.send(data).await,
                Next::Gathered(Some(Err(failure))) => Err(failure),
                Next::Heard(heard) => self.hear(heard).await,
                // The second time what is under way is not waited for either.
                Next::Stopped if ended => {
                    let stopped = Failure::new(Exit::TimedOut, "it was stopped");
                    return end.and(Err(stopped));
                }
                Next::Stopped => Err(Failure::new(Exit::TimedOut, "it was stopped before the last line")),
            };
            if let Err(failure) = went {
                // A fault of the way ends it at once: what is under way may be asked for in vain.
                if self.stream.is_none() && !self.under_way.is_empty() {
                    return end.and(Err(failure));
                }
                ended = true;
                end = end.and(Err(failure));
            }
            progress.status(format!("{} messages are published", self.sum.published));
        }
        end
    }

    async fn send(&mut self, data: Vec<bytes::Bytes>) -> Result<(), Failure> {
        let now = now_ms();
        let message = |data| self.flags.message(self.to, None, data, now);
        let batch = Batch {
            number: self.batches.saturating_add(1),
            first_line: self.lines.saturating_add(1),
            messages: data.into_iter().map(message).collect(),
            request: None,
        };
        (self.batches, self.lines) = (batch.number, batch.last_line());
        if self.under_way.is_empty() {
            self.until = Deadline::after(self.patience);
        }
        self.under_way.push_back(batch);
        match (&mut self.stream, self.under_way.back_mut()) {
            (Some(stream), Some(batch)) => {
                // One that broke says so when it is heard.
                stream.send(self.to, batch);
                Ok(())
            }
            _ => self.open().await,
        }
    }

    /// Sends what is under way, from the beginning on.
    async fn open(&mut self) -> Result<(), Failure> {
        self.stream = None;
        self.events.renew();
        self.stream = Some(Stream::open(&mut self.events, self.to, &mut self.under_way).await?);
        Ok(())
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), Failure> {
        let reason = match heard {
            Heard::Said(pb::PublishAcknowledged { number, end }) => match end {
                Some(End::Reply(reply)) => {
                    self.sum.add(&reply);
                    self.under_way.retain(|batch| batch.number != number);
                    self.until = Deadline::after(self.patience);
                    return Ok(());
                }
                Some(End::Refused(refused)) => match refusal(&refused) {
                    (true, failure) if !self.until.is_over() => failure.message,
                    (_, failure) => return Err(self.refused(number, failure)),
                },
                None => "the store's answer says nothing".to_owned(),
            },
            Heard::Broke(reason) => reason,
            Heard::Refused(failure) => {
                self.stream = None;
                return Err(failure);
            }
        };
        if self.until.is_over() {
            self.stream = None;
            return Err(Refusal::new(Code::OutcomeUnknown, reason).into());
        }
        self.until.pause(PAUSE).await;
        self.open().await
    }

    /// It is not tried again, and nothing of it was done.
    fn refused(&mut self, number: u64, failure: Failure) -> Failure {
        let place = self.under_way.iter().position(|batch| batch.number == number);
        match place.and_then(|place| self.under_way.remove(place)) {
            Some(batch) => failure.during(format!("lines {} to {}", batch.first_line, batch.last_line())),
            None => failure,
        }
    }

    fn tell(&self, talk: Talk, watch: Stopwatch, whole: bool) {
        let Sum { published, repeated, .. } = self.sum;
        let again =
            if repeated > 0 { format!(", {repeated} of them were there already") } else { String::new() };
        let took = show_duration(watch.elapsed());
        let sentence = format!("{published} messages are published to {}{again}, in {took}", self.to);
        talk.say(if whole { talk.done(&sentence) } else { talk.failed(&sentence) });
        if let (Some(first), Some(last)) = (self.under_way.front(), self.under_way.back()) {
            let (first, last) = (first.first_line, last.last_line());
            talk.warn(&format!("what became of lines {first} to {last} is not known"));
        }
    }
}

/// Whether it passes, as a queue that is full does, and what it says.
fn refusal(refused: &pb::PublishRefused) -> (bool, Failure) {
    match refused.code.parse::<Code>() {
        Ok(code) => {
            let passes = match code.retry() {
                Again::NotStarted | Again::Unknown => true,
                Again::Never => false,
            };
            (passes, Refusal::new(code, refused.message.clone()).into())
        }
        Err(_) => (false, Failure::new(Exit::Refused, format!("{} ({})", refused.message, refused.code))),
    }
}

#[cfg(test)]
mod tests;
