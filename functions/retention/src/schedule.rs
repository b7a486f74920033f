//! Retention on a schedule of its own: what may go is deleted at the policy's times only.

use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::{ActionPlan, Finding, FindingCode, Severity},
    policy::Policy,
    time::CronSchedule,
};

/// A time that is due is due for this long, so that one run that is missed or cut short is made up for by the next ones.
const DUE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Why nothing is deleted now, when the policy has a schedule for it and it is not due.
pub(crate) fn not_due_finding(policy: &Policy, now: Timestamp) -> Option<Finding> {
    let when = policy.retention.schedule.as_ref()?;
    let schedule = CronSchedule::new(when, &policy.time_zone);
    if schedule.last_due(now).is_some_and(|due| now.duration_since(due) < DUE_WINDOW) {
        return None;
    }
    let next = schedule.next_due(now).map_or("never".to_owned(), |t| t.to_string());
    let why =
        format!("the policy's retention.schedule is next due at {next}; nothing is deleted before");
    Some(Finding::new(Severity::Info, "retention", FindingCode::RetentionNotDue, why, ""))
}

/// Takes the steps out of a plan that is not due; a dry run shows them. Returns how many.
pub(crate) fn defer_steps<A>(plan: &mut ActionPlan<A>, dry_run: bool) -> usize {
    let count = plan.steps.len();
    if dry_run {
        for step in &mut plan.steps {
            step.reason = format!("when it is due: {}", step.reason);
        }
    } else {
        plan.steps.clear();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::model::{parse_policy, parse_time};

    #[test]
    fn it_is_due_for_a_day_from_each_of_its_times_on() {
        let with = |retention: &str| {
            parse_policy(&format!(
                "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, time_zone: \
                 Europe/Sofia{retention}}}"
            ))
        };
        assert_eq!(not_due_finding(&with(""), parse_time("2026-11-20T12:00:00Z")), None);
        let monthly = with(", retention: {schedule: {cron: \"0 4 1 * *\"}}");
        for (now, due) in [
            ("2026-11-01T01:59:59Z", false),
            ("2026-11-01T02:00:00Z", true),
            ("2026-11-02T01:59:59Z", true),
            ("2026-11-02T02:00:00Z", false),
        ] {
            assert_eq!(not_due_finding(&monthly, parse_time(now)).is_none(), due, "{now}");
        }
        let finding =
            not_due_finding(&monthly, parse_time("2026-11-20T12:00:00Z")).expect("it waits");
        insta::assert_snapshot!(finding, @"info retention retention-not-due: the policy's retention.schedule is next due at 2026-12-01T02:00:00Z; nothing is deleted before");
    }

    #[test]
    fn what_is_not_due_is_shown_by_a_dry_run_alone() {
        let plan = || {
            let mut plan = ActionPlan::default();
            plan.push_step("a", "delete", "no line keeps it");
            plan
        };
        let (mut wet, mut dry) = (plan(), plan());
        assert_eq!((defer_steps(&mut wet, false), defer_steps(&mut dry, true)), (1, 1));
        assert!(wet.steps.is_empty());
        assert_eq!(dry.steps[0].reason, "when it is due: no line keeps it");
    }
}
