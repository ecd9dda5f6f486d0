//! Calls of commands: a request in the way of CGI, with its body on standard input and the response on standard output; an event
//! with its data on standard input, and the exit code for an answer.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_proto::spec::BUFFERED_BODY_MAX;
use coracle_proto::status::Code;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Sleep, sleep};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use super::begin::HOLD;
use super::body::{ResponseBody, Source};
use super::call::Deadline;
use super::cgi::{self, Origin, Parsed};
use super::event;
use super::instance::Guest;
use super::pipe::Pipe;
use super::program::Command;
use super::run::Run;
use super::stage::{Spans, Stage};
use crate::call::{Body, CallError};

/// How a command is told what it is called for, and how it answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner<'a> {
    /// As a CGI program.
    Request(Origin<'a>),
    /// By its exit code: what it prints is kept as it is.
    Event,
}

/// Runs the command until its response's head; the rest of its run goes with the body.
pub(super) async fn call(
    command: &Command,
    stage: Stage<'_>,
    manner: Manner<'_>,
    request: http::Request<Body>,
    mut deadline: Deadline,
) -> Result<http::Response<Body>, CallError> {
    let (parts, body) = request.into_parts();
    let input = read(body, stage.invocation.limits().idle_timeout, &mut deadline).await?;
    stage.invocation.account.received(input.len());
    let pipe = Pipe::new(Arc::clone(stage.invocation));
    let (mut wasi, log) = stage.wasi();
    wasi.envs(&match manner {
        Manner::Request(origin) => cgi::environment(&parts, origin, input.len()),
        Manner::Event => event::environment(&parts),
    });
    wasi.stdin(MemoryInputPipe::new(input)).stdout(pipe.clone());
    let mut instance = stage.instance((&mut wasi, log), command.call_bytes_max())?;
    let (command, is_event) = (command.clone(), matches!(manner, Manner::Event));
    let spans = stage.spans();
    let run = stage.run(async move {
        let ended = run(command, &mut instance.store, spans).await;
        (if is_event { event::judged(ended) } else { ended }, instance)
    });
    Beginning { run, pipe, output: BytesMut::new(), is_event, hold: None, deadline }.respond().await
}

async fn run(command: Command, store: &mut Store<Guest>, spans: Spans) -> wasmtime::Result<()> {
    match command {
        Command::Module(pre) => {
            let instance = spans.instantiate(pre.instantiate_async(&mut *store)).await?;
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            start.call_async(store, ()).await
        }
        Command::Component(pre) => {
            let command = spans.instantiate(pre.instantiate_async(&mut *store)).await?;
            let ended = command.wasi_cli_run().call_run(store).await?;
            ended.map_err(|()| I32Exit(1).into())
        }
    }
}

/// Reads the whole request, for it is standard input.
pub(super) async fn read(
    mut body: Body,
    idle_max: Duration,
    deadline: &mut Deadline,
) -> Result<Bytes, CallError> {
    let too_large = || {
        let message =
            format!("the request is over {} MiB, which a command may have", BUFFERED_BODY_MAX >> 20);
        CallError::new(Code::RequestTooLarge, message)
    };
    if body.size_hint().lower() > BUFFERED_BODY_MAX as u64 {
        return Err(too_large());
    }
    let mut all = BytesMut::new();
    let mut idle: Option<Pin<Box<Sleep>>> = None;
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                return Poll::Ready(frame.transpose());
            }
            if idle.get_or_insert_with(|| Box::pin(sleep(idle_max))).as_mut().poll(cx).is_ready() {
                let idle_ms = idle_max.as_millis();
                let message =
                    format!("no bytes of the request came for {idle_ms} ms, the function's 'idle-timeout'");
                return Poll::Ready(Err(CallError::new(Code::IdleTimeout, message)));
            }
            deadline.poll(cx).map(Err)
        });
        let Some(frame) = frame.await? else { return Ok(all.freeze()) };
        idle = None;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > BUFFERED_BODY_MAX {
            return Err(too_large());
        }
        all.extend_from_slice(&data);
    }
}

/// A command that has not begun its response.
struct Beginning {
    run: Run,
    pipe: Pipe,
    output: BytesMut,
    /// What it prints has no head.
    is_event: bool,
    hold: Option<Pin<Box<Sleep>>>,
    deadline: Deadline,
}

/// A response's head, and whether the command had ended by then.
struct Begun {
    head: cgi::Head,
    ended: bool,
}

impl Beginning {
    /// The response begins when the command ends, or [`HOLD`] after its first output: what is over its limit or fails
    /// within that time is told by its status, and what flows begins to flow.
    async fn respond(mut self) -> Result<http::Response<Body>, CallError> {
        let Begun { head, ended } = poll_fn(|cx| self.poll_head(cx)).await?;
        let rest = self.output.split_off(head.body_at.min(self.output.len())).freeze();
        let body = if ended {
            Full::new(rest).map_err(|never| match never {}).boxed_unsync()
        } else {
            ResponseBody::new(self.run, Output { first: Some(rest), pipe: self.pipe }).boxed_unsync()
        };
        Ok(head.response.map(|()| body))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Begun, CallError>> {
        let ended = match self.run.poll(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => false,
        };
        if let Some(output) = self.pipe.take(cx) {
            self.output.extend_from_slice(&output);
        }
        if !ended && self.is_held(cx) {
            return self.deadline.poll(cx).map(|error| Err(self.run.stop(error)));
        }
        let parsed = if self.is_event { cgi::plain(&self.output) } else { cgi::parse(&self.output, ended) };
        match parsed {
            Parsed::Head(head) => Poll::Ready(Ok(Begun { head: *head, ended })),
            Parsed::Invalid(why) => {
                Poll::Ready(Err(self.run.stop(CallError::new(Code::InvalidResponse, why))))
            }
            Parsed::Incomplete => self.deadline.poll(cx).map(|error| Err(self.run.stop(error))),
        }
    }

    fn is_held(&mut self, cx: &mut Context<'_>) -> bool {
        if self.output.is_empty() {
            return true;
        }
        self.hold.get_or_insert_with(|| Box::pin(sleep(HOLD))).as_mut().poll(cx).is_pending()
    }
}

/// The rest of a command's output.
struct Output {
    first: Option<Bytes>,
    pipe: Pipe,
}

impl Source for Output {
    fn poll(&mut self, ended: bool, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let first = self.first.take().filter(|first| !first.is_empty());
        match first.or_else(|| self.pipe.take(cx)) {
            Some(output) => Poll::Ready(Some(Ok(Frame::data(output)))),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
