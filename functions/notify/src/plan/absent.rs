//! What was not heard: a function that says nothing any more, and the sign of life that is only given while all speak.

use super::{NOTIFY, NotifyPlanner, clear_incident, open_or_update_incident};
use crate::{heard::DetectedProblem, state::NotifyState};
use jiff::Timestamp;
use shared::{
    plan::{FindingCode, Severity},
    policy::notify::NotifyConfig,
    time::format_duration,
};

/// A function that says nothing.
const SILENT: &str = FindingCode::MissingHeartbeat.as_str();

/// Notes the functions that were not heard of for longer than the policy allows.
pub(super) fn check_missing_reports(planning: &NotifyPlanner<'_>, state: &mut NotifyState) {
    for (function, most) in planning.notify.expected_reports() {
        let source = state.sources.get(function.as_str());
        let heard = source.map_or(state.created_at, |s| s.last_heard_at.max(state.created_at));
        let quiet = planning.now.duration_since(heard);
        let problem = DetectedProblem {
            asset: format!("function/{function}"),
            group: None,
            code: SILENT.into(),
            severity: Severity::Critical,
            message: format!(
                "nothing was heard of {function} for {}, and the policy allows {most}: nobody looks after the backups",
                format_duration(quiet)
            ),
            hint: shared::hints::function(function.as_str()),
        };
        if quiet > most.duration() {
            open_or_update_incident(planning, state, NOTIFY, &problem, planning.now);
        } else {
            clear_incident(state, NOTIFY, &super::hear::incident_id(&problem), planning.now);
        }
    }
}

/// Whether a sign of life is due: all that is expected was heard, and the last one is old enough.
pub fn is_heartbeat_due(notify: &NotifyConfig, state: &NotifyState, now: Timestamp) -> bool {
    let Some(heartbeat) = &notify.heartbeat else { return false };
    let heard = notify.expected_reports().iter().all(|(function, most)| {
        let source = state.sources.get(function.as_str());
        source.is_some_and(|s| now.duration_since(s.last_heard_at) <= most.duration())
    });
    // A schedule does not tick to the second.
    let slack = jiff::SignedDuration::from_secs(30);
    let due = state.heartbeat.is_none_or(|last| {
        now < last || now.duration_since(last) + slack >= heartbeat.every.duration()
    });
    heard && due
}
