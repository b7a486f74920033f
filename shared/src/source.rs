//! Where the policy comes from: a file, or an object in S3.

use crate::{
    aws::{Aws, EdgeError},
    catalog::Place,
    policy::{Faults, Policy},
};
use std::sync::Arc;

/// Why there is no policy to run.
#[derive(Debug, thiserror::Error)]
pub enum NoPolicy {
    /// The file or object can't be read.
    #[error("the policy {at} can't be read: {why}; {mend}")]
    Unreadable {
        /// Where it should be.
        at: String,
        /// What happened.
        why: String,
        /// What to do.
        mend: String,
    },
    /// It is not a policy.
    #[error("the policy {at} has {} fault(s):\n{faults}", faults.0.len())]
    Faulty {
        /// Where it is.
        at: String,
        /// All of them.
        faults: Faults,
    },
}

/// A policy's place, and the policy itself once it was read.
#[derive(Debug)]
pub struct Source {
    at: String,
    held: Option<(String, Arc<Policy>)>,
}

impl Source {
    /// A path, or `s3://bucket/key`.
    pub fn new(at: impl Into<String>) -> Self {
        Self { at: at.into(), held: None }
    }

    /// The policy as it is now. What was read before is read again only when it changed.
    ///
    /// # Errors
    /// If it can't be read or has faults; a faulty policy never replaces one that is held by being half-used.
    pub async fn policy(&mut self, aws: &Aws) -> Result<Arc<Policy>, NoPolicy> {
        let at = self.at.clone();
        let Some(address) = at.strip_prefix("s3://") else {
            let text = std::fs::read_to_string(&at).map_err(|e| {
                let mend = "name a policy file with --policy or HOLDFAST_POLICY".into();
                NoPolicy::Unreadable { at: at.clone(), why: e.to_string(), mend }
            })?;
            return parse(&at, &text).map(Arc::new);
        };
        let Some((bucket, key)) =
            address.split_once('/').filter(|(b, k)| !b.is_empty() && !k.is_empty())
        else {
            let (why, mend) = ("this is not an S3 address".into(), "write s3://bucket/key".into());
            return Err(NoPolicy::Unreadable { at, why, mend });
        };
        let known = self.held.as_ref().map(|(etag, _)| etag.as_str());
        let unreadable = |e: EdgeError| NoPolicy::Unreadable {
            at: at.clone(),
            why: e.to_string(),
            mend: e.hint().into(),
        };
        let place = here(aws);
        match (aws.s3(&place).text(bucket, key, known).await.map_err(unreadable)?, &self.held) {
            (None, Some((_, policy))) => Ok(policy.clone()),
            (None, None) => {
                let (why, mend) = ("S3 says that nothing changed".into(), "try again".into());
                Err(NoPolicy::Unreadable { at: at.clone(), why, mend })
            }
            (Some(read), _) => {
                let policy = Arc::new(parse(&at, &read.text)?);
                self.held = Some((read.etag, policy.clone()));
                Ok(policy)
            }
        }
    }
}

fn parse(at: &str, text: &str) -> Result<Policy, NoPolicy> {
    Policy::parse(text).map_err(|faults| NoPolicy::Faulty { at: at.to_owned(), faults })
}

/// The process's own region, before a policy says where its assets are. The account does not matter for reading.
fn here(aws: &Aws) -> Place {
    let region = aws.region().and_then(|r| r.parse().ok());
    Place {
        account: "000000000000".parse().expect("twelve digits"),
        region: region.unwrap_or_else(|| "us-east-1".parse().expect("a region")),
        role: None,
    }
}
