//! Calls of `wasi:http` 0.2 components: each in a fresh instance or in one that rests, driven by whoever awaits the answer.

use std::sync::Arc;

use coracle_proto::status::Code;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use super::answer;
use super::body::RequestBody;
use super::call::Deadline;
use super::instance::{Guest, Handler};
use super::stage::Stage;
use crate::call::{Body, CallError};

/// Runs the component until its response's head; the rest of its run goes with the body.
pub(super) async fn call(
    pre: &ProxyPre<Guest>,
    stage: Stage<'_>,
    request: http::Request<Body>,
    mut deadline: Deadline,
) -> Result<http::Response<Body>, CallError> {
    let mut instance = stage.component()?;
    let method = request.method().clone();
    let request = request.map(|body| RequestBody::new(body, Arc::clone(stage.invocation)));
    let bad = |error: wasmtime::Error| CallError::new(Code::BadRequest, error.to_string());
    let mut http = instance.store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request).map_err(bad)?;
    let (answer, mut answered) = oneshot::channel();
    let answer = http.new_response_outparam(answer).map_err(bad)?;

    let pre = pre.clone();
    let spans = stage.spans();
    let mut run = stage.run(async move {
        let handled = async {
            let store = &mut instance.store;
            let proxy = match instance.handler.take() {
                Some(Handler::Proxy(proxy)) => proxy,
                Some(Handler::Service(..)) | None => {
                    spans.instantiate(pre.instantiate_async(&mut *store)).await?
                }
            };
            let handled = proxy.wasi_http_incoming_handler().call_handle(store, request, answer).await;
            instance.handler = Some(Handler::Proxy(proxy));
            handled
        };
        (handled.await, instance)
    });
    match answer::head(&mut run, &mut answered, &mut deadline).await? {
        Ok(response) => answer::respond(run, &method, response, deadline).await,
        Err(code) => {
            Err(run.stop(CallError::new(Code::FunctionFailed, format!("the function answered: {code}"))))
        }
    }
}
