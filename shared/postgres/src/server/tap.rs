//! Takes COPY data off the wire before the client library sees it.
//!
//! `COPY .. TO STDOUT` sends one message per row, and a client library makes an object of each. Here the rows are
//! copied from the receive buffer into blocks of 128 KiB right at the socket; all other messages pass through. What
//! each message is: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of COPY data in a block; a block ends with the message that fills it, or in the middle of a large one.
pub(crate) const BLOCK_BYTES: usize = 128 << 10;

/// What is received at once. Larger ones don't make it faster: the server sends 8 KiB at a time.
const RECEIVE_BUFFER_BYTES: usize = 256 << 10;

/// Bytes of `BackendKeyData` up to the backend's number: type, length, number.
const BACKEND_KEY_BYTES: usize = 9;

/// Blocks that wait to be fetched before the server is left waiting.
const MAX_QUEUED_BLOCKS: usize = 4;

/// The place where a connection's COPY data can be fetched.
#[derive(Clone, Debug, Default)]
pub(crate) struct CopyInterceptor {
    state: Arc<Mutex<InterceptorState>>,
    /// The number of the backend that the other end named when it let us in.
    backend: Arc<AtomicI32>,
}

#[derive(Debug, Default)]
struct InterceptorState {
    /// Whether the next COPY is ours; without it `CopyOutResponse` passes through.
    armed: bool,
    /// Bytes left free at the start of each block, for a header.
    room: usize,
    blocks: VecDeque<Vec<u8>>,
    rows: u64,
    ended: bool,
    fetcher: Option<Waker>,
    wire: Option<Waker>,
}

impl CopyInterceptor {
    fn lock_state(&self) -> MutexGuard<'_, InterceptorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the backend, as the other end named it.
    pub(crate) fn backend_pid(&self) -> i32 {
        self.backend.load(Ordering::Acquire)
    }

    /// The next COPY's data goes here, in blocks that begin with `room` zero bytes.
    pub(crate) fn start_capture(&self, room: usize) {
        let mut state = self.lock_state();
        *state = InterceptorState {
            armed: true,
            room,
            wire: state.wire.take(),
            ..InterceptorState::default()
        };
    }

    /// Whether a COPY was begun and its end was not seen.
    pub(crate) fn is_capturing(&self) -> bool {
        let state = self.lock_state();
        state.armed && !state.ended
    }

    /// The COPY is over, or never came.
    pub(crate) fn stop_capture(&self) {
        *self.lock_state() = InterceptorState::default();
    }

    /// Messages of the COPY so far: rows, and a header line where one was asked for.
    pub(crate) fn row_count(&self) -> u64 {
        self.lock_state().rows
    }

    /// The next block, `None` after `CopyDone`.
    pub(crate) fn poll_block(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut state = self.lock_state();
        if let Some(block) = state.blocks.pop_front() {
            if let Some(wire) = state.wire.take() {
                wire.wake();
            }
            return Poll::Ready(Some(block));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.fetcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Hands over a full block; `false` when too many wait, and then the wire is woken later.
    fn push_block(&self, block: &mut Vec<u8>, rows: &mut u64, cx: &Context<'_>) -> bool {
        let mut state = self.lock_state();
        if state.blocks.len() >= MAX_QUEUED_BLOCKS {
            state.wire = Some(cx.waker().clone());
            return false;
        }
        let next = new_block(state.room);
        state.blocks.push_back(std::mem::replace(block, next));
        state.rows += std::mem::take(rows);
        if let Some(fetcher) = state.fetcher.take() {
            fetcher.wake();
        }
        true
    }

    fn finish_capture(&self, block: &mut Vec<u8>, rows: &mut u64) {
        let mut state = self.lock_state();
        if block.len() > state.room {
            state.blocks.push_back(std::mem::take(block));
        }
        state.rows += std::mem::take(rows);
        state.ended = true;
        if let Some(fetcher) = state.fetcher.take() {
            fetcher.wake();
        }
    }
}

fn new_block(room: usize) -> Vec<u8> {
    // A little more than a block, so that the row that fills it rarely makes it grow.
    let mut block = Vec::with_capacity(BLOCK_BYTES + (8 << 10));
    block.resize(room, 0);
    block
}

/// What the bytes at the front of the buffer are.
#[derive(Clone, Copy, Debug)]
enum ParseState {
    /// The five bytes of a message's type and length.
    Head,
    /// So many bytes of a message that the client library gets.
    Pass(usize),
    /// So many bytes of a row.
    Row(usize),
    /// So many bytes that nobody needs: `CopyOutResponse`.
    Skip(usize),
}

/// A socket with a [`Tap`] in it.
#[derive(Debug)]
pub(crate) struct InterceptingStream<S> {
    inner: S,
    tap: CopyInterceptor,
    received: Box<[u8]>,
    start: usize,
    end: usize,
    at: ParseState,
    copying: bool,
    block: Vec<u8>,
    rows: u64,
}

impl<S> InterceptingStream<S> {
    pub(crate) fn new(inner: S, tap: CopyInterceptor) -> Self {
        let received = vec![0; RECEIVE_BUFFER_BYTES].into_boxed_slice();
        let (block, at) = (Vec::new(), ParseState::Head);
        Self { inner, tap, received, start: 0, end: 0, at, copying: false, block, rows: 0 }
    }

    /// Takes apart what was received. Ready when `out` is full or more must be received, pending when nobody fetches.
    fn parse_messages(&mut self, cx: &Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let buffered = self.end - self.start;
            match self.at {
                ParseState::Pass(0) | ParseState::Row(0) | ParseState::Skip(0) => {
                    self.at = ParseState::Head;
                }
                ParseState::Pass(left) => {
                    let n = left.min(buffered).min(out.remaining());
                    if n == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    out.put_slice(&self.received[self.start..self.start + n]);
                    self.start += n;
                    self.at = ParseState::Pass(left - n);
                }
                ParseState::Skip(left) => {
                    let n = left.min(buffered);
                    if n == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    self.start += n;
                    self.at = ParseState::Skip(left - n);
                }
                ParseState::Row(left) => {
                    let n = left.min(buffered).min(BLOCK_BYTES);
                    if n == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    if self.block.len() >= BLOCK_BYTES
                        && !self.tap.push_block(&mut self.block, &mut self.rows, cx)
                    {
                        return Poll::Pending;
                    }
                    self.block.extend_from_slice(&self.received[self.start..self.start + n]);
                    self.start += n;
                    self.at = ParseState::Row(left - n);
                }
                ParseState::Head => {
                    // `BackendKeyData` is looked at as a whole.
                    let key = buffered > 0 && self.received[self.start] == b'K';
                    if buffered < if key { BACKEND_KEY_BYTES } else { 5 } {
                        return Poll::Ready(Ok(()));
                    }
                    self.parse_header()?;
                }
            }
        }
    }

    fn parse_header(&mut self) -> io::Result<()> {
        let head = &self.received[self.start..self.start + 5];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(body) = length.checked_sub(4) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without a length"));
        };
        self.at = match head[0] {
            b'd' if self.copying => {
                self.rows += 1;
                self.start += 5;
                ParseState::Row(body)
            }
            b'H' if self.tap.is_capturing() => {
                self.copying = true;
                self.rows = 0;
                self.block = new_block(self.tap.lock_state().room);
                self.start += 5;
                ParseState::Skip(body)
            }
            b'c' if self.copying => {
                self.copying = false;
                self.tap.finish_capture(&mut self.block, &mut self.rows);
                self.start += 5;
                ParseState::Skip(body)
            }
            b'K' => {
                let number = &self.received[self.start + 5..self.start + 9];
                let number = i32::from_be_bytes([number[0], number[1], number[2], number[3]]);
                self.tap.backend.store(number, Ordering::Release);
                ParseState::Pass(5 + body)
            }
            other => {
                // An error ends a COPY too; the client library gets it, and with it whoever waits for the answer.
                self.copying &= other != b'E';
                ParseState::Pass(5 + body)
            }
        };
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InterceptingStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            let sorted = this.parse_messages(cx, out)?;
            if out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            ready!(sorted);
            if this.start == this.end {
                (this.start, this.end) = (0, 0);
            } else if this.start > 0 {
                // Less than a message's head is left, or the client library's buffer is full.
                this.received.copy_within(this.start..this.end, 0);
                (this.start, this.end) = (0, this.end - this.start);
            }
            let mut space = ReadBuf::new(&mut this.received[this.end..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut space))?;
            let n = space.filled().len();
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
            this.end += n;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InterceptingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
