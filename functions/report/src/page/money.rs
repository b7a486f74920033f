//! What storage costs: each point once, in its class and in its asset, so that both sums are the total.

use crate::{
    facts::{AssetStorage, OtherStorage, PointRecord, ReportInput},
    model::{CostLine, CostSummary, RequestCost, StorageKindCost, TransferCost},
    prices::{PriceTable, RequestKind, StorageKind},
};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

const DAY: f64 = 86_400.0;
/// What was added is looked at over so many days.
const TREND_DAYS: i64 = 30;
/// So many sizes at either end of the trend are compared.
const TREND_SAMPLES: usize = 7;

/// A month, in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct BillingMonth {
    name: String,
    from: f64,
    now: f64,
    to: f64,
    days: u8,
}

impl BillingMonth {
    /// The month of a time, in UTC as AWS bills.
    pub(crate) fn containing(now: Timestamp) -> Self {
        let day = now.to_zoned(TimeZone::UTC);
        let first = day.first_of_month().and_then(|d| d.start_of_day());
        let from = first.as_ref().map_or(now, jiff::Zoned::timestamp);
        let next = first.as_ref().ok().and_then(|f| f.checked_add(1.month()).ok());
        let to = next.map_or(now, |n| n.timestamp());
        Self {
            name: day.strftime("%Y-%m").to_string(),
            from: secs_to_f64(from.as_second()),
            now: secs_to_f64(now.as_second()),
            to: secs_to_f64(to.as_second()),
            days: u8::try_from(day.days_in_month()).unwrap_or(30),
        }
    }

    fn duration_secs(&self) -> f64 {
        (self.to - self.from).max(1.0)
    }

    /// The share of the month that something stored since then was there for.
    fn elapsed_share(&self, stored: Option<i64>) -> f64 {
        let since = stored.map_or(self.from, |s| secs_to_f64(s).max(self.from));
        (self.now - since).max(0.0) / self.duration_secs()
    }
}

/// What one thing adds to the sums.
struct CostItem {
    class: StorageKind,
    region: Option<String>,
    bytes: u64,
    /// Bytes that are billed in its class, and as Standard beside it.
    billed: f64,
    index: f64,
    stored: Option<i64>,
    at_most: bool,
}

/// The sums.
pub(crate) struct CostCalculator {
    table: PriceTable,
    month: BillingMonth,
    classes: BTreeMap<StorageKind, CostLine>,
    unpriced: BTreeSet<StorageKind>,
    /// Cost a month that begins on each day of this month, and before it.
    begins: Vec<f64>,
    total: CostLine,
    unowned: CostLine,
    puts: u64,
    gets: u64,
    /// The region that copies come from, and their bytes of this month that went to another.
    home: Option<String>,
    moved: u64,
    prices: BTreeMap<(StorageKind, Option<String>), Option<f64>>,
}

impl CostCalculator {
    /// Empty sums.
    pub(crate) fn new(table: PriceTable, now: Timestamp, home: Option<String>) -> Self {
        let month = BillingMonth::containing(now);
        let days = usize::from(month.days) + 1;
        Self {
            table,
            month,
            classes: BTreeMap::new(),
            unpriced: BTreeSet::new(),
            begins: vec![0.0; days],
            total: CostLine::default(),
            unowned: CostLine::default(),
            puts: 0,
            gets: 0,
            home,
            moved: 0,
            prices: BTreeMap::new(),
        }
    }

    /// Adds all that is stored of an asset. `dense` is for how long every point of it is kept, in seconds.
    pub(crate) fn add_asset(
        &mut self,
        facts: &ReportInput,
        held: &AssetStorage,
        dense: i64,
        owned: bool,
    ) -> CostLine {
        let mut line = CostLine::default();
        let mut added = 0.0;
        let mut points: Vec<&PointRecord> = held.points.iter().collect();
        points.sort_unstable_by_key(|p| (p.location, p.stored));
        let mut last = None;
        for point in points {
            let whole = last != Some(point.location);
            last = Some(point.location);
            let spot = facts.location(point.location);
            let region = spot.and_then(|s| s.region.clone());
            let item = self.point_item(point, region, whole);
            // RDS and S3 bill what leaves a region; of a snapshot that is what the copy holds.
            let away = spot.is_some_and(|s| !s.home && s.region.is_some() && s.region != self.home);
            if away && secs_to_f64(point.stored) >= self.month.from {
                self.moved += item.bytes;
            }
            let cost = self.add_item(&item, &mut line);
            if secs_to_f64(point.stored) > self.month.now - DAY * 30.0 {
                added += cost;
            }
            if secs_to_f64(point.stored) >= self.month.from && !point.class.is_billed_per_gib() {
                // The object and its commit record; it is read back once.
                (self.puts, self.gets) = (self.puts + 2, self.gets + 1);
            }
        }
        for weight in &held.other {
            let region = facts.location(weight.location).and_then(|s| s.region.clone());
            self.add_item(&other_storage_item(weight, region), &mut line);
        }
        self.set_forecast(held, dense, added, &mut line);
        add_line(&mut self.total, &line);
        if !owned {
            add_line(&mut self.unowned, &line);
        }
        line
    }

    fn point_item(&self, point: &PointRecord, region: Option<String>, whole: bool) -> CostItem {
        let (billed, index) = point.class.billable_bytes(point.bytes);
        let PointRecord { class, mut bytes, stored, .. } = *point;
        let (mut billed, mut at_most) = (to_f64(billed), false);
        if class.is_billed_per_gib() && !whole {
            match self.table.snapshot_change() {
                Some(change) => (billed, bytes) = (billed * change, scale_bytes(bytes, change)),
                None => at_most = true,
            }
        }
        CostItem {
            class,
            region,
            bytes,
            billed,
            index: to_f64(index),
            stored: Some(stored),
            at_most,
        }
    }

    fn byte_month_price(&mut self, class: StorageKind, region: Option<&str>) -> Option<f64> {
        let key = (class, region.map(str::to_owned));
        let table = &self.table;
        *self.prices.entry(key).or_insert_with(|| table.byte_month_price(class, region))
    }

    /// Adds one thing, and returns what it costs a month.
    fn add_item(&mut self, item: &CostItem, line: &mut CostLine) -> f64 {
        let price = self.byte_month_price(item.class, item.region.as_deref());
        let index = if item.index > 0.0 {
            self.byte_month_price(StorageKind::Standard, item.region.as_deref())
        } else {
            None
        };
        let month = price.map(|p| p * item.billed + index.unwrap_or(0.0) * item.index);
        let one = CostLine {
            bytes: item.bytes,
            month,
            so_far: month.map(|m| m * self.month.elapsed_share(item.stored)),
            forecast: None,
            at_most: item.at_most,
            at_least: month.is_none(),
        };
        if month.is_none() {
            self.unpriced.insert(item.class);
        }
        add_line(line, &one);
        add_line(self.classes.entry(item.class).or_default(), &one);
        let month = month.unwrap_or(0.0);
        let since = item.stored.map_or(0.0, |s| (secs_to_f64(s) - self.month.from) / DAY);
        // Of what came within the day, the day's own share counts as a half: the last figure is `so_far` itself.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 31")]
        let day = (since.max(0.0).floor() as usize).min(self.begins.len() - 1);
        self.begins[day] += month;
        month
    }

    /// What this month costs at its end: what lies there stays or grows as it did.
    fn set_forecast(&self, held: &AssetStorage, dense: i64, added: f64, line: &mut CostLine) {
        let Some((month, so_far)) = line.month.zip(line.so_far) else { return };
        let now = self.month.now;
        let oldest = held.points.iter().map(|p| p.stored).min().map_or(now, secs_to_f64);
        let rest = (self.month.to - now) / DAY;
        // While nothing is let go yet, it grows by what is added; later only as the points themselves grow.
        let growth = if now - oldest < secs_to_f64(dense) {
            added / ((now - oldest) / DAY).clamp(1.0, 30.0)
        } else {
            month * growth_rate(&held.points) / 30.0
        };
        let days = self.month.duration_secs() / DAY;
        let more = (month * rest + growth * rest * rest / 2.0) / days;
        line.forecast = Some(so_far + more.max(0.0));
    }

    /// The sums as the page has them. `pages` of listings are read by one look, and there is one an hour.
    pub(crate) fn into_summary(mut self, pages: u64) -> CostSummary {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 744")]
        let hours = ((self.month.now - self.month.from) / 3600.0) as u64;
        let asked = [
            (RequestKind::Put, self.puts),
            (RequestKind::Get, self.gets),
            (RequestKind::List, pages * hours),
        ];
        let requests: Vec<_> = asked
            .into_iter()
            .map(|(kind, count)| {
                let price = self.table.request_price(kind, None);
                RequestCost { kind, count, cost: price.map(|p| p * to_f64(count)) }
            })
            .collect();
        let mut total = self.total.clone();
        let transfer = TransferCost {
            bytes: self.moved,
            cost: self.table.transfer_price().map(|price| price * to_f64(self.moved)),
        };
        let asked: f64 = requests.iter().filter_map(|r| r.cost).chain(transfer.cost).sum();
        total.so_far = total.so_far.map(|s| s + asked);
        let scale = self.month.duration_secs() / (self.month.now - self.month.from).max(3600.0);
        total.forecast = total.forecast.map(|f| f + asked * scale);
        let days = self.daily_costs(&total);
        let classes = std::mem::take(&mut self.classes);
        let mut classes: Vec<_> =
            classes.into_iter().map(|(class, line)| StorageKindCost { class, line }).collect();
        let dear = |c: &StorageKindCost| c.line.month.unwrap_or(f64::MAX);
        classes.sort_by(|a, b| dear(b).total_cmp(&dear(a)));
        CostSummary {
            currency: self.table.currency().to_owned(),
            as_of: self.table.as_of(),
            month: self.month.name.clone(),
            total,
            classes,
            unowned: self.unowned,
            requests,
            transfer,
            unpriced: self.unpriced.into_iter().collect(),
            budget: self.table.monthly_budget(),
            days,
            days_in_month: self.month.days,
        }
    }

    /// The cost of this month at the end of each day, scaled so that the last is what was summed up.
    fn daily_costs(&self, total: &CostLine) -> Vec<f64> {
        let Some(so_far) = total.so_far else { return Vec::new() };
        let until = (self.month.now - self.month.from) / DAY;
        let (mut rate, mut sum, mut out) = (0.0, 0.0, Vec::new());
        for (day, begins) in (0_u8..).zip(&self.begins) {
            let left = until - f64::from(day);
            if left <= 0.0 {
                break;
            }
            rate += begins;
            sum += rate * left.min(1.0);
            out.push(sum);
        }
        let scale = if sum > 0.0 { so_far / sum } else { 0.0 };
        out.into_iter().map(|s| s * scale).collect()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of bytes")]
fn scale_bytes(bytes: u64, of: f64) -> u64 {
    (to_f64(bytes) * of) as u64
}

fn other_storage_item(weight: &OtherStorage, region: Option<String>) -> CostItem {
    let OtherStorage { class, bytes, stored, billed, index, .. } = *weight;
    let (billed, index) = (to_f64(billed), to_f64(index));
    CostItem { class, region, bytes, billed, index, stored, at_most: false }
}

/// How points grew over the last month, as a share: the newest sizes against those of 30 days before.
fn growth_rate(points: &[PointRecord]) -> f64 {
    let mut sorted: Vec<_> = points.iter().filter(|p| p.good).collect();
    sorted.sort_unstable_by_key(|p| p.stored);
    let Some(newest) = sorted.last().map(|p| p.stored) else { return 0.0 };
    let before = sorted.partition_point(|p| p.stored <= newest - TREND_DAYS * 86_400);
    let median = |of: &[&PointRecord]| {
        let mut sizes: Vec<_> = of.iter().map(|p| p.bytes).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied().map(to_f64)
    };
    let then = median(&sorted[before.saturating_sub(TREND_SAMPLES)..before]);
    let now = median(&sorted[sorted.len().saturating_sub(TREND_SAMPLES)..]);
    match then.zip(now) {
        Some((then, now)) if then > 0.0 => (now / then - 1.0).clamp(-0.5, 1.0),
        _ => 0.0,
    }
}

/// Adds a line to a sum. What has no price leaves the rest of the sum known, and makes it a least.
fn add_line(to: &mut CostLine, one: &CostLine) {
    let add = |to: Option<f64>, one: Option<f64>| match (to, one) {
        (Some(to), Some(one)) => Some(to + one),
        (one, None) | (None, one) => one,
    };
    to.bytes += one.bytes;
    to.month = add(to.month, one.month);
    to.so_far = add(to.so_far, one.so_far);
    to.forecast = add(to.forecast, one.forecast);
    to.at_most |= one.at_most;
    to.at_least |= one.at_least;
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes and counts far below 2^52, or a sum for people"
)]
fn to_f64(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
fn secs_to_f64(n: i64) -> f64 {
    n as f64
}
