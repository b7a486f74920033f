//! What a person can do, where it follows from what was seen and not from an error ([`crate::aws::OperationError::hint`]): each
//! fits what it stands beside, and the command in it can be run there and does something.

pub mod commands;

use crate::policy::{DatabaseGroup, DumpFormat, Policy, text::Name};
use commands::run;

/// What to do about a database of RDS in a state in which no snapshot can be taken of it. The states are RDS's own.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>
pub fn hint_for_status(status: &str) -> &'static str {
    match status {
        "stopped" => {
            "start the database: what is stopped is not backed up, and RDS starts it by itself after 7 days"
        }
        "stopping" | "starting" => {
            "nothing: the next run tries again when it has stopped or started"
        }
        "storage-full" => "give the database storage: RDS takes snapshots of it again after that",
        "inaccessible-encryption-credentials"
        | "inaccessible-encryption-credentials-recoverable" => {
            "enable the database's KMS key and its grants, within 7 days; then start the database"
        }
        "failed" | "incompatible-restore" | "restore-error" => {
            "restore the database from its newest good point: what it holds can't be reached as it is"
        }
        "incompatible-network"
        | "incompatible-option-group"
        | "incompatible-parameters"
        | "incompatible-create"
        | "insufficient-capacity" => {
            "see the database's events in RDS: its settings do not fit what is there, and a person has to change them"
        }
        "deleting" => {
            "nothing, if it is meant: see that its newest points are where the policy wants them"
        }
        _ => "nothing: the next run tries again when the database is available",
    }
}

/// The reason that was meant, or those that there are: of the policy's own, never `schedule`, which is no reason of a demand.
pub fn hint_for_reason(asked: &str, known: impl IntoIterator<Item = String>) -> String {
    let mut known: Vec<String> = known.into_iter().collect();
    known.sort();
    known.dedup();
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    match (crate::policy::suggest_word(asked, &words), known.is_empty()) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, false) => format!("write one of: {}", known.join(", ")),
        (None, true) => "write the reason into the policy first".into(),
    }
}

/// The command that takes a snapshot of a database at once, whether or not one is due: a demand for a reason that its group
/// has. None where the group takes none, and RDS's automated backups are all that there is.
pub fn take_snapshot_command(group: &DatabaseGroup, asset: &str) -> Option<String> {
    let scheduled = group.snapshots.iter().find(|(_, s)| s.schedule.is_some());
    let (reason, _) = scheduled.or_else(|| group.snapshots.iter().next())?;
    Some(run(&commands::snapshot(reason.as_str(), asset)))
}

/// How a database gets a newer point: the command that takes one, or where to look where RDS's own backups are all there is.
pub fn newer_point(group: &DatabaseGroup, asset: &str) -> String {
    let automated = || {
        "see the database's events in RDS: its automated backups are all that the policy has of it"
            .into()
    };
    take_snapshot_command(group, asset).unwrap_or_else(automated)
}

/// What makes sure that a function runs: its command, or its log where it has none.
pub fn function(name: &str) -> String {
    commands::function(name).unwrap_or_else(|| format!("see the log of {name}"))
}

/// The command that takes a dump of a database, or an RDB file, at once; none where nothing of the policy does.
pub fn take_dump_command(policy: &Policy, group: &Name, database: &str) -> Option<String> {
    if policy.redis.get(group).is_some_and(|g| g.address.is_some()) {
        return Some(run(&commands::redis_dump(group.as_str())));
    }
    let dumps = &policy.postgres.get(group)?.dumps;
    // Base backups are not taken yet.
    let taken = || dumps.iter().filter(|(_, d)| d.format != DumpFormat::Base);
    let (reason, _) = taken().find(|(_, d)| d.schedule.is_some()).or_else(|| taken().next())?;
    Some(run(&commands::dump(&format!("{group}/{database}"), reason.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_waiting_does_not_end_says_what_does() {
        for (status, wanted) in [
            ("stopped", "start the database"),
            ("storage-full", "give the database storage"),
            ("inaccessible-encryption-credentials", "KMS key"),
            ("inaccessible-encryption-credentials-recoverable", "KMS key"),
            ("incompatible-network", "a person"),
            ("failed", "restore"),
            ("backing-up", "nothing"),
            ("modifying", "nothing"),
        ] {
            assert!(
                hint_for_status(status).contains(wanted),
                "{status}: {}",
                hint_for_status(status)
            );
        }
        for not_stopped in ["storage-full", "backing-up", "failed", "incompatible-parameters"] {
            assert!(!hint_for_status(not_stopped).contains("start the database"), "{not_stopped}");
        }
    }

    #[test]
    fn a_mistyped_reason_is_never_taken_for_the_schedule() {
        let known = || ["daily", "pre-deploy", "daily"].map(str::to_owned);
        assert_eq!(hint_for_reason("predeploy", known()), "did you mean \"pre-deploy\"?");
        assert_eq!(hint_for_reason("release", known()), "write one of: daily, pre-deploy");
        assert_eq!(hint_for_reason("schedule", []), "write the reason into the policy first");
        for asked in ["schedul", "schedule", "sched"] {
            assert!(!hint_for_reason(asked, known()).contains("schedule"), "{asked}");
        }
    }

    #[test]
    fn what_is_taken_at_once_is_of_a_reason_that_is_there() {
        let policy = |groups: &str| {
            let text = format!(
                "holdfast: 1\ncompany: acme\nhome: {{ account: \"111122223333\", region: eu-west-1 }}\n{groups}"
            );
            Policy::parse(&text).expect("a policy")
        };
        let of = |snapshots: &str| {
            let policy = policy(&format!(
                "databases: {{ fleet: {{ select: {{ identifiers: [a] }}{snapshots} }} }}\n"
            ));
            take_snapshot_command(policy.databases.values().next().expect("a group"), "a")
        };
        assert_eq!(of(""), None);
        assert_eq!(
            of(", snapshots: { pre-deploy: { keep: { for: 7d } } }").as_deref(),
            Some("run `holdfast run snapshot --reason pre-deploy --asset a`")
        );
        assert_eq!(
            of(", snapshots: { a: { keep: { for: 7d } }, daily: { schedule: { cron: \"0 2 * * *\" }, keep: { for: 7d } } }").as_deref(),
            Some("run `holdfast run snapshot --reason daily --asset a`")
        );
        let dumped = policy(
            "postgres: { crm: { databases: [x], storage: { directory: /b }, dumps: { daily: { keep: { daily: 7 } } } } }\n",
        );
        let crm: Name = "crm".parse().expect("a name");
        assert_eq!(
            take_dump_command(&dumped, &crm, "x").as_deref(),
            Some("run `holdfast dump crm/x --reason daily`")
        );
    }
}
