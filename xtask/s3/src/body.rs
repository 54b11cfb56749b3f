//! Bodies on their way: requests that can be read to their end by another, answers that break.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use s3s::Body;

/// The body of a request. What is not read of it when it is dropped is left for [`Rest`].
pub(crate) struct Upload {
    body: Option<Incoming>,
    rest: Rest,
    touched: bool,
}

/// What a handler did not read.
#[derive(Clone, Default)]
pub(crate) struct Rest(Arc<Mutex<Option<(Incoming, bool)>>>);

impl Upload {
    pub(crate) fn new(body: Incoming) -> (Self, Rest) {
        let rest = Rest::default();
        (Self { body: Some(body), rest: rest.clone(), touched: false }, rest)
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        this.touched = true;
        match &mut this.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((body, self.touched));
        }
    }
}

impl Rest {
    /// Reads it, unless the client waits for leave to send it and has none.
    pub(crate) async fn drain(&self, waits: bool) {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut body, touched)) = rest
            && (touched || !waits)
        {
            while let Some(Ok(_)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
        }
    }
}

/// What is wrong with an answer's body.
pub(crate) enum Damage {
    End(u64),
    Stall(u64),
    Flip(u64),
    Reset(u64, Arc<AtomicBool>),
}

/// The body of an answer that breaks.
pub(crate) struct Damaged {
    body: Body,
    damage: Damage,
    position: u64,
    /// Lets what was given so far get out before the connection goes.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Damaged {
    pub(crate) fn new(body: Body, damage: Damage) -> Self {
        Self { body, damage, position: 0, pause: None }
    }

    fn limit(&self) -> Option<u64> {
        match self.damage {
            Damage::End(limit) | Damage::Stall(limit) | Damage::Reset(limit, _) => Some(limit),
            Damage::Flip(_) => None,
        }
    }

    /// At the limit.
    fn stop(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &self.damage {
            Damage::Stall(_) => Poll::Pending,
            Damage::Reset(_, reset) => {
                ready!(self.pause.get_or_insert_with(pause).as_mut().poll(context));
                reset.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
            }
            Damage::End(_) | Damage::Flip(_) => Poll::Ready(None),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "bytes take real time to get out of a socket")]
fn pause() -> Pin<Box<tokio::time::Sleep>> {
    Box::pin(tokio::time::sleep(Duration::from_millis(20)))
}

impl HttpBody for Damaged {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let left = this.limit().map(|limit| limit - this.position);
        if left == Some(0) {
            return this.stop(context);
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(frame) => frame.map_err(io::Error::other)?,
        };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        if let Some(left) = left {
            data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if let Damage::Flip(offset) = this.damage
            && let Some(at) = offset.checked_sub(this.position).and_then(|at| usize::try_from(at).ok())
            && at < data.len()
        {
            let mut flipped = data.to_vec();
            flipped[at] ^= 1;
            data = flipped.into();
        }
        this.position += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}
