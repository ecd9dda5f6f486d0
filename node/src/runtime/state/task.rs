//! One operation under way: its span, and what it is counted as, however it ends.

use std::future::Future;
use std::sync::Arc;

use coracle_proto::{attr, trace};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::operation::{Came, Operation};
use super::trouble::Trouble;
use crate::runtime::call::CallContext;

/// Dropping it before its end counts it as abandoned.
pub(in crate::runtime) struct Task {
    invocation: Arc<CallContext>,
    operation: Operation,
    came: Came,
}

impl Task {
    pub(super) fn of(invocation: &Arc<CallContext>, operation: Operation) -> Self {
        Self { invocation: Arc::clone(invocation), operation, came: Came::Abandoned }
    }

    /// Does it, in its span: `subject` is the bucket, or the queue, as the function was granted it. None: it was not, and what the
    /// guest said instead, which may be long, is told nobody.
    pub(super) async fn run<T>(
        mut self,
        subject: Option<&str>,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let span = self.span(subject);
        let result = work.instrument(span.clone()).await;
        self.came = result.as_ref().map_or_else(Trouble::came, |_| Came::Ok);
        if let Err(trouble) = &result {
            trace::failed(&span, &trouble.refusal());
        }
        result
    }

    /// By OpenTelemetry's conventions for databases, and for messaging.
    fn span(&self, subject: Option<&str>) -> Span {
        let name = self.operation.name();
        match self.operation {
            Operation::Publish => info_span!(
                "send",
                otel.name = subject.map_or_else(|| "send".to_owned(), |subject| format!("send {subject}")),
                otel.kind = "producer",
                otel.status_code = Empty,
                otel.status_description = Empty,
                { attr::SERVICE } = attr::SERVICE_WORKER,
                { attr::MESSAGING_SYSTEM } = "coracle",
                { attr::MESSAGING_OPERATION } = "send",
                { attr::MESSAGING_DESTINATION } = subject,
                { attr::ERROR_TYPE } = Empty,
            ),
            operation if operation.is_of_blobs() => info_span!(
                "blobs",
                otel.name = format!("blobs.{name}"),
                otel.kind = "client",
                otel.status_code = Empty,
                otel.status_description = Empty,
                { attr::SERVICE } = attr::SERVICE_WORKER,
                { attr::DB_SYSTEM } = "coracle",
                { attr::DB_NAMESPACE } = subject,
                { attr::DB_OPERATION } = name,
                { attr::ERROR_TYPE } = Empty,
            ),
            _ => info_span!(
                "keyvalue",
                otel.name = format!("keyvalue.{name}"),
                otel.kind = "client",
                otel.status_code = Empty,
                otel.status_description = Empty,
                { attr::SERVICE } = attr::SERVICE_WORKER,
                { attr::DB_SYSTEM } = "coracle",
                { attr::DB_NAMESPACE } = subject,
                { attr::DB_OPERATION } = name,
                { attr::ERROR_TYPE } = Empty,
            ),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.invocation.account.kept(self.operation, self.came);
    }
}
