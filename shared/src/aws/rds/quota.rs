//! How many manual snapshots an account may have in a region, and has.

use super::Rds;
use crate::aws::EdgeError;

/// A limit and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Used, by everybody in this account and region.
    pub used: u64,
    /// Allowed.
    pub max: u64,
}

/// The limits that snapshots run into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Manual snapshots of instances.
    pub snapshots: Option<Quota>,
    /// Manual snapshots of clusters.
    pub cluster_snapshots: Option<Quota>,
}

impl Rds {
    /// The limits on manual snapshots at this place.
    ///
    /// # Errors
    /// If RDS can't be asked.
    pub async fn quotas(&self) -> Result<Quotas, EdgeError> {
        let answer = self.client.describe_account_attributes().send().await;
        let answer = answer.map_err(|e| self.error("describe account attributes", &e))?;
        let of = |name: &str| {
            let found = answer.account_quotas().iter();
            let mut found = found.filter(|q| q.account_quota_name() == Some(name));
            found.next_back().and_then(|q| {
                let (used, max) = (q.used()?, q.max()?);
                Some(Quota { used: used.try_into().ok()?, max: max.try_into().ok()? })
            })
        };
        Ok(Quotas {
            snapshots: of("ManualSnapshots"),
            cluster_snapshots: of("ManualClusterSnapshots"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::wire, catalog::Place};

    #[tokio::test]
    async fn the_quotas_of_both_kinds_of_snapshots_are_read_and_what_is_not_told_is_none() {
        let aws = wire::aws(|asked| {
            let quota = |name: &str, used: u8| {
                format!(
                    "<AccountQuota><AccountQuotaName>{name}</AccountQuotaName><Used>{used}</Used><Max>100</Max></AccountQuota>"
                )
            };
            let all = [quota("DBInstances", 8), quota("ManualSnapshots", 97)].concat();
            wire::rds(&asked.operation, &format!("<AccountQuotas>{all}</AccountQuotas>"))
        });
        let place = Place {
            account: "111122223333".parse().expect("an account"),
            region: "eu-west-1".parse().expect("a region"),
            role: None,
        };
        let quotas = aws.rds(&place).quotas().await.expect("quotas");
        let snapshots = Some(Quota { used: 97, max: 100 });
        assert_eq!(quotas, Quotas { snapshots, cluster_snapshots: None });
    }
}
