//! Goal: what was accepted is told from what was run at once, waited for, and ends the command as it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::Environment;

fn response(status: u16, header: Option<(&str, &str)>) -> Response<()> {
    let builder = Response::builder().status(status);
    let builder = header.into_iter().fold(builder, |it, (name, value)| it.header(name, value));
    builder.body(()).unwrap()
}

#[test]
fn only_a_gateway_that_says_so_has_accepted_it() {
    assert!(is_accepted(&response(202, Some((APPLIED, RESPOND_ASYNC)))));
    assert!(!is_accepted(&response(202, None)), "it is the function's own answer");
    assert!(!is_accepted(&response(200, Some((APPLIED, RESPOND_ASYNC)))));
}

fn record(json: &str) -> Record {
    serde_json::from_str(json).unwrap()
}

#[test]
fn each_end_has_its_exit_code() {
    let exit = |json| record(json).end("ab").err().map(|failure| failure.exit);
    assert_eq!(exit(r#"{"state":"succeeded"}"#), None);
    assert_eq!(exit(r#"{"state":"dead","last_error":null}"#), Some(Exit::Function));
    assert_eq!(exit(r#"{"state":"cancelled"}"#), Some(Exit::Conflict));
    assert_eq!(exit(r#"{"state":"dropped"}"#), Some(Exit::Conflict));
    let dead = record(r#"{"state":"dead","cause":"attempts","last_error":"status 500"}"#).end("ab");
    assert!(dead.unwrap_err().message.contains("dead letter: status 500; 'coracle invocation get ab'"));
    assert!(!record(r#"{"state":"running"}"#).has_ended());
    assert!(!record(r#"{"state":"waiting","function":"x"}"#).has_ended());
}

/// A gateway that gives these answers, one a connection, then closes; the last one again and again.
async fn gateway(answers: Vec<String>) -> (Address, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            let answer = &answers[number.min(answers.len() - 1)];
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

fn told(body: &str, header: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn the_end_is_waited_for_though_nobody_leads_for_a_while() {
    let answers = vec![
        told(r#"{"detail":"nobody leads"}"#, "coracle-error: not-leader\r\n"),
        told(r#"{"state":"running"}"#, ""),
        told(r#"{"state":"dead","last_error":"status 500"}"#, ""),
    ];
    let (address, asked) = gateway(answers).await;
    let (name, gateways) = ("cart".parse().unwrap(), [address]);
    let accepted = Accepted { name: &name, trace: "t", gateways: &gateways };
    let (shared, environment) = (crate::command::Shared::default(), Environment::default());
    let session = Session::new(&shared, &environment);
    let record = accepted.ended("ab", Duration::from_secs(20), &session).await.unwrap();
    assert_eq!(record.last_error.as_deref(), Some("status 500"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_not_known_is_not_waited_for() {
    let answers = vec![told(r#"{"detail":"no such"}"#, "coracle-error: invocation-not-found\r\n")];
    let (address, asked) = gateway(answers).await;
    let (name, gateways) = ("cart".parse().unwrap(), [address]);
    let accepted = Accepted { name: &name, trace: "t", gateways: &gateways };
    let (shared, environment) = (crate::command::Shared::default(), Environment::default());
    let session = Session::new(&shared, &environment);
    let failure = accepted.ended("ab", Duration::from_secs(20), &session).await.unwrap_err();
    assert_eq!((failure.exit, asked.load(Ordering::SeqCst)), (Exit::NotFound, 1), "{failure}");
}
