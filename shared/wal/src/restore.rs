//! Restoring a whole server to a moment: the base backup and the way through the timelines are chosen and checked before
//! one byte is written; then PostgreSQL replays by `restore_command`.

mod extract;
mod plan;

pub use extract::{RestoreTarget, extract_base_backup};
pub use plan::{RecoveryPlan, RecoveryTarget, plan_recovery};
