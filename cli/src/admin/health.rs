//! What `/healthz` and `/readyz` say.

use serde::Serialize;

use super::inspect::Report;
use crate::ground::{ChildView, State, View};

/// The supervisor lives; what became of its children stands beside it. Never an error: a node that cannot
/// go on is not healed by killing what shows why.
#[derive(Debug, Serialize)]
pub(crate) struct Alive<'a> {
    /// `ok`, or `degraded` when someone should look.
    status: &'static str,
    /// The program.
    version: &'static str,
    /// The supervisor's process.
    pid: u32,
    #[serde(flatten)]
    view: &'a View,
}

/// Whether the node takes calls.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    /// The data plane, or the controller of a node that has none, answers and is ready.
    pub(crate) ready: bool,
    /// Why it is not.
    pub(crate) reasons: Vec<String>,
}

/// The body of `/healthz`.
pub(crate) fn alive(view: &View) -> Alive<'_> {
    Alive {
        status: if view.healthy() { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        view,
    }
}

/// The body of `/readyz`, by the child that serves.
pub(crate) fn ready(view: &View, report: Option<&Report>) -> Ready {
    let mut reasons = Vec::new();
    if view.ending {
        reasons.push("the node is ending".to_owned());
    }
    if let Some(report) = report {
        let name = report.kind.name();
        match &report.reply {
            Some(reply) if reply.ready => {}
            Some(reply) if reply.reasons.is_empty() => reasons.push(format!("{name}: not ready")),
            Some(reply) => reasons.extend(reply.reasons.iter().map(|reason| format!("{name}: {reason}"))),
            None => {
                let child = view.children.iter().find(|child| child.name == report.kind);
                reasons.push(format!("{name}: {}", child.map_or_else(|| "unknown".to_owned(), silent)));
            }
        }
    }
    Ready { ready: reasons.is_empty(), reasons }
}

/// Why a child does not answer.
fn silent(child: &ChildView) -> String {
    let state = match child.state {
        State::Running => "does not answer yet",
        State::Waiting => "is being started",
        State::GivenUp => "ended and is not started again",
        State::Stopped => "is ending",
    };
    child.last_message.as_ref().map_or_else(|| state.to_owned(), |message| format!("{state}: {message}"))
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::InspectReply;

    use super::*;
    use crate::ground::Kind;

    fn report(ready: bool, reasons: &[&str]) -> Report {
        let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
        let reply = InspectReply { metrics: String::new(), ready, reasons };
        Report { kind: Kind::Data, reply: Some(reply) }
    }

    #[test]
    fn a_node_is_ready_when_what_serves_is() {
        assert!(ready(&View::default(), Some(&report(true, &[]))).ready);
        let not = ready(&View::default(), Some(&report(false, &["no view yet"])));
        assert!(!not.ready);
        assert_eq!(not.reasons, ["data: no view yet"]);
        assert!(!ready(&View::default(), Some(&report(false, &[]))).ready, "a reason is not needed");
    }

    #[test]
    fn a_node_that_ends_is_not_ready() {
        let ending = ready(&View { ending: true, ..View::default() }, Some(&report(true, &[])));
        assert_eq!((ending.ready, ending.reasons), (false, vec!["the node is ending".to_owned()]));
    }
}
