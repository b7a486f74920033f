//! Recovery points over time: lanes, gaps, sizes. All in one pass over points that are sorted once.

use crate::{
    facts::{AssetStorage, PointRecord, ReportInput},
    model::{SizeDeviation, SizeSample, TimeRange, TimelineRow},
};
use jiff::{SignedDuration, Timestamp};
use shared::policy::{RetentionRule, text::Period};

/// What is drawn is cut into so many stretches: finer than that, a screen shows nothing.
const TIMELINE_SLOTS: i64 = 180;
/// So many sizes are drawn of one asset.
const MAX_SIZE_SAMPLES: usize = 32;
/// So many sizes before the newest are compared with it: a month of daily points.
const MAX_COMPARED_SIZES: usize = 30;
/// What a size may differ where the policy does not say.
const DEFAULT_MAX_DEVIATION: f64 = 0.2;
const DAY: i64 = 86_400;
/// At least a week is drawn, and a year at most.
const MIN_TIMELINE_SECS: i64 = 7 * DAY;
const MAX_TIMELINE_SECS: i64 = 366 * DAY;

/// How long a rule keeps points, in seconds: the longest of its lines.
pub(crate) fn max_retention_secs(keep: &RetentionRule) -> i64 {
    let lines = [
        (1, keep.hourly.map(|n| i64::from(n.get()) * 3600)),
        (DAY, keep.daily.map(|n| i64::from(n.get()))),
        (7 * DAY, keep.weekly.map(|n| i64::from(n.get()))),
        (31 * DAY, keep.monthly.map(|n| i64::from(n.get()))),
        (366 * DAY, keep.yearly.map(|n| i64::from(n.get()))),
    ];
    let spans = lines.into_iter().filter_map(|(each, n)| Some(each * n?));
    spans.chain(max_age_secs(keep)).max().unwrap_or(0)
}

/// For how long a rule keeps points as close as an objective wants them, in seconds: only there is a gap a gap. A line
/// that keeps one of each day thins hourly points out, and is as close as daily ones.
pub(crate) fn full_density_secs(keep: &RetentionRule, max_age: Option<i64>) -> i64 {
    let close = |each: i64| max_age.is_none_or(|max| each <= max);
    let lines = [
        (3600, keep.hourly),
        (DAY, keep.daily),
        (7 * DAY, keep.weekly),
        (31 * DAY, keep.monthly),
        (366 * DAY, keep.yearly),
    ];
    let lines = lines.into_iter().filter(|(each, _)| close(*each));
    let spans = lines.filter_map(|(each, n)| Some(each * i64::from(n?.get())));
    spans.chain(max_age_secs(keep)).max().unwrap_or(0)
}

fn max_age_secs(keep: &RetentionRule) -> Option<i64> {
    keep.age.as_ref().map(Period::duration).map(|d| d.as_secs())
}

/// Begin of what is drawn of an asset whose points are kept for so many seconds.
pub(crate) fn timeline_start(kept: i64, now: Timestamp) -> Timestamp {
    let span = SignedDuration::from_secs(kept.clamp(MIN_TIMELINE_SECS, MAX_TIMELINE_SECS));
    now.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// The good points of an asset that are not of the future, by the time of their data.
pub(crate) fn good_points(held: &AssetStorage, now: Timestamp) -> Vec<PointRecord> {
    // Clocks of AWS and of a host may differ by this much.
    let latest = now.as_second() + 300;
    let mut points: Vec<_> =
        held.points.iter().filter(|p| p.good && p.at <= latest).copied().collect();
    points.sort_unstable_by_key(|p| (p.at, p.location));
    points
}

/// The lanes of an asset, its home first. A place that could not be seen has a lane too.
pub(crate) fn timeline_rows(
    facts: &ReportInput,
    held: &AssetStorage,
    points: &[PointRecord],
    since: Timestamp,
    now: Timestamp,
) -> Vec<TimelineRow> {
    let mut spots: Vec<u16> =
        points.iter().map(|p| p.location).chain(held.unobserved.clone()).collect();
    spots.sort_unstable();
    spots.dedup();
    let stretch = ((now.as_second() - since.as_second()) / TIMELINE_SLOTS).max(1);
    let mut lanes: Vec<TimelineRow> = spots
        .into_iter()
        .filter_map(|spot| {
            let place = facts.location(spot)?;
            let times: Vec<i64> =
                points.iter().filter(|p| p.location == spot).map(|p| p.at).collect();
            Some(TimelineRow {
                location: place.name.clone(),
                home: place.home,
                observed: !held.unobserved.contains(&spot),
                points: times.len(),
                newest: times.last().and_then(|t| timestamp_from_secs(*t)),
                oldest: times.first().and_then(|t| timestamp_from_secs(*t)),
                ranges: merge_ranges(&times, since.as_second(), stretch),
            })
        })
        .collect();
    lanes.sort_by_key(|l| !l.home);
    lanes
}

/// Stretches of sorted times: two points that are no further apart than `stretch` are one.
fn merge_ranges(times: &[i64], since: i64, stretch: i64) -> Vec<TimeRange> {
    let mut all: Vec<(i64, i64, usize)> = Vec::new();
    for at in times.iter().copied().filter(|t| *t >= since) {
        match all.last_mut().filter(|(_, to, _)| at - *to <= stretch) {
            Some((_, to, points)) => (*to, *points) = (at, *points + 1),
            None => all.push((at, at, 1)),
        }
    }
    let span = |(from, to, points)| {
        Some(TimeRange { from: timestamp_from_secs(from)?, to: timestamp_from_secs(to)?, points })
    };
    all.into_iter().filter_map(span).collect()
}

/// The longest time between neighbouring points since a time, the one up to now included, in seconds; none without two.
pub(crate) fn longest_gap(points: &[PointRecord], since: i64, now: Timestamp) -> Option<i64> {
    let first = points.iter().position(|p| p.at >= since)?;
    // The gap that reaches into what is measured is one.
    let times: Vec<i64> = points[first.saturating_sub(1)..].iter().map(|p| p.at).collect();
    if times.len() < 2 {
        return None;
    }
    let open = now.as_second() - times.last()?;
    times.windows(2).map(|w| w[1] - w[0]).chain([open]).max()
}

/// Sizes at the asset's first place, oldest first, and the newest against the median of those before it.
pub(crate) fn size_samples(
    facts: &ReportInput,
    points: &[PointRecord],
    allowed: Option<f64>,
) -> (Vec<SizeSample>, Option<SizeDeviation>) {
    let home = |p: &&PointRecord| facts.location(p.location).is_some_and(|s| s.home);
    let Some(spot) = points.iter().rev().find(home).or(points.last()).map(|p| p.location) else {
        return (Vec::new(), None);
    };
    let all: Vec<_> =
        points.iter().filter(|p| p.location == spot).map(|p| (p.at, p.bytes)).collect();
    // Every n-th, counted from the newest, which is always shown.
    let each = all.len().div_ceil(MAX_SIZE_SAMPLES).max(1);
    let shown = all.iter().rev().step_by(each).rev();
    let shown = shown.filter_map(|(at, bytes)| {
        Some(SizeSample { at: timestamp_from_secs(*at)?, bytes: *bytes })
    });
    (shown.collect(), size_deviation(&all, allowed.unwrap_or(DEFAULT_MAX_DEVIATION)))
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn size_deviation(sizes: &[(i64, u64)], allowed: f64) -> Option<SizeDeviation> {
    let ((_, newest), before) = sizes.split_last()?;
    let mut before: Vec<u64> =
        before.iter().rev().take(MAX_COMPARED_SIZES).map(|(_, b)| *b).collect();
    before.sort_unstable();
    let median = *before.get(before.len() / 2).filter(|m| **m > 0)?;
    let share = *newest as f64 / median as f64 - 1.0;
    Some(SizeDeviation {
        share,
        median,
        compared: before.len(),
        allowed,
        exceeded: share.abs() > allowed,
    })
}

/// A time of so many seconds since 1970; none outside of what a time can be.
pub(crate) fn timestamp_from_secs(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok()
}
