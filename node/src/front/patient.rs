//! A connection whose other side must take what is sent to it, in time.

use std::future::Future as _;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::linger::{self, Linger};

/// A stream that fails when nothing could be written for too long, and lingers when it is closed.
#[derive(Debug)]
pub(super) struct Patient {
    /// Shared with whoever looks whether the other side hung up.
    stream: Arc<TcpStream>,
    write_max: Duration,
    /// Only a write that waits has one.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Only a stream that is being closed has one.
    linger: Option<Linger>,
}

impl Patient {
    pub(super) const fn new(stream: Arc<TcpStream>, write_max: Duration) -> Self {
        Self { stream, write_max, alarm: None, linger: None }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let polled = loop {
            match self.stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => match send(&self.stream) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    sent => break Poll::Ready(sent),
                },
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if polled.is_ready() {
            self.alarm = None;
            return polled;
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(self.write_max)));
        alarm.as_mut().poll(context).map(|()| {
            let said = format!("the other side took nothing for {} ms", self.write_max.as_millis());
            Err(io::Error::new(ErrorKind::TimedOut, said))
        })
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            let room = buffer.remaining();
            let mut short = false;
            // Less than there was room for is all there is: to say so here spares the read that would find nothing, as
            // tokio's own streams do (tokio-rs/tokio#5866). What comes meanwhile is a newer event, and stands.
            let read = stream.try_io(Interest::READABLE, || {
                let read = stream.try_read_buf(buffer)?;
                short = 0 < read && read < room;
                if short { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock && !short => {}
                Err(error) if !short => return Poll::Ready(Err(error)),
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, linger, .. } = &mut *self;
        linger::poll_close(stream, linger, context)
    }
}
