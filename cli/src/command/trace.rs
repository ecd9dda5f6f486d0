//! `coracle trace ID`: asks Jaeger, draws the tree.

mod jaeger;
mod tree;

use std::time::Duration;

use http::uri::Uri;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;

use self::jaeger::Trace;
use self::tree::Tree;
use super::Session;
use crate::exit::{Exit, Failure};
use crate::http::{Connection, empty, read};
use crate::output::Detail;

/// How long Jaeger may take to find a trace.
const WAIT: Duration = Duration::from_secs(20);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The trace's id: 32 hexadecimal digits, as 'invoke' and 'deploy' print it.
    #[arg(value_parser = trace_id)]
    id: String,
    /// Jaeger's query API.
    #[arg(long, value_name = "URL", env = "CORACLE_JAEGER", default_value = "http://127.0.0.1:16686")]
    jaeger: Uri,
}

fn trace_id(text: &str) -> Result<String, String> {
    // Some tools leave out leading zeros.
    let good = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(format!("{text:0>32}")) } else { Err("expected 32 hexadecimal digits".to_owned()) }
}

/// A trace as Jaeger has it, drawn for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Drawn {
    trace: Trace,
}

impl Detail for Drawn {
    fn name(&self) -> String {
        self.trace.id.clone()
    }

    fn describe(&self, wide: bool) -> String {
        Tree::of(&self.trace).draw(wide)
    }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let limit = session.wait(WAIT);
    let asked = tokio::time::timeout(limit, ask(&args.jaeger, &args.id)).await;
    let slow =
        |_| Failure::new(Exit::TimedOut, format!("{}: no answer within {} s", args.jaeger, limit.as_secs()));
    let trace = asked.map_err(slow)??;
    session.output.one(&Drawn { trace })
}

async fn ask(jaeger: &Uri, id: &str) -> Result<Trace, Failure> {
    if jaeger.scheme_str() != Some("http") {
        return Err(Failure::usage(format!("--jaeger: '{jaeger}': expected http://HOST:PORT")));
    }
    let host = jaeger.host().unwrap_or_default();
    let address = format!("{host}:{}", jaeger.port_u16().unwrap_or(80));
    let address = address.parse().map_err(|error| Failure::usage(format!("--jaeger: {error}")))?;
    let connection = Connection::open(&[address]).await.map_err(|reason| {
        Failure::new(
            Exit::Connect,
            format!("cannot connect to Jaeger: {reason}; give its address with --jaeger"),
        )
    })?;
    let target = format!("{}/api/traces/{id}", jaeger.path().trim_end_matches('/'));
    let broken = |reason: String| Failure::new(Exit::Server, format!("{jaeger}: {reason}"));
    let response = connection.send(Method::GET, &target, HeaderMap::new(), empty()).await.map_err(broken)?;
    let status = response.status();
    let body = read(response).await.map_err(broken)?;
    if status == StatusCode::NOT_FOUND {
        return Err(not_found(id));
    }
    if !status.is_success() {
        return Err(broken(format!("answered {status}")));
    }
    jaeger::parse(&body).map_err(broken)?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Failure {
    let hint = "spans arrive about a second after the call, and only where nodes run with --otlp";
    Failure::new(Exit::NotFound, format!("Jaeger has no trace {id}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_completed() {
        assert_eq!(trace_id("abc").unwrap(), format!("{}abc", "0".repeat(29)));
        assert!(trace_id("xyz").is_err() && trace_id("").is_err() && trace_id(&"a".repeat(33)).is_err());
    }
}
