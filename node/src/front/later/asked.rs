//! What became of a call: its record, what it answered, and what a person does with it.

use std::net::IpAddr;
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::{GroupId, InvocationId};
use coracle_proto::status::{Again, Code, Refusal};
use http::header::{ALLOW, CONTENT_LENGTH, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::{ASK_AGAIN, Preferences, answer, page, told};
use crate::call::{Body, CallError};
use crate::clock;
use crate::front::Inner;
use crate::front::answer::{Served, set_invocation, set_number};
use crate::front::headers::{remove_hop_by_hop, remove_own};
use crate::front::problem::with_status;
use crate::front::serve::unless_unheard;
use crate::stores::{BODY_BYTES_MAX, Kept, Record, no_store};

/// A group's leader is found within this.
const FIND_MAX: Duration = Duration::from_secs(10);
/// Whoever asks may wait so long for the end of a call.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is asked about which invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front) struct Asked {
    pub(in crate::front) id: InvocationId,
    pub(in crate::front) what: What,
}

/// What is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front) enum What {
    Record,
    Result,
    Retry,
}

impl What {
    const fn allowed(self) -> &'static str {
        match self {
            Self::Record => "GET, HEAD, DELETE",
            Self::Result => "GET, HEAD",
            Self::Retry => "POST",
        }
    }
}

impl Inner {
    /// Answers what is asked about an invocation.
    pub(in crate::front) async fn asked(&self, asked: Asked, head: &Parts, caller: IpAddr) -> Served {
        let _place = match self.place(caller) {
            Ok(place) => place,
            Err(error) => return self.refuse(&error),
        };
        match self.look(asked, head).await {
            Ok(response) => Served::page(response),
            Err(error) => self.refuse(&error),
        }
    }

    async fn look(&self, asked: Asked, head: &Parts) -> Result<Response<Body>, CallError> {
        let Asked { id, what } = asked;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let waits = if reads { waits(head)? } else { Duration::ZERO };
        let changes = match what {
            What::Record => head.method == Method::DELETE,
            What::Result => false,
            What::Retry => head.method == Method::POST,
        };
        if !reads && !changes || reads && what == What::Retry {
            return Ok(not_allowed(what, &head.method));
        }
        let group = Box::pin(self.group(id, changes)).await?;
        let (stores, deadline) = (&self.stores, clock::now() + FIND_MAX + waits);
        let asked = async {
            Ok(match what {
                What::Record if reads => shown(&stores.get(group, id, waits, deadline).await?),
                What::Record => shown(&stores.cancel(group, id, deadline).await?),
                What::Retry => shown(&stores.retry(group, id, deadline).await?),
                What::Result => {
                    let (record, kept) = stores.result(group, id, waits, deadline).await?;
                    result(&record, kept)
                }
            })
        };
        Box::pin(asked).await.map_err(|refusal: Refusal| {
            told(if refusal.code == Code::InvocationNotFound { not_found(id) } else { refusal })
        })
    }

    /// The group that has it: an id does not say where its record lies. All are asked in turn, each within its share of the
    /// time. Of a change none is told that has no record of it: it would write down that it has none.
    async fn group(&self, id: InvocationId, changes: bool) -> Result<GroupId, CallError> {
        let groups = self.stores.groups();
        if let [only] = groups[..]
            && !changes
        {
            return Ok(only);
        }
        if groups.is_empty() {
            return Err(unless_unheard(&self.view.load(), told(no_store())));
        }
        let (mut unknown, by, mut others) = (None, clock::now() + FIND_MAX, groups.len());
        for group in groups {
            let (now, share) = (clock::now(), u32::try_from(others.max(1)).unwrap_or(u32::MAX));
            let deadline = now + by.saturating_duration_since(now) / share;
            others = others.saturating_sub(1);
            match Box::pin(self.stores.get(group, id, Duration::ZERO, deadline)).await {
                Ok(_) => return Ok(group),
                Err(refusal) if refusal.code == Code::InvocationNotFound => {}
                Err(refusal) if refusal.code.retry() == Again::Never => return Err(told(refusal)),
                Err(refusal) => unknown = Some(refusal),
            }
        }
        Err(told(unknown.unwrap_or_else(|| not_found(id))))
    }
}

fn not_found(id: InvocationId) -> Refusal {
    let said = format!("there is no record of '{id}': records are kept for a day after the end");
    Refusal::new(Code::InvocationNotFound, said)
}

/// How long the answer may wait: what the query says, or else what is preferred.
fn waits(head: &Parts) -> Result<Duration, CallError> {
    let query = head.uri.query().unwrap_or_default();
    let Some(value) = query.split('&').find_map(|pair| pair.strip_prefix("wait=")) else {
        return Ok(Preferences::new(&head.headers).wait.unwrap_or_default().min(WAIT_MAX));
    };
    let seconds = value.parse().ok().filter(|seconds| (1..=WAIT_MAX.as_secs()).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let said = format!("'wait={value}': expected seconds from 1 to {}", WAIT_MAX.as_secs());
        CallError::new(Code::BadRequest, said)
    })
}

fn shown(record: &Record) -> Response<Body> {
    shown_as(StatusCode::OK, record)
}

fn shown_as(status: StatusCode, record: &Record) -> Response<Body> {
    let mut response = answer(status, page::record(record));
    if !record.state.is_ended() {
        response.headers_mut().insert(RETRY_AFTER, ASK_AGAIN);
    }
    set_invocation(response.headers_mut(), record.invocation);
    response
}

/// What the function answered, once it has.
fn result(record: &Record, kept: Option<Kept>) -> Response<Body> {
    if !record.state.is_ended() {
        return shown_as(StatusCode::ACCEPTED, record);
    }
    let gone = |why: String| {
        let error = CallError::new(Code::InvocationNotFound, why);
        let mut response = with_status(&error, StatusCode::GONE);
        set_invocation(response.headers_mut(), record.invocation);
        response
    };
    match kept {
        Some(kept) if kept.is_whole() => answered(record, kept),
        Some(kept) => gone(format!(
            "the function answered {} with {} bytes, and no more than {BODY_BYTES_MAX} are kept",
            kept.status, kept.body_bytes
        )),
        None if record.last_error.is_empty() => {
            gone(format!("it is {}, and there is no answer of it", record.state.name()))
        }
        None => gone(format!("it is {} without an answer: {}", record.state.name(), record.last_error)),
    }
}

fn answered(record: &Record, kept: Kept) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(kept.body).map_err(|never| match never {})));
    *response.status_mut() = kept.status;
    let headers = response.headers_mut();
    *headers = kept.headers;
    remove_hop_by_hop(headers);
    remove_own(headers);
    // That of an answer without a body, to HEAD, is not that of this one.
    headers.remove(CONTENT_LENGTH);
    set_invocation(headers, record.invocation);
    set_number(headers, attr::HEADER_ATTEMPT, record.attempts.into());
    response
}

fn not_allowed(what: What, method: &Method) -> Response<Body> {
    let allowed = what.allowed();
    let error = CallError::new(Code::BadRequest, format!("{method} is not possible here, only {allowed}"));
    let mut response = with_status(&error, StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
