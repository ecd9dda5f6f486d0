//! Goal: spans of one process reach a collector under the right service, with the right parents.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Each span with the service that its resource names.
    fn spans(&self) -> Vec<(String, Span)> {
        let mut spans = Vec::new();
        for resource in self.0.lock().unwrap().iter().flat_map(|request| request.resource_spans.clone()) {
            let attributes = resource.resource.unwrap().attributes;
            let service = attributes.into_iter().find(|pair| pair.key == "service.name").unwrap();
            let service = format!("{:?}", service.value.unwrap());
            let inner = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(inner.map(|span| (service.clone(), span)));
        }
        spans
    }
}

fn settings(process: Process, endpoint: String) -> Settings {
    Settings {
        process,
        log: Log::default(),
        default_filter: "info",
        otlp: Some(Otlp { endpoint, ratio: 1.0 }),
        instance: "7".to_owned(),
    }
}

/// Where a span would stand.
struct Here;

static SPAN: tracing::Metadata<'static> = tracing::metadata! {
    name: "invoke",
    target: "coracle_node",
    level: tracing::Level::INFO,
    fields: &[],
    callsite: &Here,
    kind: tracing::metadata::Kind::SPAN,
};

impl tracing::callsite::Callsite for Here {
    fn set_interest(&self, _interest: tracing::subscriber::Interest) {}

    fn metadata(&self) -> &tracing::Metadata<'_> {
        &SPAN
    }
}

#[test]
fn without_a_collector_a_span_is_never_asked_about_and_no_crate_traces() {
    let settings = Settings { otlp: None, ..settings(Process::DataPlane, String::new()) };
    let logs = logging(&settings).unwrap();
    assert!(logs.register_callsite(&SPAN).is_never());
    assert_eq!(logs.max_level_hint(), Some(LevelFilter::INFO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_of_one_process_are_told_apart() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(collector.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );

    let settings = settings(Process::DataPlane, endpoint.clone());
    let provider = provider(&settings, settings.otlp.as_ref().unwrap()).unwrap();
    let subscriber = tracing_subscriber::registry().with(span_layer(&provider));
    tracing::subscriber::with_default(subscriber, || {
        let invoke = tracing::info_span!("invoke", coracle.service = attr::SERVICE_GATEWAY);
        let _invoke = invoke.enter();
        {
            let routed = tracing::info_span!("route");
            let _routed = routed.enter();
        }
        let execute = tracing::info_span!("execute", coracle.service = attr::SERVICE_WORKER);
        let _execute = execute.enter();
        let run = tracing::info_span!("run");
        let _run = run.enter();
        let foreign = tracing::info_span!(target: "h2", "frame");
        let _foreign = foreign.enter();
    });
    Guard(Some(provider)).finish().await;

    let spans = collector.spans();
    let find =
        |name: &str| spans.iter().find(|(_, span)| span.name == name).unwrap_or_else(|| panic!("no {name}"));
    for (name, service) in [
        ("invoke", "coracle-gateway"),
        ("route", "coracle-gateway"),
        ("execute", "coracle-worker"),
        ("run", "coracle-worker"),
    ] {
        assert!(find(name).0.contains(service), "{name} is of {}", find(name).0);
    }
    assert_eq!(find("execute").1.parent_span_id, find("invoke").1.span_id);
    assert_eq!(find("run").1.parent_span_id, find("execute").1.span_id);
    assert_eq!(find("route").1.parent_span_id, find("invoke").1.span_id);
    assert!(spans.iter().all(|(_, span)| span.name != "frame"), "spans of other crates are left out");
    assert_eq!(spans.len(), 4);
}

#[tokio::test]
async fn a_process_runs_without_spans_that_cannot_be_sent() {
    // The one test that installs for the whole process: the others say which subscriber they mean.
    let settings = settings(Process::Controller, "https://127.0.0.1:1".to_owned());
    init(&settings).expect("it goes on").finish().await;
}

#[test]
fn a_wrong_filter_is_named() {
    let mut settings = settings(Process::Client, String::new());
    settings.log.filter = Some("coracle=loud=quiet".to_owned());
    let error = log_layer::<tracing_subscriber::Registry>(&settings).err().expect("refused");
    assert!(error.to_string().contains("coracle=loud=quiet"), "{error}");
}
