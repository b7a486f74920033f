//! Storage classes by age that S3 accepts.

use super::ErrorSink;
use crate::policy::{Policy, StorageClass, StorageTier};

/// Days before which S3 moves nothing to `STANDARD_IA`, and for which it has to lie there before it moves on.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html>
const MIN_IA_DAYS: i64 = 30;

/// How cold a class is: S3 moves objects only to a colder one.
fn coldness(class: StorageClass) -> u8 {
    match class {
        StorageClass::Standard => 0,
        StorageClass::StandardIa => 1,
        StorageClass::GlacierIr => 2,
        StorageClass::Glacier => 3,
        StorageClass::DeepArchive => 4,
    }
}

pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    let buckets = policy.buckets.iter().map(|(n, g)| (format!("/buckets/{n}"), &g.tiers));
    let postgres = policy.postgres.iter().map(|(n, g)| (format!("/postgres/{n}"), &g.tiers));
    let files = policy.files.iter().map(|(n, g)| (format!("/files/{n}"), &g.tiers));
    for (at, tiers) in buckets.chain(postgres).chain(files) {
        check_tiers(&format!("{at}/tiers"), tiers, say);
    }
}

fn check_tiers(at: &str, tiers: &[StorageTier], say: ErrorSink<'_>) {
    let days = |tier: &StorageTier| {
        tier.after.as_ref().map_or(0, |after| after.duration().as_hours() / 24)
    };
    let mut order: Vec<(usize, &StorageTier)> = tiers.iter().enumerate().collect();
    order.sort_by_key(|(_, tier)| days(tier));
    for (i, tier) in &order {
        let at = format!("{at}/{i}/after");
        if tier.after.as_ref().is_some_and(|after| after.duration().as_hours() % 24 != 0) {
            say(at.clone(), "S3 counts whole days: write days".into());
        }
        if tier.class == StorageClass::StandardIa && (1..MIN_IA_DAYS).contains(&days(tier)) {
            say(
                at,
                format!(
                    "S3 moves nothing to STANDARD_IA before {MIN_IA_DAYS} days: write {MIN_IA_DAYS}d or more, leave the class out, or write objects there at once (no `after`)"
                ),
            );
        }
    }
    for pair in order.windows(2) {
        let ((_, before), (i, next)) = (pair[0], pair[1]);
        let at = format!("{at}/{i}");
        if days(before) == days(next) {
            say(format!("{at}/after"), "two classes from one age on: leave one out".into());
        } else if coldness(before.class) >= coldness(next.class) {
            say(
                format!("{at}/class"),
                format!(
                    "S3 does not move objects from {} to {}: order the classes from warm to cold",
                    before.class.as_str(),
                    next.class.as_str()
                ),
            );
        } else if before.class == StorageClass::StandardIa
            && days(next) - days(before) < MIN_IA_DAYS
        {
            say(
                format!("{at}/after"),
                format!(
                    "an object lies in STANDARD_IA for {MIN_IA_DAYS} days before S3 moves it on: write {}d or more",
                    days(before) + MIN_IA_DAYS
                ),
            );
        }
    }
}
