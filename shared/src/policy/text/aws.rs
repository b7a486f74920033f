//! Names of AWS, S3 and what speaks like it: regions, accounts, ARNs, buckets, endpoints, identifiers of RDS.

use super::{super::structure::suggest_word, Arn, Region};

/// AWS's regions, as this version of Holdfast knows them. A well-formed name that is not among them is a warning and no
/// error: AWS adds regions faster than programs are updated.
/// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
#[rustfmt::skip]
const KNOWN_REGIONS: &[&str] = &[
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "cn-north-1", "cn-northwest-1", "eu-central-1",
    "eu-central-2", "eu-isoe-west-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
    "eusc-de-east-1", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1",
    "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-iso-east-1", "us-iso-west-1", "us-isob-east-1",
    "us-isob-west-1", "us-isof-east-1", "us-isof-south-1", "us-west-1", "us-west-2",
];

/// The part of a region's name before its number.
const REGION_DIRECTIONS: &[&str] = &[
    "central",
    "east",
    "north",
    "northeast",
    "northwest",
    "south",
    "southeast",
    "southwest",
    "west",
];

/// Whether a region is among those that this version knows, and the known one that it is nearest to.
pub(in crate::policy) fn known_region(s: &str) -> Result<(), Option<&'static str>> {
    if KNOWN_REGIONS.contains(&s) { Ok(()) } else { Err(nearest_region(s)) }
}

fn nearest_region(s: &str) -> Option<&'static str> {
    suggest_word(&s.to_lowercase().replace('_', "-"), KNOWN_REGIONS)
}

pub(super) fn check_region(s: &str) -> Result<(), String> {
    let mut parts = s.rsplit('-');
    let (number, direction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let area: Vec<_> = parts.collect();
    let fits = (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
        && REGION_DIRECTIONS.contains(&direction)
        && (1..=2).contains(&area.len())
        && area.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase()));
    fits.then_some(()).ok_or_else(|| {
        let example = nearest_region(s).unwrap_or("eu-west-1");
        format!("\"{s}\" is not an AWS region: write one such as \"{example}\"")
    })
}

/// What a store's region is called is the store's own affair; it goes into the signature of each request.
pub(super) fn check_store_region(s: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    fits.then_some(()).ok_or_else(|| {
        format!(
            "\"{s}\" is not a region: write the store's own name of it, such as \"eu-west-1\", \"fr-par\" or \"auto\""
        )
    })
}

pub(super) fn check_account(s: &str) -> Result<(), String> {
    (s.len() == 12 && s.bytes().all(|b| b.is_ascii_digit())).then_some(()).ok_or_else(|| {
        let digits: String = s.chars().filter(char::is_ascii_digit).collect();
        let example = if digits.len() == 12 { digits.as_str() } else { "111122223333" };
        format!(
            "\"{s}\" is not an AWS account id: write twelve digits in quotes, such as \"{example}\""
        )
    })
}

impl Arn {
    /// The service that it is of: `kms`.
    pub fn service(&self) -> &str {
        self.as_str().split(':').nth(2).unwrap_or_default()
    }

    /// Its region; none of what has no region, as a role.
    pub fn region(&self) -> Option<Region> {
        self.as_str().split(':').nth(3)?.parse().ok()
    }
}

pub(super) fn check_arn(s: &str) -> Result<(), String> {
    let parts: Vec<_> = s.splitn(6, ':').collect();
    let fits = parts.len() == 6
        && parts[0] == "arn"
        && parts[1].starts_with("aws")
        && !parts[5].is_empty()
        && !s.contains(char::is_whitespace);
    fits.then_some(()).ok_or_else(|| {
        format!("\"{s}\" is not an ARN: write one such as \"arn:aws:kms:eu-west-1:111122223333:key/...\"")
    })
}

pub(super) fn check_bucket_name(s: &str) -> Result<(), String> {
    if is_bucket_name(s) {
        return Ok(());
    }
    let bare = s.trim_start_matches("s3://").trim_start_matches("arn:aws:s3:::");
    let near = bare.split('/').next().unwrap_or_default().to_lowercase().replace('_', "-");
    let example =
        if is_bucket_name(&near) { format!(", such as \"{near}\"") } else { String::new() };
    Err(format!(
        "\"{s}\" is not a bucket name: write 3 to 63 lower-case letters, digits, hyphens and dots, without s3:// and \
         without a path{example}"
    ))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket_name(s: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&s.len())
        && s.chars().all(|c| edge(c) || c == '-' || c == '.')
        && s.starts_with(edge)
        && s.ends_with(edge)
        && !s.contains("..")
        && s.parse::<std::net::Ipv4Addr>().is_err()
}

/// What is wrong with the address of an S3-compatible store or of an Azure account: a scheme, a host and perhaps a port.
pub(in crate::policy) fn check_endpoint(s: &str, bucket: Option<&str>) -> Result<(), String> {
    let wrong = |why: &str, example: &str| {
        Err(format!("\"{s}\" is no endpoint: {why}; write one such as \"{example}\""))
    };
    let Some((scheme, rest)) = s.split_once("://") else {
        return wrong("it has no scheme", &format!("https://{}", s.trim_matches('/')));
    };
    if !matches!(scheme, "http" | "https") {
        return wrong("only http and https are spoken", "https://s3.example.com");
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.parse::<u16>().is_ok_and(|p| p > 0) { name } else { "" }
    });
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let ipv6 = bare.is_some_and(|n| n.parse::<std::net::Ipv6Addr>().is_ok());
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !ipv6 && (name.is_empty() || !name.chars().all(letters)) {
        return wrong("it names no host, or a port that is none", "https://s3.example.com:9000");
    }
    if !path.is_empty() {
        let why = "a path stands in it, and the bucket's name belongs in bucket";
        return wrong(why, &format!("{scheme}://{host}"));
    }
    if let Some(rest) = bucket.and_then(|b| host.strip_prefix(b)?.strip_prefix('.')) {
        let why = "the bucket's name stands in the host, and buckets are addressed by path";
        return wrong(why, &format!("{scheme}://{rest}"));
    }
    Ok(())
}

/// What is wrong with the identifier of an instance or a cluster. RDS keeps them in lower case.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints>
pub(in crate::policy) fn check_db_identifier(s: &str) -> Result<(), String> {
    if s.contains(['*', '?']) {
        return Err(format!("\"{s}\" is a pattern: write it under include"));
    }
    if let Some(id) = s.strip_prefix("arn:").and_then(|arn| arn.rsplit(':').next()) {
        return Err(format!("this is an ARN: write the identifier alone, \"{id}\""));
    }
    if super::check_word(s, 63).is_ok() {
        return Ok(());
    }
    let lower = s.to_lowercase();
    if super::check_word(&lower, 63).is_ok() {
        return Err(format!("RDS keeps identifiers in lower case: write \"{lower}\""));
    }
    Err(format!(
        "\"{s}\" can't be an identifier of RDS, which has lower-case letters, digits and single hyphens, a letter first, \
         no hyphen last and 63 characters at most"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_well_formed_and_known_or_only_well_formed_or_neither() {
        for known in KNOWN_REGIONS {
            assert_eq!((check_region(known), known_region(known)), (Ok(()), Ok(())), "{known}");
        }
        // One that AWS may open tomorrow must not stop a policy that Holdfast was not updated for.
        for new in ["ap-southeast-9", "nz-north-1", "eu-west-4"] {
            assert!(check_region(new).is_ok() && known_region(new).is_err(), "{new}");
        }
        for (wrong, near) in [
            ("eu-centrl-1", "eu-central-1"),
            ("EU-West-1", "eu-west-1"),
            ("eu_west_1", "eu-west-1"),
            ("us-east-1a", "us-east-1"),
            ("eu-west1", "eu-west-1"),
            ("us-eats-1", "us-east-1"),
        ] {
            let said = check_region(wrong).expect_err(wrong);
            assert!(said.contains(&format!("such as \"{near}\"")), "{wrong}: {said}");
        }
    }

    #[test]
    fn an_endpoint_is_a_scheme_and_a_host() {
        for good in [
            "http://localhost:9000",
            "https://s3.fr-par.scw.cloud",
            "https://s3.fr-par.scw.cloud/",
            "http://[::1]:9000",
            "https://127.0.0.1",
        ] {
            assert_eq!(check_endpoint(good, Some("b")), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("s3.example.com", "https://s3.example.com"),
            ("s3.example.com:9000/", "https://s3.example.com:9000"),
            ("ftp://x", "only http"),
            ("https://", "no host"),
            ("https://host:99999", "a port that is none"),
            ("https://s3.example.com/b", "write one such as \"https://s3.example.com\""),
            ("https://b.s3.example.com", "write one such as \"https://s3.example.com\""),
            ("https://a b", "no host"),
        ] {
            let why = check_endpoint(bad, Some("b")).expect_err(bad);
            assert!(why.contains(said), "{bad}: {why}");
        }
    }

    #[test]
    fn an_identifier_that_rds_can_not_have_is_refused_with_what_was_meant() {
        for (bad, said) in [
            ("Orders", "write \"orders\""),
            ("t--a", "can't be an identifier"),
            ("orders-*", "under include"),
            ("arn:aws:rds:eu-west-1:111122223333:db:orders", "alone, \"orders\""),
            ("", "can't be"),
        ] {
            let why = check_db_identifier(bad).expect_err(bad);
            assert!(why.contains(said), "{bad}: {why}");
        }
        assert_eq!(check_db_identifier("orders-2"), Ok(()));
    }
}
