//! Ctrl-C, and what pipelines send instead of it.

use crate::stop::CommandError;
use tokio::sync::watch;

/// Tells when somebody wants the command to end.
#[derive(Clone, Debug)]
pub(crate) struct InterruptSignal(watch::Receiver<bool>);

impl InterruptSignal {
    /// Listens from now on. A second Ctrl-C ends the process at once.
    pub(crate) fn listen() -> Self {
        let (tell, told) = watch::channel(false);
        // Where no handler can be set, the system's own does its work: the process ends.
        let _ = ctrlc::set_handler(move || {
            if tell.send_replace(true) {
                std::process::exit(crate::CommandExit::Interrupted as i32);
            }
        });
        Self(told)
    }

    /// Waits until it comes.
    pub(crate) async fn received(&self) {
        let mut told = self.0.clone();
        if told.wait_for(|came| *came).await.is_err() {
            // Nobody can tell any more, so it never comes.
            std::future::pending::<()>().await;
        }
    }

    /// Does `work` unless it comes first.
    pub(crate) async fn run_until_interrupted<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            () = self.received() => Err(CommandError::interrupted("interrupted; nothing was changed")),
        }
    }
}
