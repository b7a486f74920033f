use super::*;
use crate::{
    build_page,
    facts::{
        AssetKey, AssetStorage, AuditEvent, AuditTrail, BackupLocation, Kind, PointRecord,
        ReportInput, UnobservedLocation,
    },
    prices::StorageKind,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::policy::Policy;

const DAY: i64 = 86_400;

fn policy() -> Policy {
    let yaml = "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
        databases: {fleet: {select: {include: [\"*-prod\"]}, objectives: {max_age: 25h}, \
        snapshots: {daily: {schedule: {cron: \"0 2 * * *\"}, keep: {for: 90d}}}}}, costs: {monthly_budget: 10, quota: 1TB}}";
    Policy::parse(yaml).expect("a policy")
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

/// Assets with two points a day missing here and there, at two places.
fn fleet_input(names: impl Iterator<Item = String>, days: i64) -> ReportInput {
    let mut facts = ReportInput::default();
    let spot = |name: &str, home| BackupLocation { name: name.into(), region: None, home };
    let spots = [
        facts.intern_location(spot("eu-west-1 in 1", true)),
        facts.intern_location(spot("us-east-1 in 1", false)),
    ];
    let mut events = Vec::new();
    for (i, name) in (0_i64..).zip(names) {
        let at = |day: i64| now().as_second() - day * DAY - 3600;
        let days = (0..days).filter(|day| (day * 7 + i) % 9 != 4);
        let points = days.flat_map(|day| {
            spots.map(|spot| PointRecord {
                at: at(day),
                stored: at(day),
                bytes: 20_000_000_000 + day.unsigned_abs() * 1_000_003,
                location: spot,
                class: StorageKind::RdsSnapshot,
                good: true,
            })
        });
        let held = AssetStorage { points: points.collect(), ..AssetStorage::default() };
        let proof = |day: i64| AuditEvent {
            at: Timestamp::from_second(at(day)).expect("a time"),
            group: None,
            asset: name.clone(),
            kind: if day % 5 == 0 { Kind::Restore } else { Kind::Check },
            who: "verify".into(),
            action: "verify".into(),
            done: day % 7 != 0,
            detail: String::new(),
            seconds: Some(61.0),
        };
        events.extend((0..13).map(|week| proof(week * 7 + i % 7)));
        facts.storage.insert(AssetKey::new("fleet", name), held);
    }
    facts.trail = AuditTrail::Read { events, head: None };
    facts
}

fn rendered_page(facts: &ReportInput) -> String {
    render_html(&build_page(&policy(), facts, now()).page)
}

#[test]
fn markup_in_names_and_errors_stays_text() {
    let evil = "<script>alert(1)</script>\" onload=\"x";
    let mut facts = fleet_input(std::iter::once(evil.to_owned()), 3);
    facts.unobserved_locations.push(UnobservedLocation {
        location: evil.into(),
        message: evil.into(),
        hint: format!("`{evil}`"),
    });
    facts.host_directories.push(evil.into());
    facts.locations[0].name = evil.into();
    let page = rendered_page(&facts);
    assert_eq!(page.matches("<script").count(), 1, "the page's own");
    // Inside of a plot's title quotes are text, as they are in any element.
    let titles = page.split("<title>").skip(1).filter_map(|t| t.split("</title>").next());
    assert!(titles.clone().all(|t| !t.contains('<')));
    let outside = titles.fold(page.clone(), |page, title| page.replace(title, ""));
    assert!(!outside.contains("\" onload=\""), "no attribute is broken out of");
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn the_page_asks_nobody_for_anything_and_its_script_is_the_one_it_allows() {
    let page = rendered_page(&fleet_input(std::iter::once("orders-prod".to_owned()), 30));
    for asks in ["src=", "@import", "url(", "<iframe", "<form", "<object"] {
        assert!(!page.contains(asks), "{asks}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
    let hash: [u8; 32] = Sha256::digest(SCRIPT.as_bytes()).into();
    assert_eq!(
        SCRIPT_HASH,
        format!("sha256-{}", encode_base64(&hash)),
        "write this hash for the changed script"
    );
}

fn encode_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[test]
fn two_hundred_assets_with_a_year_of_points_are_under_a_megabyte() {
    let names = (0..200).map(|i| format!("lomash-service-{i:03}-prod"));
    let page = rendered_page(&fleet_input(names, 365));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn every_id_is_there_once_and_every_link_leads_somewhere() {
    let names = (0..20).map(|i| format!("a{i}-prod"));
    let page = rendered_page(&fleet_input(names, 40));
    let of = |before: &str| {
        page.split(before)
            .skip(1)
            .filter_map(|p| p.split('"').next())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let ids = of(" id=\"");
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!(ids.len(), once.len());
    for to in of("href=\"#").into_iter().chain(of("aria-labelledby=\"")) {
        assert!(ids.contains(&to), "{to}");
    }
}
