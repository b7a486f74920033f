//! What a schema can't say of the record of operations: one place, which can be reached.

use super::{ErrorSink, Policy};

/// Every fault in where operations are recorded.
pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    let Some(audit) = &policy.audit else { return };
    if audit.bucket.is_some() == audit.directory.is_some() {
        say(
            "/audit".into(),
            "operations are recorded in one place: write exactly one of bucket, directory".into(),
        );
    }
    if audit.bucket.is_some() && policy.home.is_none() {
        say(
            "/audit/bucket".into(),
            "a bucket of AWS needs `home`: write it, or a directory".into(),
        );
    }
    if audit.region.is_some() && audit.bucket.is_none() {
        say("/audit/region".into(), "region is of a bucket: write bucket".into());
    }
    if audit.directory.is_some()
        && (audit.prefix.starts_with('/') || audit.prefix.split('/').any(|part| part == ".."))
    {
        say("/audit/prefix".into(), "it leads out of the directory: write a name below it".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_recorded_in_one_place_that_can_be_reached() {
        let home = "home: {account: \"111122223333\", region: eu-west-1}, ";
        let table = [
            (home, "bucket: acme-audit, region: eu-west-2", ""),
            (home, "directory: /var/log/holdfast, prefix: a/b-", ""),
            ("", "directory: /var/log/holdfast", ""),
            (home, "prefix: audit/", "audit: operations are recorded in one"),
            (home, "bucket: acme-audit, directory: /x", "audit: operations are recorded in one"),
            ("", "bucket: acme-audit", "audit.bucket: a bucket of AWS needs `home`"),
            ("", "directory: /x, region: eu-west-1", "audit.region: region is of a bucket"),
            ("", "directory: /x, prefix: /etc/", "audit.prefix: it leads out of the directory"),
            ("", "directory: /x, prefix: a/../../b", "audit.prefix: it leads out"),
        ];
        for (home, audit, said) in table {
            let yaml = format!(
                "{{holdfast: 1, company: acme, id: host-1, {home}audit: {{{audit}, keep: 1y}}}}"
            );
            match Policy::parse(&yaml) {
                Ok(_) => assert_eq!(said, "", "{audit}"),
                Err(e) => {
                    let found = e.to_string();
                    assert!(!said.is_empty() && found.contains(said), "{audit}: {found}");
                }
            }
        }
    }
}
