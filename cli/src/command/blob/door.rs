//! Gateways, asked about one blob: each request has a signature of its own.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::attr;
use coracle_proto::id::FunctionId;
use coracle_proto::status::{Code, Refusal};
use http::{HeaderMap, Method, Response, StatusCode};
use serde::Deserialize;

use super::link::{Verb, check, path, query, sign};
use super::tries::{Moved, Wrong};
use crate::address::Address;
use crate::client::Trace;
use crate::command::events::Events;
use crate::command::{Session, gateway};
use crate::exit::{Exit, Failure};
use crate::http::{Connection, Incoming, pieces, read};
use crate::output::Talk;

/// A signature is for one request, which may take long.
const VALID: Duration = Duration::from_secs(60 * 60);

/// The way to one blob.
pub(super) struct Door {
    pub(super) events: Events,
    pub(super) id: FunctionId,
    pub(super) key: String,
    pub(super) talk: Talk,
    pub(super) moved: Moved,
    gateways: Vec<Address>,
    trace: Trace,
}

/// A request.
pub(super) struct Asked {
    pub(super) verb: Verb,
    /// Beside the signature; may be empty.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A problem body (RFC 9457).
#[derive(Debug, Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

impl Door {
    pub(super) async fn reach(
        id: &FunctionId,
        key: &str,
        gateway: &gateway::Flag,
        session: &Session<'_>,
    ) -> Result<Self, Failure> {
        check(key)?;
        // Whom to ask for signatures is needed whoever is named.
        let events = Events::reach(session).await?;
        let gateways = gateway.beside(&events, session)?;
        Ok(Self::new(events, gateways, id, key, session.talk))
    }

    pub(super) fn new(
        events: Events,
        gateways: Vec<Address>,
        id: &FunctionId,
        key: &str,
        talk: Talk,
    ) -> Self {
        let (id, key) = (id.clone(), key.to_owned());
        Self { events, id, key, talk, moved: Moved::default(), gateways, trace: Trace::current() }
    }

    /// One attempt, at the next gateway. `sent` hears how many bytes of the body went.
    pub(super) async fn send(
        &mut self,
        asked: &Asked,
        sent: impl Fn(usize) + Send + 'static,
    ) -> Result<Response<Incoming>, Wrong> {
        if self.gateways.is_empty() {
            return Err(gateway::none().into());
        }
        // However long the one before took.
        self.events.renew();
        let signed = sign(&mut self.events, &self.id, &self.key, asked.verb, VALID).await?;
        let and = if asked.query.is_empty() { "" } else { "&" };
        let target = format!("{}?{}{and}{}", path(&self.id, &self.key), asked.query, query(&signed));
        let lost = |reason: String| Wrong::Again(Failure::new(Exit::Connect, reason));
        let opened = Connection::open(&self.gateways).await;
        // One that takes connections and then says nothing is not the first again.
        self.gateways.rotate_left(1);
        let connection = opened.map_err(|reason| lost(format!("cannot connect to a gateway: {reason}")))?;
        let mut headers = asked.headers.clone();
        self.trace.write(&mut headers);
        if asked.verb == Verb::Put {
            headers.insert(http::header::CONTENT_LENGTH, asked.body.len().into());
        }
        let moved = self.moved.clone();
        let body = pieces(asked.body.clone(), move |bytes| {
            moved.add(bytes);
            sent(bytes);
        });
        let method = match asked.verb {
            Verb::Get => Method::GET,
            Verb::Put => Method::PUT,
            Verb::Delete => Method::DELETE,
        };
        let response = self.moved.watch(connection.send(method, &target, headers, body)).await?;
        let response =
            response.map_err(|reason| lost(format!("the gateway left without an answer: {reason}")))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }
}

/// What a gateway says in place of a blob.
async fn refused(response: Response<Incoming>) -> Wrong {
    let status = response.status();
    let code =
        response.headers().get(attr::HEADER_ERROR).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = read(response).await.unwrap_or_default();
    let problem: Option<Problem> = serde_json::from_slice(&body).ok();
    let sentence = problem.and_then(|problem| problem.detail.or(problem.title));
    let sentence = sentence.unwrap_or_else(|| format!("status {status}"));
    let failure = match code.and_then(|code| code.parse::<Code>().ok()) {
        Some(code) => Refusal::new(code, sentence).into(),
        None => Failure::new(Exit::Server, sentence),
    };
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_server_error() || later { Wrong::Again(failure) } else { Wrong::Final(failure) }
}

/// An ETag without its quotes.
pub(super) fn etag_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(http::header::ETAG)?.to_str().ok().map(|text| text.trim_matches('"'))
}
