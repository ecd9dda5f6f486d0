//! `coracle invoke NAME`: the body to stdout; where, how and how long on stderr.

mod answer;
mod later;

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::attr;
use coracle_proto::id::FunctionId;
use coracle_proto::spec::TIMEOUT;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::{Instrument as _, field, info_span};

use self::answer::Facts;
use self::later::{Accepted, IDEMPOTENCY_KEY, PREFER, RESPOND_ASYNC, is_accepted};
use super::{Session, gateway, input};
use crate::client::{Stopwatch, Trace};
use crate::exit::{Exit, Failure};
use crate::http::{Body, Connection, empty, stream, whole};

/// Below it the gateway takes calls of functions by their names (design, section 6).
const PREFIX: &str = "/.coracle/invoke";
/// How long the answer's head is waited for, unless it was told: no function is granted more, and the
/// gateway's own answer to that needs a moment.
const WAIT: Duration = Duration::from_millis(TIMEOUT.max + 10_000);

/// Of an idempotency key, as gateways take it.
const KEY_BYTES_MAX: usize = 255;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// NAME, or NAMESPACE/NAME.
    name: FunctionId,
    /// The body: text, @FILE, or @- for stdin.
    #[arg(short, long, value_name = "TEXT | @FILE", allow_hyphen_values = true)]
    data: Option<String>,
    /// A header; repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The method.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "POST")]
    method: Method,
    /// Path and query below the function's own.
    #[arg(long, value_name = "PATH", default_value = "", value_parser = path)]
    path: String,
    #[command(flatten)]
    gateway: gateway::Flag,
    /// Do not wait for the answer: the call is kept and made at least once, and its id goes to stdout.
    #[arg(long = "async")]
    later: bool,
    /// Wait for the end of such a call all the same; its answer goes to stdout.
    #[arg(long, requires = "later")]
    wait: bool,
    /// By which the same call is known when it comes again: with --async it is made once a day.
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<HeaderValue>,
}

fn key(text: &str) -> Result<HeaderValue, String> {
    let good = (1..=KEY_BYTES_MAX).contains(&text.len());
    let value = HeaderValue::from_str(text).ok().filter(|_| good);
    value.ok_or_else(|| format!("expected 1 to {KEY_BYTES_MAX} bytes of a header's value"))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("'{text}': expected NAME: VALUE"))?;
    let name = name.trim().parse().map_err(|error| format!("'{name}': {error}"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| format!("'{text}': {error}"))?;
    Ok((name, value))
}

fn path(text: &str) -> Result<String, String> {
    let good = text.is_empty() || text.starts_with(['/', '?']);
    if good { Ok(text.to_owned()) } else { Err("it begins with '/' or '?'".to_owned()) }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let span = info_span!(
        "invoke",
        { attr::SERVICE } = attr::SERVICE_CLI,
        { attr::FUNCTION } = %args.name,
        { attr::HTTP_METHOD } = %args.method,
        { attr::HTTP_STATUS } = field::Empty,
        otel.name = %format!("invoke {}", args.name),
        otel.kind = "client",
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
    );
    let done = call(args, session).instrument(span.clone()).await;
    if let Err(failure) = &done
        && failure.exit != Exit::Ok
    {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", failure.message.as_str());
    }
    done
}

async fn call(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    // What is wrong on this side is said before anybody is asked.
    let body = body(args.data.as_deref()).await?;
    let gateways = args.gateway.find(session).await?;
    let connection = Connection::open(&gateways)
        .await
        .map_err(|reasons| Failure::new(Exit::Connect, format!("cannot connect to a gateway: {reasons}")))?;
    let own = Trace::current();
    let trace = trace_of(args, &own);
    let watch = Stopwatch::start();
    let (target, headers) = (target(args), headers(args, &own));
    let sent = connection.send(args.method.clone(), &target, headers, body);
    let limit = session.wait(WAIT);
    let answered = tokio::time::timeout(limit, sent).await.map_err(|_| {
        Failure::new(Exit::TimedOut, format!("no answer of '{}' within {} s", args.name, limit.as_secs()))
    })?;
    let response = answered.map_err(|reason| {
        let repeat = "the function may or may not have run; it was not called again";
        Failure::new(Exit::Server, format!("the gateway left without an answer ({reason}): {repeat}"))
    })?;
    tracing::Span::current().record(attr::HTTP_STATUS, response.status().as_u16());
    if args.later && is_accepted(&response) {
        let accepted = Accepted { name: &args.name, trace: &trace, gateways: &gateways };
        return accepted.tell(&response, watch, args.wait.then_some(limit), session).await;
    }
    if args.later && !response.headers().contains_key(attr::HEADER_ERROR) {
        session.talk.warn("this gateway does not know asynchronous calls: it has waited for the answer");
    }
    let facts = Facts::of(&response, trace);
    let done = answer::deliver(response, &args.name).await;
    session.talk.say(&facts.sentence(watch.elapsed()));
    done
}

fn target(args: &Args) -> String {
    format!("{PREFIX}/{}/{}{}", args.name.namespace, args.name.name, args.path)
}

fn headers(args: &Args, trace: &Trace) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        headers.append(name.clone(), value.clone());
    }
    if args.later {
        headers.append(PREFER, HeaderValue::from_static(RESPOND_ASYNC));
    }
    if let Some(key) = &args.idempotency_key {
        headers.insert(IDEMPOTENCY_KEY, key.clone());
    }
    trace.write(&mut headers);
    headers
}

/// The trace that the call belongs to: the caller's own, where a header names one.
fn trace_of(args: &Args, trace: &Trace) -> String {
    let given = args.headers.iter().find(|(name, _)| name == coracle_proto::trace::TRACEPARENT);
    let id = given.and_then(|(_, value)| value.to_str().ok()?.split('-').nth(1));
    id.map_or_else(|| trace.to_string(), ToOwned::to_owned)
}

async fn body(data: Option<&str>) -> Result<Body, Failure> {
    let Some(data) = data else { return Ok(empty()) };
    match data.strip_prefix('@') {
        None => Ok(whole(Bytes::copy_from_slice(data.as_bytes()))),
        Some(file) => {
            let opened = input::open(file).await;
            Ok(stream(opened.map_err(|error| Failure::usage(format!("--data: {file}: {error}")))?))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Line::try_parse_from([&["invoke"], words].concat()).unwrap().args
    }

    #[test]
    fn a_function_is_called_by_its_name() {
        assert_eq!(target(&args(&["hello"])), "/.coracle/invoke/default/hello");
        assert_eq!(target(&args(&["shop/cart", "--path", "/a?b=c"])), "/.coracle/invoke/shop/cart/a?b=c");
        assert!(Line::try_parse_from(["invoke", "hello", "--path", "a"]).is_err());
    }

    #[test]
    fn headers_go_along_with_the_trace() {
        let given = args(&["hello", "-H", "Accept: text/plain", "-H", "x-a:1", "-X", "PUT", "-d", "-5"]);
        let headers = headers(&given, &Trace::current());
        assert_eq!(
            (&headers["accept"], &headers["x-a"]),
            (&"text/plain".parse().unwrap(), &"1".parse().unwrap())
        );
        assert_eq!(headers["traceparent"].len(), 55);
        assert_eq!((given.method, given.data.as_deref()), (Method::PUT, Some("-5")));
        assert!(Line::try_parse_from(["invoke", "hello", "-H", "nothing"]).is_err());
    }

    #[test]
    fn a_call_for_later_says_so() {
        let given = args(&["hello", "--async", "--wait", "--idempotency-key", "k1", "-H", "prefer: wait=5"]);
        let headers = headers(&given, &Trace::current());
        let preferred: Vec<_> = headers.get_all("prefer").iter().collect();
        assert_eq!(preferred, ["wait=5", "respond-async"]);
        assert_eq!(headers["idempotency-key"], "k1");
        let now = super::headers(&args(&["hello"]), &Trace::current());
        assert!(!now.contains_key("prefer") && !now.contains_key("idempotency-key"));
        for bad in [vec!["hello", "--wait"], vec!["hello", "--idempotency-key", ""]] {
            assert!(Line::try_parse_from([vec!["invoke"], bad].concat()).is_err());
        }
    }

    #[test]
    fn a_callers_own_trace_is_kept() {
        let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let given = args(&["hello", "-H", parent]);
        let trace = Trace::current();
        assert_eq!(trace_of(&given, &trace), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(headers(&given, &trace)["traceparent"], parent.split(' ').nth(1).unwrap());
    }
}
