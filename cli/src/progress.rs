//! A life sign on the terminal while AWS is asked: what is going on, and for how long.

use std::{
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};
use tokio::time::{Instant, interval};

/// Whether there is somebody to see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    on: bool,
}

impl Progress {
    /// On a terminal, and not beside JSON or log lines.
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self { on: !json && !verbose && io::stderr().is_terminal() }
    }

    /// Does `work` and shows meanwhile what it is.
    pub(crate) async fn during<T>(self, what: &str, work: impl Future<Output = T>) -> T {
        if !self.on {
            return work.await;
        }
        let _cleared = Cleared;
        let (began, mut tick, mut work) =
            (Instant::now(), interval(Duration::from_secs(1)), pin!(work));
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => draw(&format!("{what}, {}s", began.elapsed().as_secs())),
            }
        }
    }
}

impl Progress {
    /// Says what goes on now, on a line of its own.
    pub(crate) fn say(self, what: &str) {
        if self.on {
            draw(&format!("{what}\n"));
        }
    }
}

/// Takes the line away again, whichever way the work ends.
struct Cleared;

impl Drop for Cleared {
    fn drop(&mut self) {
        draw("");
    }
}

fn draw(line: &str) {
    let mut stderr = io::stderr().lock();
    // Back to the line's begin, and clear it.
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}
