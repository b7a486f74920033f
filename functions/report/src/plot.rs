//! Plots, as SVG by the crate `svg`: it draws nothing by itself, so that a plot is a few paths with a class each, whose
//! colours are the page's CSS; charting crates write colours and fonts into each shape, at ten times the size, and know
//! no dark page.
//!
//! Plots stretch to the width that there is. So they hold no text, which would stretch too: labels are HTML beside them,
//! and what a plot shows stands in its title for whoever does not see it. The crate does not escape quotes in attributes:
//! names go into titles only, never into attributes.

use crate::model::{CostSummary, SizeSample, TimelineMark, TimelineRow};
use jiff::Timestamp;
use maud::{Markup, PreEscaped};
use std::fmt::Write;
use svg::{
    Document,
    node::element::{Path, Title},
};

/// Width of every plot, in its own units.
const SVG_WIDTH: f64 = 1000.0;
/// Height of a lane.
const ROW_HEIGHT: f64 = 14.0;
/// Heights of a size trend and of the month.
const TREND_HEIGHT: f64 = 48.0;
const CHART_HEIGHT: f64 = 160.0;
/// The least width of a mark that can still be seen on a telephone.
const MIN_MARK_WIDTH: f64 = 4.0;

fn svg_document(height: f64, title: &str) -> Document {
    Document::new()
        .set("viewBox", format!("0 0 {SVG_WIDTH} {height}"))
        .set("preserveAspectRatio", "none")
        .set("role", "img")
        .add(Title::new(title))
}

fn svg_path(class: &str, d: String) -> Option<Path> {
    (!d.is_empty()).then(|| Path::new().set("class", class).set("d", d))
}

fn render_svg(document: Document, paths: impl IntoIterator<Item = Option<Path>>) -> Markup {
    let all = paths.into_iter().flatten().fold(document, Document::add);
    // Inside of HTML a plot needs no name space, and no lines; together they are a twentieth of a large page.
    PreEscaped(
        all.to_string().replace(" xmlns=\"http://www.w3.org/2000/svg\"", "").replace('\n', ""),
    )
}

/// From a time to its place on the width.
struct TimeScale {
    from: f64,
    span: f64,
}

impl TimeScale {
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
    fn new(from: Timestamp, to: Timestamp) -> Self {
        let from = from.as_second() as f64;
        Self { from, span: (to.as_second() as f64 - from).max(1.0) }
    }

    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
    fn x_position(&self, seconds: i64) -> f64 {
        ((seconds as f64 - self.from) / self.span * SVG_WIDTH).clamp(0.0, SVG_WIDTH)
    }
}

/// Marks of one height side by side, as strokes that move on from each other: a year of points is a few hundred bytes.
#[derive(Default)]
struct TickMarks {
    d: String,
    at: i64,
}

impl TickMarks {
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1000")]
    fn add_mark(&mut self, x: f64, top: i64, height: i64) {
        let x = x as i64;
        let _ = if self.d.is_empty() {
            write!(self.d, "M{x} {top}v{height}")
        } else {
            write!(self.d, "m{} -{height}v{height}", x - self.at)
        };
        self.at = x;
    }
}

/// The points of one place over time. Where a point was young enough, the lane is covered; between, it gapes, as far back
/// as every point is kept: what the policy thinned out before is no gap.
pub(crate) fn timeline_svg(
    lane: &TimelineRow,
    since: Timestamp,
    now: Timestamp,
    (max_age, dense): (Option<i64>, i64),
    title: &str,
) -> Markup {
    let scale = TimeScale::new(since, now);
    let thinned = scale.x_position(now.as_second() - dense);
    let gap = |gaps: &mut String, from: f64, to: f64| {
        let from = from.max(thinned);
        if to - from > 1.0 {
            append_segment(gaps, from, to);
        }
    };
    let (mut covered, mut gaps, mut bars) = (String::new(), String::new(), String::new());
    let mut marks = TickMarks::default();
    let mut cover: Option<(f64, f64)> = None;
    for span in &lane.ranges {
        let (from, to) =
            (scale.x_position(span.from.as_second()), scale.x_position(span.to.as_second()));
        if to - from > MIN_MARK_WIDTH {
            append_segment(&mut bars, from, to);
        } else {
            marks.add_mark(
                from.clamp(MIN_MARK_WIDTH / 2.0, SVG_WIDTH - MIN_MARK_WIDTH / 2.0),
                3,
                8,
            );
        }
        let Some(max) = max_age else { continue };
        let end = scale.x_position(span.to.as_second() + max);
        cover = match cover {
            Some((begun, until)) if from - until <= 1.0 => Some((begun, end)),
            Some((begun, until)) => {
                append_segment(&mut covered, begun, until);
                gap(&mut gaps, until, from);
                Some((from, end))
            }
            None => Some((from, end)),
        };
    }
    if let Some((begun, until)) = cover {
        append_segment(&mut covered, begun, until);
        gap(&mut gaps, until, SVG_WIDTH);
    }
    let paths = [
        svg_path("covered", covered),
        svg_path("gap", gaps),
        svg_path("bar", bars),
        svg_path("point", marks.d),
    ];
    render_svg(svg_document(ROW_HEIGHT, title), paths)
}

/// A stretch of a lane: a thick stroke along its middle.
fn append_segment(d: &mut String, from: f64, to: f64) {
    let _ = write!(d, "M{from:.0} 7h{:.0}", to.round() - from.round());
}

/// Verifications and restores over time: a short mark for a check, a tall one for a restore, a cross where it failed.
pub(crate) fn verification_svg(
    proofs: &[TimelineMark],
    since: Timestamp,
    now: Timestamp,
    title: &str,
) -> Markup {
    let scale = TimeScale::new(since, now);
    let (mut checks, mut restores) = (TickMarks::default(), TickMarks::default());
    let mut failed = String::new();
    for proof in proofs {
        let x = scale
            .x_position(proof.at.as_second())
            .clamp(MIN_MARK_WIDTH, SVG_WIDTH - 2.0 * MIN_MARK_WIDTH);
        match (proof.succeeded, proof.restore) {
            (true, false) => checks.add_mark(x, 5, 4),
            (true, true) => restores.add_mark(x, 1, 12),
            (false, _) => {
                let _ = write!(failed, "M{x:.0} 1l8 12m0 -12l-8 12");
            }
        }
    }
    let paths =
        [svg_path("point", checks.d), svg_path("point", restores.d), svg_path("failed", failed)];
    render_svg(svg_document(ROW_HEIGHT, title), paths)
}

/// Sizes over time, from zero, with the median of those before the newest.
pub(crate) fn size_trend_svg(
    sizes: &[SizeSample],
    median: Option<u64>,
    title: &str,
) -> Option<Markup> {
    let (first, last) = (sizes.first()?, sizes.last()?);
    if sizes.len() < 2 {
        return None;
    }
    let most = sizes.iter().map(|s| s.bytes).chain(median).max().filter(|m| *m > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of one point are far below 2^52")]
    let y = |bytes: u64| TREND_HEIGHT - 1.0 - (TREND_HEIGHT - 6.0) * bytes as f64 / most as f64;
    let scale = TimeScale::new(first.at, last.at);
    // The line's ends and the ground lie outside of what is shown, so that one path is both the line and its area. The
    // newest is a dot, which needs room.
    let room = SVG_WIDTH - 8.0;
    let mut area = format!("M-9 70V{:.0}", y(first.bytes));
    for size in sizes {
        let x = scale.x_position(size.at.as_second()) * room / SVG_WIDTH;
        let _ = write!(area, "L{x:.0} {:.1}", y(size.bytes));
    }
    let _ = write!(area, "H1009V70z");
    let usual = median.map(|m| format!("M0 {0:.1}H{room}", y(m))).unwrap_or_default();
    // A line of no length with a round end is a dot, which stays round however the plot is stretched.
    let dot = format!("M{room} {:.1}h0", y(last.bytes));
    let paths = [svg_path("area", area), svg_path("median", usual), svg_path("dot", dot)];
    Some(render_svg(svg_document(TREND_HEIGHT, title), paths))
}

/// The month's plot with the highest value of its axis.
pub(crate) struct CostChart {
    /// The plot.
    pub(crate) plot: Markup,
    /// The highest value of the axis.
    pub(crate) top: f64,
}

/// What the month costs day by day, what it will cost, and the budget.
pub(crate) fn cost_svg(costs: &CostSummary, title: &str) -> Option<CostChart> {
    let so_far = *costs.days.last()?;
    let forecast = costs.total.forecast.unwrap_or(so_far);
    let top = nice_tick(forecast.max(so_far).max(costs.budget.unwrap_or(0.0)));
    let days = f64::from(costs.days_in_month).max(1.0);
    let y = |m: f64| CHART_HEIGHT - CHART_HEIGHT * m / top;
    let mut line = "M0 160".to_owned();
    let mut x = 0.0;
    for (day, cost) in (1_u8..).zip(&costs.days) {
        x = f64::from(day) / days * SVG_WIDTH;
        let _ = write!(line, "L{x:.0} {:.1}", y(*cost));
    }
    let ahead = format!("M{x:.0} {:.1}L{SVG_WIDTH} {:.1}", y(so_far), y(forecast));
    let area = format!("{line}V{CHART_HEIGHT}z");
    let grid = format!("M0 {0}H{SVG_WIDTH}M0 0.5H{SVG_WIDTH}", CHART_HEIGHT / 2.0);
    let budget = costs.budget.map(|b| format!("M0 {0:.1}H{SVG_WIDTH}", y(b))).unwrap_or_default();
    let paths = [
        svg_path("grid", grid),
        svg_path("ground", area),
        svg_path("line", line),
        svg_path("ahead", ahead),
        svg_path("budget", budget),
    ];
    Some(CostChart { plot: render_svg(svg_document(CHART_HEIGHT, title), paths), top })
}

/// The next figure that reads well on an axis: 1, 2, 2.5 or 5 and zeros.
fn nice_tick(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|s| s * power).find(|s| *s >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeRange;

    #[test]
    fn an_axis_ends_at_a_figure_that_reads_well() {
        let table =
            [(0.0, 1.0), (0.03, 0.05), (1.0, 1.0), (21.0, 25.0), (260.0, 500.0), (999.0, 1000.0)];
        for (value, expected) in table {
            assert!((nice_tick(value) - expected).abs() < 1e-9, "{value}: {}", nice_tick(value));
        }
    }

    #[test]
    fn a_gap_is_drawn_where_no_point_was_young_enough() {
        let at = |s: i64| Timestamp::from_second(s).expect("a time");
        let span = |from, to| TimeRange { from: at(from), to: at(to), points: 1 };
        let lane_of = |spans| TimelineRow {
            location: "x".into(),
            home: true,
            observed: true,
            points: 2,
            newest: None,
            oldest: None,
            ranges: spans,
        };
        let drawn = |spans| {
            timeline_svg(&lane_of(spans), at(0), at(1000), (Some(100), 1000), "<b>").into_string()
        };
        let whole = drawn(vec![span(0, 500), span(590, 950)]);
        assert!(!whole.contains("gap"), "{whole}");
        assert!(whole.contains("&lt;b&gt;"), "the title is text: {whole}");
        let broken = drawn(vec![span(0, 300), span(600, 950)]);
        assert!(broken.contains("class=\"gap\" d=\"M400 7h200"), "{broken}");
        // Before what is kept whole, the policy thins points out: that is no gap.
        let sparse = vec![span(100, 100), span(500, 500), span(900, 950)];
        let dense = |dense| {
            timeline_svg(&lane_of(sparse.clone()), at(0), at(1000), (Some(60), dense), "")
                .into_string()
        };
        assert!(dense(1000).contains("class=\"gap\""));
        assert!(!dense(100).contains("class=\"gap\""), "{}", dense(100));
    }
}
