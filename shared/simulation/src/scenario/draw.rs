//! Drawing a scenario from a seed.

use super::{Piece, Scenario, location};
use crate::{
    faults::{Fault, Happening},
    random::Random,
    trouble::CallKind,
    world::Change,
};
use jiff::{SignedDuration, Timestamp};

const ACCOUNT: &str = "111122223333";
/// Each policy's home is a destination of the others.
const HOMES: [&str; 3] = ["eu-west-1", "us-east-1", "ap-southeast-2"];
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Sofia",
    "Europe/London",
    "Europe/Vienna",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
];
/// Days at the end without trouble.
const CALM_DAYS: i64 = 22;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Draws the scenario of a seed, of so many days.
pub fn draw_scenario(seed: u64, days: i64) -> Scenario {
    let mut random = Random::from_seed(seed);
    let count = 1 + random.below(3);
    let all = i64::try_from(count).unwrap_or(1);
    let most = if random.one_in(12) { 40 } else { 10 };
    let databases: Vec<usize> = (0..count)
        .map(|_| usize::try_from(random.between(8 / all + 1, most / all)).unwrap_or(8))
        .collect();
    let policies = (0..count).map(|n| draw_policy(n, count, &mut random)).collect();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let start = start + DAY * i32::try_from(random.below(365)).unwrap_or(0);
    let end = start + SignedDuration::from_hours(24 * days);
    let calm_from = end - SignedDuration::from_hours(24 * CALM_DAYS);
    let mut trouble = random.fork(4);
    let pieces = draw_pieces(count, start, calm_from, &mut trouble);
    Scenario { seed, policies, databases, start, calm_from, end, pieces, kept: None }
}

fn draw_policy(n: usize, count: usize, random: &mut Random) -> String {
    let home = HOMES[n];
    let dr = if count > 1 { HOMES[(n + 1) % count] } else { "us-west-2" };
    let zone = random.pick(&ZONES);
    let (hour, minute) = (random.between(0, 5), random.pick(&[0, 15, 30]));
    let daily = random.pick(&[
        "{ daily: 3, weekly: 2 }",
        "{ for: 6d }",
        "{ newest: 4, monthly: 2 }",
        "{ daily: 2, weekly: 2, monthly: 3, yearly: 1 }",
    ]);
    let at_least = random.between(1, 3);
    let weekly = random.pick(&["\"0 4 * * 0\"", "\"45 1 1 * *\"", "\"15 2 * * 3\""]);
    let in_flight = random.between(3, 20);
    let copies = random.pick(&["{ newest: 2 }", "{ daily: 2, weekly: 1 }", "{ for: 4d }"]);
    let automated = if random.one_in(3) {
        "\n      - { to: vault, of: [automated], keep: { newest: 2 } }"
    } else {
        ""
    };
    let max_age =
        random.pick(&["objectives: { max_age: 26h }", "objectives: { max_age: 40h }", "expect: 1"]);
    let retention =
        if random.one_in(5) { "\nretention: { schedule: { cron: \"0 5 * * *\" } }" } else { "" };
    let hourly = if random.one_in(20) {
        "\n      hourly: { schedule: { cron: \"10 * * * *\" }, keep: { hourly: 3 } }"
    } else {
        ""
    };
    let dumps = if random.one_in(2) { draw_dumps(home, random) } else { String::new() };
    format!(
        r#"
holdfast: 1
company: acme
home: {{ account: "{ACCOUNT}", region: {home} }}
time_zone: {zone}
destinations:
  dr: {{ region: {dr}, kms_key: "arn:aws:kms:{dr}:{ACCOUNT}:key/dr", max_concurrent_copies: {in_flight} }}
  vault:
    account: "444455556666"
    region: eu-central-1
    role: arn:aws:iam::444455556666:role/pull
    delete_role: arn:aws:iam::444455556666:role/delete
    kms_key: arn:aws:kms:eu-central-1:444455556666:key/vault
    reencrypt_kms_key: arn:aws:kms:{home}:{ACCOUNT}:key/transfer
databases:
  fleet:
    select: {{ include: ["acme-*"] }}
    {max_age}
    min_backups: {at_least}
    snapshots:
      daily: {{ schedule: {{ cron: "{minute} {hour} * * *" }}, keep: {daily} }}
      eu-daily: {{ schedule: {{ cron: {weekly} }}, keep: {{ for: 15d }} }}
      pre-deploy: {{ keep: {{ for: 4d }} }}{hourly}
    copies:
      - {{ to: dr, of: [daily], keep: {copies}, max_age: 50h }}
      - {{ to: dr, of: [daily, eu-daily], keep: {{ weekly: 2 }} }}
      - {{ to: vault, of: [daily, pre-deploy], keep: {{ daily: 2 }}, max_age: 75h }}{automated}
limits: {{ delete: {{ count: 500, share: 95% }} }}{retention}
{dumps}"#
    )
}

fn draw_dumps(home: &str, random: &mut Random) -> String {
    let deduplicate = random.one_in(2);
    let second = random.pick(&["{ for: 5d }", "{ newest: 3 }", "{ daily: 2, monthly: 2 }"]);
    let at_least = random.between(1, 2);
    format!(
        r#"postgres:
  main:
    databases: [shop, crm]
    host: db.internal
    min_backups: {at_least}
    objectives: {{ max_age: 30h }}
    storage: {{ bucket: acme-dumps-{home}, prefix: pg/, key: "{{reason}}/{{database}}_%Y%m%d.dump" }}
    copies:
      - {{ bucket: acme-dumps2-{home}, prefix: pg/, keep: {second} }}
    dumps:
      nightly: {{ schedule: {{ cron: "30 2 * * *" }}, keep: {{ daily: 3, weekly: 2 }}, format: custom, skip_unchanged: {deduplicate} }}
      monthly: {{ schedule: {{ cron: "0 3 1 * *" }}, keep: {{ monthly: 2 }}, format: custom }}
"#
    )
}

fn draw_pieces(
    count: usize,
    start: Timestamp,
    calm_from: Timestamp,
    random: &mut Random,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = start + SignedDuration::from_hours(random.between(24, 24 * 6));
    while at < calm_from - DAY {
        let policy = random.below(count);
        if random.one_in(2) {
            let fault = draw_fault(policy, random);
            let hours = match fault {
                Fault::FailingSnapshots(_) | Fault::FailingCopies(_) | Fault::Unobserved(_)
                    if random.one_in(2) =>
                {
                    random.between(24 * 5, 24 * 24)
                }
                Fault::Clock(_) | Fault::StaleLists(_) => random.between(1, 8),
                _ => random.between(1, 30),
            };
            let until = at + SignedDuration::from_hours(hours);
            pieces.push(Piece::Fault(at, until.min(calm_from - DAY), fault));
        } else {
            pieces.push(Piece::Moment(at, draw_moment(policy, random)));
        }
        at += SignedDuration::from_mins(random.between(30, 60 * 24 * 4));
    }
    pieces
}

fn draw_fault(policy: usize, random: &mut Random) -> Fault {
    let home = location(ACCOUNT, HOMES[policy]);
    let any = [
        home.clone(),
        location(ACCOUNT, HOMES[(policy + 1) % 3]),
        location("444455556666", "eu-central-1"),
    ];
    let calls = [CallKind::Create, CallKind::Share, CallKind::Copy, CallKind::Delete];
    let hours = |random: &mut Random| match random.below(4) {
        0 => random.between(-90, -1),
        1 => random.between(24 * 10, 24 * 40),
        _ => random.between(1, 70),
    };
    match random.below(14) {
        0 => Fault::Killed(random.below(5)),
        1 => Fault::LostAnswers(30),
        2 => Fault::Throttled(40),
        3 => Fault::Denied(*random.pick(&calls)),
        4 => Fault::Unobserved(random.pick(&any).clone()),
        5 => Fault::StoresUnobserved,
        6 => Fault::StaleLists(SignedDuration::from_mins(random.between(1, 12))),
        7 => Fault::FailingSnapshots(*random.pick(&[30, 100])),
        8 => Fault::FailingCopies(*random.pick(&[30, 100])),
        9 => Fault::KeyDisabled(format!(
            "arn:aws:kms:{}:{ACCOUNT}:key/{}",
            home.region,
            random.pick(&["home", "dr", "transfer"])
        )),
        10 => Fault::Quota(random.pick(&any).clone(), random.below(60)),
        11 => Fault::Clock(SignedDuration::from_hours(hours(random))),
        12 => Fault::Events,
        _ => Fault::ServersDown,
    }
}

fn draw_moment(policy: usize, random: &mut Random) -> Happening {
    let home = location(ACCOUNT, HOMES[policy]);
    let which = random.below(1000);
    let change = match random.below(13) {
        0 => Change::Rename(which),
        1 => Change::Recreate(which),
        2 => Change::BlueGreen(which),
        3 => Change::Delete(which),
        4 => Change::Create(which),
        5 => Change::StopOrStart(which),
        6 => Change::SnapshotByHand(which),
        7 => Change::SnapshotByOther(which),
        8 => Change::DeleteByHand(which),
        9 => Change::HoldOrRelease(which),
        10 => return Happening::Plant(policy),
        _ => {
            let demand = format!("deploy-{}", random.below(6));
            return Happening::Deploy(policy, "pre-deploy".into(), demand);
        }
    };
    Happening::Change(home, change)
}
