//! `coracle queue publish --lines`: each line a message, in batches of which some are under way at once.

mod batch;
mod read;
mod stream;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use coracle_proto::id::FunctionId;
use coracle_proto::pb;
use coracle_proto::pb::publish_acknowledged::End;
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;

use self::batch::{Batch, Refused, Sum};
use self::read::{Batches, Gathered, MESSAGES_MAX};
use self::stream::{Heard, Stream};
use super::message::{Common, Flags};
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
/// A stream that was silent for so long is opened anew before more is sent: a group remembers as many requests as it
/// has room for, and refuses what it might have forgotten.
const QUIET_MAX: Duration = Duration::from_secs(3);
/// What the lengths inside a message may take beyond those of one without data.
const LENGTHS_BYTES: usize = 16;

pub(super) async fn run(
    to: &FunctionId,
    flags: &Flags,
    file: &Path,
    session: &Session<'_>,
) -> Result<(), Failure> {
    flags.check()?;
    let failed = |error| Failure::usage(format!("--data: {}: {error}", file.display()));
    let opened = input::open(file).await.map_err(failed)?;
    let watch = Stopwatch::start();
    let events = Events::reach(session).await?;
    let mut signals = Signals::new()?;
    let mut publisher = Publisher::new(to, flags, events, session.wait(WAIT));
    let progress = session.talk.progress(None);
    let lines = Batches::of(opened, publisher.head_bytes());
    let done = publisher.all(lines, &mut signals, &progress).await;
    drop(progress);
    publisher.tell(session.talk, watch, done.is_ok());
    let Sum { published, repeated, copies } = publisher.sum;
    session.output.one(&PublishedView::many(to, (published, repeated, copies)))?;
    done
}

/// What is to be done next.
enum Next {
    Gathered(Option<Gathered>),
    Half(Batch),
    Heard(Heard),
    Stopped,
}

/// Publishes to one queue or topic.
struct Publisher<'a> {
    to: &'a FunctionId,
    flags: &'a Flags,
    /// See [`Events::trace`].
    trace: String,
    events: Events,
    /// How long nothing may be acknowledged.
    patience: Duration,
    /// See [`QUIET_MAX`].
    quiet: Duration,
    until: Deadline,
    stream: Option<Stream>,
    /// The oldest first.
    under_way: VecDeque<Batch>,
    /// Of batches that were too much at once: they are sent before further lines.
    halves: VecDeque<Batch>,
    /// Messages that were not too many.
    most: usize,
    batches: u64,
    lines: u64,
    sum: Sum,
}

impl<'a> Publisher<'a> {
    fn new(to: &'a FunctionId, flags: &'a Flags, events: Events, patience: Duration) -> Self {
        Self {
            to,
            flags,
            trace: events.trace(),
            events,
            patience,
            quiet: QUIET_MAX,
            until: Deadline::after(patience),
            stream: None,
            under_way: VecDeque::new(),
            halves: VecDeque::new(),
            most: MESSAGES_MAX,
            batches: 0,
            lines: 0,
            sum: Sum::default(),
        }
    }

    fn common(&self) -> Common<'_> {
        Common { to: self.to, trace: &self.trace, now_ms: now_ms() }
    }

    /// Bytes of a message beside its data.
    fn head_bytes(&self) -> usize {
        self.flags.message(self.common(), None, bytes::Bytes::new()).encoded_len() + LENGTHS_BYTES
    }

    /// Until the lines end, one of them is refused, or somebody stops it; what is under way then is waited for.
    async fn all(
        &mut self,
        mut lines: Batches,
        signals: &mut Signals,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let (mut ended, mut end) = (false, Ok(()));
        while !(ended && self.under_way.is_empty() && self.halves.is_empty()) {
            let went = match self.next(&mut lines, signals, ended).await {
                Next::Gathered(None) => {
                    ended = true;
                    Ok(())
                }
                Next::Gathered(Some(Ok(data))) => {
                    let batch = self.batch(data);
                    self.send(batch).await
                }
                Next::Gathered(Some(Err(failure))) => Err(failure),
                Next::Half(batch) => self.send(batch).await,
                Next::Heard(heard) => self.hear(heard).await,
                // The second time what is under way is not waited for either.
                Next::Stopped if ended => {
                    let stopped = Failure::new(Exit::TimedOut, "it was stopped");
                    return end.and(Err(stopped));
                }
                Next::Stopped => Err(Failure::new(Exit::TimedOut, "it was stopped before the last line")),
            };
            if let Err(failure) = went {
                self.halves.clear();
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

    /// After the last line nothing is read any more.
    async fn next(&mut self, lines: &mut Batches, signals: &mut Signals, ended: bool) -> Next {
        // Batches overtake each other.
        let most = if self.flags.has_group() { 1 } else { UNDER_WAY_MAX };
        let (room, waits) = (self.under_way.len() < most, !self.under_way.is_empty());
        if let Some(half) = self.halves.pop_front_if(|_| room) {
            return Next::Half(half);
        }
        tokio::select! {
            gathered = lines.next(self.most), if !ended && room => Next::Gathered(gathered),
            heard = Stream::heard(&mut self.stream), if waits => Next::Heard(heard),
            () = signals.next() => Next::Stopped,
        }
    }

    fn batch(&mut self, data: Vec<bytes::Bytes>) -> Batch {
        let common = self.common();
        let message = |data| self.flags.message(common, None, data);
        let batch = Batch {
            number: 0,
            first_line: self.lines.saturating_add(1),
            messages: data.into_iter().map(message).collect(),
            request: None,
        };
        self.lines = batch.last_line();
        batch
    }

    async fn send(&mut self, batch: Batch) -> Result<(), Failure> {
        self.batches = self.batches.saturating_add(1);
        if self.under_way.is_empty() {
            self.until = Deadline::after(self.patience);
            self.stream = self.stream.take().filter(|stream| stream.quiet() < self.quiet);
        }
        self.under_way.push_back(Batch { number: self.batches, ..batch });
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
        match Stream::open(&mut self.events, self.to, &mut self.under_way).await {
            Ok(stream) => {
                self.stream = Some(stream);
                Ok(())
            }
            Err(failure) => {
                // Of what was not sent it is known what became of it.
                self.under_way.retain(|batch| batch.request.is_some());
                Err(failure)
            }
        }
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
                Some(End::Refused(refused)) => match self.refused(number, refused.into())? {
                    Some(reason) => reason,
                    None => return Ok(()),
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

    /// Nothing of the batch was done: why it is sent again, or none where its halves are; otherwise it is the end.
    fn refused(&mut self, number: u64, refused: Refused) -> Result<Option<String>, Failure> {
        let Some(place) = self.under_way.iter().position(|batch| batch.number == number) else {
            return Err(refused.failure);
        };
        if refused.passes() && !self.until.is_over() {
            if let Some(batch) = self.under_way.get_mut(place).filter(|_| refused.is_decided()) {
                batch.request = None;
            }
            return Ok(Some(refused.failure.message));
        }
        let Some(batch) = self.under_way.remove(place) else { return Err(refused.failure) };
        let lines = format!("lines {} to {}", batch.first_line, batch.last_line());
        match batch.halves().filter(|_| refused.is_too_much()) {
            Some((first, second)) => {
                self.most = self.most.min(first.messages.len());
                self.halves.push_front(second);
                self.halves.push_front(first);
                Ok(None)
            }
            None => Err(refused.failure.during(lines)),
        }
    }

    fn tell(&self, talk: Talk, watch: Stopwatch, whole: bool) {
        let Sum { published, repeated, .. } = self.sum;
        let again =
            if repeated > 0 { format!(", {repeated} of them were there already") } else { String::new() };
        let took = show_duration(watch.elapsed());
        let sentence = format!("{published} messages are published to {}{again}, in {took}", self.to);
        talk.say(if whole { talk.done(&sentence) } else { talk.failed(&sentence) });
        let first = self.under_way.iter().map(|batch| batch.first_line).min();
        let last = self.under_way.iter().map(Batch::last_line).max();
        if let (Some(first), Some(last)) = (first, last) {
            talk.warn(&format!("what became of lines {first} to {last} is not known"));
        }
    }
}

#[cfg(test)]
mod tests;
