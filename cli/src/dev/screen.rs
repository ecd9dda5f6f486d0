//! What `coracle dev` prints when the cluster is there: nodes, addresses, next steps.

use std::net::SocketAddr;

use super::Args;
use super::nodes::{Node, Nodes};
use crate::exit::Failure;
use crate::output::{door, table};

/// The table of nodes and what to do next, on stdout.
pub(super) fn show(nodes: &Nodes, args: &Args) -> Result<(), Failure> {
    let table = table::render(&["NODE", "HTTP", "API", "ADMIN", "PIDS", "LOG"], nodes.iter().map(row));
    let mut text = format!("\n{table}\nPIDs are of supervisor, controller, store and data plane.\n");
    if args.manifest.is_none() && !args.demo {
        text.push_str(
            "Next, in another terminal:\n  coracle deploy hello hello.wasm\n  coracle invoke hello\n  coracle status\n",
        );
    }
    if let Some(url) = &args.otlp {
        text.push_str(&format!("Traces go to {url}.\n"));
    }
    print(&text)
}

fn row(node: &Node) -> Vec<String> {
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let url =
        |address: Option<SocketAddr>| address.map(|address| format!("http://{address}")).unwrap_or_default();
    let bound = &node.bound;
    vec![
        node.plan.name.clone(),
        url(bound.http),
        text(bound.grpc),
        url(bound.admin),
        node.pids().join(","),
        node.log.display().to_string(),
    ]
}

/// Prints a result. A reader that left is no reason to end the cluster.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match door::print(&format!("{}\n", text.trim_end())) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::local("stdout", error)),
        _ => Ok(()),
    }
}

/// `1 node`, `3 nodes`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
