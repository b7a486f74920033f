//! Makes the page of a fleet of any size: to be looked at, and to be measured (bench/report.py).
//!
//!     fleet_page FOLDER ASSETS DAYS [well]

#![expect(clippy::print_stdout, reason = "it tells what it measured")]

use jiff::{SignedDuration, Timestamp};
use report::{
    build_page,
    facts::{
        AssetKey, AssetStorage, AuditEvent, AuditHead, AuditTrail, BackupLocation, Kind,
        PointRecord, ReportInput, UnobservedLocation,
    },
    prices::StorageKind,
    render_html,
};
use shared::{
    plan::{Finding, FindingCode, Severity},
    policy::Policy,
    report::{AssetCoverage, AssetStatus},
};
use std::{env, error::Error, fs, path::Path, time::Instant};

const GIB: u64 = 1 << 30;
const DAY: i64 = 86_400;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, assets, days, ..] = &arguments[..] else {
        return Err("write: fleet_page FOLDER ASSETS DAYS [well]".into());
    };
    let well = arguments.get(3).is_some_and(|w| w == "well");
    let policy = policy();
    let now: Timestamp = "2026-11-20T12:05:00Z".parse()?;
    let facts = fleet_input(assets.parse()?, days.parse()?, now, well);
    let begun = Instant::now();
    let told = build_page(&policy, &facts, now);
    let (html, json) = (render_html(&told.page), serde_json::to_vec(&told.page)?);
    let took = begun.elapsed().as_secs_f64();
    fs::create_dir_all(folder)?;
    fs::write(Path::new(folder).join("index.html"), &html)?;
    fs::write(Path::new(folder).join("report.json"), &json)?;
    let points: usize = facts.storage.values().map(|h| h.points.len()).sum();
    let (html, json) = (html.len(), json.len());
    println!(r#"{{"seconds":{took:.3},"html":{html},"json":{json},"points":{points}}}"#);
    Ok(())
}

fn policy() -> Policy {
    let yaml = "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
        destinations: {virginia: {region: us-east-1}}, \
        databases: {fleet: {select: {include: [\"*-prod\"]}, objectives: {max_age: 25h, rpo: 25h, rto: 4h}, \
          snapshots: {daily: {schedule: {cron: \"0 2 * * *\"}, keep: {for: 90d}}}, \
          copies: [{to: virginia, of: [daily], keep: {for: 90d}, max_age: 26h}]}}, \
        costs: {monthly_budget: 4200, quota: 60TiB, snapshot_change: 3%}, \
        audit: {bucket: acme-audit, keep: 1y}}";
    Policy::parse(yaml).expect("a policy")
}

/// Daily points at home and a copy of each; some assets late, some grown, one place unseen, unless all is well.
fn fleet_input(assets: usize, days: i64, now: Timestamp, well: bool) -> ReportInput {
    let mut facts = ReportInput::default();
    let region = |r: &str| Some(r.to_owned());
    let spot = |n: &str, r: &str, home| BackupLocation { name: n.into(), region: region(r), home };
    let home = facts.intern_location(spot("eu-west-1 in 111122223333", "eu-west-1", true));
    let away = facts.intern_location(spot("us-east-1 in 111122223333", "us-east-1", false));
    let mut events = Vec::new();
    for i in 0..assets {
        let asset = asset_name(i);
        let late = !well && (i == 3 || i == 7);
        let blind = !well && i == 5;
        let held = asset_storage(i, days, now, late, [home, away]);
        let held = if blind {
            let points = held.points.into_iter().filter(|p| p.location == home).collect();
            AssetStorage { points, unobserved: vec![away], ..AssetStorage::default() }
        } else {
            held
        };
        let newest = held.points.iter().filter(|p| p.location == home).map(|p| p.at).max();
        let age = now.as_second() - newest.unwrap_or(0);
        let mut why = Vec::new();
        if late {
            let text =
                format!("its newest good point is {}h old, over the objective of 25h", age / 3600);
            let run = "run `holdfast run snapshot`";
            facts.findings.push(
                Finding::new(Severity::Critical, &asset, FindingCode::BackupStale, &text, run)
                    .in_group("fleet"),
            );
            why.push(text);
        }
        facts.statuses.push(AssetStatus {
            newest_point: Some(format!("{asset}-daily-202611200200")),
            group: "fleet".into(),
            age_seconds: Some(age),
            max_age_seconds: Some(25 * 3600),
            size_bytes: held.points.iter().max_by_key(|p| p.at).map(|p| p.bytes.cast_signed()),
            offsite_age_seconds: (!blind).then_some(age),
            offsite_wanted: true,
            max_age_derived: false,
            coverage: AssetCoverage::Watched,
            max_severity: late.then_some(Severity::Critical),
            messages: why,
            proof_age_seconds: None,
            proof_wanted: false,
            asset: asset.clone(),
        });
        events.extend(audit_events(i, &asset, now));
        facts.storage.insert(AssetKey::new("fleet", asset), held);
    }
    if !well {
        facts.unobserved_locations.push(UnobservedLocation {
            location: "us-east-1 in 111122223333".into(),
            message: "describe snapshots: AccessDenied: not authorized to perform rds:DescribeDBSnapshots".into(),
            hint: "allow rds:DescribeDBSnapshots there".into(),
        });
    }
    events.sort_by_key(|e| e.at);
    let head = AuditHead {
        seq: 4711,
        at: now,
        hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
    };
    facts.trail = AuditTrail::Read { events, head: Some(head) };
    facts
}

fn asset_name(i: usize) -> String {
    let names = [
        "orders",
        "auth",
        "content",
        "customers",
        "products",
        "search",
        "mail",
        "media",
        "<script>alert(1)</script>",
    ];
    match names.get(i) {
        Some(name) => format!("{name}-prod"),
        None => format!("service-{i:03}-prod"),
    }
}

fn asset_storage(i: usize, days: i64, now: Timestamp, late: bool, spots: [u16; 2]) -> AssetStorage {
    let mut points = Vec::new();
    let first = now.as_second() / DAY * DAY + 2 * 3600;
    for day in i64::from(late) * 2..days {
        // One day of many was missed.
        if (day + i64::try_from(i).unwrap_or(0) * 7) % 41 == 40 {
            continue;
        }
        let at = first - day * DAY;
        let grown = 20 * GIB
            + u64::try_from((days - day).max(0)).unwrap_or(0) * (GIB / 40)
            + (i as u64 % 7) * GIB;
        let bytes = if i % 11 == 4 && day == 0 { grown * 3 / 2 } else { grown };
        let class = StorageKind::RdsSnapshot;
        let point = PointRecord { at, stored: at, bytes, location: spots[0], class, good: true };
        points.push(point);
        if day > 0 || !late {
            points.push(PointRecord { location: spots[1], ..point });
        }
    }
    AssetStorage { points, ..AssetStorage::default() }
}

/// A snapshot each day, a check each week, a restore each month.
fn audit_events(i: usize, asset: &str, now: Timestamp) -> Vec<AuditEvent> {
    let ago =
        |days: i64| now.checked_sub(SignedDuration::from_hours(24 * days + 3)).expect("a time");
    let number = i64::try_from(i).unwrap_or(0);
    let event = |at, kind, action: &str, done, detail: &str, seconds| AuditEvent {
        at,
        group: Some("fleet".into()),
        asset: asset.to_owned(),
        kind,
        who: "holdfast".to_owned(),
        action: action.to_owned(),
        done,
        detail: detail.to_owned(),
        seconds,
    };
    let mut all: Vec<_> = (0..30)
        .map(|d| event(ago(d), Kind::Backup, "take it", (d + number) % 173 != 9, "", None))
        .collect();
    if i % 3 != 2 {
        all.extend((0..12).map(|w| {
            event(
                ago(7 * w),
                Kind::Check,
                "verify quickly",
                true,
                "every hash is right",
                Some(31.0),
            )
        }));
        let took = 1500.0 + 600.0 * f64::from(u32::try_from(i % 5).unwrap_or(0));
        let (done, told) = if i == 1 {
            (false, "3 tables have other counts")
        } else {
            (true, "42 tables, all checks passed")
        };
        all.extend((0..3).map(|m| {
            event(ago(30 * m + 2), Kind::Restore, "restore it", done || m > 0, told, Some(took))
        }));
    }
    all
}
