//! A life sign on the terminal while AWS is asked: what is going on, and for how long.

use std::{
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};
use tokio::time::{Instant, interval};

/// Whether there is somebody to see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgressLine {
    enabled: bool,
}

impl ProgressLine {
    /// On a terminal, and not beside JSON or log lines.
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self { enabled: !json && !verbose && io::stderr().is_terminal() }
    }

    /// Does `work` and shows meanwhile what it is.
    pub(crate) async fn with_spinner<T>(self, what: &str, work: impl Future<Output = T>) -> T {
        if !self.enabled {
            return work.await;
        }
        let _cleared = ClearLineGuard;
        let (began, mut tick, mut work) =
            (Instant::now(), interval(Duration::from_secs(1)), pin!(work));
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => draw_line(&format!("{what}, {}s", began.elapsed().as_secs())),
            }
        }
    }
}

impl ProgressLine {
    /// Says what goes on now, on a line of its own.
    pub(crate) fn print_message(self, what: &str) {
        if self.enabled {
            draw_line(&format!("{what}\n"));
        }
    }
}

/// Takes the line away again, whichever way the work ends.
struct ClearLineGuard;

impl Drop for ClearLineGuard {
    fn drop(&mut self) {
        draw_line("");
    }
}

fn draw_line(line: &str) {
    let mut stderr = io::stderr().lock();
    // Back to the line's begin, and clear it.
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}
