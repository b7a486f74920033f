//! Tells people what changed, once, on the channels that the policy names.
//!
//! # Layout
//! - [`event`]: what Lambda hands in; [`heard`]: what it says
//! - [`plan()`]: what to tell whom; pure
//! - [`state`]: what is remembered; [`keep`]: where; [`outbox`]: messages on their way
//! - [`message`]: a message as data; [`channel`]: how it looks and is sent
//! - [`look`]: all of it in a row, as the Lambda and the command do it

pub mod channel;
pub mod event;
pub mod heard;
pub mod keep;
pub mod message;
pub mod outbox;
mod plan;
mod run;
mod serve;
pub mod state;

pub use plan::{OutgoingMessage, enqueue, is_heartbeat_due, plan};
pub use run::{NotifyContext, NotifySummary, dry_run, process_events, test_channels};
pub use serve::serve;

/// The function's name.
pub const NAME: &str = "notify";
