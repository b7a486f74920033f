//! Where the policy comes from: a file, or an object in S3.

use crate::{
    aws::{AwsClients, OperationError, OperationErrorKind},
    bounded::{self, MAX_POLICY_BYTES},
    catalog::Location,
    policy::{Policy, PolicyErrors},
};
use std::sync::Arc;

/// Why there is no policy to run.
#[derive(Debug, thiserror::Error)]
pub enum PolicyLoadError {
    /// The file or object can't be read.
    #[error("the policy {location} can't be read: {message}; {hint}")]
    Unreadable {
        /// Where it should be.
        location: String,
        /// What happened.
        message: String,
        /// What to do.
        hint: String,
        /// What kind of refusal, where it was asked for; none of a path or an address that is wrong.
        kind: Option<OperationErrorKind>,
    },
    /// It is not a policy.
    #[error("the policy {location} has {} fault(s):\n{faults}", faults.0.len())]
    Faulty {
        /// Where it is.
        location: String,
        /// All of them.
        faults: PolicyErrors,
    },
}

/// A policy's place, and the policy itself once it was read.
#[derive(Debug)]
pub struct PolicyLoader {
    location: String,
    cached: Option<(String, Arc<Policy>)>,
}

impl PolicyLoader {
    /// A path, or `s3://bucket/key`.
    pub fn new(at: impl Into<String>) -> Self {
        Self { location: at.into(), cached: None }
    }

    /// The policy as it is now. What was read before is read again only when it changed.
    ///
    /// # Errors
    /// If it can't be read or has faults; a faulty policy never replaces one that is held by being half-used.
    pub async fn load(&mut self, aws: &AwsClients) -> Result<Arc<Policy>, PolicyLoadError> {
        let at = self.location.clone();
        let Some(address) = at.strip_prefix("s3://") else {
            // A pipe is read too: policies are made by other programs.
            let text = std::fs::File::open(&at)
                .and_then(|f| bounded::read_text_to_limit(f, MAX_POLICY_BYTES));
            let text = text.map_err(|e| {
                let hint = "name a policy file with --policy or HOLDFAST_POLICY".into();
                PolicyLoadError::Unreadable {
                    location: at.clone(),
                    message: e.to_string(),
                    hint,
                    kind: None,
                }
            })?;
            return parse_policy(&at, &text).map(Arc::new);
        };
        let Some((bucket, key)) =
            address.split_once('/').filter(|(b, k)| !b.is_empty() && !k.is_empty())
        else {
            let (why, hint) = ("this is not an S3 address".into(), "write s3://bucket/key".into());
            return Err(PolicyLoadError::Unreadable {
                location: at,
                message: why,
                hint,
                kind: None,
            });
        };
        let known = self.cached.as_ref().map(|(etag, _)| etag.as_str());
        let unreadable = |e: OperationError| PolicyLoadError::Unreadable {
            location: at.clone(),
            message: e.to_string(),
            hint: e.hint().into(),
            kind: Some(e.kind),
        };
        let place = current_location(aws);
        match (
            aws.s3(&place)
                .get_text(bucket, key, known, MAX_POLICY_BYTES)
                .await
                .map_err(unreadable)?,
            &self.cached,
        ) {
            (None, Some((_, policy))) => Ok(policy.clone()),
            (None, None) => {
                let (why, hint) = ("S3 says that nothing changed".into(), "try again".into());
                Err(PolicyLoadError::Unreadable {
                    location: at.clone(),
                    message: why,
                    hint,
                    kind: Some(OperationErrorKind::Refused),
                })
            }
            (Some(read), _) => {
                let policy = Arc::new(parse_policy(&at, &read.text)?);
                self.cached = Some((read.etag, policy.clone()));
                Ok(policy)
            }
        }
    }
}

fn parse_policy(at: &str, text: &str) -> Result<Policy, PolicyLoadError> {
    Policy::parse(text)
        .map_err(|faults| PolicyLoadError::Faulty { location: at.to_owned(), faults })
}

/// The process's own region, before a policy says where its assets are. The account does not matter for reading.
fn current_location(aws: &AwsClients) -> Location {
    let region = aws.region().and_then(|r| r.parse().ok());
    Location {
        account: "000000000000".parse().expect("twelve digits"),
        region: region.unwrap_or_else(|| "us-east-1".parse().expect("a region")),
        role: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::wire;
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    const POLICY: &str =
        "holdfast: 1\ncompany: acme\nhome: { account: \"111122223333\", region: eu-west-1 }\n";

    /// An AWS that must not be asked.
    fn aws_not_called() -> AwsClients {
        wire::mock_aws(|request| panic!("{} is asked for", request.operation))
    }

    #[tokio::test]
    async fn a_file_is_read_each_time_and_a_missing_one_is_said_with_the_hint() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.yaml");
        let mut source = PolicyLoader::new(path.to_str().expect("text"));
        let error = source.load(&aws_not_called()).await.expect_err("no file").to_string();
        assert!(error.contains("policy.yaml can't be read: No such file"), "{error}");
        assert!(error.ends_with("name a policy file with --policy or HOLDFAST_POLICY"), "{error}");

        for company in ["acme", "other"] {
            std::fs::write(&path, POLICY.replace("acme", company)).expect("written");
            let policy = source.load(&aws_not_called()).await.expect("a policy");
            assert_eq!(policy.company.as_str(), company);
        }
        std::fs::write(&path, "holdfast: 2").expect("written");
        let error = source.load(&aws_not_called()).await.expect_err("faults").to_string();
        assert!(error.contains("policy.yaml has ") && error.contains("1:1"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_before_anything_is_asked() {
        for address in ["s3://", "s3:///", "s3://bucket", "s3://bucket/", "s3:///key"] {
            let error =
                PolicyLoader::new(address).load(&aws_not_called()).await.expect_err(address);
            let said = format!(
                "the policy {address} can't be read: this is not an S3 address; write s3://bucket/key"
            );
            assert_eq!(error.to_string(), said);
        }
    }

    #[tokio::test]
    async fn an_object_that_did_not_change_keeps_the_policy_that_is_held() {
        let calls = AtomicUsize::new(0);
        let aws = wire::mock_aws(move |request| {
            assert!(request.host.starts_with("policies."), "{request:?}");
            assert!(request.operation.contains("acme/policy.yaml"), "{request:?}");
            match calls.fetch_add(1, Relaxed) {
                0 => (200, POLICY.into()),
                2 => (200, b"holdfast: 2".to_vec()),
                1 | 3 => (304, Vec::new()),
                _ => (200, POLICY.replace("acme", "other").into()),
            }
        });
        let mut source = PolicyLoader::new("s3://policies/acme/policy.yaml");
        let first = source.load(&aws).await.expect("read");
        let second = source.load(&aws).await.expect("held");
        assert!(Arc::ptr_eq(&first, &second), "it is not parsed again");
        // A faulty one is said, never half used, and takes nothing away.
        let faults = source.load(&aws).await.expect_err("faults").to_string();
        assert!(faults.contains("s3://policies/acme/policy.yaml has "), "{faults}");
        assert!(Arc::ptr_eq(&first, &source.load(&aws).await.expect("still held")));
        assert_eq!(source.load(&aws).await.expect("new").company.as_str(), "other");
    }

    #[tokio::test]
    async fn an_object_that_can_not_be_read_is_said_in_s3s_words() {
        let answers = Mutex::new(vec![(403, "AccessDenied"), (404, "NoSuchKey")]);
        let aws = wire::mock_aws(move |_| {
            let (status, code) = answers.lock().expect("a lock").pop().expect("an answer");
            (status, format!("<Error><Code>{code}</Code><Message>said S3</Message></Error>").into())
        });
        let mut source = PolicyLoader::new("s3://policies/acme.yaml");
        let mut said = Vec::new();
        for _ in 0..2 {
            said.push(source.load(&aws).await.expect_err("refused").to_string());
        }
        insta::assert_snapshot!(said.join("\n"), @"
        the policy s3://policies/acme.yaml can't be read: read s3://policies/acme.yaml: NoSuchKey: said S3; check the name, the account and the region in the policy
        the policy s3://policies/acme.yaml can't be read: read s3://policies/acme.yaml: AccessDenied: said S3; allow this action in the role that made the call
        ");
    }

    #[tokio::test]
    async fn nothing_changed_of_nothing_held_is_no_policy() {
        let aws = wire::mock_aws(|_| (304, Vec::new()));
        let error =
            PolicyLoader::new("s3://policies/acme.yaml").load(&aws).await.expect_err("nothing");
        assert!(error.to_string().contains("S3 says that nothing changed"), "{error}");
    }
}
