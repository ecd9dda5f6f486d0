//! From a guest's response to the call's answer, for `wasi:http` of every release.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use coracle_proto::status::Code;
use futures::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header, response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::oneshot;
use tokio::task::unconstrained;

use super::begin::begin;
use super::body::{ResponseBody, Source};
use super::call::Deadline;
use super::run::Run;
use crate::call::{Body, CallError};

/// Runs the guest until it has given an answer's head, or what it has instead.
pub(super) async fn head<T>(
    run: &mut Run,
    answered: &mut oneshot::Receiver<T>,
    deadline: &mut Deadline,
) -> Result<T, CallError> {
    let nothing = || CallError::new(Code::FunctionFailed, "the function ended without an answer");
    poll_fn(|cx| {
        match run.poll(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => return Poll::Ready(answered.try_recv().map_err(|_| nothing())),
            Poll::Pending => {}
        }
        match pin!(&mut *answered).poll(cx) {
            Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
            // Given up: by a guest that goes on, or because it ended just now, somewhere else.
            Poll::Ready(Err(_)) => {
                return Poll::Ready(Err(match run.poll(cx) {
                    Poll::Ready(Err(error)) => error,
                    Poll::Ready(Ok(())) | Poll::Pending => run.stop(nothing()),
                }));
            }
            Poll::Pending => {}
        }
        deadline.poll(cx).map(|error| Err(run.stop(error)))
    })
    .await
}

/// What the caller gets: the answer as a whole where the guest has ended, else its body with the rest of the run.
pub(super) async fn respond<B>(
    run: Run,
    method: &Method,
    response: http::Response<B>,
    deadline: Deadline,
) -> Result<http::Response<Body>, CallError>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    let (parts, body) = response.into_parts();
    if parts.status.is_informational() {
        let message = format!("{} is not a final status", parts.status);
        return Err(CallError::new(Code::InvalidResponse, message));
    }
    let body = Outgoing { body, length: Length::declared(method, &parts)? };
    let body = if run.has_ended() {
        let body = whole(body)?;
        run.invocation().account.is_made();
        body
    } else {
        let opening = begin(ResponseBody::new(run, body), deadline).await?;
        if opening.whole { whole(opening)? } else { opening.boxed_unsync() }
    };
    Ok(http::Response::from_parts(parts, body))
}

/// A body whose guest has ended: all of it is here, and its length is known.
fn whole(body: impl HttpBody<Data = Bytes, Error = CallError>) -> Result<Body, CallError> {
    // Unconstrained, because tokio lets a channel of a task that was busy for long pretend to be empty.
    let body = unconstrained(body.collect()).now_or_never();
    let body = body.unwrap_or_else(|| Err(given_up()))?;
    Ok(match body.trailers() {
        Some(_) => body.map_err(|never| match never {}).boxed_unsync(),
        None => Full::new(body.to_bytes()).map_err(|never| match never {}).boxed_unsync(),
    })
}

/// Compares a body with the length that its head declares. The implementation of `wasi:http` passes on what is too
/// much, which the caller would take for the beginning of the next answer on its connection.
struct Length {
    declared: Option<u64>,
    counted: u64,
}

impl Length {
    fn declared(method: &Method, head: &response::Parts) -> Result<Self, CallError> {
        let wrong = |why: &str| CallError::new(Code::InvalidResponse, format!("content-length: {why}"));
        let mut values = head.headers.get_all(header::CONTENT_LENGTH).iter();
        let declared =
            values.next().map(|value| length(value).ok_or_else(|| wrong(&format!("{value:?} is no length"))));
        let declared = declared.transpose()?;
        if values.next().is_some() {
            return Err(wrong("it stands more than once"));
        }
        // These have no body, and declare the length of the one that a GET would have.
        let has_body = *method != Method::HEAD && head.status != StatusCode::NOT_MODIFIED;
        Ok(Self { declared: declared.filter(|_| has_body), counted: 0 })
    }

    fn count(&mut self, bytes: usize) -> Result<(), CallError> {
        self.counted += bytes as u64;
        match self.declared {
            Some(declared) if self.counted > declared => Err(self.wrong(declared)),
            Some(_) | None => Ok(()),
        }
    }

    fn end(&self) -> Result<(), CallError> {
        match self.declared {
            Some(declared) if self.counted != declared => Err(self.wrong(declared)),
            Some(_) | None => Ok(()),
        }
    }

    fn wrong(&self, declared: u64) -> CallError {
        let message = format!("content-length is {declared} and the body had {} bytes", self.counted);
        CallError::new(Code::InvalidResponse, message)
    }
}

/// Digits and nothing else (RFC 9110, 8.6): a sign would do for Rust, and is something else to whoever reads on.
fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn given_up() -> CallError {
    CallError::new(Code::FunctionFailed, "the function gave up its response's body")
}

struct Outgoing<B> {
    body: B,
    length: Length,
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin> Source for Outgoing<B> {
    fn poll(&mut self, _ended: bool, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        // With the guest's store its side of the channel is closed: in the slow lane a moment after its end.
        Pin::new(self).poll_frame(cx)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Outgoing<B> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose().map_err(|_| given_up())?;
        match next.as_ref().and_then(Frame::data_ref) {
            Some(data) => self.length.count(data.len())?,
            None => self.length.end()?,
        }
        Poll::Ready(next.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(method: &Method, values: &[&str]) -> Result<Option<u64>, CallError> {
        let mut response = http::Response::new(());
        for value in values {
            response.headers_mut().append(header::CONTENT_LENGTH, value.parse().unwrap());
        }
        Length::declared(method, &response.into_parts().0).map(|length| length.declared)
    }

    /// What the implementation of `wasi:http` lets through is not for it to say.
    #[test]
    fn a_length_is_digits_and_stands_once() {
        assert_eq!(declared(&Method::GET, &["5"]).unwrap(), Some(5));
        assert_eq!(declared(&Method::GET, &[]).unwrap(), None);
        assert_eq!(declared(&Method::HEAD, &["5"]).unwrap(), None, "it is not that of what follows");
        for method in [Method::GET, Method::HEAD] {
            for values in [
                &["+5"][..],
                &["-0"],
                &["5, 5"],
                &["0x5"],
                &["5 5"],
                &["5."],
                &[""],
                &["18446744073709551616"],
                &["5", "5"],
                &["5", "6"],
            ] {
                let error = declared(&method, values).unwrap_err();
                assert_eq!(error.code(), Code::InvalidResponse, "{method} {values:?}: {error}");
            }
        }
    }
}
