//! One call: find the code, run the guest until its response's head.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::status::{Again, Code};
use coracle_proto::{attr, trace};
use http::HeaderMap;
use tokio::sync::Mutex;
use tracing::{Span, info_span};

use super::after::Manners;
use super::body::Taken;
use super::budget::{Need, Typical};
use super::call::{Account, CallContext, Deadline};
use super::cgi::Origin;
use super::command::Manner;
use super::instances::Instances;
use super::lane::Habit;
use super::log::{Author, LogSink};
use super::program::Program;
use super::programs::Programs;
use super::stage::Stage;
use super::usage::{Outcome, UsageSink};
use super::{command, event, handler, http as component, service};
use crate::call::{Answer, Call, CallError, EVENTS_ONLY};
use crate::threads::Threads;

/// Why a batch is refused.
const NO_BATCH: &str = "several messages in one call ('batch' of the queue) are for functions that take requests: commands and handlers of events get one";

/// Runs calls.
pub(super) struct Invoker {
    pub(super) programs: Arc<Programs>,
    pub(super) instances: Instances,
    pub(super) slow: Threads,
    pub(super) told: Told,
    /// Held while a program is probed, never while its code is loaded or waited for. One has an instance beside those of
    /// calls, for which the pools have a reserve.
    pub(super) probing: Mutex<()>,
}

/// Who is told of calls.
pub(super) struct Told {
    /// Where guests' lines go.
    pub(super) logs: Arc<dyn LogSink>,
    /// Where is told what calls came to.
    pub(super) usage: Arc<dyn UsageSink>,
    /// Where it is noted how the program behaves; `None`: with the program. What is noted elsewhere is a probe, which leaves
    /// nothing behind.
    pub(super) manners: Option<Notes>,
}

/// How a program behaves, for its next calls.
pub(super) struct Notes {
    pub(super) habit: Arc<Habit>,
    pub(super) typical: Arc<Typical>,
    pub(super) manners: Arc<Manners>,
}

impl Invoker {
    /// Runs a caller's call up to its response's head.
    pub(super) async fn invoke(self: &Arc<Self>, call: Call) -> Result<Answer, CallError> {
        // A call may end without having waited once: whoever does nothing but call gives way to others all the same.
        tokio::task::coop::consume_budget().await;
        self.serve(call, &self.told).await
    }

    /// Runs any call.
    pub(super) async fn serve(self: &Arc<Self>, call: Call, told: &Told) -> Result<Answer, CallError> {
        let Call { version, invocation, trigger, head_timeout, mut request, lease, receipt, .. } = call;
        let (usage, name) = (Arc::clone(&told.usage), trigger.name());
        let account = Account::new(usage, Arc::clone(&version), invocation, name, receipt);
        let mut deadline = Deadline::new(account.began(), head_timeout, version.spec.limits().timeout);
        let loading = self.programs.get(&version.digest, version.kind);
        let loaded = deadline.guard(loading).await;
        account.set_cold(loaded.as_ref().map_or_else(|error| error.cold, |(_, cold)| *cold));
        let (program, cold) = loaded.inspect_err(|error| account.end(Outcome::Failed(error.code())))?;
        let (need, habit, typical, manners) = match &told.manners {
            Some(own) => (Need::Probe, &own.habit, &own.typical, &own.manners),
            None => (Need::Caller, &program.habit, &program.typical, &program.manners),
        };
        let span = match need {
            Need::Caller => info_span!(attr::SPAN_RUN, { attr::SERVICE } = attr::SERVICE_WORKER),
            // Traces of these would hide those of callers.
            Need::Probe => Span::none(),
        };
        if !span.is_disabled() {
            trace::write_headers(&span, request.headers_mut());
        }
        let (trace, method) = (trace_id(request.headers()), request.method().clone());
        let author = Author::new(Arc::clone(&told.logs), Arc::clone(&version), invocation, trace);
        let invocation = CallContext::new(version, Arc::new(author), account, request.headers());
        let stage = Stage {
            instances: &self.instances,
            invocation: &invocation,
            habit,
            typical,
            manners,
            need,
            slow: self.slow.handle(),
            span,
            lease,
        };
        let is_event = trigger.is_event();
        let no_batch = is_event && event::is_batch(request.headers());
        let response = match program.program.called(is_event) {
            Some(Program::Events(..) | Program::Command(_)) if no_batch => {
                Err(CallError::new(Code::EventRejected, NO_BATCH))
            }
            None => Err(CallError::new(Code::BadRequest, EVENTS_ONLY)),
            Some(Program::Events(taker, _)) => handler::call(taker, stage, request, deadline).await,
            Some(Program::Http(pre)) => component::call(pre, stage, request, deadline).await,
            Some(Program::Service(pre)) => service::call(pre, stage, request, deadline).await,
            Some(Program::Command(command)) => {
                let origin = Origin { route: trigger.route(), remote: trigger.remote() };
                let manner = if is_event { Manner::Event } else { Manner::Request(origin) };
                command::call(command, stage, manner, request, deadline).await
            }
        };
        // Behind the call that asks for it, so that it takes nothing which that one needs to begin.
        self.probe_called(&invocation.version, manners);
        match response {
            Ok(response) => {
                let response = Taken::answer(&method, response, invocation);
                Ok(Answer { response, cold, queue_wait: Duration::ZERO })
            }
            Err(error) => {
                invocation.account.end(Outcome::Failed(error.code()));
                self.instances.failed(&invocation);
                // What did not begin, or could not, is no affair of the function's.
                if error.code().retry() == Again::Unknown {
                    invocation.author.say(&format!("the call failed: {error} ({})", error.code()));
                }
                Err(CallError { cold, ..error })
            }
        }
    }
}

/// The trace in a `traceparent` of version 00 (W3C).
fn trace_id(headers: &HeaderMap) -> Option<[u8; 16]> {
    let hex =
        headers.get(trace::TRACEPARENT)?.to_str().ok()?.split('-').nth(1).filter(|hex| hex.len() == 32)?;
    u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes)
}
