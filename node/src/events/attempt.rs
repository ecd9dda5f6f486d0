//! One attempt of a message: run as any call is, judged, and settled.

use std::time::Duration;

use coracle_proto::id::{GroupId, VersionNumber};
use coracle_proto::status::Code;
use http::StatusCode;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::again::{Why, given_back, overtaken};
use super::running::Place;
use super::verdict::{Decision, of_answer, of_error};
use super::{Inner, answer, request, sent, settle, span};
use crate::call::{CallError, Receipt, Told};
use crate::clock;
use crate::dispatch::{Answered, Invocation};
use crate::front::reply;
use crate::stores::{BODY_BYTES_MAX, Delivery, Kept, Manner, Reply, Report, Settlement, Ticket, Verdict};

/// What a call took is told when its guest is gone, which is a turn of it later than its answer at most, or not at all.
const SPENT_WAIT: Duration = Duration::from_millis(250);
/// The same of what it did in the platform.
const GATHERED_WAIT: Duration = Duration::from_secs(2);
/// A message that this program does not understand is left to others for so long.
const FOREIGN_AFTER: Duration = Duration::from_secs(5);

/// Counts while it lives: whoever runs may be dropped.
pub(super) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(super) fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An attempt from its start on.
pub(super) struct Begun {
    /// Where it is told where it runs, and what it took.
    pub(super) receipt: Receipt,
    started_ms: u64,
}

impl Begun {
    /// It begins now.
    pub(super) fn now() -> Self {
        Self { receipt: Receipt::gathering(), started_ms: clock::unix_ms() }
    }
}

/// What an attempt came to.
pub(super) struct Came {
    pub(super) result: Result<Kept, CallError>,
    pub(super) cold: bool,
}

impl Came {
    /// What becomes of it by that.
    pub(super) fn decision(&self, inner: &Inner) -> Decision {
        match &self.result {
            Ok(kept) => of_answer(kept.status, &kept.headers, clock::unix_ms()),
            Err(error) => of_error(error.code(), inner.is_current()),
        }
    }

    /// The event that it answered, where that is to be published. One that is none makes the attempt a failed one.
    pub(super) fn reply(&mut self, how: &Manner, invocation: &Invocation, span: &Span) -> Option<Box<Reply>> {
        let (to, Ok(kept)) = (how.reply.as_ref()?, &self.result) else { return None };
        if kept.status != StatusCode::OK {
            return None;
        }
        let replied = reply(&kept.headers, &kept.body, &invocation.head.headers, span);
        let wrong = match replied {
            Ok(None) => return None,
            // What was not kept cannot be read either.
            _ if !kept.is_whole() => format!(
                "the event that it answered has {} bytes, and at most {BODY_BYTES_MAX} are published",
                kept.body_bytes
            ),
            Ok(Some(message)) => return Some(Box::new(Reply { to: to.clone(), message })),
            Err(error) => format!("the event that it answered is none: {error}"),
        };
        self.result = Err(CallError::new(Code::InvalidResponse, wrong));
        None
    }
}

/// Runs a message and says what became of it; of a call that has not ended at the `cut`, that. Dropping this stops its guest.
pub(super) async fn run(
    inner: &Inner,
    group: GroupId,
    delivery: Delivery,
    place: &Place,
    cut: &CancellationToken,
) {
    let _counted = Counted::new(&inner.metrics.events.running);
    let span = span::process(&delivery);
    let begun = Begun::now();
    let running = async {
        let settlement = tokio::select! {
            settlement = attempt(inner, &delivery, &begun, place, &span) => settlement,
            () = cut.cancelled() => cut_off(inner, &delivery.ticket, &begun).await,
        };
        place.settles();
        place.tell(&settle::settle(inner, group, &settlement).await);
    };
    // Boxed: it has all of a call.
    Box::pin(running.instrument(span.clone())).await;
}

/// Gives back what cannot be read here: a newer program may.
pub(super) async fn give_back(inner: &Inner, group: GroupId, ticket: Ticket, why: String) {
    tracing::warn!(queue = ticket.queue, message = ticket.message, why, "a message was not understood");
    let verdict = Verdict::Offer { after: FOREIGN_AFTER, error: format!("not understood: {why}") };
    settle::settle(inner, group, &Settlement::offered(ticket, verdict)).await;
}

/// Gives back what would wait here for others beside too many.
pub(super) async fn refuse(inner: &Inner, group: GroupId, ticket: Ticket) {
    let error = "as many messages wait for others of their batches here as may".to_owned();
    let verdict = Verdict::Offer { after: inner.offers.after(&ticket), error };
    settle::settle(inner, group, &Settlement::offered(ticket, verdict)).await;
}

/// The node goes away, and the call has not ended. It may have done something: the attempt counts.
pub(super) async fn cut_off(inner: &Inner, ticket: &Ticket, begun: &Begun) -> Settlement {
    let error = CallError::new(Code::Draining, "the node went away before the call had ended");
    let verdict = Verdict::Retry { after: None, error: error.refusal.message.clone() };
    let came = Came { cold: false, result: Err(error) };
    let told = begun.receipt.told(Duration::ZERO).await;
    sent::give_up(inner, &ticket.namespace, &told.effects);
    let report = Some(report(begun, &came, told, said(&came.result)));
    Settlement { report, ..Settlement::offered(ticket.clone(), verdict) }
}

async fn attempt(
    inner: &Inner,
    delivery: &Delivery,
    begun: &Begun,
    place: &Place,
    span: &Span,
) -> Settlement {
    let invocation = request::invocation(delivery, span, begun.receipt.clone());
    let mut came = call(inner, &invocation).await;
    let reply = came.reply(&delivery.how, &invocation, span);
    let decision = came.decision(inner);
    span::came_to(span, &came.result);
    let ticket = delivery.ticket.clone();
    let error = said(&came.result);
    let verdict = match decision {
        Decision::Done => Verdict::Done,
        Decision::Retry(after) => Verdict::Retry { after, error: error.clone() },
        Decision::Dead => Verdict::Dead { error: error.clone() },
        Decision::Offer => {
            if came.result.as_ref().is_err_and(|error| has_no_room(error.code())) {
                place.refused();
            }
            let verdict = Verdict::Offer { after: inner.offers.after(&ticket), error };
            return Settlement::offered(ticket, verdict);
        }
    };
    inner.offers.forget(&ticket);
    let (verdict, mut told) = judged(verdict, came.result.is_ok(), begun).await;
    let effects = std::mem::take(&mut told.effects);
    if verdict != Verdict::Done {
        sent::give_up(inner, &ticket.namespace, &effects);
    }
    let effects = match &verdict {
        Verdict::Done => effects,
        Verdict::Retry { .. } | Verdict::Dead { .. } => {
            // Nothing is final that half of a change may be the reason of.
            if let Some(what) = overtaken(inner, &ticket.namespace, &effects).await {
                let error = format!("{error}; what it had read was changed meanwhile: {what}");
                return given_back(inner, &ticket, Why::Overtaken, error);
            }
            Vec::new()
        }
        Verdict::Offer { .. } => Vec::new(),
    };
    let report = Some(report(begun, &came, told, error));
    let reply = reply.filter(|_| verdict == Verdict::Done);
    let others = Vec::new();
    Settlement { ticket, report, verdict, answer: came.result.ok(), effects, reply, others }
}

/// With what was told of the call, which was `answered` or failed. It is not done without what it did.
pub(super) async fn judged(verdict: Verdict, answered: bool, begun: &Begun) -> (Verdict, Told) {
    let longest = if answered { GATHERED_WAIT } else { Duration::ZERO };
    let told = begun.receipt.told_whole(SPENT_WAIT, longest).await;
    if verdict != Verdict::Done || told.is_whole() {
        return (verdict, told);
    }
    (Verdict::Retry { after: None, error: "what the call did was not told in time".to_owned() }, told)
}

/// Whether another message of the same queue would be refused, too.
pub(super) const fn has_no_room(code: Code) -> bool {
    matches!(code, Code::ConcurrencyLimit | Code::Overloaded | Code::NoReplica)
}

pub(super) async fn call(inner: &Inner, invocation: &Invocation) -> Came {
    let answered = match Box::pin(inner.dispatcher.dispatch(invocation)).await {
        Ok(answered) => answered,
        Err(error) => return Came { cold: error.cold, result: Err(error) },
    };
    let Answered { response, ongoing, cold, timeout, .. } = answered;
    let result = match tokio::time::timeout(timeout, answer::gather(response)).await {
        Ok(result) => result,
        Err(_) => {
            let said = format!(
                "the answer had a head and did not end within {} ms after it, the function's 'timeout'",
                timeout.as_millis()
            );
            Err(CallError::new(Code::ResponseTimeout, said))
        }
    };
    if let Err(error) = &result {
        ongoing.broke_off(error);
    }
    Came { result, cold }
}

/// Why it is not done, for people.
pub(super) fn said(result: &Result<Kept, CallError>) -> String {
    match result {
        Ok(kept) if kept.status.is_success() => String::new(),
        Ok(kept) => format!("the function answered {}", shown(kept.status)),
        Err(error) => format!("{}: {error}", error.code()),
    }
}

fn shown(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} ({reason})", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

pub(super) fn report(begun: &Begun, came: &Came, told: Told, error: String) -> Report {
    let outcome = match &came.result {
        Ok(kept) => kept.status.as_u16().to_string(),
        Err(error) => error.code().name().to_owned(),
    };
    Report {
        attempt: 0,
        node: told.place.map(|(node, _)| node),
        version: told.place.map_or(VersionNumber::new(0), |(_, version)| version),
        started_ms: begun.started_ms,
        ended_ms: clock::unix_ms().max(begun.started_ms),
        cold: came.cold,
        outcome,
        error,
        spent: told.spent.unwrap_or_default(),
    }
}
