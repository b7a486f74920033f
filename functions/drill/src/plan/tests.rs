use super::*;
use crate::evidence::tests::{failed, proven, time};
use jiff::SignedDuration;
use proptest::prelude::*;
use shared::policy::Policy;

const SLOT: &str = "2026-12-07T09:00:00Z";

fn policy(more: &str) -> Policy {
    let yaml = format!(
        "{{holdfast: 1, company: acme, id: host-1, postgres: {{main: {{databases: [shop, users, stock], \
         storage: {{directory: /b}}, dumps: {{daily: {{keep: {{newest: 3}}}}}}}}}}, \
         drills: {{monthly: {{kind: dump, of: main, schedule: {{cron: \"0 9 * * MON#1\"}}{more}}}}}}}"
    );
    Policy::parse(&yaml).unwrap_or_else(|e| panic!("{e}"))
}

fn observed(policy: &Policy, evidence: &[DrillEvidence]) -> Vec<ObservedDrill<'static>> {
    let policy: &'static Policy = Box::leak(Box::new(policy.clone()));
    let (drill, rule) = policy.drills.iter().next().expect("a drill");
    let group = policy.postgres.keys().next().expect("a group");
    let asset = |name: &str| {
        let of = || evidence.iter().filter(|e| e.asset == name);
        ObservedAsset {
            asset: name.into(),
            candidates: Vec::new(),
            evidence: of().cloned().collect(),
            proven_at: of().filter(|e| e.proves_restore()).map(|e| e.finished_at).max(),
        }
    };
    let assets = ["shop", "stock", "users"].map(asset).into();
    let calendar = DrillCalendar::new(rule, &policy.time_zone);
    vec![ObservedDrill { drill, rule, group, calendar, assets }]
}

fn steps(plan: &ActionPlan<DrillAction>) -> Vec<String> {
    plan.steps.iter().map(|s| s.action.to_string()).collect()
}

fn codes(plan: &ActionPlan<DrillAction>, asset: &str) -> Vec<FindingCode> {
    plan.findings.iter().filter(|f| f.asset == asset).map(|f| f.code).collect()
}

#[test]
fn an_open_slot_is_drilled_once_and_a_missed_one_is_told() {
    let policy = policy("");
    let before = proven("monthly", "shop", "2026-11-02T09:00:00Z");
    let all = |now: &str, evidence: &[DrillEvidence]| plan(&observed(&policy, evidence), time(now));
    let open = all("2026-12-07T10:00:00Z", std::slice::from_ref(&before));
    assert_eq!(steps(&open).len(), 3);
    assert!(steps(&open)[0].starts_with("drill monthly (dump) of main/shop"));
    assert_eq!(codes(&open, "shop"), []);
    let done = [before.clone(), proven("monthly", "shop", SLOT)];
    assert_eq!(steps(&all("2026-12-07T10:00:00Z", &done)).len(), 2);
    let over = all("2026-12-08T09:00:00Z", &done);
    assert_eq!(
        steps(&over),
        [
            "record that drill monthly of main/stock was missed",
            "record that drill monthly of main/users was missed"
        ]
    );
    let missed = all("2026-12-08T09:00:00Z", &[before]);
    assert_eq!(codes(&missed, "shop"), [FindingCode::DrillMissed]);
    // A drill that never ran was not missed: what it is of is unproven.
    let never = all("2026-12-08T09:00:00Z", &[]);
    assert_eq!(steps(&never), [""; 0]);
    assert_eq!(codes(&never, "shop"), [FindingCode::Unproven]);
}

#[test]
fn what_a_drill_came_to_is_told_until_a_newer_one_says_otherwise() {
    let policy = policy("");
    let now = time("2026-12-20T00:00:00Z");
    let told = |evidence: &[DrillEvidence]| codes(&plan(&observed(&policy, evidence), now), "shop");
    let good = proven("monthly", "shop", "2026-11-02T09:00:00Z");
    assert_eq!(told(&[good.clone(), failed("monthly", "shop", SLOT)]), [FindingCode::DrillFailed]);
    let unverified =
        DrillEvidence { verdict: DrillVerdict::CouldNotVerify, ..failed("monthly", "shop", SLOT) };
    assert_eq!(told(&[good.clone(), unverified.clone()]), [FindingCode::DrillUnverified]);
    let missed = DrillEvidence { trigger: DrillTrigger::Missed, ..unverified };
    assert_eq!(told(&[good.clone(), missed.clone()]), [FindingCode::DrillMissed]);
    // Repeated by hand.
    let again = DrillEvidence {
        trigger: DrillTrigger::Manual,
        ..proven("monthly", "shop", "2026-12-10T12:00:00Z")
    };
    assert_eq!(told(&[good.clone(), missed, again]), []);
    // What was broken on purpose says nothing.
    let fault = Some(crate::evidence::DrillFault::Empty);
    let injected =
        DrillEvidence { injected: fault, ..failed("monthly", "shop", "2026-12-10T12:00:00Z") };
    assert_eq!(told(&[good, proven("monthly", "shop", SLOT), injected]), []);
}

#[test]
fn proof_grows_old_by_slots_and_not_by_days() {
    let policy = policy("");
    let told = |now: &str, evidence: &[DrillEvidence]| {
        let codes = codes(&plan(&observed(&policy, evidence), time(now)), "shop");
        codes.contains(&FindingCode::Unproven)
    };
    let good = [proven("monthly", "shop", SLOT)];
    assert!(!told("2026-12-08T00:00:00Z", &good));
    assert!(!told("2027-01-31T00:00:00Z", &good), "one slot was missed, which is told as such");
    assert!(!told("2027-01-04T09:00:00Z", &good));
    assert!(told("2027-02-01T09:00:00Z", &good), "two slots without a proof");
    let quick = DrillEvidence {
        kind: DrillKind::Quick,
        restored_on: None,
        ..proven("monthly", "shop", SLOT)
    };
    assert!(told("2026-12-08T00:00:00Z", &[quick]), "reading is no restore");
}

#[test]
fn the_age_of_a_proof_is_absent_for_a_group_with_an_asset_that_has_none() {
    let policy = policy("");
    let now = time(SLOT) + SignedDuration::from_hours(1);
    let some = observed(&policy, &[proven("monthly", "shop", SLOT)]);
    let values = proof_metrics(&some, now);
    assert_eq!(values.len(), 1);
    assert_eq!((values[0].asset.as_deref(), values[0].value), (Some("shop"), 54.0 * 60.0));
    let rows = proof_statuses(&some, now);
    assert!(rows.iter().all(|r| r.proof_wanted && !r.is_ok()));
    assert_eq!(rows[0].proof_age_seconds, Some(54 * 60));
    assert_eq!(rows[1].proof_age_seconds, None);
}

/// What a trace does in a step.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, in minutes.
    Wait(i64),
    /// The clock jumps, in hours; back too.
    Jump(i64),
    /// A run on what was observed now.
    Run { kill_after: usize, verdicts: u8 },
    /// A run that observed before the last event: an overlap.
    StaleRun { verdicts: u8 },
    /// The store can't be read.
    Gap,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1i64..60 * 24 * 9).prop_map(Event::Wait),
        1 => prop_oneof![Just(400 * 24), Just(-2), Just(9000), Just(-500)].prop_map(Event::Jump),
        5 => (0usize..5, any::<u8>()).prop_map(|(kill_after, verdicts)| Event::Run { kill_after, verdicts }),
        2 => any::<u8>().prop_map(|verdicts| Event::StaleRun { verdicts }),
        1 => Just(Event::Gap),
    ]
}

/// The store: evidence by key, written once.
#[derive(Default)]
struct ModelStore(BTreeMap<String, DrillEvidence>);

impl ModelStore {
    fn all(&self) -> Vec<DrillEvidence> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_by_key(|e| (e.slot, e.finished_at));
        all
    }
}

/// Carries out the steps as `apply_plan` does, killed after so many.
fn apply(
    store: &mut ModelStore,
    steps: &[PlanStepOf],
    now: Timestamp,
    kill_after: usize,
    verdicts: u8,
) -> Vec<String> {
    let mut restored = Vec::new();
    for (i, step) in steps.iter().take(kill_after).enumerate() {
        let task = step.action.task();
        let slot = task.slot.to_string();
        let base = match &step.action {
            DrillAction::Restore(_) if verdicts >> i & 1 == 0 => {
                proven("monthly", &task.asset, &slot)
            }
            DrillAction::Restore(_) => failed("monthly", &task.asset, &slot),
            DrillAction::RecordMissed(_) => DrillEvidence {
                trigger: DrillTrigger::Missed,
                verdict: DrillVerdict::CouldNotVerify,
                ..failed("monthly", &task.asset, &slot)
            },
        };
        let made = DrillEvidence { started_at: now, finished_at: now, ..base };
        if matches!(step.action, DrillAction::Restore(_)) {
            restored.push(made.key());
        }
        store.0.entry(made.key()).or_insert(made);
    }
    restored
}

type PlanStepOf = shared::plan::PlanStep<DrillAction>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Kills, overlapping runs, clock jumps and gaps, with and without rotation: properties 1, 3, 5 and 7.
    #[test]
    fn no_trace_drills_a_slot_twice_or_calls_proven_what_was_not(
        events in proptest::collection::vec(event(), 1..60),
        rotate in proptest::option::of(1u32..4),
    ) {
        let policy = policy(&rotate.map(|n| format!(", rotate: {n}")).unwrap_or_default());
        let mut now = time("2026-11-02T08:00:00Z");
        let mut store = ModelStore::default();
        let mut before = (store.all(), now);
        for event in events {
            let seen = (store.all(), now);
            match event {
                Event::Wait(minutes) => now += SignedDuration::from_mins(minutes),
                Event::Jump(hours) => now += SignedDuration::from_hours(hours),
                Event::Gap => prop_assert!(plan(&[], now).steps.is_empty(), "a gap plans nothing"),
                Event::Run { kill_after, verdicts } => {
                    let drills = observed(&policy, &seen.0);
                    let planned = plan(&drills, now);
                    let slot = drills[0].calendar.last_slot(now);
                    let turn = rotate.map_or(3, |n| n as usize).min(3);
                    prop_assert!(planned.steps.len() <= turn, "one drill of each asset at most");
                    for step in &planned.steps {
                        let task = step.action.task();
                        prop_assert_eq!(Some(task.slot), slot, "only the newest slot");
                        let key = proven("monthly", &task.asset, &task.slot.to_string()).key();
                        prop_assert!(!store.0.contains_key(&key), "never for a slot with evidence");
                        let open = drills[0].calendar.is_open(task.slot, now);
                        prop_assert_eq!(open, matches!(step.action, DrillAction::Restore(_)));
                    }
                    apply(&mut store, &planned.steps, now, kill_after, verdicts);
                }
                Event::StaleRun { verdicts } => {
                    let held = store.0.clone();
                    let planned = plan(&observed(&policy, &before.0), before.1);
                    apply(&mut store, &planned.steps, now, usize::MAX, verdicts);
                    for (key, evidence) in held {
                        prop_assert_eq!(&store.0[&key], &evidence, "what is written stays");
                    }
                }
            }
            before = seen;
            // Whatever happened: every finding and every age follows from evidence that is there.
            let all = store.all();
            let drills = observed(&policy, &all);
            let said = plan(&drills, now);
            for asset in &drills[0].assets {
                let ever = all.iter().any(|e| e.asset == asset.asset && e.proves_restore());
                prop_assert_eq!(asset.proven_at.is_some(), ever);
                let unproven = codes(&said, &asset.asset).contains(&FindingCode::Unproven);
                prop_assert!(ever || unproven, "what was never proven is told");
            }
        }
        // Trouble ends: the next run leaves no open slot without evidence, and the one after has nothing to do.
        let planned = plan(&observed(&policy, &store.all()), now);
        apply(&mut store, &planned.steps, now, usize::MAX, 0);
        let rest = plan(&observed(&policy, &store.all()), now);
        prop_assert!(rest.steps.is_empty() || store.0.is_empty(), "{:?}", steps(&rest));
    }
}
