//! Calls of components that take events by an interface of their own: what stands for success there acknowledges the event, an error or
//! a trap has it tried again.

mod change;
pub(super) mod taker;

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use coracle_proto::attr;
use coracle_proto::status::Code;
use http::request::Parts;
use wasmtime::Store;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, ComponentType, Instance, InstancePre, Lift, Lower,
};

use self::change::Change;
use self::taker::Taker;
use super::bounds::COMPONENT_CALL_BYTES_MAX;
use super::call::Deadline;
use super::event::NotTaken;
use super::instance::Guest;
use super::stage::{Spans, Stage};
use super::state::keeper::Keeps as _;
use super::state::trouble::Trouble;
use super::{command, event};
use crate::call::{Body, CallError};
use crate::cloudevent::decode;

/// An error's text is cut at so many bytes, as stores do.
const ERROR_BYTES_MAX: usize = 1 << 10;

/// An event, as the component takes it.
enum Given {
    Message(ComponentExportIndex, Message),
    Payload(ComponentExportIndex, Bytes),
    Change((ComponentExportIndex, ComponentExportIndex), Change),
}

/// `broker-message`.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
struct Message {
    subject: String,
    body: Vec<u8>,
    #[component(name = "reply-to")]
    reply_to: Option<String>,
}

/// `error` of Spin's `redis-types`.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the engine makes them")]
enum SpinError {
    #[component(name = "success")]
    Success,
    #[component(name = "error")]
    Error,
}

/// Runs the component to its end.
pub(super) async fn call(
    taker: &Taker,
    stage: Stage<'_>,
    request: http::Request<Body>,
    mut deadline: Deadline,
) -> Result<http::Response<Body>, CallError> {
    let (parts, body) = request.into_parts();
    let data = command::read(body, stage.invocation.limits().idle_timeout, &mut deadline).await?;
    stage.invocation.account.received(data.len());
    let given = given(taker, &parts, data)?;
    // Its attributes are there for who wants more of it than the interface has.
    let (mut wasi, log) = stage.wasi();
    wasi.envs(&event::environment(&parts));
    let mut instance = stage.instance((&mut wasi, log), COMPONENT_CALL_BYTES_MAX)?;
    let (pre, spans) = (taker.pre.clone(), stage.spans());
    // An instance that takes events takes one.
    let mut run =
        stage.run_once(async move { (take(&pre, given, &mut instance.store, spans).await, instance) });
    poll_fn(|cx| match run.poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => deadline.poll(cx).map(|error| Err(run.stop(error))),
    })
    .await?;
    let mut response = http::Response::new(Body::default());
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    Ok(response)
}

/// Which function is called for it, and with what.
fn given(taker: &Taker, parts: &Parts, data: Bytes) -> Result<Given, CallError> {
    let never = |why: String| CallError::new(Code::EventRejected, why);
    if let Some(functions) = taker.change
        && let Some(change) = Change::read(attribute(parts, "type").as_deref(), &data).map_err(never)?
    {
        return Ok(Given::Change(functions, change));
    }
    if let Some(function) = taker.message {
        let subject =
            attribute(parts, "subject").or_else(|| came_by(parts)).or_else(|| attribute(parts, "type"));
        let subject = subject.unwrap_or_default();
        return Ok(Given::Message(function, Message { subject, body: data.into(), reply_to: None }));
    }
    let function = taker
        .payload
        .ok_or_else(|| never("'wasi:keyvalue/watcher' takes changes of values only".to_owned()))?;
    Ok(Given::Payload(function, data))
}

fn attribute(parts: &Parts, name: &str) -> Option<String> {
    let value = parts.headers.get(format!("{}{name}", crate::cloudevent::PREFIX))?;
    decode(value.as_bytes()).ok()
}

/// The queue or the topic that it came by.
fn came_by(parts: &Parts) -> Option<String> {
    let queue = parts.headers.get(attr::HEADER_QUEUE)?.to_str().ok()?;
    let topic = queue.strip_prefix("topic/").and_then(|heard| heard.split('/').next());
    Some(topic.unwrap_or(queue).to_owned())
}

async fn take(
    pre: &InstancePre<Guest>,
    given: Given,
    store: &mut Store<Guest>,
    spans: Spans,
) -> wasmtime::Result<()> {
    let instance = spans.instantiate(pre.instantiate_async(&mut *store)).await?;
    match given {
        Given::Message(function, message) => {
            let (ended,): (Result<(), String>,) = run(&instance, store, &function, (message,)).await?;
            ended.map_err(|error| NotTaken::Failed(cut(error)).into())
        }
        Given::Payload(function, data) => {
            let (ended,): (Result<(), SpinError>,) =
                run(&instance, store, &function, (Vec::from(data),)).await?;
            match ended {
                // As Spin takes it.
                Ok(()) | Err(SpinError::Success) => Ok(()),
                Err(SpinError::Error) => Err(NotTaken::Failed("error".to_owned()).into()),
            }
        }
        Given::Change((set, deleted), Change { bucket, key, is_set }) => {
            let mut keeper = store.data_mut().keeper();
            let opened = keeper.open(bucket).await.map_err(unopened)?;
            if !is_set {
                return run(&instance, store, &deleted, (opened, key)).await;
            }
            // As it is by now. One that is gone again is told of by another event.
            let Some(value) = keeper.get(&opened, &key).await.map_err(unopened)? else {
                return Ok(());
            };
            run(&instance, store, &set, (opened, key, Vec::from(value))).await
        }
    }
}

/// A text of the guest's, as others keep it.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text
}

fn unopened(trouble: Trouble) -> wasmtime::Error {
    match trouble {
        Trouble::Broken(error) => error,
        // It would be so at each attempt.
        trouble @ (Trouble::Denied | Trouble::NoBucket) => {
            NotTaken::Never(format!("the bucket that it watches cannot be opened: {trouble}")).into()
        }
        trouble => NotTaken::Failed(format!("the value that changed cannot be read: {trouble}")).into(),
    }
}

async fn run<P, R>(
    instance: &Instance,
    store: &mut Store<Guest>,
    function: &ComponentExportIndex,
    params: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let other =
        |error: wasmtime::Error| NotTaken::Never(format!("its handler is of another type: {error:#}"));
    let function = instance.get_typed_func::<P, R>(&mut *store, function).map_err(other)?;
    function.call_async(store, params).await
}
