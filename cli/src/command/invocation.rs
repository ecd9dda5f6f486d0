//! `coracle invocation`: what became of asynchronous calls.

mod outcome;

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use coracle_proto::id::{FunctionId, InvocationId, Namespace};
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::spec::TIMEOUT;

use self::outcome::{describe, end, result, told};
use super::Session;
use super::events::{Change, Events};
use crate::client::{Invocations, now_ms};
use crate::exit::Failure;
use crate::output::since_ms;
use crate::output::view::{Changed, InvocationView};
use crate::units;

/// How long an end is waited for, unless it was told: as long as one attempt may take.
pub(super) const WAIT: Duration = Duration::from_millis(TIMEOUT.max);
/// Records of one answer.
const PAGE_MAX: u32 = 1_000;
/// Records of one list.
const LIST_MAX: i64 = 100_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List invocations of a namespace, the newest first.
    List(List),
    /// Show an invocation with its attempts.
    Get(Named),
    /// Wait until an invocation has ended; what it answered goes to stdout.
    Wait(Wait),
    /// Stop an invocation that runs, or see to it that one that waits is not run.
    Cancel(Named),
    /// Give a dead letter all its attempts again.
    Retry(Named),
    /// Write what an invocation answered to stdout.
    Result(Named),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of one function: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "FUNCTION")]
    function: Option<FunctionId>,
    /// Those of this namespace [default: default].
    #[arg(long, conflicts_with = "function")]
    namespace: Option<Namespace>,
    /// Only those in this state; repeated, or in any of these.
    #[arg(long = "state", value_enum, value_name = "STATE", value_delimiter = ',')]
    states: Vec<State>,
    /// Accepted from then on: so long ago (10m), or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Accepted before: so long ago, or a moment.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only those of one trace: 32 hexadecimal digits.
    #[arg(long, value_name = "TRACE", value_parser = trace)]
    trace: Option<String>,
    /// So many at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// 32 hexadecimal digits.
    #[arg(value_name = "ID")]
    id: InvocationId,
}

#[derive(Debug, clap::Args)]
struct Wait {
    #[command(flatten)]
    named: Named,
    /// How long to wait at most, such as 90s [default: 15m].
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Waiting,
    Running,
    Succeeded,
    Dead,
    Cancelled,
    Dropped,
}

impl From<State> for InvocationState {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Running => Self::Running,
            State::Succeeded => Self::Succeeded,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
            State::Dropped => Self::Dropped,
        }
    }
}

fn trace(text: &str) -> Result<String, String> {
    let good = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(text.to_ascii_lowercase()) } else { Err("expected 32 hexadecimal digits".to_owned()) }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::List(args) => list(args, session).await,
        Verb::Get(named) => get(named.id, session).await,
        Verb::Wait(args) => wait(args, session).await,
        Verb::Cancel(named) => change(named.id, Change::Cancel, session).await,
        Verb::Retry(named) => change(named.id, Change::Retry, session).await,
        Verb::Result(named) => {
            let reply = Events::reach(session).await?.answer(named.id).await?;
            result(reply, session)
        }
    }
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let (namespace, request) = asked(args, now_ms())?;
    let mut events = Events::reach(session).await?;
    session.output.list(&records(&mut events, &namespace, request, args.limit).await?)
}

/// The first so many.
async fn records(
    events: &mut Events,
    namespace: &Namespace,
    mut request: pb::ListInvocationsRequest,
    limit: u32,
) -> Result<Vec<InvocationView>, Failure> {
    let mut rows = Vec::new();
    loop {
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        request.limit = left.min(PAGE_MAX);
        let page = async |mut service: Invocations, place| {
            service.list(pb::ListInvocationsRequest { place: Some(place), ..request.clone() }).await
        };
        let page = events.invocations("invocation list", namespace, page).await?;
        rows.extend(page.records.into_iter().take(left as usize).map(InvocationView::from));
        if page.after.is_empty() || rows.len() >= limit as usize {
            return Ok(rows);
        }
        request.after = page.after;
    }
}

/// What is asked of which namespace.
fn asked(args: &List, now_ms: u64) -> Result<(Namespace, pb::ListInvocationsRequest), Failure> {
    let moment = |flag: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(|text| since_ms(text, now_ms)).transpose();
        let parsed = parsed.map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
        Ok::<u64, Failure>(parsed.unwrap_or_default())
    };
    let namespace = match (&args.function, &args.namespace) {
        (Some(function), _) => function.namespace.clone(),
        (None, Some(namespace)) => namespace.clone(),
        (None, None) => Namespace::default(),
    };
    let request = pb::ListInvocationsRequest {
        function: args.function.as_ref().map(|id| id.name.to_string()).unwrap_or_default(),
        states: args.states.iter().map(|state| InvocationState::from(*state).into()).collect(),
        since_ms: moment("--since", &args.since)?,
        until_ms: moment("--until", &args.until)?,
        trace_id: args.trace.clone().unwrap_or_default(),
        ..pb::ListInvocationsRequest::default()
    };
    Ok((namespace, request))
}

async fn get(id: InvocationId, session: &Session<'_>) -> Result<(), Failure> {
    let found = Events::reach(session).await?.find(id).await?;
    session.output.one(&InvocationView::from(found.record))
}

async fn wait(args: &Wait, session: &Session<'_>) -> Result<(), Failure> {
    let within = args.timeout.unwrap_or(WAIT);
    ended(&mut Events::reach(session).await?, args.named.id, within, session).await
}

/// Waits for its end: what it answered goes to stdout, and how it ended is how the command ends.
pub(super) async fn ended(
    events: &mut Events,
    id: InvocationId,
    within: Duration,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let reply = events.ended(id, within).await?;
    let record = reply.record.clone().unwrap_or_default();
    if session.output.is_for_people() {
        told(&reply, session.talk)?;
        session.talk.say(&describe(&record));
    } else {
        session.output.one(&InvocationView::from(record.clone()))?;
    }
    end(&record)
}

async fn change(id: InvocationId, change: Change, session: &Session<'_>) -> Result<(), Failure> {
    Events::reach(session).await?.change(id, change).await?;
    let (sentence, outcome) = match change {
        Change::Cancel => (format!("invocation {id} is cancelled"), "cancelled"),
        Change::Retry => (format!("invocation {id} is run again"), "retried"),
    };
    session.talk.say(session.talk.done(&sentence));
    session.output.one(&Changed::new(id, outcome))
}

#[cfg(test)]
mod tests;
