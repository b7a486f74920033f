//! Another account's copies: this account deletes none of them unless the policy names a role there for it.

use crate::DeleteSnapshot;
use shared::{
    catalog::Location,
    plan::{ActionPlan, Finding, FindingCode, Severity},
    policy::Policy,
};
use std::collections::BTreeMap;

/// Whether this account deletes at a location: in its own, and where the policy names a role for it.
pub(crate) fn may_delete(policy: &Policy, at: &Location) -> bool {
    at.account == Location::home_from_policy(policy).account
        || at.role.as_ref().is_some_and(|roles| roles.delete.is_some())
}

/// Takes the steps out that are another account's to do, and says how many there are.
pub(crate) fn drop_foreign_steps(policy: &Policy, plan: &mut ActionPlan<DeleteSnapshot>) {
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    plan.steps.retain(|step| {
        let ours = may_delete(policy, &step.action.at);
        if !ours {
            *left.entry(step.action.at.to_string()).or_default() += 1;
        }
        ours
    });
    for (place, count) in left {
        let why = format!(
            "{count} copies may go there by the policy and stay: its destination has no delete_role, so this account deletes \
             nothing in another one"
        );
        let hint = "let that account's own people delete them by the role DeleteRole of deploy/vault.yaml (explain a database \
                    to see which), or write delete_role";
        plan.findings.push(Finding::new(
            Severity::Warning,
            place,
            FindingCode::KeptInVault,
            why,
            hint,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use shared::model::{db_instance, home_inventory, owned_snapshot, parse_policy, parse_time};

    /// Steps and findings of a vault with three copies of which one is kept.
    fn vault_steps_and_findings(delete_role: &str, share: &str) -> (usize, Vec<String>) {
        let yaml = format!(
            "{{holdfast: 1, company: acme, home: {{account: \"111122223333\", region: eu-west-1}}, destinations: {{vault: \
             {{region: us-east-1, account: \"444455556666\", role: \"arn:aws:iam::444455556666:role/pull\", kms_key: \
             \"arn:aws:kms:us-east-1:444455556666:key/v\"{delete_role}}}}}, databases: {{fleet: {{select: {{identifiers: [acme-a]}}, \
             objectives: {{max_age: 25h}}, snapshots: {{daily: {{schedule: {{cron: \"0 2 * * *\"}}, keep: {{for: 35d}}}}}}, copies: \
             [{{to: vault, of: [daily], keep: {{newest: 1}}, max_age: 26h}}]}}}}, limits: {{delete: {{share: {share}}}}}}}"
        );
        let policy = parse_policy(&yaml);
        let now = parse_time("2026-11-20T12:00:00Z");
        let db = db_instance("acme-a", now);
        let taken = |day: i64| {
            let when =
                parse_time("2026-11-20T02:00:00Z") - jiff::SignedDuration::from_hours(24 * day);
            owned_snapshot(&policy, &db, "daily", when)
        };
        let points: Vec<_> = (0..3).map(taken).collect();
        let copies = points.iter().map(|p| {
            let mut copy = p.clone();
            copy.arn = p.arn.replace("eu-west-1:111122223333", "us-east-1:444455556666");
            copy.kms_key = Some("arn:aws:kms:us-east-1:444455556666:key/v".into());
            copy.tags.copy_of = Some(p.arn.clone());
            copy
        });
        let copies = copies.collect();
        let mut seen = home_inventory(&policy, vec![db], points);
        let vault = seen.locations.keys().find(|p| p.region.as_str() == "us-east-1").cloned();
        seen.locations.get_mut(&vault.expect("the vault")).expect("seen").points = copies;
        let mut plan = plan(&policy, &seen, now).plan;
        drop_foreign_steps(&policy, &mut plan);
        let findings = plan.findings.iter().map(|f| format!("{} {}", f.code, f.message)).collect();
        (plan.steps.len(), findings)
    }

    #[test]
    fn copies_in_another_account_go_only_by_a_role_of_that_account() {
        let (steps, findings) = vault_steps_and_findings("", "100%");
        assert_eq!((steps, findings.len()), (0, 1), "{findings:?}");
        assert!(findings[0].starts_with("kept-in-vault 2 copies may go there"), "{findings:?}");
        // What this account deletes nothing of, no limit stops: the finding would alarm for ever.
        assert_eq!(vault_steps_and_findings("", "50%"), (steps, findings));
        let role = ", delete_role: \"arn:aws:iam::444455556666:role/delete\"";
        assert_eq!(vault_steps_and_findings(role, "100%"), (2, vec![]));
        let (steps, findings) = vault_steps_and_findings(role, "50%");
        assert!(steps == 0 && findings[0].starts_with("delete-limit-exceeded"), "{findings:?}");
    }
}
