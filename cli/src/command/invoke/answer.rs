//! A function's answer: its body to stdout, or what it means that there is none.

use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::FunctionId;
use coracle_proto::status::{Code, Refusal};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;

use crate::exit::{Exit, Failure};
use crate::http::{Incoming, chain, read};
use crate::output::{door, unwritten};
use crate::units::show_duration;

/// What the platform tells of a call in headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    status: StatusCode,
    node: Option<String>,
    start: Option<String>,
    attempts: Option<String>,
    version: Option<String>,
    invocation: Option<String>,
    trace: String,
}

impl Facts {
    pub(super) fn of<B>(response: &Response<B>, trace: String) -> Self {
        let header = |name| text(response.headers(), name);
        Self {
            status: response.status(),
            node: header(attr::HEADER_NODE),
            start: header(attr::HEADER_START),
            attempts: header(attr::HEADER_ATTEMPT),
            version: header(attr::HEADER_VERSION),
            invocation: header(attr::HEADER_INVOCATION),
            trace,
        }
    }

    /// `node 2, warm, 3.2 ms, 1 attempt, version 3, status 200, invocation …, trace …`.
    pub(super) fn sentence(&self, elapsed: Duration) -> String {
        let attempts = match self.attempts.as_deref() {
            None | Some("1") => "1 attempt".to_owned(),
            Some(more) => format!("{more} attempts"),
        };
        let named =
            |what: &str, value: &Option<String>| value.as_ref().map(|value| format!("{what} {value}"));
        let parts = [
            named("node", &self.node),
            self.start.clone(),
            Some(show_duration(elapsed)),
            Some(attempts),
            named("version", &self.version),
            Some(format!("status {}", self.status.as_u16())),
            named("invocation", &self.invocation),
            Some(format!("trace {}", self.trace)),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(ToOwned::to_owned)
}

/// A problem body (RFC 9457).
#[derive(Debug, Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

/// Writes the body as it comes. What the platform refused is no answer of the function's: it goes to stderr.
pub(super) async fn deliver(response: Response<Incoming>, id: &FunctionId) -> Result<(), Failure> {
    let status = response.status();
    if let Some(code) = text(response.headers(), attr::HEADER_ERROR) {
        let body = read(response).await.unwrap_or_default();
        return Err(refused(&code, &body, status));
    }
    let mut body = response.into_body();
    let mut stdout = door::Body::to_stdout();
    let mut written = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let broken = format!("the answer of '{id}' broke off after {written} bytes: {}", chain(&error));
            Failure::new(Exit::Function, broken)
        })?;
        if let Some(data) = frame.data_ref() {
            written += data.len();
            stdout.write(data).map_err(|error| unwritten(&error))?;
        }
    }
    stdout.finish().map_err(|error| unwritten(&error))?;
    if status.is_client_error() || status.is_server_error() {
        return Err(Failure::new(Exit::Function, format!("'{id}' answered with status {status}")));
    }
    Ok(())
}

pub(super) fn refused(code: &str, body: &[u8], status: StatusCode) -> Failure {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let sentence = problem.and_then(|problem| problem.detail.or(problem.title));
    let sentence = sentence.unwrap_or_else(|| format!("status {status}"));
    match code.parse::<Code>() {
        Ok(code) => Refusal::new(code, sentence).into(),
        Err(_) => {
            Failure::new(Exit::Server, format!("{sentence} (code {code}, which this program does not know)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_tells_where_and_how() {
        let response = Response::builder()
            .header("coracle-node", "2")
            .header("coracle-start", "cold")
            .header("coracle-attempt", "2")
            .header("coracle-version", "3")
            .header("coracle-invocation-id", "ab")
            .body(())
            .unwrap();
        assert_eq!(
            Facts::of(&response, "cd".into()).sentence(Duration::from_micros(3200)),
            "node 2, cold, 3.2 ms, 2 attempts, version 3, status 200, invocation ab, trace cd"
        );
        let bare = Response::builder().status(404).body(()).unwrap();
        assert_eq!(
            Facts::of(&bare, "cd".into()).sentence(Duration::from_millis(1)),
            "1 ms, 1 attempt, status 404, trace cd"
        );
    }

    #[test]
    fn refusals_of_the_platform_have_their_exit_codes() {
        let body = br#"{"type":"about:blank","title":"t","status":429,"detail":"100 calls at once"}"#;
        let failure = refused("concurrency-limit", body, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(failure.exit, Exit::Throttled);
        assert_eq!(
            failure.message,
            "100 calls at once (code concurrency-limit, see docs/errors/concurrency-limit.md)"
        );
        assert_eq!(refused("function-trapped", b"", StatusCode::INTERNAL_SERVER_ERROR).exit, Exit::Function);
        assert_eq!(refused("new-code", b"", StatusCode::BAD_GATEWAY).exit, Exit::Server);
    }
}
