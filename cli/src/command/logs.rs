//! `coracle logs NAME`: never stops silently, and says what is missing.

mod shown;

use std::time::Duration;

use coracle_proto::id::FunctionId;
use coracle_proto::pb::{self, logs_event};

use self::shown::Shown;
use super::Session;
use crate::client::{Client, final_failure, now_ms};
use crate::exit::{Exit, Failure};
use crate::output::since_ms;
use crate::output::view::{LogView, gap_sentence};

/// Before the next node is asked for the rest: it may be the only one, and on its way back.
const PAUSE: Duration = Duration::from_millis(500);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// NAME, or NAMESPACE/NAME.
    name: FunctionId,
    /// Go on with new lines as they come.
    #[arg(short, long)]
    follow: bool,
    /// From when on: so long ago (10m), or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// At most so many lines of each node.
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let since = args.since.as_deref().map(|text| since_ms(text, now_ms())).transpose();
    let since_ms = since.map_err(|error| Failure::usage(format!("--since: {error}")))?;
    let mut request = pb::LogsRequest {
        namespace: args.name.namespace.to_string(),
        name: args.name.name.to_string(),
        follow: args.follow,
        since_ms: since_ms.unwrap_or_default(),
        tail: args.tail.unwrap_or_default(),
    };
    let mut client = session.connect().await?;
    let mut shown = Shown::default();
    loop {
        let reason = match read(&mut client, &request, &mut shown, session).await? {
            None if !args.follow => return Ok(()),
            None => "the node ended it".to_owned(),
            Some(reason) => reason,
        };
        if args.follow {
            client.renew();
        } else if client.deadline().is_over() {
            return Err(Failure::new(
                Exit::TimedOut,
                format!("the log could not be read to its end: {reason}"),
            ));
        }
        session.talk.warn(&format!("the stream broke ({reason}); going on"));
        if let Some(since_ms) = shown.again() {
            request.since_ms = since_ms;
            request.tail = 0;
        }
        client.leave();
        client.deadline().pause(PAUSE).await;
    }
}

/// Shows what comes and was not shown before. Ends with the reason for which the stream broke, if it did.
async fn read(
    client: &mut Client,
    request: &pb::LogsRequest,
    shown: &mut Shown,
    session: &Session<'_>,
) -> Result<Option<String>, Failure> {
    let what = format!("logs {}", request.name);
    let asked = request.clone();
    let mut stream = client.call(&what, async |mut admin| admin.logs(asked.clone()).await).await?;
    loop {
        let event = match stream.message().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(None),
            Err(status) => {
                let reason = status.message().to_owned();
                return final_failure(status).map_or(Ok(Some(reason)), |failure| Err(failure.during(what)));
            }
        };
        match event.kind {
            Some(logs_event::Kind::Record(record)) if shown.is_new(record.node, record.time_ms) => {
                session.output.next(&LogView::from(record))?;
            }
            // Shown before the stream broke.
            Some(logs_event::Kind::Record(_)) => {}
            Some(logs_event::Kind::Gap(gap)) => session.talk.warn(&gap_sentence(&gap)),
            // Something that a newer node tells.
            None => {}
        }
    }
}
