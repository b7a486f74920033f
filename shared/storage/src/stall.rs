//! How long is waited for a store that does not go on: by progress, not by the time that the whole takes.
//!
//! A dump holds a snapshot, locks and the lease of its database while it is stored. So what is given to a store and never
//! answered must end in minutes, however large the dump is and however slow the connection may be.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

/// Nothing was taken and nothing answered for so long: it hangs. Between this and twice this it is noticed.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes a second, below which a connection is no use.
pub(crate) const MIN_BYTES_PER_SECOND: u64 = 64 << 10;
/// Times that a request is sent which hangs: a connection may be dead and the next one not.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
/// Bytes that are handed to the connection at once, so that it is seen how far it is.
const CHUNK_BYTES: usize = 64 << 10;

/// The longest that so many bytes may take on their way, the answer included.
pub(crate) fn max_transfer_time(bytes: u64) -> Duration {
    STALL_TIMEOUT * 2 + Duration::from_secs(bytes / MIN_BYTES_PER_SECOND)
}

/// Sends a request with a body, anew when it hangs. None when it hung every time.
pub(crate) async fn send_with_retries<T, Sent>(
    body: &Bytes,
    request: impl Fn(CountingBody) -> Sent,
) -> Option<T>
where
    Sent: Future<Output = T>,
{
    for _ in 0..MAX_ATTEMPTS {
        let taken = Arc::new(AtomicU64::new(0));
        let sent = request(CountingBody { rest: body.clone(), bytes_taken: Arc::clone(&taken) });
        tokio::select! {
            biased;
            answer = sent => return Some(answer),
            () = wait_for_stall(&taken) => {}
            () = tokio::time::sleep(max_transfer_time(body.len() as u64)) => {}
        }
        tracing::warn!(bytes = taken.load(Relaxed), "a request to the store hangs and is ended");
    }
    None
}

/// Ends when nothing was taken for [`STALL_TIMEOUT`].
async fn wait_for_stall(taken: &AtomicU64) {
    let mut before = None;
    loop {
        let now = taken.load(Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(STALL_TIMEOUT).await;
    }
}

/// A body that counts what the connection takes of it, over all tries.
#[derive(Clone, Debug)]
pub(crate) struct CountingBody {
    rest: Bytes,
    bytes_taken: Arc<AtomicU64>,
}

impl Body for CountingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let next = self.rest.len().min(CHUNK_BYTES);
        let chunk = self.rest.split_to(next);
        self.bytes_taken.fetch_add(chunk.len() as u64, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, future::poll_fn};
    use tokio::time::{Instant, sleep};

    /// Takes all of a body, with a pause before each piece.
    async fn take(mut body: CountingBody, pause: Duration) -> usize {
        let mut came = 0;
        loop {
            sleep(pause).await;
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => came += frame.into_data().map_or(0, |d| d.len()),
                _ => return came,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_and_never_answered_ends_in_minutes_after_some_tries() {
        let (body, tries, began) = (Bytes::from(vec![0; 8 << 20]), Cell::new(0), Instant::now());
        let sent = send_with_retries(&body, async |body: CountingBody| {
            tries.set(tries.get() + 1);
            take(body, Duration::ZERO).await;
            std::future::pending::<()>().await;
        });
        assert_eq!((sent.await, tries.get()), (None, MAX_ATTEMPTS));
        assert!(began.elapsed() <= STALL_TIMEOUT * 2 * MAX_ATTEMPTS, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_drips_ends_too_and_a_slow_one_that_goes_on_does_not() {
        let body = Bytes::from(vec![0; 8 << 20]);
        let began = Instant::now();
        // A piece just often enough never to stand still.
        let drips = send_with_retries(&body, |body| take(body, STALL_TIMEOUT / 2));
        assert_eq!(drips.await, None);
        assert_eq!(began.elapsed(), max_transfer_time(8 << 20) * MAX_ATTEMPTS);
        let began = Instant::now();
        let slow = send_with_retries(&body, |body| take(body, Duration::from_millis(1500)));
        assert_eq!(slow.await, Some(8 << 20));
        assert!(began.elapsed() > STALL_TIMEOUT * 3);
    }
}
