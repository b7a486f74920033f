//! What storage costs: each point once, in its class and in its asset, so that both sums are the total.

use crate::{
    facts::{Facts, Held, Point, Weight},
    model::{Classed, Costs, Line, Requests, Transfer},
    prices::{Asked, Class, Table},
};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

const DAY: f64 = 86_400.0;
/// What was added is looked at over so many days.
const TREND: i64 = 30;
/// So many sizes at either end of the trend are compared.
const ENDS: usize = 7;

/// A month, in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Month {
    name: String,
    from: f64,
    now: f64,
    to: f64,
    days: u8,
}

impl Month {
    /// The month of a time, in UTC as AWS bills.
    pub(crate) fn of(now: Timestamp) -> Self {
        let day = now.to_zoned(TimeZone::UTC);
        let first = day.first_of_month().and_then(|d| d.start_of_day());
        let from = first.as_ref().map_or(now, jiff::Zoned::timestamp);
        let next = first.as_ref().ok().and_then(|f| f.checked_add(1.month()).ok());
        let to = next.map_or(now, |n| n.timestamp());
        Self {
            name: day.strftime("%Y-%m").to_string(),
            from: seconds(from.as_second()),
            now: seconds(now.as_second()),
            to: seconds(to.as_second()),
            days: u8::try_from(day.days_in_month()).unwrap_or(30),
        }
    }

    fn length(&self) -> f64 {
        (self.to - self.from).max(1.0)
    }

    /// The share of the month that something stored since then was there for.
    fn share(&self, stored: Option<i64>) -> f64 {
        let since = stored.map_or(self.from, |s| seconds(s).max(self.from));
        (self.now - since).max(0.0) / self.length()
    }
}

/// What one thing adds to the sums.
struct Item {
    class: Class,
    region: Option<String>,
    bytes: u64,
    /// Bytes that are billed in its class, and as Standard beside it.
    billed: f64,
    index: f64,
    stored: Option<i64>,
    at_most: bool,
}

/// The sums.
pub(crate) struct Ledger {
    table: Table,
    month: Month,
    classes: BTreeMap<Class, Line>,
    unpriced: BTreeSet<Class>,
    /// Cost a month that begins on each day of this month, and before it.
    begins: Vec<f64>,
    total: Line,
    unowned: Line,
    puts: u64,
    gets: u64,
    /// The region that copies come from, and their bytes of this month that went to another.
    home: Option<String>,
    moved: u64,
    prices: BTreeMap<(Class, Option<String>), Option<f64>>,
}

impl Ledger {
    /// Empty sums.
    pub(crate) fn new(table: Table, now: Timestamp, home: Option<String>) -> Self {
        let month = Month::of(now);
        let days = usize::from(month.days) + 1;
        Self {
            table,
            month,
            classes: BTreeMap::new(),
            unpriced: BTreeSet::new(),
            begins: vec![0.0; days],
            total: Line::default(),
            unowned: Line::default(),
            puts: 0,
            gets: 0,
            home,
            moved: 0,
            prices: BTreeMap::new(),
        }
    }

    /// Adds all that is stored of an asset. `dense` is for how long every point of it is kept, in seconds.
    pub(crate) fn add(&mut self, facts: &Facts, held: &Held, dense: i64, owned: bool) -> Line {
        let mut line = Line::default();
        let mut added = 0.0;
        let mut points: Vec<&Point> = held.points.iter().collect();
        points.sort_unstable_by_key(|p| (p.spot, p.stored));
        let mut last = None;
        for point in points {
            let whole = last != Some(point.spot);
            last = Some(point.spot);
            let spot = facts.at(point.spot);
            let region = spot.and_then(|s| s.region.clone());
            let item = self.point(point, region, whole);
            // RDS and S3 bill what leaves a region; of a snapshot that is what the copy holds.
            let away = spot.is_some_and(|s| !s.home && s.region.is_some() && s.region != self.home);
            if away && seconds(point.stored) >= self.month.from {
                self.moved += item.bytes;
            }
            let cost = self.item(&item, &mut line);
            if seconds(point.stored) > self.month.now - DAY * 30.0 {
                added += cost;
            }
            if seconds(point.stored) >= self.month.from && !point.class.snapshot() {
                // The object and its commit record; it is read back once.
                (self.puts, self.gets) = (self.puts + 2, self.gets + 1);
            }
        }
        for weight in &held.weights {
            let region = facts.at(weight.spot).and_then(|s| s.region.clone());
            self.item(&of_weight(weight, region), &mut line);
        }
        self.foresee(held, dense, added, &mut line);
        sum(&mut self.total, &line);
        if !owned {
            sum(&mut self.unowned, &line);
        }
        line
    }

    fn point(&self, point: &Point, region: Option<String>, whole: bool) -> Item {
        let (billed, index) = point.class.billed(point.bytes);
        let Point { class, mut bytes, stored, .. } = *point;
        let (mut billed, mut at_most) = (float(billed), false);
        if class.snapshot() && !whole {
            match self.table.snapshot_change() {
                Some(change) => (billed, bytes) = (billed * change, share(bytes, change)),
                None => at_most = true,
            }
        }
        Item { class, region, bytes, billed, index: float(index), stored: Some(stored), at_most }
    }

    fn price(&mut self, class: Class, region: Option<&str>) -> Option<f64> {
        let key = (class, region.map(str::to_owned));
        let table = &self.table;
        *self.prices.entry(key).or_insert_with(|| table.byte_month(class, region))
    }

    /// Adds one thing, and returns what it costs a month.
    fn item(&mut self, item: &Item, line: &mut Line) -> f64 {
        let price = self.price(item.class, item.region.as_deref());
        let index = if item.index > 0.0 {
            self.price(Class::Standard, item.region.as_deref())
        } else {
            None
        };
        let month = price.map(|p| p * item.billed + index.unwrap_or(0.0) * item.index);
        let one = Line {
            bytes: item.bytes,
            month,
            so_far: month.map(|m| m * self.month.share(item.stored)),
            forecast: None,
            at_most: item.at_most,
            at_least: month.is_none(),
        };
        if month.is_none() {
            self.unpriced.insert(item.class);
        }
        sum(line, &one);
        sum(self.classes.entry(item.class).or_default(), &one);
        let month = month.unwrap_or(0.0);
        let since = item.stored.map_or(0.0, |s| (seconds(s) - self.month.from) / DAY);
        // Of what came within the day, the day's own share counts as a half: the last figure is `so_far` itself.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 31")]
        let day = (since.max(0.0).floor() as usize).min(self.begins.len() - 1);
        self.begins[day] += month;
        month
    }

    /// What this month costs at its end: what lies there stays or grows as it did.
    fn foresee(&self, held: &Held, dense: i64, added: f64, line: &mut Line) {
        let Some((month, so_far)) = line.month.zip(line.so_far) else { return };
        let now = self.month.now;
        let oldest = held.points.iter().map(|p| p.stored).min().map_or(now, seconds);
        let rest = (self.month.to - now) / DAY;
        // While nothing is let go yet, it grows by what is added; later only as the points themselves grow.
        let growth = if now - oldest < seconds(dense) {
            added / ((now - oldest) / DAY).clamp(1.0, 30.0)
        } else {
            month * trend(&held.points) / 30.0
        };
        let days = self.month.length() / DAY;
        let more = (month * rest + growth * rest * rest / 2.0) / days;
        line.forecast = Some(so_far + more.max(0.0));
    }

    /// The sums as the page has them. `pages` of listings are read by one look, and there is one an hour.
    pub(crate) fn costs(mut self, pages: u64) -> Costs {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 744")]
        let hours = ((self.month.now - self.month.from) / 3600.0) as u64;
        let asked =
            [(Asked::Put, self.puts), (Asked::Get, self.gets), (Asked::List, pages * hours)];
        let requests: Vec<_> = asked
            .into_iter()
            .map(|(kind, count)| {
                let price = self.table.request(kind, None);
                Requests { kind, count, cost: price.map(|p| p * float(count)) }
            })
            .collect();
        let mut total = self.total.clone();
        let transfer = Transfer {
            bytes: self.moved,
            cost: self.table.transfer().map(|price| price * float(self.moved)),
        };
        let asked: f64 = requests.iter().filter_map(|r| r.cost).chain(transfer.cost).sum();
        total.so_far = total.so_far.map(|s| s + asked);
        let scale = self.month.length() / (self.month.now - self.month.from).max(3600.0);
        total.forecast = total.forecast.map(|f| f + asked * scale);
        let days = self.days(&total);
        let classes = std::mem::take(&mut self.classes);
        let mut classes: Vec<_> =
            classes.into_iter().map(|(class, line)| Classed { class, line }).collect();
        let dear = |c: &Classed| c.line.month.unwrap_or(f64::MAX);
        classes.sort_by(|a, b| dear(b).total_cmp(&dear(a)));
        Costs {
            currency: self.table.currency().to_owned(),
            as_of: self.table.as_of(),
            month: self.month.name.clone(),
            total,
            classes,
            unowned: self.unowned,
            requests,
            transfer,
            unpriced: self.unpriced.into_iter().collect(),
            budget: self.table.budget(),
            days,
            days_in_month: self.month.days,
        }
    }

    /// The cost of this month at the end of each day, scaled so that the last is what was summed up.
    fn days(&self, total: &Line) -> Vec<f64> {
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
fn share(bytes: u64, of: f64) -> u64 {
    (float(bytes) * of) as u64
}

fn of_weight(weight: &Weight, region: Option<String>) -> Item {
    let Weight { class, bytes, stored, billed, index, .. } = *weight;
    let (billed, index) = (float(billed), float(index));
    Item { class, region, bytes, billed, index, stored, at_most: false }
}

/// How points grew over the last month, as a share: the newest sizes against those of 30 days before.
fn trend(points: &[Point]) -> f64 {
    let mut sorted: Vec<_> = points.iter().filter(|p| p.good).collect();
    sorted.sort_unstable_by_key(|p| p.stored);
    let Some(newest) = sorted.last().map(|p| p.stored) else { return 0.0 };
    let before = sorted.partition_point(|p| p.stored <= newest - TREND * 86_400);
    let median = |of: &[&Point]| {
        let mut sizes: Vec<_> = of.iter().map(|p| p.bytes).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied().map(float)
    };
    let then = median(&sorted[before.saturating_sub(ENDS)..before]);
    let now = median(&sorted[sorted.len().saturating_sub(ENDS)..]);
    match then.zip(now) {
        Some((then, now)) if then > 0.0 => (now / then - 1.0).clamp(-0.5, 1.0),
        _ => 0.0,
    }
}

/// Adds a line to a sum. What has no price leaves the rest of the sum known, and makes it a least.
fn sum(to: &mut Line, one: &Line) {
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
fn float(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
fn seconds(n: i64) -> f64 {
    n as f64
}
