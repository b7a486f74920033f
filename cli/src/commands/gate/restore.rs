//! The way back: one line of AWS CLI that restores a snapshot beside the original.

use shared::catalog::{DatabaseKind, RdsDatabase};

/// Longest identifier of an instance or cluster.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html>
const MAX_IDENTIFIER_LEN: usize = 63;

/// A command that restores `snapshot` as `<id>-restored`. What only a person can choose is written in capitals. RDS
/// restores into default subnet and security groups; docs/cli.md says how to name others.
pub(super) fn restore_command(database: &RdsDatabase, snapshot: &str, region: &str) -> String {
    let tail = "-restored";
    let cut: String = database.id.chars().take(MAX_IDENTIFIER_LEN - tail.len()).collect();
    let new = format!("{}{tail}", cut.trim_end_matches('-'));
    let engine = &database.engine;
    match database.family {
        DatabaseKind::Instance => format!(
            "aws rds restore-db-instance-from-db-snapshot --region {region} --db-instance-identifier {new} \
             --db-snapshot-identifier {snapshot} --no-publicly-accessible"
        ),
        // An Aurora cluster is restored without instances.
        DatabaseKind::Cluster if engine.starts_with("aurora") => {
            let member: String = cut.chars().take(MAX_IDENTIFIER_LEN - tail.len() - 2).collect();
            let member = format!("{}{tail}-1", member.trim_end_matches('-'));
            format!(
                "aws rds restore-db-cluster-from-snapshot --region {region} --db-cluster-identifier {new} \
                 --snapshot-identifier {snapshot} --engine {engine} && aws rds create-db-instance --region {region} \
                 --db-cluster-identifier {new} --db-instance-identifier {member} --engine {engine} \
                 --db-instance-class CLASS"
            )
        }
        DatabaseKind::Cluster => format!(
            "aws rds restore-db-cluster-from-snapshot --region {region} --db-cluster-identifier {new} \
             --snapshot-identifier {snapshot} --engine {engine} --db-cluster-instance-class CLASS"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(id: &str, family: DatabaseKind, engine: &str) -> RdsDatabase {
        RdsDatabase {
            id: id.into(),
            family,
            resource_id: "db-1".into(),
            engine: engine.into(),
            status: "available".into(),
            retention_days: 35,
            window: "02:00-03:00".into(),
            latest_restorable: None,
            earliest_restorable: None,
            created: None,
            multi_az: true,
            encrypted: true,
            log_exports: Vec::new(),
            replica_of: None,
            tags: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn each_kind_of_database_has_its_own_way_back() {
        let table = [
            database("orders", DatabaseKind::Instance, "postgres"),
            database("ledger", DatabaseKind::Cluster, "aurora-postgresql"),
            database("stock", DatabaseKind::Cluster, "mysql"),
        ];
        let lines: Vec<_> = table.iter().map(|d| restore_command(d, "s-1", "eu-west-1")).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        aws rds restore-db-instance-from-db-snapshot --region eu-west-1 --db-instance-identifier orders-restored --db-snapshot-identifier s-1 --no-publicly-accessible
        aws rds restore-db-cluster-from-snapshot --region eu-west-1 --db-cluster-identifier ledger-restored --snapshot-identifier s-1 --engine aurora-postgresql && aws rds create-db-instance --region eu-west-1 --db-cluster-identifier ledger-restored --db-instance-identifier ledger-restored-1 --engine aurora-postgresql --db-instance-class CLASS
        aws rds restore-db-cluster-from-snapshot --region eu-west-1 --db-cluster-identifier stock-restored --snapshot-identifier s-1 --engine mysql --db-cluster-instance-class CLASS
        ");
    }

    #[test]
    fn no_identifier_is_longer_than_rds_takes() {
        let long = "a".repeat(63);
        let line = restore_command(
            &database(&long, DatabaseKind::Cluster, "aurora-mysql"),
            "s",
            "eu-west-1",
        );
        let ids = line.split(' ').filter(|w| w.starts_with("aaa"));
        assert!(
            ids.clone().count() == 3 && ids.clone().all(|w| w.len() <= MAX_IDENTIFIER_LEN),
            "{line}"
        );
    }
}
