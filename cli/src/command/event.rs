//! `coracle event send`: an event as the platform would make it, for a function.

use clap::Subcommand;
use coracle_proto::id::{FunctionId, InvocationId};
use http::{HeaderName, HeaderValue};

use super::event_types::catalogue::{self, EventType};
use super::{Session, invoke};
use crate::address::Address;
use crate::client::now_ms;
use crate::exit::Failure;
use crate::output::rfc3339;

/// What the platform's data are, and its examples.
const JSON: &str = "application/json";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Have a function called for an event of a type that the platform makes ('coracle event-types').
    Send(Box<Sent>),
}

#[derive(Debug, clap::Args)]
struct Sent {
    /// The type, such as dev.coracle.kv.set.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The function that gets it: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "FUNCTION")]
    function: FunctionId,
    /// The data: text, @FILE, or @- for stdin [default: the type's example].
    #[arg(short, long, value_name = "TEXT | @FILE", allow_hyphen_values = true)]
    data: Option<String>,
    /// What it is about [default: the type's example].
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Where it comes from [default: the type's example].
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// Its id [default: one of its own].
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What the data are [default: application/json, where they are the platform's].
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A gateway (port 8080) to call, without asking a controller for one; repeated, the next one is tried
    /// [env: CORACLE_GATEWAY].
    #[arg(long = "gateway", value_name = "HOST:PORT", value_delimiter = ',')]
    gateways: Vec<Address>,
    /// Wait for its end; what the function answered goes to stdout.
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let Verb::Send(send) = &args.verb;
    invoke::run(&call(send, now_ms())?, session).await
}

/// As an asynchronous call, in the binary mode of `CloudEvents`' HTTP binding (1.0, 3.1).
fn call(args: &Sent, now_ms: u64) -> Result<invoke::Args, Failure> {
    let kind = catalogue::find(&args.kind)?;
    let headers = headers(args, kind, now_ms)?;
    let data = args.data.clone().unwrap_or_else(|| kind.data.to_owned());
    Ok(invoke::Args::later(args.function.clone(), headers, data, args.gateways.clone(), args.wait))
}

fn headers(args: &Sent, kind: &EventType, now_ms: u64) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let own_id = || InvocationId::new(rand::random()).to_string();
    let source = kind.source.replace("NAMESPACE", args.function.namespace.as_str());
    let subject = args.subject.clone().unwrap_or_else(|| kind.subject.to_owned());
    let is_json = kind.is_json || args.data.is_none();
    let content_type = args.content_type.clone().or_else(|| is_json.then(|| JSON.to_owned()));
    let mut all = vec![
        ("ce-specversion", "1.0".to_owned()),
        ("ce-type", kind.name.to_owned()),
        ("ce-source", encoded(&args.source.clone().unwrap_or(source))),
        ("ce-id", encoded(&args.id.clone().unwrap_or_else(own_id))),
        ("ce-time", rfc3339(now_ms)),
    ];
    if !subject.is_empty() {
        all.push(("ce-subject", encoded(&subject)));
    }
    all.extend(content_type.map(|value| ("content-type", value)));
    let parse = |(name, value): (&'static str, String)| {
        let header = HeaderValue::from_str(&value).map_err(|_| format!("'{value}' is no header's value"));
        header.map(|value| (HeaderName::from_static(name), value))
    };
    all.into_iter().map(parse).collect::<Result<_, _>>().map_err(Failure::usage)
}

/// As the binding has it (3.1.3.2): what no header can carry, spaces, quotes and the percent sign itself.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => encoded.push_str(&format!("%{byte:02X}")),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
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

    fn sent(line: &str) -> Sent {
        let words = ["event", "send"].into_iter().chain(line.split(' '));
        let Verb::Send(send) = Line::try_parse_from(words).unwrap().args.verb;
        *send
    }

    fn headers_of(line: &str) -> Vec<String> {
        let send = sent(line);
        let kind = catalogue::find(&send.kind).unwrap();
        let headers = headers(&send, kind, 1_795_248_000_000).unwrap();
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_event_is_as_the_platform_makes_it() {
        assert_eq!(
            headers_of("dev.coracle.kv.set --function shop/thumb --id 7"),
            [
                "ce-specversion: 1.0",
                "ce-type: dev.coracle.kv.set",
                "ce-source: //shop/bucket/images",
                "ce-id: 7",
                "ce-time: 2026-11-21T08:00:00.000Z",
                "ce-subject: cat.jpg",
                "content-type: application/json"
            ]
        );
        let own = headers_of("dev.coracle.queue.message --function f --data x --subject é%");
        assert!(own.contains(&"ce-subject: %C3%A9%25".to_owned()), "{own:?}");
        assert!(!own.iter().any(|it| it.starts_with("content-type")), "nobody knows what it is: {own:?}");
    }

    #[test]
    fn a_type_that_nobody_makes_is_refused() {
        let failure = call(&sent("order.placed --function f"), 0).unwrap_err();
        assert!(failure.message.contains("'order.placed' is no type"), "{failure}");
    }
}
