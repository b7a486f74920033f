//! Whatever happens, in whatever order: nobody is told twice, nobody who should know is not told.

use super::*;
use crate::heard::AlarmEvent;
use proptest::prelude::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum RandomEvent {
    /// Time goes on, or back.
    Wait(i64),
    /// A report: function, whether whole, problems, how late it is heard, whether twice.
    Report { function: usize, whole: bool, problems: Vec<(usize, bool)>, late: i64, twice: bool },
    /// An alarm changes.
    Rings(bool),
    /// A tick.
    Tick,
}

fn event_strategy() -> impl Strategy<Value = RandomEvent> {
    let problems = prop::collection::vec((0..4_usize, any::<bool>()), 0..4);
    prop_oneof![
        4 => (1..90_i64).prop_map(RandomEvent::Wait),
        1 => (-2000..3000_i64).prop_map(RandomEvent::Wait),
        6 => (0..2_usize, prop::bool::weighted(0.8), problems, -30..30_i64, any::<bool>()).prop_map(
            |(function, whole, problems, late, twice)| RandomEvent::Report { function, whole, problems, late, twice }
        ),
        1 => any::<bool>().prop_map(RandomEvent::Rings),
        3 => Just(RandomEvent::Tick),
    ]
}

/// What each channel was told of each incident that it takes for open.
type KnownSeverities = BTreeMap<(Name, String), Severity>;

fn check_messages(
    known: &mut KnownSeverities,
    told: &[OutgoingMessage],
) -> Result<(), TestCaseError> {
    for t in told {
        let m = &t.message;
        prop_assert!(
            m.incidents.len() <= crate::message::MAX_INCIDENTS && m.title.chars().count() <= 200
        );
        prop_assert!(!m.id.is_empty());
        for i in &m.incidents {
            let at = (t.channel.clone(), i.key.clone());
            match m.kind {
                MessageKind::Opened | MessageKind::Undelivered => {
                    let before = known.insert(at, i.severity);
                    prop_assert!(
                        before.is_none_or(|b| b < i.severity),
                        "opened twice: {} {}",
                        t.channel,
                        i.key
                    );
                }
                MessageKind::StillOpen => drop(known.insert(at, i.severity)),
                MessageKind::Resolved => {
                    prop_assert!(
                        known.remove(&at).is_some(),
                        "{} never heard of {}",
                        t.channel,
                        i.key
                    );
                    prop_assert!(i.until.is_some_and(|u| u >= i.since));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_told_twice_and_nobody_who_should_know_is_not_told(
        history in prop::collection::vec(event_strategy(), 1..60)
    ) {
        let mut h = NotifyHistory::new();
        let (mut now, mut known, mut ids) = (time_of_day("00:00"), KnownSeverities::new(), std::collections::BTreeSet::new());
        for (n, what) in history.into_iter().enumerate() {
            let news = match what {
                RandomEvent::Wait(minutes) => {
                    now += SignedDuration::from_mins(minutes);
                    continue;
                }
                RandomEvent::Tick => vec![],
                RandomEvent::Rings(rings) => vec![NotificationEvent::Alarm(AlarmEvent {
                    name: "acme-backup-age".into(),
                    state: if rings { "ALARM" } else { "OK" }.into(),
                    at: now,
                    reason: String::new(),
                })],
                RandomEvent::Report { function, whole, problems, late, twice } => {
                    let findings = problems.into_iter().map(|(asset, critical)| {
                        let severity = if critical { Severity::Critical } else { Severity::Warning };
                        reported_finding(severity, &format!("a{asset}"), "stale")
                    });
                    let name = ["freshness", "offsite"][function];
                    let when = now + SignedDuration::from_mins(late);
                    let mut report = reported_run(name, when, findings.collect());
                    (report.complete, report.run_id) = (whole, format!("r{n}"));
                    vec![report_event(report); 1 + usize::from(twice)]
                }
            };
            let told = h.plan_events(now, &news);
            check_messages(&mut known, &told)?;
            for t in &told {
                prop_assert!(ids.insert(t.message.id.clone()), "an id stands for one message");
            }
            for t in h.state.incidents.values() {
                if t.resolved_at.is_none() && t.cleared_at.is_none() && t.severity == Severity::Critical && t.code != "alarm" {
                    prop_assert!(!t.notified.is_empty(), "nobody knows of {}", t.key);
                    for channel in ["chat", "pager"] {
                        let at = (channel.parse().expect("a name"), t.key.clone());
                        prop_assert!(known.contains_key(&at), "{channel} does not know of {}", t.key);
                    }
                }
            }
            // The same once more is no news.
            let (same, again) = plan(&h.policy, h.state.clone(), &news, now);
            prop_assert!(again.is_empty(), "{again:?}");
            prop_assert_eq!(same, h.state.clone());
        }
    }

    #[test]
    fn what_ends_well_is_forgotten(history in prop::collection::vec(event_strategy(), 1..30)) {
        let mut h = NotifyHistory::new();
        let mut now = time_of_day("00:00");
        for (n, what) in history.into_iter().enumerate() {
            match what {
                RandomEvent::Wait(minutes) => now += SignedDuration::from_mins(minutes.abs()),
                RandomEvent::Report { function, problems, .. } => {
                    let findings = problems.into_iter().map(|(a, _)| stale_finding(&format!("a{a}"))).collect();
                    let mut report = reported_run(["freshness", "offsite"][function], now, findings);
                    report.run_id = format!("r{n}");
                    h.plan_events(now, &[report_event(report)]);
                }
                RandomEvent::Rings(_) | RandomEvent::Tick => drop(h.plan_events(now, &[])),
            }
        }
        // All is well from here on, and each function says so.
        for n in 0..8 {
            now += SignedDuration::from_mins(15);
            let mut reports = vec![reported_run("freshness", now, vec![]), reported_run("offsite", now, vec![])];
            for report in &mut reports {
                report.run_id = format!("end-{n}");
            }
            h.plan_events(now, &reports.into_iter().map(report_event).collect::<Vec<_>>());
        }
        prop_assert!(h.state.incidents.is_empty(), "{:?}", h.state.incidents.keys());
    }
}
