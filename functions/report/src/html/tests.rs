use super::*;
use crate::{
    facts::{Event, Facts, Gap, Held, Key, Kind, Point, Spot, Trail},
    page,
    prices::Class,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::policy::Policy;

const DAY: i64 = 86_400;

fn policy() -> Policy {
    let yaml = "{holdfast: 1, company: acme, home: {account: \"111122223333\", region: eu-west-1}, \
        databases: {fleet: {select: {like: [\"*-prod\"]}, objectives: {max_age: 25h}, \
        snapshots: {daily: {when: {cron: \"0 2 * * *\"}, keep: {for: 90d}}}}}, costs: {monthly_budget: 10, quota: 1TB}}";
    Policy::parse(yaml).expect("a policy")
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

/// Assets with two points a day missing here and there, at two places.
fn fleet(names: impl Iterator<Item = String>, days: i64) -> Facts {
    let mut facts = Facts::default();
    let spot = |name: &str, home| Spot { name: name.into(), region: None, home };
    let spots =
        [facts.spot(spot("eu-west-1 in 1", true)), facts.spot(spot("us-east-1 in 1", false))];
    let mut events = Vec::new();
    for (i, name) in (0_i64..).zip(names) {
        let at = |day: i64| now().as_second() - day * DAY - 3600;
        let days = (0..days).filter(|day| (day * 7 + i) % 9 != 4);
        let points = days.flat_map(|day| {
            spots.map(|spot| Point {
                at: at(day),
                stored: at(day),
                bytes: 20_000_000_000 + day.unsigned_abs() * 1_000_003,
                spot,
                class: Class::RdsSnapshot,
                good: true,
            })
        });
        let held = Held { points: points.collect(), ..Held::default() };
        let proof = |day: i64| Event {
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
        facts.held.insert(Key::new("fleet", name), held);
    }
    facts.trail = Trail::Read { events, head: None };
    facts
}

fn made(facts: &Facts) -> String {
    html(&page(&policy(), facts, now()).page)
}

#[test]
fn markup_in_names_and_errors_stays_text() {
    let evil = "<script>alert(1)</script>\" onload=\"x";
    let mut facts = fleet(std::iter::once(evil.to_owned()), 3);
    facts.gaps.push(Gap { place: evil.into(), why: evil.into(), mend: format!("`{evil}`") });
    facts.elsewhere.push(evil.into());
    facts.spots[0].name = evil.into();
    let page = made(&facts);
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
    let page = made(&fleet(std::iter::once("orders-prod".to_owned()), 30));
    for asks in ["src=", "@import", "url(", "<iframe", "<form", "<object"] {
        assert!(!page.contains(asks), "{asks}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
    let hash: [u8; 32] = Sha256::digest(SCRIPT.as_bytes()).into();
    assert_eq!(
        SCRIPT_HASH,
        format!("sha256-{}", base64(&hash)),
        "write this hash for the changed script"
    );
}

fn base64(bytes: &[u8]) -> String {
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
    let page = made(&fleet(names, 365));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn every_id_is_there_once_and_every_link_leads_somewhere() {
    let names = (0..20).map(|i| format!("a{i}-prod"));
    let page = made(&fleet(names, 40));
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
