//! Calls of `wasi:http` 0.3 components (docs/adr/0012). Their guests have tasks, which go on when the answer's head has been given,
//! and end with its body at the latest.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use coracle_proto::status::Code;
use http::header;
use http::uri::{Authority, Scheme};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{Error, FieldMap, WasiBody, WasiHttpView as _};

use super::answer;
use super::body::RequestBody;
use super::bounds::BODY_PIECES_MAX;
use super::call::Deadline;
use super::instance::{Guest, Handler, Instance, concurrent};
use super::stage::{Spans, Stage};
use crate::call::{Body, CallError};

/// Steps that the engine is given at the end of a call to end its tasks: behind its last write a guest takes two or three.
const LAST_STEPS_MAX: usize = 16;
/// The same where it is to clear away what the call has closed, too: each stream and future takes one or two.
const CLEARING_STEPS_MAX: usize = 64;

type Head = Result<http::Response<Handed>, ErrorCode>;
/// Where the answer goes. Whoever waits for it has this too, so that it stays open when the guest fails: why, its run says.
type Answer = Arc<Mutex<Option<oneshot::Sender<Head>>>>;
/// What is handed on of a body: `None` says that it was whole.
type Piece = Result<Option<Frame<Bytes>>, Error>;

/// Runs the component until its response's head; the rest of its run goes with the body.
pub(super) async fn call(
    pre: &ServicePre<Guest>,
    stage: Stage<'_>,
    request: http::Request<Body>,
    mut deadline: Deadline,
) -> Result<http::Response<Body>, CallError> {
    let mut instance = stage.component()?;
    let method = request.method().clone();
    let request = request.map(|body| RequestBody::new(body, Arc::clone(stage.invocation)));
    let request = incoming(instance.store.data_mut(), request)?;
    let (answer, mut answered) = oneshot::channel();
    let answer: Answer = Arc::new(Mutex::new(Some(answer)));

    let (pre, given) = (pre.clone(), Arc::clone(&answer));
    let (spans, reuse) = (stage.spans(), stage.invocation.version.spec.reuse().is_some());
    let mut run = stage.run(async move {
        // Dropped before the instance, however this ends.
        let _cutter = instance.store.data_mut().cutter();
        (serve(&pre, &mut instance, request, (given, spans, reuse)).await, instance)
    });
    match answer::head(&mut run, &mut answered, &mut deadline).await? {
        Ok(response) => answer::respond(run, &method, response, deadline).await,
        Err(code) => {
            Err(run.stop(CallError::new(Code::FunctionFailed, format!("the function answered: {code}"))))
        }
    }
}

/// A request as the component takes it, with the authority that it was sent to.
fn incoming(guest: &mut Guest, request: http::Request<RequestBody>) -> Result<Request, CallError> {
    let (parts, body) = request.into_parts();
    let host = || Authority::try_from(parts.headers.get(header::HOST)?.as_bytes()).ok();
    let authority = parts.uri.authority().cloned().or_else(host);
    let authority = authority.ok_or_else(|| {
        CallError::new(Code::BadRequest, "neither its address nor 'host' names an authority")
    })?;
    let (path, headers) =
        (parts.uri.path_and_query().cloned(), FieldMap::new_immutable(guest.http().hooks, parts.headers));
    // How the guest has taken the body concerns nobody.
    let (request, _) =
        Request::new(parts.method, Some(Scheme::HTTP), Some(authority), path, headers, None, body);
    Ok(request)
}

async fn serve(
    pre: &ServicePre<Guest>,
    instance: &mut Instance,
    request: Request,
    (answer, spans, reuse): (Answer, Spans, bool),
) -> wasmtime::Result<()> {
    let (service, at_first) = match instance.handler.take() {
        Some(Handler::Service(service, at_first)) => (service, at_first),
        Some(Handler::Proxy(_)) | None => {
            let service = spans.instantiate(pre.instantiate_async(&mut instance.store)).await?;
            (service, instance.holds())
        }
    };
    // Of what serves no other call nobody asks what it still holds.
    let empty = Some(instance.empty()).filter(|_| reuse && at_first == 0);
    let handling = async |accessor: &Accessor<Guest>| {
        let whole = handle(&service, accessor, request, &answer).await?;
        // Before the word that ends the body, with which the guest is ended.
        take_last_steps(accessor, empty).await;
        if let Some(pieces) = whole {
            let _ = pieces.send(Ok(None)).await;
        }
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        wasmtime::error::Ok(())
    };
    instance.store.run_concurrent(handling).await??;
    instance.handler = Some(Handler::Service(service, at_first));
    Ok(())
}

/// Has the guest handle the request, and hands on what it makes of its answer. Gives where it is to be said that this was whole.
async fn handle(
    service: &Service,
    accessor: &Accessor<Guest>,
    request: Request,
    answer: &Answer,
) -> wasmtime::Result<Option<mpsc::Sender<Piece>>> {
    let response = match service.handle(accessor, request).await? {
        Ok(response) => response,
        Err(code) => {
            give(answer, Err(code));
            return Ok(None);
        }
    };
    let (taken, is_taken) = oneshot::channel();
    let (head, body) = opened(accessor, response, is_taken)?;
    let (pieces, handed) = mpsc::channel(BODY_PIECES_MAX);
    give(answer, Ok(head.map(|()| Handed { pieces: handed, over: false })));
    if !hand_on(body, &pieces).await {
        return Ok(None);
    }
    // A guest that does not ask whether its body was taken has let go of this.
    let _ = taken.send(());
    Ok(Some(pieces))
}

fn give(answer: &Answer, head: Head) {
    if let Some(answer) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nobody waits for the answer of a call that was given up.
        let _ = answer.send(head);
    }
}

/// Head and body of a response. The guest is told that the body was taken when `is_taken` says so.
fn opened(
    accessor: &Accessor<Guest>,
    mut response: Response,
    is_taken: oneshot::Receiver<()>,
) -> wasmtime::Result<(http::Response<()>, WasiBody)> {
    // The implementation would measure the body by a length that is declared here: that is for the answer to judge, which
    // knows whether there is to be a body.
    let headers = std::mem::take(&mut response.headers);
    let taken = async { is_taken.await.map_err(|_| Error::ConnectionTerminated) };
    let response = accessor.with(|store| response.into_http(store, taken))?;
    let (mut parts, body) = response.into_parts();
    parts.headers = headers.into();
    Ok((http::Response::from_parts(parts, ()), body))
}

/// Passes a body on as it is taken, inside the guest's run, so that the run knows whether it was whole.
async fn hand_on(mut body: WasiBody, pieces: &mpsc::Sender<Piece>) -> bool {
    while let Some(frame) = body.frame().await {
        let failed = frame.is_err();
        if pieces.send(frame.map(Some)).await.is_err() || failed {
            return false;
        }
    }
    true
}

/// Lets the engine end tasks that wait for nothing and, where it is to have no more than `empty`, clear away what the call has
/// closed. What is there afterwards, the guest holds on to.
async fn take_last_steps<T: 'static>(accessor: &Accessor<T>, empty: Option<usize>) {
    let steps_max = if empty.is_some() { CLEARING_STEPS_MAX } else { LAST_STEPS_MAX };
    let mut steps = 0;
    poll_fn(|cx| {
        let is_clear = accessor.poll_no_interesting_tasks(cx).is_ready()
            && empty.is_none_or(|empty| accessor.with(|mut store| concurrent(&mut store)) == empty);
        if is_clear || steps == steps_max {
            return Poll::Ready(());
        }
        steps += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The body of an answer, as the guest's run hands it on.
struct Handed {
    pieces: mpsc::Receiver<Piece>,
    over: bool,
}

impl HttpBody for Handed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // A guest that ended by itself in the middle of it has said nothing.
        let piece = ready!(self.pieces.poll_recv(cx)).unwrap_or(Err(Error::ConnectionTerminated));
        self.over = !matches!(piece, Ok(Some(_)));
        Poll::Ready(piece.transpose())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use wasmtime::Store;
    use wasmtime::component::StreamReader;

    use super::*;
    use crate::runtime::MemoryMode;
    use crate::runtime::engine;
    use crate::runtime::host::Release;

    /// Steps that are taken at the end of a call whose tasks have ended, and whose guest leaves a stream open.
    async fn steps(empty: Option<usize>) -> usize {
        let engine = engine::build(MemoryMode::OnDemand, 1, Release::Wasip3).unwrap().engine;
        let mut store = Store::new(&engine, ());
        let ending = async |accessor: &Accessor<()>| {
            let open = accessor.with(|store| StreamReader::<u8>::new(store, std::iter::empty::<u8>()));
            open.unwrap();
            let mut last = pin!(take_last_steps(accessor, empty));
            let mut polled = 0;
            poll_fn(|cx| {
                polled += 1;
                last.as_mut().poll(cx)
            })
            .await;
            polled - 1
        };
        store.run_concurrent(ending).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_guest_leaves_open_holds_up_its_answer_only_where_its_instance_may_serve_again() {
        assert_eq!(steps(None).await, 0);
        assert_eq!(steps(Some(0)).await, CLEARING_STEPS_MAX, "it is waited for, and not for ever");
    }

    /// Whenever its guest's store is dropped.
    #[tokio::test]
    async fn a_body_is_whole_only_when_that_was_said() {
        let (pieces, handed) = mpsc::channel::<Piece>(BODY_PIECES_MAX);
        let mut body = Handed { pieces: handed, over: false };
        pieces.send(Ok(Some(Frame::data(Bytes::from("half"))))).await.unwrap();
        assert!(body.frame().await.unwrap().is_ok());
        drop(pieces);
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
