//! Who reached the backups: what a reviewer of access reads once a month.

use crate::facts::{AuditEvent, AuditTrail, Kind};
use jiff::{SignedDuration, Timestamp};
use shared::{
    hints::commands,
    plan::{Finding, FindingCode, Severity},
    policy::Policy,
};
use std::collections::BTreeMap;

/// A review looks this far back.
const REVIEW_WINDOW: SignedDuration = SignedDuration::from_hours(24 * 31);

/// Who read and deleted backups in the last month by the record of operations, beside who may by the policy; none where the
/// policy says nothing of access.
pub(super) fn review_access(
    policy: &Policy,
    trail: &AuditTrail,
    now: Timestamp,
) -> Option<Finding> {
    let access = policy.access.as_ref()?;
    let company = policy.company.as_str();
    let unknown = |why: &str, hint: &str| {
        let why = format!("nothing tells who read or deleted backups: {why}");
        Finding::new(Severity::Warning, company, FindingCode::AccessReview, why, hint)
    };
    let events = match trail {
        AuditTrail::Read { events, .. } => events,
        AuditTrail::None => {
            let hint = "write `audit` with a bucket or a directory";
            return Some(unknown("the policy keeps no record", hint));
        }
        AuditTrail::Unreadable(cause) => {
            return Some(unknown(cause, "let the function read the record of operations"));
        }
    };
    let recent = || events.iter().filter(|e| e.done && now.duration_since(e.at) <= REVIEW_WINDOW);
    let (read, deleted) = (
        count_by_actor(recent().filter(|e| matches!(e.kind, Kind::Restore | Kind::Check))),
        count_by_actor(recent().filter(|e| e.kind == Kind::Delete)),
    );
    let may = |named: &[String]| match named {
        [] => "whom the accounts' IAM lets".to_owned(),
        named => named.join(", "),
    };
    let why = format!(
        "in the last 31 days backups were read by {read} and deleted by {deleted}; {} may read, {} may delete",
        may(&access.may_read),
        may(&access.may_delete)
    );
    let hint = format!(
        "see that each of them had to; `{}` has every operation, CloudTrail what went past Holdfast",
        commands::AUDIT_LIST_MONTH
    );
    Some(Finding::new(Severity::Info, company, FindingCode::AccessReview, why, hint))
}

fn count_by_actor<'e>(events: impl Iterator<Item = &'e AuditEvent>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        *counts.entry(event.who.as_str()).or_default() += 1;
    }
    let all: Vec<_> = counts.iter().map(|(who, count)| format!("{who} ({count})")).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(who: &str, kind: Kind, at: &str, done: bool) -> AuditEvent {
        AuditEvent {
            at: at.parse().expect("a time"),
            group: None,
            asset: "orders".into(),
            kind,
            who: who.into(),
            action: "it".into(),
            done,
            detail: String::new(),
            seconds: None,
        }
    }

    fn review(more: &str, trail: &AuditTrail) -> Option<Finding> {
        let policy = Policy::parse(&format!(
            "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}{more}}}"
        ));
        review_access(
            &policy.expect("a policy"),
            trail,
            "2026-11-27T12:00:00Z".parse().expect("a time"),
        )
    }

    #[test]
    fn who_read_and_who_deleted_stand_beside_who_may() {
        let events = vec![
            event("retention", Kind::Delete, "2026-10-01T00:00:00Z", true), // before that month
            event("retention", Kind::Delete, "2026-11-20T00:00:00Z", true),
            event("retention", Kind::Delete, "2026-11-21T00:00:00Z", true),
            event("retention", Kind::Delete, "2026-11-22T00:00:00Z", false),
            event("restore by anna", Kind::Restore, "2026-11-23T00:00:00Z", true),
            event("dump", Kind::Backup, "2026-11-23T00:00:00Z", true),
        ];
        let trail = AuditTrail::Read { events, head: None };
        assert_eq!(review("", &trail), None, "nothing is said of access");
        let keeper = ", access: {may_delete: [\"arn:aws:iam::111122223333:role/keeper\"]}";
        let found = review(keeper, &trail).expect("a review");
        assert_eq!(
            (found.severity, found.message.as_str()),
            (
                Severity::Info,
                "in the last 31 days backups were read by restore by anna (1) and deleted by retention (2); whom the accounts' \
                 IAM lets may read, arn:aws:iam::111122223333:role/keeper may delete"
            )
        );
    }

    #[test]
    fn without_a_record_nobody_is_told_that_nobody_did() {
        for trail in [AuditTrail::None, AuditTrail::Unreadable("denied".into())] {
            let found = review(", access: {tls_only: true}", &trail).expect("a review");
            assert_eq!(found.severity, Severity::Warning, "{found}");
        }
    }
}
