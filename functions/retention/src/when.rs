//! A clean-up at times of its own: `limits.delete.when`.

use jiff::{SignedDuration, Timestamp};
use shared::{
    plan::{Finding, Plan, Severity},
    policy::Policy,
    time::Schedule,
};

/// How long a clean-up lasts from its time on: the function runs each hour, and what one run was kept from, a next one does.
const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// Takes every step out of the plan outside of that day, and says when they come.
pub(crate) fn hold_back<A>(policy: &Policy, plan: &mut Plan<A>, now: Timestamp) {
    let Some(when) = &policy.limits.delete.when else { return };
    let schedule = Schedule::new(when, &policy.time_zone);
    let began = |at: Timestamp| now.duration_since(at) < LASTS;
    if plan.steps.is_empty() || schedule.last_due(now).is_some_and(began) {
        return;
    }
    let count = plan.steps.len();
    plan.steps.clear();
    let next = schedule.next_due(now).map_or("at no time".to_owned(), |at| format!("from {at} on"));
    let why = format!("{count} points may go, and limits.delete.when lets them go {next}");
    let mend = "nothing: they go then";
    plan.findings.push(Finding::new(Severity::Info, "retention", "not-yet", why, mend));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monthly_clean_up_deletes_on_its_day_and_on_no_other() {
        let policy = Policy::parse(
            "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
             limits: {delete: {when: {cron: \"0 4 1 * *\"}}}}",
        )
        .expect("a policy");
        let at = |time: &str| {
            let mut plan = Plan::default();
            plan.step("orders", "delete", "it is old");
            hold_back(&policy, &mut plan, time.parse().expect("a time"));
            let said = plan.findings.iter().map(|f| f.why.clone()).collect::<Vec<_>>().join("\n");
            (plan.steps.len(), said)
        };
        for on_its_day in ["2026-12-01T04:00:00Z", "2026-12-01T23:00:00Z", "2026-12-02T03:59:59Z"] {
            assert_eq!(at(on_its_day), (1, String::new()), "{on_its_day}");
        }
        let not_yet =
            "1 points may go, and limits.delete.when lets them go from 2026-12-01T04:00:00Z on";
        for before in ["2026-11-30T04:00:00Z", "2026-12-01T03:59:59Z"] {
            assert_eq!(at(before), (0, not_yet.to_owned()), "{before}");
        }
        assert_eq!(at("2026-12-02T04:00:00Z").0, 0);
    }
}
