//! A connection whose other side must take what is sent to it, in time.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::linger::{self, Linger};

/// A stream that fails when nothing could be written for too long, and lingers when it is closed.
#[derive(Debug)]
pub(super) struct Patient {
    stream: TcpStream,
    write_max: Duration,
    /// Only a write that waits has one.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Only a stream that is being closed has one.
    linger: Option<Linger>,
}

impl Patient {
    pub(super) const fn new(stream: TcpStream, write_max: Duration) -> Self {
        Self { stream, write_max, alarm: None, linger: None }
    }

    fn wrote<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.alarm = None;
            return polled;
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.write_max)));
        alarm.as_mut().poll(context).map(|()| {
            let said = format!("the other side took nothing for {} ms", self.write_max.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, said))
        })
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, linger, .. } = &mut *self;
        linger::poll_close(stream, linger, context)
    }
}
