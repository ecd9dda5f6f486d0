//! One attempt of several messages: run by one call, judged for each of them, and each settled by itself.

use std::collections::BTreeSet;

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
use super::{Inner, named, request, settle, span};
use crate::call::{CallError, Effect, Spent, Told};
use crate::stores::{Delivery, Reply, Settlement, Ticket, Verdict};

/// Messages that are settled at once: they come into one entry of the log, or a few.
const SETTLED_AT_ONCE: usize = 64;
/// Why a message is tried again that its function has named.
const NAMED: &str = "the function named it among those of its batch that failed";

/// Runs those that are still wanted and says what became of each. Of a call that has not ended at the `cut`, that.
pub(super) async fn run(inner: &Inner, group: GroupId, mut members: Vec<Member>, cut: &CancellationToken) {
    members.retain(|member| member.place.is_held());
    let Some(first) = members.first() else { return };
    let _counted = Counted::new(&inner.metrics.events.running);
    let (span, begun) = (span::process(&first.delivery), Begun::now());
    let running = async {
        let tickets: Vec<Ticket> = members.iter().map(|member| member.delivery.ticket.clone()).collect();
        let settlements = tokio::select! {
            settlements = attempt(inner, &members, &begun, &span) => settlements,
            () = cut.cancelled() => cut_all(inner, &tickets, &begun).await,
            () = first.place.all_lost(&tickets) => return,
        };
        settle_all(inner, group, &members, settlements).await;
    };
    // Boxed: it has all of a call.
    Box::pin(running.instrument(span.clone())).await;
}

/// Nobody waits for others any more: what has done so is given back, uncounted.
pub(super) async fn give_back(inner: &Inner, group: GroupId, members: Vec<Member>) {
    let one = |member: Member| async move {
        let error = "the node went away while it waited for others of its batch".to_owned();
        let verdict = Verdict::Offer { after: std::time::Duration::ZERO, error };
        settle::settle(inner, group, &Settlement::offered(member.delivery.ticket.clone(), verdict)).await;
    };
    stream::iter(members).for_each_concurrent(SETTLED_AT_ONCE, one).await;
}

/// What the call came to, for all.
struct Outcome {
    verdict: Verdict,
    /// Those that are tried again all the same, by the ids of their events.
    named: BTreeSet<String>,
    effects: Vec<Effect>,
    reply: Option<Box<Reply>>,
}

async fn attempt(inner: &Inner, members: &[Member], begun: &Begun, span: &Span) -> Vec<Settlement> {
    let deliveries: Vec<&Delivery> = members.iter().map(|member| &*member.delivery).collect();
    let Some(invocation) = request::batch(&deliveries, span, begun.receipt.clone()) else {
        return Vec::new();
    };
    let mut came = call(inner, &invocation).await;
    let how = members.first().map(|member| member.delivery.how.clone()).unwrap_or_default();
    let reply = came.reply(&how, &invocation, span);
    let named = if reply.is_some() { BTreeSet::new() } else { came.named(&deliveries) };
    span::came_to(span, &came.result);
    let error = said(&came.result);
    let verdict = match came.decision(inner) {
        Decision::Done => Verdict::Done,
        Decision::Retry(after) => Verdict::Retry { after, error: error.clone() },
        Decision::Dead => Verdict::Dead { error: error.clone() },
        Decision::Offer => return offered(inner, members, &came, &error),
    };
    for delivery in &deliveries {
        inner.offers.forget(&delivery.ticket);
    }
    let (verdict, mut told) = judged(verdict, came.result.is_ok(), begun).await;
    let effects = std::mem::take(&mut told.effects);
    let failed = verdict != Verdict::Done;
    if failed && let Some(first) = deliveries.first() {
        // Nothing is final that half of a change may be the reason of.
        if let Some(what) = overtaken(inner, &first.ticket.namespace, &effects).await {
            let error = format!("{error}; what it had read was changed meanwhile: {what}");
            let one = |it: &&Delivery| given_back(inner, &it.ticket, Why::Overtaken, error.clone());
            return deliveries.iter().map(one).collect();
        }
    }
    let (effects, reply) = if failed { (Vec::new(), None) } else { (effects, reply) };
    each(&deliveries, begun, (&came, told, &error), Outcome { verdict, named, effects, reply })
}

/// For each of them the word of its attempt, with its share of what the call took. What the call did goes with one that is done: the
/// first of those with the longest chain of calls behind them.
fn each(
    deliveries: &[&Delivery],
    begun: &Begun,
    (came, told, error): (&Came, Told, &str),
    outcome: Outcome,
) -> Vec<Settlement> {
    let Outcome { verdict, named, mut effects, mut reply } = outcome;
    let is_done = |it: &Delivery| verdict == Verdict::Done && !named.contains(&it.event.id);
    let done = deliveries.iter().enumerate().filter(|(_, it)| is_done(it));
    let carrier = done.rev().max_by_key(|(_, it)| request::hops_of(&it.event)).map(|(index, _)| index);
    let one = |(index, it): (usize, &&Delivery)| {
        let (verdict, error) = match &verdict {
            Verdict::Done if !is_done(it) => {
                (Verdict::Retry { after: None, error: NAMED.to_owned() }, NAMED.to_owned())
            }
            verdict => (verdict.clone(), error.to_owned()),
        };
        let mut told = told.clone();
        told.spent = told.spent.map(|spent| share(spent, deliveries.len(), index));
        let report = Some(report(begun, came, told, error));
        let carries = carrier == Some(index);
        Settlement {
            ticket: it.ticket.clone(),
            report,
            verdict,
            answer: came.result.as_ref().ok().cloned(),
            effects: if carries { std::mem::take(&mut effects) } else { Vec::new() },
            reply: if carries { reply.take() } else { None },
        }
    };
    deliveries.iter().enumerate().map(one).collect()
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
    let one = |member: &Member| {
        let ticket = member.delivery.ticket.clone();
        let verdict = Verdict::Offer { after: inner.offers.after(&ticket), error: error.to_owned() };
        Settlement::offered(ticket, verdict)
    };
    members.iter().map(one).collect()
}

async fn cut_all(inner: &Inner, tickets: &[Ticket], begun: &Begun) -> Vec<Settlement> {
    stream::iter(tickets).then(|ticket| cut_off(inner, ticket, begun)).collect().await
}

/// What the call did is done with the first of these words, or none of those is said that count on it.
async fn settle_all(inner: &Inner, group: GroupId, members: &[Member], settlements: Vec<Settlement>) {
    members.iter().for_each(|member| member.place.settles());
    let wanted = settlements.into_iter().zip(members).filter(|(_, member)| member.place.is_held());
    let (carriers, mut others): (Vec<_>, Vec<_>) = wanted.partition(|(it, _)| it.effects_count() > 0);
    let carries = !carriers.is_empty();
    let mut done = !carries;
    for (carrier, member) in carriers {
        let settled = settle::settle(inner, group, &carrier).await;
        member.place.tell(settled);
        done = settled == Settled::Done;
    }
    if !done {
        for (settlement, _) in &mut others {
            if settlement.verdict == Verdict::Done {
                let error = "what its call did could not be done with another one of its batch".to_owned();
                *settlement = given_back(inner, &settlement.ticket, Why::Overtaken, error);
            }
        }
    }
    let one = |(settlement, _): (Settlement, &Member)| async move {
        settle::settle(inner, group, &settlement).await;
    };
    stream::iter(others).for_each_concurrent(SETTLED_AT_ONCE, one).await;
}

/// One message's part of what a call for so many took: all parts together are the whole.
fn share(spent: Spent, count: usize, index: usize) -> Spent {
    let (count, index) = (count.max(1) as u64, index as u64);
    let part = |whole: u64| whole / count + u64::from(index < whole % count);
    let cpu_ns = u64::try_from(spent.cpu.as_nanos()).unwrap_or(u64::MAX);
    Spent {
        cpu: std::time::Duration::from_nanos(part(cpu_ns)),
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
    use std::time::Duration;

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
