//! The time before something that did not answer is asked again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Half a second at first, twice as long each time, and 30 seconds at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DoublingPause(Duration);

impl Default for DoublingPause {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl DoublingPause {
    /// How long the next one is.
    pub(crate) fn length(self) -> Duration {
        self.0
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.advance()).await;
    }

    /// How long this one is; the next one is longer.
    fn advance(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_half_a_minute() {
        let mut pause = DoublingPause::default();
        let lengths = [(); 8].map(|()| pause.advance().as_millis());
        assert_eq!(lengths, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }
}
