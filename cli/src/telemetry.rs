//! Logs to stderr always, spans to an OTLP collector when one is named.
//!
//! One layer and one provider in each process: with two layers a span loses its parent in the other. Where
//! a process speaks for more than one service, [`routing`] hands each span to its own.

mod routing;

use std::time::Duration;

use clap::ValueEnum;
use coracle_proto::attr;
use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanProcessor as _,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, warn};
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::output::door;
use crate::telemetry::routing::Routing;

/// Spans that wait for the collector: about two seconds of a busy node. More are dropped.
const QUEUE_SPANS_MAX: usize = 8192;
/// Between two exports: short, so that a trace can be looked at right after the call.
const EXPORT_INTERVAL: Duration = Duration::from_millis(500);
/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a process waits for its last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Which process speaks, and so for which services; the first one is of spans that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// A client verb.
    Client,
    /// The supervisor, and `dev`: they log and make no spans.
    Supervisor,
    /// The controller.
    Controller,
    /// Gateway and worker.
    DataPlane,
    /// Data groups.
    Store,
}

impl Process {
    const fn services(self) -> &'static [&'static str] {
        match self {
            Self::Client => &[attr::SERVICE_CLI],
            Self::Supervisor => &[],
            Self::Controller => &[attr::SERVICE_CONTROLLER],
            Self::DataPlane => &[attr::SERVICE_WORKER, attr::SERVICE_GATEWAY],
            Self::Store => &[attr::SERVICE_STORE],
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Log {
    /// A level, or filters.
    pub(crate) filter: Option<String>,
    /// Text or JSON.
    pub(crate) format: LogFormat,
}

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Otlp {
    /// `http://HOST:PORT` of a collector's gRPC port.
    pub(crate) endpoint: String,
    /// Share of traces that are recorded; a caller that decided is followed.
    pub(crate) ratio: f64,
}

/// Everything that [`init`] needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Who speaks.
    pub(crate) process: Process,
    /// The log.
    pub(crate) log: Log,
    /// The filter where `log` has none.
    pub(crate) default_filter: &'static str,
    /// Spans, if they are wanted.
    pub(crate) otlp: Option<Otlp>,
    /// The node, for `service.instance.id`; empty for clients.
    pub(crate) instance: String,
}

/// Why there can be no telemetry.
#[derive(Debug, Error)]
pub(crate) enum TelemetryError {
    /// The filter is none.
    #[error("--log: '{filter}': {reason}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Called twice.
    #[error("telemetry is installed already")]
    Installed,
}

/// Flushes the last spans when the process ends; keep it until then.
#[derive(Debug)]
#[must_use = "the last spans are lost without finish()"]
pub(crate) struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends what is left, within a bounded time. It runs beside the runtime's own threads, which the
    /// exporter needs.
    pub(crate) async fn finish(self) {
        if let Some(provider) = self.0 {
            // A collector that does not answer costs its spans and nothing else.
            let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        }
    }
}

/// Installs log and spans for this process. Call it inside the runtime that the process uses: the exporter
/// lives there. Spans that cannot be sent are no reason not to run: that is logged.
pub(crate) fn init(settings: &Settings) -> Result<Guard, TelemetryError> {
    // Without spans of its own a process passes on what callers sent.
    global::set_text_map_propagator(TraceContextPropagator::new());
    let wanted = settings.otlp.as_ref().filter(|_| !settings.process.services().is_empty());
    let (provider, failed) = match wanted.map(|otlp| provider(settings, otlp)).transpose() {
        Ok(provider) => (provider, None),
        Err(error) => (None, Some(error)),
    };
    let subscriber = logging(settings)?;
    // No layer, instead of one that is none: that would be asked about each span and event of every crate.
    let installed = match &provider {
        Some(provider) => subscriber.with(span_layer(provider)).try_init(),
        None => subscriber.try_init(),
    };
    installed.map_err(|_| TelemetryError::Installed)?;
    if let Some(reason) = failed {
        warn!(%reason, "no traces are sent");
    }
    Ok(Guard(provider))
}

/// The log alone.
fn logging(
    settings: &Settings,
) -> Result<impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + use<>, TelemetryError> {
    Ok(tracing_subscriber::registry().with(log_layer(settings)?))
}

/// Log lines are events only. Spans are for traces: without a collector nobody looks at them, and a span
/// that no layer wants costs a nanosecond.
fn log_layer<S>(settings: &Settings) -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let wanted = settings.log.filter.as_deref().unwrap_or(settings.default_filter);
    let filter = EnvFilter::builder()
        .parse(wanted)
        .map_err(|error| TelemetryError::Filter { filter: wanted.to_owned(), reason: error.to_string() })?;
    // A filter that names no level of its own would take that of the other away: both are asked, or neither.
    let events = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let filter = filter.and(events);
    // With colours unless `NO_COLOR` is set, which the layer looks at itself; without them where nobody sees them.
    let (terminal, json) = (door::talks_to_terminal(), settings.log.format == LogFormat::Json);
    let layer = fmt::layer().with_writer(door::Log { json, colour: terminal });
    let layer = if terminal { layer } else { layer.with_ansi(false) };
    Ok(match settings.log.format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

/// Spans of our own crates only: those of h2 and tonic would export their own export, for ever.
fn span_layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("coracle"))
        .with_threads(false)
        .with_location(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target("coracle", LevelFilter::INFO))
}

fn provider(settings: &Settings, otlp: &Otlp) -> Result<SdkTracerProvider, ExporterBuildError> {
    let mut routes = Vec::new();
    for service in settings.process.services() {
        routes.push((*service, exporter(settings, otlp, service)?));
    }
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.ratio)));
    Ok(SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(Routing::new(routes)).build())
}

fn exporter(
    settings: &Settings,
    otlp: &Otlp,
    service: &'static str,
) -> Result<BatchSpanProcessor, ExporterBuildError> {
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(&otlp.endpoint).with_timeout(EXPORT_TIMEOUT);
    let exporter = exporter.build()?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS_MAX)
        .with_scheduled_delay(EXPORT_INTERVAL)
        .build();
    let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    processor.set_resource(&resource(service, &settings.instance));
    Ok(processor)
}

fn resource(service: &'static str, instance: &str) -> Resource {
    let mut attributes = vec![KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    if !instance.is_empty() {
        attributes.push(KeyValue::new(Key::from_static_str("service.instance.id"), instance.to_owned()));
    }
    Resource::builder().with_service_name(service).with_attributes(attributes).build()
}

#[cfg(test)]
mod tests;
