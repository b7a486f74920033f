//! What is known of an asset, for people.

use super::{
    ExplainOutput,
    stored::{BucketView, ObjectAssetView},
    view::{DatabaseView, LocationView, OffsiteCopyView, RecoveryPointView, ScheduleView},
};
use crate::{
    commands::gate,
    output::CommandOutput,
    table::TerminalStyle,
    words::{self, PLACEHOLDER, escape_control_chars, format_age, format_size, format_time},
};
use shared::policy::{AssetObjectives, RetentionRule};

impl CommandOutput for ExplainOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        let mut parts = Vec::new();
        parts.extend(self.database.as_ref().map(|d| render_database(&self.asset, d, look)));
        parts.extend(self.object_assets.iter().map(|s| render_object_asset(&self.asset, s, look)));
        parts.extend(self.buckets.iter().map(render_bucket));
        parts.extend(self.observation_errors.iter().map(|g| {
            escape_control_chars(&format!("NOT SEEN {}: {}; {}", g.location, g.message, g.hint))
        }));
        parts.join("\n\n")
    }
}

/// Lines of `name: value`.
fn render_fields<const N: usize>(facts: [(&str, String); N]) -> String {
    let lines = facts.into_iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("  {name:<14}{value}")).collect::<Vec<_>>().join("\n")
}

fn render_database(asset: &str, d: &DatabaseView, look: TerminalStyle) -> String {
    let now = d.current.as_ref();
    let what = now.map_or("no longer there; its points are".to_owned(), |n| {
        format!("{}, {}", n.engine, n.status)
    });
    let restorable = now.and_then(|n| n.latest_restorable);
    let chosen =
        d.group.as_ref().map_or("none has it, so nothing backs it up".to_owned(), Clone::clone);
    let mut parts = vec![format!("{asset}: {what}")];
    parts[0] += "\n";
    parts[0] += &render_fields([
        ("group", chosen),
        ("resource id", now.map(|n| n.resource_id.clone()).unwrap_or_default()),
        (
            "RDS keeps",
            now.map(|n| format!("{} days, window {} UTC", n.retention_days, n.backup_window))
                .unwrap_or_default(),
        ),
        (
            "restorable to",
            restorable.map(|t| format!("{} UTC", format_time(t))).unwrap_or_default(),
        ),
        ("objectives", format_objectives(&d.objectives)),
        (
            "always stay",
            d.min_backups.map(|n| format!("{n} good points at each place")).unwrap_or_default(),
        ),
    ]);
    let groups = d.selection.iter().map(|s| {
        format!("  {}: {}, because {}", s.group, if s.is_selected { "yes" } else { "no" }, s.reason)
    });
    parts.push(escape_control_chars(&format!(
        "selected by\n{}",
        groups.collect::<Vec<_>>().join("\n")
    )));
    if !d.schedules.is_empty() {
        parts.push(look.render_table(
            &["snapshots", "schedule", "next (UTC)", "keep"],
            d.schedules.iter().map(schedule_row),
        ));
    }
    if !d.findings.is_empty() {
        parts.push(d.findings.iter().map(words::format_finding).collect::<Vec<_>>().join("\n"));
    }
    parts.extend(d.locations.iter().map(|p| render_location(p, look)));
    parts.join("\n\n")
}

fn schedule_row(d: &ScheduleView) -> Vec<String> {
    vec![
        d.reason.clone(),
        d.schedule.clone().unwrap_or_else(|| "on demand".into()),
        d.next_due_at.map_or(PLACEHOLDER.to_owned(), format_time),
        format_retention_rule(&d.retention),
    ]
}

fn render_location(p: &LocationView, look: TerminalStyle) -> String {
    let head = format!("{} ({})", p.name, p.location);
    if !p.observed {
        return format!("{head}: can't be seen");
    }
    if p.recovery_points.is_empty() {
        return format!("{head}: no points");
    }
    let home = p.name == "home";
    let mut columns =
        vec!["point", "status", "data time (UTC)", "age", "reason", "size", "fate", "kept until"];
    if home {
        columns.push("offsite");
    }
    let rows = p.recovery_points.iter().map(|p| {
        let mut row = recovery_point_row(p);
        if home {
            row.push(format_offsite_copies(&p.offsite_copies));
        }
        row
    });
    format!(
        "{head}: {}\n{}",
        words::pluralize(p.recovery_points.len(), "point", "points"),
        look.render_table(&columns, rows)
    )
}

fn recovery_point_row(p: &RecoveryPointView) -> Vec<String> {
    let fate = format!("{}: {}", if p.retained { "stays" } else { "goes" }, p.reasons.join(", "));
    let earlier = if p.of_earlier_database { " (of an earlier database of this name)" } else { "" };
    vec![
        p.id.clone(),
        gate::format_state(&p.state),
        p.data_time.map_or(PLACEHOLDER.to_owned(), format_time),
        p.age_seconds.map_or(PLACEHOLDER.to_owned(), format_age),
        format!("{}{earlier}", p.reason),
        format!("{} GiB", p.size_gib),
        fate,
        p.retained_until.map_or(PLACEHOLDER.to_owned(), format_time),
    ]
}

fn format_offsite_copies(copies: &[OffsiteCopyView]) -> String {
    let said = copies.iter().map(|c| match c.state {
        "good" | "not-wanted" => format!("{}: {}", c.destination, c.state.replace('-', " ")),
        state => format!("{}: {} ({})", c.destination, state.replace('-', " "), c.detail),
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() { PLACEHOLDER.to_owned() } else { said.join("\n") }
}

/// A keep rule as the policy has it.
fn format_retention_rule(rule: &RetentionRule) -> String {
    let RetentionRule { age, newest, hourly, daily, weekly, monthly, yearly } = rule;
    let mut parts: Vec<String> = age.iter().map(|a| format!("for {a}")).collect();
    let counts = [
        ("newest", newest),
        ("hourly", hourly),
        ("daily", daily),
        ("weekly", weekly),
        ("monthly", monthly),
        ("yearly", yearly),
    ];
    parts.extend(counts.iter().filter_map(|(word, n)| n.map(|n| format!("{word} {n}"))));
    parts.join(", ")
}

fn format_objectives(o: &AssetObjectives) -> String {
    let AssetObjectives { max_age, rpo, rto, min_size, max_size_deviation } = o;
    let said = |word: &str, value: Option<String>| value.map(|v| format!("{word} {v}"));
    let parts = [
        said("newest point at most", max_age.as_ref().map(|p| format!("{p} old"))),
        said("data lost at most", rpo.as_ref().map(ToString::to_string)),
        said("restored within", rto.as_ref().map(ToString::to_string)),
        said("size at least", min_size.as_ref().map(ToString::to_string)),
        said("size changes at most", max_size_deviation.as_ref().map(ToString::to_string)),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

fn render_object_asset(asset: &str, s: &ObjectAssetView, look: TerminalStyle) -> String {
    let name = s.status.as_ref().map_or(asset, |s| s.asset.as_str());
    let suffix = if s.suffix.is_empty() { String::new() } else { format!("*{}", s.suffix) };
    let mut parts = vec![format!(
        "{name}: objects\n{}",
        render_fields([
            ("group", s.group.clone()),
            ("lies at", format!("{}{suffix}", s.location)),
            ("objectives", format_objectives(&s.objectives)),
        ])
    )];
    if !s.findings.is_empty() {
        parts.push(s.findings.iter().map(words::format_finding).collect::<Vec<_>>().join("\n"));
    }
    if !s.newest.is_empty() {
        let rows = s.newest.iter().map(|l| {
            let bytes = i64::try_from(l.size_bytes).unwrap_or(i64::MAX);
            vec![l.key.clone(), format_size(bytes), format_time(l.data_time)]
        });
        parts.push(
            look.render_table(&["newest objects", "size", "data time (UTC, at the latest)"], rows),
        );
    }
    parts.join("\n\n")
}

fn render_bucket(b: &BucketView) -> String {
    let p = &b.policy;
    let copies = p.copies.iter().map(|c| {
        let prefixes = if c.prefixes.is_empty() {
            String::new()
        } else {
            format!(" ({})", c.prefixes.join(", "))
        };
        format!("to {}{prefixes}", c.to)
    });
    let replication =
        p.replication.as_ref().map(|r| format!("to {}, at most {} behind", r.to, r.max_lag));
    let mut parts = vec![format!(
        "{}: bucket\n{}",
        p.bucket,
        render_fields([
            ("group", b.group.clone()),
            ("region", p.region.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("objectives", format_objectives(&p.objectives)),
            ("versioning", if p.versioning { "must be on".into() } else { String::new() }),
            (
                "old versions",
                p.noncurrent_version_expiration
                    .as_ref()
                    .map(|n| format!("kept for {n}"))
                    .unwrap_or_default()
            ),
            ("replicated", replication.unwrap_or_default()),
            ("copied", copies.collect::<Vec<_>>().join("; ")),
        ])
    )];
    let standings = b.statuses.iter().map(|s| {
        let newest = s.newest_point.as_ref().map_or(String::new(), |n| format!(", newest {n}"));
        let why = if s.messages.is_empty() {
            String::new()
        } else {
            format!(": {}", s.messages.join("; "))
        };
        escape_control_chars(&format!(
            "{} {}{newest}{why}",
            s.asset,
            words::severity_label(s.max_severity)
        ))
    });
    parts.extend(standings);
    parts.extend(b.findings.iter().map(words::format_finding));
    parts.join("\n")
}
