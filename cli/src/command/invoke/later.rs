//! `coracle invoke --async`: the id of what was accepted, and with `--wait` what became of it.
//!
//! As any call these need a gateway and no controller.

use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::FunctionId;
use coracle_proto::status::{Again, Code};
use http::{HeaderMap, Method, Response, StatusCode};
use serde::Deserialize;

use super::answer::{deliver, refused, text};
use crate::address::Address;
use crate::client::{Deadline, Stopwatch};
use crate::command::Session;
use crate::exit::{Exit, Failure};
use crate::http::{Connection, Incoming, empty, read};
use crate::output::view::AcceptedView;
use crate::units::show_duration;

/// Below it the gateway tells of invocations.
const RECORDS: &str = "/.coracle/invocations";
/// Of RFC 7240: what is asked for, and what was done.
pub(super) const PREFER: &str = "prefer";
const APPLIED: &str = "preference-applied";
pub(super) const RESPOND_ASYNC: &str = "respond-async";
/// By which a call that comes again is known.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long a gateway is asked to wait for an end, seconds: of at most 60.
const ONCE_S: u64 = 20;
/// What an answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(10);
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// Whether the gateway did what it was asked for: one that does not know it has run the function.
pub(super) fn is_accepted<B>(response: &Response<B>) -> bool {
    let applied = text(response.headers(), APPLIED).is_some_and(|it| it.contains(RESPOND_ASYNC));
    response.status() == StatusCode::ACCEPTED && applied
}

/// A call that was accepted.
#[derive(Debug)]
pub(super) struct Accepted<'a> {
    pub(super) name: &'a FunctionId,
    pub(super) trace: &'a str,
    pub(super) gateways: &'a [Address],
}

impl Accepted<'_> {
    /// Tells its id, or waits for its end.
    pub(super) async fn tell<B>(
        &self,
        response: &Response<B>,
        watch: Stopwatch,
        wait: Option<Duration>,
        session: &Session<'_>,
    ) -> Result<(), Failure> {
        let nameless = || Failure::new(Exit::Server, "the gateway accepted the call and did not say its id");
        let id = text(response.headers(), attr::HEADER_INVOCATION).ok_or_else(nameless)?;
        let took = show_duration(watch.elapsed());
        session.talk.say(&format!("accepted in {took}, invocation {id}, trace {}", self.trace));
        let Some(within) = wait else {
            session.talk.hint(&format!("what becomes of it: coracle invocation wait {id}"));
            return session.output.one(&AcceptedView::new(&id, self.name, self.trace));
        };
        let record = self.ended(&id, within, session).await?;
        session.talk.say(&record.sentence(watch.elapsed()));
        self.answer(&id, &record, session).await
    }

    async fn ended(&self, id: &str, within: Duration, session: &Session<'_>) -> Result<Record, Failure> {
        let until = Deadline::after(within);
        loop {
            // At least a second: the gateway takes no less.
            let seconds = until.at_most(Duration::from_secs(ONCE_S)).as_secs().max(1);
            let target = format!("{RECORDS}/{id}?wait={seconds}");
            let limit = Duration::from_secs(seconds) + ANSWER;
            let response = self.insist(&target, limit, until, session).await?;
            if let Some(record) = Record::read(response, limit).await?.filter(Record::has_ended) {
                return Ok(record);
            }
            if until.is_over() {
                let waited = show_duration(within);
                let next = format!("it goes on: coracle invocation wait {id}");
                let sentence = format!("invocation {id} has not ended after {waited}; {next}");
                return Err(Failure::new(Exit::TimedOut, sentence));
            }
            until.pause(PAUSE).await;
        }
    }

    /// What it answered goes to stdout, as that of any call, and its end is the command's.
    async fn answer(&self, id: &str, record: &Record, session: &Session<'_>) -> Result<(), Failure> {
        let ended = record.end(id);
        let target = format!("{RECORDS}/{id}/result");
        match self.insist(&target, ANSWER, Deadline::after(ANSWER), session).await {
            Ok(response) => {
                let delivered = deliver(response, self.name).await;
                ended.and(delivered)
            }
            // It was too large to be kept, or there never was one: how it ended is what counts.
            Err(failure) if failure.exit == Exit::NotFound => {
                session.talk.warn(&failure.message);
                ended
            }
            Err(failure) => ended.and(Err(failure)),
        }
    }

    /// Asks until a gateway answers, or the time is over.
    async fn insist(
        &self,
        target: &str,
        limit: Duration,
        until: Deadline,
        session: &Session<'_>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut told = false;
        loop {
            let reason = match self.ask(target, limit).await {
                Ok(response) => return Ok(response),
                Err(Trouble::Final(failure)) => return Err(failure),
                Err(Trouble::Passing(reason)) => reason,
            };
            if until.is_over() {
                return Err(Failure::new(Exit::Server, reason));
            }
            if !told {
                session.talk.warn(&format!("{reason}; going on to ask"));
            }
            told = true;
            until.pause(PAUSE).await;
        }
    }

    /// One question to whichever gateway answers first.
    async fn ask(&self, target: &str, limit: Duration) -> Result<Response<Incoming>, Trouble> {
        let asked = async {
            let connection = Connection::open(self.gateways).await?;
            connection.send(Method::GET, target, HeaderMap::new(), empty()).await
        };
        let answered = tokio::time::timeout(limit, asked).await;
        let silent = |_| Err(format!("no answer within {} s", limit.as_secs()));
        let response = answered.unwrap_or_else(silent).map_err(Trouble::Passing)?;
        let Some(code) = text(response.headers(), attr::HEADER_ERROR) else { return Ok(response) };
        let status = response.status();
        let body = tokio::time::timeout(limit, read(response)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let failure = refused(&code, &body, status);
        match code.parse::<Code>().map(Code::retry) {
            Ok(Again::NotStarted | Again::Unknown) => Err(Trouble::Passing(failure.message)),
            Ok(Again::Never) | Err(_) => Err(Trouble::Final(failure)),
        }
    }
}

/// Why there was no answer.
#[derive(Debug)]
enum Trouble {
    /// It would be the same again.
    Final(Failure),
    /// The gateway is gone, or nobody leads just now.
    Passing(String),
}

/// What a gateway tells of an invocation, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Record {
    state: String,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    last_error: Option<String>,
}

impl Record {
    /// None where it did not come whole in time: it is asked for again.
    async fn read(response: Response<Incoming>, limit: Duration) -> Result<Option<Self>, Failure> {
        let Ok(Ok(body)) = tokio::time::timeout(limit, read(response)).await else { return Ok(None) };
        let strange = |error| Failure::local("the gateway's record of the invocation", error);
        serde_json::from_slice(&body).map(Some).map_err(strange)
    }

    fn has_ended(&self) -> bool {
        !matches!(self.state.as_str(), "waiting" | "running")
    }

    fn sentence(&self, elapsed: Duration) -> String {
        format!("{} after {}", self.state, show_duration(elapsed))
    }

    fn end(&self, id: &str) -> Result<(), Failure> {
        match self.state.as_str() {
            "succeeded" => Ok(()),
            "dead" => {
                let reason = self.last_error.as_ref().or(self.cause.as_ref()).map_or("", String::as_str);
                let sentence = format!("invocation {id} is a dead letter: {reason}");
                let more = format!("'coracle invocation get {id}' shows its attempts");
                Err(Failure::new(Exit::Function, format!("{sentence}; {more}")))
            }
            state => Err(Failure::new(Exit::Conflict, format!("invocation {id} was {state}"))),
        }
    }
}

#[cfg(test)]
mod tests;
