//! Hands each span to the batch exporter of the service that it belongs to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coracle_proto::attr;
use opentelemetry::Context;
use opentelemetry::trace::{Span as _, SpanId, TraceContextExt as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};

/// Open spans whose service is remembered: far more than there are calls at once. Children of those beyond
/// go to the process's first service.
const OPEN_SPANS_MAX: usize = 65_536;

/// One batch exporter for each service of the process.
#[derive(Debug)]
pub(crate) struct Routing {
    routes: Vec<(&'static str, BatchSpanProcessor)>,
    /// Open spans that are not of the first service, by place in `routes`: their children are of the same.
    open: Mutex<HashMap<SpanId, usize>>,
}

impl Routing {
    /// Spans that name no service, and whose parents name none, go to the first route.
    pub(crate) fn new(routes: Vec<(&'static str, BatchSpanProcessor)>) -> Self {
        Self { routes, open: Mutex::default() }
    }

    fn place(&self, service: &str) -> Option<usize> {
        self.routes.iter().position(|(name, _)| *name == service)
    }

    fn with_open<T>(&self, act: impl FnOnce(&mut HashMap<SpanId, usize>) -> T) -> T {
        // Nothing panics while the lock is held; a poisoned map is as good as any.
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn each(&self, act: impl Fn(&BatchSpanProcessor) -> OTelSdkResult) -> OTelSdkResult {
        self.routes.iter().map(|(_, route)| act(route)).fold(Ok(()), Result::and)
    }
}

impl SpanProcessor for Routing {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        if self.routes.len() < 2 {
            return;
        }
        let named = span.exported_data().and_then(|data| named(&data).and_then(|name| self.place(&name)));
        let (id, parent) = (span.span_context().span_id(), parent.span().span_context().span_id());
        self.with_open(|open| {
            let place = named.or_else(|| open.get(&parent).copied()).unwrap_or(0);
            if place > 0 && open.len() < OPEN_SPANS_MAX {
                open.insert(id, place);
            }
        });
    }

    fn on_end(&self, span: SpanData) {
        let inherited = match self.routes.len() {
            0 | 1 => None,
            _ => self.with_open(|open| open.remove(&span.span_context.span_id())),
        };
        let place = named(&span).and_then(|name| self.place(&name)).or(inherited).unwrap_or(0);
        if let Some((_, route)) = self.routes.get(place) {
            route.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.each(BatchSpanProcessor::force_flush)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let share = u32::try_from(self.routes.len()).map_or(timeout, |count| timeout / count.max(1));
        self.each(|route| route.shutdown_with_timeout(share))
    }

    /// Each route has its own resource; the provider's is of no use.
    fn set_resource(&mut self, _resource: &Resource) {}
}

fn named(span: &SpanData) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key.as_str() == attr::SERVICE)?;
    Some(attribute.value.as_str().into_owned())
}
