//! How many manual snapshots an account may have in a region, and has.

use super::RdsClient;
use crate::aws::OperationError;

/// A limit and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceQuota {
    /// Used, by everybody in this account and region.
    pub used: u64,
    /// Allowed.
    pub max: u64,
}

/// The limits that snapshots run into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotQuotas {
    /// Manual snapshots of instances.
    pub snapshots: Option<ServiceQuota>,
    /// Manual snapshots of clusters.
    pub cluster_snapshots: Option<ServiceQuota>,
}

impl RdsClient {
    /// The limits on manual snapshots at this place.
    ///
    /// # Errors
    /// If RDS can't be asked.
    pub async fn snapshot_quotas(&self) -> Result<SnapshotQuotas, OperationError> {
        let answer = self.client.describe_account_attributes().send().await;
        let answer = answer.map_err(|e| self.operation_error("describe account attributes", &e))?;
        let of = |name: &str| {
            let found = answer.account_quotas().iter();
            let mut found = found.filter(|q| q.account_quota_name() == Some(name));
            found.next_back().and_then(|q| {
                let (used, max) = (q.used()?, q.max()?);
                Some(ServiceQuota { used: used.try_into().ok()?, max: max.try_into().ok()? })
            })
        };
        Ok(SnapshotQuotas {
            snapshots: of("ManualSnapshots"),
            cluster_snapshots: of("ManualClusterSnapshots"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::wire, catalog::Location};

    #[tokio::test]
    async fn the_quotas_of_both_kinds_of_snapshots_are_read_and_what_is_not_told_is_none() {
        let aws = wire::mock_aws(|asked| {
            let quota = |name: &str, used: u8| {
                format!(
                    "<AccountQuota><AccountQuotaName>{name}</AccountQuotaName><Used>{used}</Used><Max>100</Max></AccountQuota>"
                )
            };
            let all = [quota("DBInstances", 8), quota("ManualSnapshots", 97)].concat();
            wire::rds_response(&asked.operation, &format!("<AccountQuotas>{all}</AccountQuotas>"))
        });
        let place = Location {
            account: "111122223333".parse().expect("an account"),
            region: "eu-west-1".parse().expect("a region"),
            role: None,
        };
        let quotas = aws.rds(&place).snapshot_quotas().await.expect("quotas");
        let snapshots = Some(ServiceQuota { used: 97, max: 100 });
        assert_eq!(quotas, SnapshotQuotas { snapshots, cluster_snapshots: None });
    }
}
