//! One attempt of several messages: run by one call, judged for each of them; those that are done are settled together.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_proto::status::Code;
use futures::StreamExt as _;
use futures::stream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::again::{Why, given_back, overtaken};
use super::attempt::{Begun, Came, Counted, call, cut_off, has_no_room, judged, report, said};
use super::batch::Member;
use super::settle::Settled;
use super::verdict::Decision;
use super::{Inner, named, request, sent, settle, span};
use crate::call::{CallError, Spent, Told};
use crate::stores::{Delivery, Other, Report, Settlement, Ticket, Verdict};

/// Messages that are settled by themselves at once: they come into one entry of the log, or a few.
const SETTLED_AT_ONCE: usize = 64;
/// Why a message is tried again that its function has named.
const NAMED: &str = "the function named it among those of its batch that failed";

/// Runs those that are still wanted and says what became of each. Of a call that has not ended at the `cut`, that.
pub(super) async fn run(inner: &Inner, group: GroupId, mut members: Vec<Member>, cut: &CancellationToken) {
    members.retain(|member| member.place.is_held());
    let Some(first) = members.first() else { return };
    let _counted = Counted::new(&inner.metrics.events.running);
    let (span, begun) = (span::process(&first.delivery), Begun::now());
    members.iter().skip(1).for_each(|other| span::link(&span, &other.delivery));
    let running = async {
        let tickets: Vec<Ticket> = members.iter().map(|member| member.delivery.ticket.clone()).collect();
        let words = tokio::select! {
            words = attempt(inner, &members, &begun, &span) => words,
            () = cut.cancelled() => Words::each(cut_all(inner, &members, &begun).await),
            () = first.place.all_lost(&tickets) => return,
        };
        settle_all(inner, group, first, words).await;
    };
    // Boxed: it has all of a call.
    Box::pin(running.instrument(span.clone())).await;
}

/// Nobody waits for others any more: what has done so is given back, uncounted.
pub(super) async fn give_back(inner: &Inner, group: GroupId, members: Vec<Member>) {
    let one = |member: Member| async move {
        let error = "the node went away while it waited for others of its batch".to_owned();
        let verdict = Verdict::Offer { after: Duration::ZERO, error };
        settle::settle(inner, group, &Settlement::offered(member.delivery.ticket.clone(), verdict)).await;
    };
    stream::iter(members).for_each_concurrent(SETTLED_AT_ONCE, one).await;
}

/// What is said of an attempt.
#[derive(Default)]
struct Words {
    /// Of those that are done, all in one, with what the call did; none: none is.
    done: Option<Settlement>,
    /// Of the others, each by itself.
    others: Vec<Settlement>,
}

impl Words {
    /// None is done.
    fn each(others: Vec<Settlement>) -> Self {
        Self { done: None, others }
    }
}

/// What the call came to, for all.
struct Outcome {
    verdict: Verdict,
    /// Those that are tried again all the same, by the ids of their events.
    named: BTreeSet<String>,
}

async fn attempt(inner: &Inner, members: &[Member], begun: &Begun, span: &Span) -> Words {
    let deliveries: Vec<&Delivery> = members.iter().map(|member| &*member.delivery).collect();
    let (Some(invocation), Some(first)) =
        (request::batch(&deliveries, span, begun.receipt.clone()), deliveries.first())
    else {
        return Words::default();
    };
    let mut came = call(inner, &invocation).await;
    let reply = came.reply(&first.how, &invocation, span);
    let named = if reply.is_some() { BTreeSet::new() } else { came.named(&deliveries) };
    span::came_to(span, &came.result);
    let error = said(&came.result);
    let verdict = match came.decision(inner) {
        Decision::Done => Verdict::Done,
        Decision::Retry(after) => Verdict::Retry { after, error: error.clone() },
        Decision::Dead => Verdict::Dead { error: error.clone() },
        Decision::Offer => return Words::each(offered(inner, members, &came, &error)),
    };
    for delivery in &deliveries {
        inner.offers.forget(&delivery.ticket);
    }
    let (verdict, mut told) = judged(verdict, came.result.is_ok(), begun).await;
    let effects = std::mem::take(&mut told.effects);
    if verdict != Verdict::Done || !named.is_empty() {
        // Nothing is final that half of a change may be the reason of.
        if let Some(what) = overtaken(inner, &first.ticket.namespace, &effects).await {
            sent::give_up(inner, &first.ticket.namespace, &effects);
            let error = format!("{error}; what it had read was changed meanwhile: {what}");
            let one = |it: &Delivery| given_back(inner, &it.ticket, Why::Overtaken, error.clone());
            return Words::each(still_held(members).into_iter().map(one).collect());
        }
    }
    let mut words = words(&still_held(members), begun, (&came, told, &error), Outcome { verdict, named });
    match &mut words.done {
        Some(done) => (done.effects, done.reply) = (effects, reply),
        None => sent::give_up(inner, &first.ticket.namespace, &effects),
    }
    words
}

/// Of those that are still wanted when their call is over: from now on whoever settles them finds out.
fn still_held(members: &[Member]) -> Vec<&Delivery> {
    members.iter().for_each(|member| member.place.settles());
    members.iter().filter(|member| member.place.is_held()).map(|member| &*member.delivery).collect()
}

/// For each of them the word of its attempt, with its share of what the call took. The answer stays with the first of them.
fn words(
    deliveries: &[&Delivery],
    begun: &Begun,
    (came, told, error): (&Came, Told, &str),
    outcome: Outcome,
) -> Words {
    let Outcome { verdict, named } = outcome;
    let (mut words, mut answer) = (Words::default(), came.result.as_ref().ok().cloned());
    for (index, it) in deliveries.iter().enumerate() {
        let is_named = verdict == Verdict::Done && named.contains(&it.event.id);
        let (verdict, error) = match &verdict {
            _ if is_named => (Verdict::Retry { after: None, error: NAMED.to_owned() }, NAMED),
            verdict => (verdict.clone(), error),
        };
        let mut told = told.clone();
        told.spent = told.spent.map(|spent| share(spent, deliveries.len(), index));
        let report = Some(report(begun, came, told, error.to_owned()));
        let ticket = it.ticket.clone();
        match &mut words.done {
            Some(done) if verdict == Verdict::Done => done.others.push(Other { ticket, report }),
            _ => {
                let answer = if is_named { None } else { answer.take() };
                let settlement = Settlement { report, answer, ..Settlement::offered(ticket, verdict) };
                match settlement.verdict {
                    Verdict::Done => words.done = Some(settlement),
                    _ => words.others.push(settlement),
                }
            }
        }
    }
    words
}

/// Nothing was run.
fn offered(inner: &Inner, members: &[Member], came: &Came, error: &str) -> Vec<Settlement> {
    if came.result.as_ref().is_err_and(|error| has_no_room(error.code()))
        && let Some((first, others)) = members.split_first()
    {
        // Together they were one call.
        others.iter().for_each(|member| member.place.settles());
        first.place.refused();
    }
    let one = |it: &Delivery| {
        let ticket = it.ticket.clone();
        let verdict = Verdict::Offer { after: inner.offers.after(&ticket), error: error.to_owned() };
        Settlement::offered(ticket, verdict)
    };
    still_held(members).into_iter().map(one).collect()
}

async fn cut_all(inner: &Inner, members: &[Member], begun: &Begun) -> Vec<Settlement> {
    let held = still_held(members);
    if let (true, Some(first)) = (held.is_empty(), members.first()) {
        let told = begun.receipt.told(Duration::ZERO).await;
        sent::give_up(inner, &first.delivery.ticket.namespace, &told.effects);
    }
    let mut all: Vec<Settlement> =
        stream::iter(&held).then(|it| cut_off(inner, &it.ticket, begun)).collect().await;
    let count = all.len();
    for (index, settlement) in all.iter_mut().enumerate() {
        if let Some(report) = &mut settlement.report {
            report.spent = share(std::mem::take(&mut report.spent), count, index);
        }
    }
    all
}

/// What is done is done in one operation of the store, with what the call did. Where that is refused none of those words is said that
/// count on it.
async fn settle_all(inner: &Inner, group: GroupId, first: &Member, words: Words) {
    let Words { done, mut others } = words;
    if let Some(done) = done {
        let settled = settle::settle(inner, group, &done).await;
        first.place.tell(&settled);
        match settled {
            Settled::Again(why, error) => {
                let tickets =
                    done.others.iter().map(|it| &it.ticket).chain(others.iter().map(|it| &it.ticket));
                others = tickets.map(|ticket| given_back(inner, ticket, why, error.clone())).collect();
            }
            Settled::Never(error) => others.extend(done.others.into_iter().map(|it| failed(it, &error))),
            Settled::Done | Settled::Otherwise => {}
        }
    }
    let one = |settlement: Settlement| async move {
        settle::settle(inner, group, &settlement).await;
    };
    stream::iter(others).for_each_concurrent(SETTLED_AT_ONCE, one).await;
}

/// What its call did was refused for good with another one, which is told: it may be better off in another batch, and its attempt counts.
fn failed(other: Other, error: &str) -> Settlement {
    let Other { ticket, report } = other;
    let report = report.map(|report| Report { error: error.to_owned(), ..report });
    let verdict = Verdict::Retry { after: None, error: error.to_owned() };
    Settlement { report, ..Settlement::offered(ticket, verdict) }
}

/// One message's part of what a call for so many took: all parts together are the whole.
fn share(spent: Spent, count: usize, index: usize) -> Spent {
    let (count, index) = (count.max(1) as u64, index as u64);
    let part = |whole: u64| whole / count + u64::from(index < whole % count);
    let cpu_ns = u64::try_from(spent.cpu.as_nanos()).unwrap_or(u64::MAX);
    Spent {
        cpu: Duration::from_nanos(part(cpu_ns)),
        memory_byte_ms: part(spent.memory_byte_ms),
        bytes_in: part(spent.bytes_in),
        bytes_out: part(spent.bytes_out),
    }
}

impl Came {
    /// Which messages the answer names as failed. One that cannot be understood makes the attempt a failed one, of all of them.
    fn named(&mut self, deliveries: &[&Delivery]) -> BTreeSet<String> {
        let Ok(kept) = &self.result else { return BTreeSet::new() };
        if !kept.status.is_success() {
            return BTreeSet::new();
        }
        match named::failures(kept, deliveries.iter().copied()) {
            Ok(named) => named,
            Err(why) => {
                self.result = Err(CallError::new(Code::InvalidResponse, why));
                BTreeSet::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_whole_together() {
        let whole =
            Spent { cpu: Duration::from_nanos(1_000_003), memory_byte_ms: 10, bytes_in: 2, bytes_out: 0 };
        let all: Vec<Spent> = (0..3).map(|index| share(whole, 3, index)).collect();
        let cpu: Duration = all.iter().map(|it| it.cpu).sum();
        let sum = |part: fn(&Spent) -> u64| all.iter().map(part).sum::<u64>();
        assert_eq!((cpu, sum(|it| it.memory_byte_ms)), (whole.cpu, 10));
        assert_eq!((sum(|it| it.bytes_in), sum(|it| it.bytes_out)), (2, 0));
        assert_eq!(all[0].memory_byte_ms, 4);
    }
}
