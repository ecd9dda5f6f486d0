//! The ring, its readers and the service.

mod ring;
mod tail;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId, VersionId, VersionNumber};
use coracle_proto::pb::{LogFrame, LogRecord, log_frame};

use super::Line;

fn version(name: &str) -> VersionId {
    VersionId { function: FunctionId::parse("", name).unwrap(), number: VersionNumber::new(1) }
}

fn line<'a>(version: &'a VersionId, text: &'a str) -> Line<'a> {
    let invocation = InvocationId::new(7);
    Line { version, invocation, trace: Some([9; 16]), stream: super::Stream::Stdout, text: text.as_bytes() }
}

/// A frame with a line of so many bytes that tells its number.
fn frame(number: u64, bytes: usize) -> LogFrame {
    let record = LogRecord {
        time_ms: number,
        namespace: "default".to_owned(),
        name: "hello".to_owned(),
        invocation_id: Bytes::new(),
        line: format!("{number:0bytes$}"),
        ..LogRecord::default()
    };
    LogFrame { kind: Some(log_frame::Kind::Record(record)) }
}

fn number(frame: &LogFrame) -> u64 {
    match &frame.kind {
        Some(log_frame::Kind::Record(record)) => record.line.parse().unwrap(),
        Some(log_frame::Kind::Dropped(_)) | None => panic!("no record: {frame:?}"),
    }
}
