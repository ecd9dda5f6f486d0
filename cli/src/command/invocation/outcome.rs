//! What an invocation came to: its answer to stdout, and how the command ends.

use std::time::Duration;

use coracle_proto::id::InvocationId;
use coracle_proto::pb::{self, InvocationState};

use crate::command::Session;
use crate::exit::{Exit, Failure};
use crate::output::view::{ResultView, state_word};
use crate::output::{Talk, door, unwritten};
use crate::units::{show_bytes, show_duration};

fn id(record: &pb::InvocationRecord) -> String {
    InvocationId::try_from(&record.invocation[..]).map(|id| id.to_string()).unwrap_or_default()
}

/// How the command ends that was to hear of the end.
pub(super) fn end(record: &pb::InvocationRecord) -> Result<(), Failure> {
    let (id, word) = (id(record), state_word(record.state()));
    match record.state() {
        InvocationState::Succeeded => Ok(()),
        InvocationState::Dead => Err(Failure::new(Exit::Function, dead(&id, record))),
        InvocationState::Cancelled | InvocationState::Dropped => {
            Err(Failure::new(Exit::Conflict, format!("invocation {id} was {word}")))
        }
        InvocationState::Waiting | InvocationState::Running | InvocationState::Unspecified => {
            let sentence =
                format!("invocation {id} has not ended yet, it is {word}: coracle invocation wait {id}");
            Err(Failure::new(Exit::NotFound, sentence))
        }
    }
}

fn dead(id: &str, record: &pb::InvocationRecord) -> String {
    let (attempts, error) = (count(record.attempts), &record.last_error);
    let reason = if error.is_empty() { &record.cause } else { error };
    format!(
        "invocation {id} is a dead letter after {attempts}: {reason}; 'coracle invocation get {id}' shows more"
    )
}

fn count(attempts: u32) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

/// `succeeded after 1 attempt, node 2, version 3, 12 ms, outcome 200, invocation …`.
pub(super) fn describe(record: &pb::InvocationRecord) -> String {
    let mut parts = vec![format!("{} after {}", state_word(record.state()), count(record.attempts))];
    if let Some(last) = record.reports.last() {
        let took = Duration::from_millis(last.ended_ms.saturating_sub(last.started_ms));
        parts.extend((last.node > 0).then(|| format!("node {}", last.node)));
        parts.extend((last.version > 0).then(|| format!("version {}", last.version)));
        parts.push(show_duration(took));
        parts.push(format!("outcome {}", last.outcome));
    }
    parts.push(format!("invocation {}", id(record)));
    parts.extend((!record.trace_id.is_empty()).then(|| format!("trace {}", record.trace_id)));
    parts.join(", ")
}

/// Writes what it answered, as far as that was kept.
pub(super) fn told(reply: &pb::GetInvocationReply, talk: Talk) -> Result<(), Failure> {
    let Some(answer) = &reply.answer else { return Ok(()) };
    if let Some(sentence) = too_large(answer) {
        talk.warn(&sentence);
        return Ok(());
    }
    let mut body = door::Body::to_stdout();
    body.write(&answer.body).and_then(|()| body.finish()).map_err(|error| unwritten(&error))
}

fn too_large(answer: &pb::EventAnswer) -> Option<String> {
    let kept = answer.body.len() as u64;
    let sentence = || format!("the answer of {} was too large to be kept", show_bytes(answer.body_bytes));
    (answer.body_bytes > kept).then(sentence)
}

/// Whether what is kept of an answer is what it came to.
const fn has_result(state: InvocationState) -> bool {
    match state {
        InvocationState::Succeeded | InvocationState::Dead => true,
        InvocationState::Unspecified
        | InvocationState::Waiting
        | InvocationState::Running
        | InvocationState::Cancelled
        | InvocationState::Dropped => false,
    }
}

/// What was asked for is the answer: without one the command fails.
pub(super) fn result(reply: pb::GetInvocationReply, session: &Session<'_>) -> Result<(), Failure> {
    let record = reply.record.clone().unwrap_or_default();
    // What an earlier attempt answered is not the result.
    if !has_result(record.state()) {
        return end(&record);
    }
    let Some(answer) = &reply.answer else {
        end(&record)?;
        let sentence = format!("invocation {} has left no answer", id(&record));
        return Err(Failure::new(Exit::NotFound, sentence));
    };
    if let Some(sentence) = too_large(answer) {
        return Err(Failure::new(Exit::NotFound, sentence));
    }
    if session.output.is_for_people() {
        told(&reply, session.talk)?;
    } else {
        session.output.one(&ResultView::new(&record.invocation, answer.clone()))?;
    }
    end(&record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: InvocationState) -> pb::InvocationRecord {
        let report = pb::AttemptReport {
            node: 2,
            version: 3,
            started_ms: 1000,
            ended_ms: 1012,
            outcome: "200".to_owned(),
            ..pb::AttemptReport::default()
        };
        pb::InvocationRecord {
            invocation: vec![0xaa; 16].into(),
            state: state.into(),
            attempts: 3,
            reports: vec![report],
            cause: "attempts".to_owned(),
            last_error: "status 500".to_owned(),
            ..pb::InvocationRecord::default()
        }
    }

    #[test]
    fn each_end_has_its_exit_code() {
        let exit = |state| end(&record(state)).err().map(|failure| failure.exit);
        assert_eq!(exit(InvocationState::Succeeded), None);
        assert_eq!(exit(InvocationState::Dead), Some(Exit::Function));
        assert_eq!(exit(InvocationState::Cancelled), Some(Exit::Conflict));
        assert_eq!(exit(InvocationState::Dropped), Some(Exit::Conflict));
        assert_eq!(exit(InvocationState::Waiting), Some(Exit::NotFound));
        assert_eq!(exit(InvocationState::Running), Some(Exit::NotFound));
    }

    #[test]
    fn a_dead_letter_says_why_and_where_there_is_more() {
        let failure = end(&record(InvocationState::Dead)).unwrap_err();
        for part in ["dead letter after 3 attempts: status 500", "coracle invocation get aaaa"] {
            assert!(failure.message.contains(part), "{failure}");
        }
        let silent = pb::InvocationRecord { last_error: String::new(), ..record(InvocationState::Dead) };
        assert!(end(&silent).unwrap_err().message.contains("3 attempts: attempts;"));
    }

    #[test]
    fn where_and_how_it_ran_is_told() {
        let text = describe(&record(InvocationState::Succeeded));
        let ran = "succeeded after 3 attempts, node 2, version 3, 12 ms, outcome 200, invocation aaaa";
        assert!(text.starts_with(ran), "{text}");
        let never =
            pb::InvocationRecord { reports: Vec::new(), attempts: 0, ..record(InvocationState::Cancelled) };
        assert!(describe(&never).starts_with("cancelled after 0 attempts, invocation aa"));
    }

    #[test]
    fn what_has_not_ended_by_itself_has_no_result() {
        let states = [
            (InvocationState::Succeeded, true),
            (InvocationState::Dead, true),
            (InvocationState::Waiting, false),
            (InvocationState::Running, false),
            (InvocationState::Cancelled, false),
        ];
        for (state, expected) in states {
            assert_eq!(has_result(state), expected, "{state:?}");
        }
    }

    #[test]
    fn an_answer_that_was_too_large_is_not_shown_in_part() {
        let answer =
            |body_bytes| pb::EventAnswer { body: vec![1; 10].into(), body_bytes, ..Default::default() };
        assert_eq!(too_large(&answer(10)), None);
        assert!(too_large(&answer(1 << 20)).unwrap().contains("1 MiB"));
    }
}
