//! The table against a hostile world: kills, lost answers, overlapping runs on stale views, clock jumps, gaps, renames of
//! production to names like ours, inherited and removed tags, holds, quota. Invariants are asserted inside the world.

use super::*;

const OWNER: &str = "acme@111122223333/eu-west-1";
const LIFE: i64 = 6 * 60;
const MONTH: i64 = 30 * 24 * 60;
const QUOTA: usize = 12;
const RESERVE: usize = 2;

/// Numbers that follow from a seed: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).expect("31 bits") % n
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick(&mut self, of: &[i64]) -> i64 {
        of[self.below(of.len())]
    }
}

struct Instance {
    seen: ObservedInstance,
    made: bool,
    created: i64,
    will: &'static str,
    ready_at: i64,
    gone_at: i64,
}

/// What a mutant leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    NoSecondLookAtDelete,
    NoSecondLookAtRestore,
}

struct World {
    random: Random,
    time: i64,
    skew: i64,
    count: usize,
    instances: Vec<Instance>,
    evidence: BTreeMap<InstanceDrillKey, bool>,
    told: BTreeSet<InstanceProblem>,
    faults: bool,
    mutant: Mutant,
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).expect("a time")
}

fn limits() -> InstanceLimits {
    InstanceLimits {
        owner: OWNER.into(),
        lifetime: SignedDuration::from_mins(LIFE),
        quota: QUOTA,
        reserve: RESERVE,
    }
}

type Answer = Result<(), &'static str>;

impl World {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let mut world = Self {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            time: 0,
            skew: 0,
            count: 0,
            instances: Vec::new(),
            evidence: BTreeMap::new(),
            told: BTreeSet::new(),
            faults: true,
            mutant,
        };
        for name in ["prod-a", "prod-b"] {
            world.add(
                name.into(),
                BTreeMap::from([("env".into(), "prod".into())]),
                false,
                "available",
            );
        }
        world
    }

    fn now(&self) -> Timestamp {
        at(self.time + self.skew)
    }

    fn trouble(&mut self, percent: usize) -> bool {
        self.faults && self.random.chance(percent)
    }

    fn add(&mut self, name: String, tags: BTreeMap<String, String>, made: bool, status: &str) {
        self.count += 1;
        let seen = ObservedInstance {
            name,
            resource_id: format!("db-{}", self.count),
            tags,
            status: status.into(),
            created_at: at(self.time),
            has_login: false,
        };
        let created = self.time;
        self.instances.push(Instance {
            seen,
            made,
            created,
            will: "available",
            ready_at: 0,
            gone_at: 0,
        });
    }

    fn find(&mut self, name: &str) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|i| i.seen.name == name)
    }

    // -- what AWS does

    fn describe(&mut self) -> Result<Vec<ObservedInstance>, &'static str> {
        if self.trouble(8) {
            return Err("gap");
        }
        Ok(self.instances.iter().map(|i| i.seen.clone()).collect())
    }

    fn restore(
        &mut self,
        name: &str,
        tags: &BTreeMap<String, String>,
        key: &InstanceDrillKey,
    ) -> Answer {
        if self.trouble(10) {
            return Err("throttled");
        }
        if self.find(name).is_some() {
            return Err("exists");
        }
        if self.instances.len() >= QUOTA {
            return Err("quota");
        }
        assert!(self.instances.len() + RESERVE < QUOTA, "the reserve of the quota was taken");
        assert!(!self.evidence.contains_key(key), "restored for a slot that is done");
        self.add(name.into(), tags.clone(), true, "creating");
        let wait = self.random.pick(&[5, 20, 60, 900]);
        let fails = self.trouble(15);
        let ready_at = self.time + wait;
        let made = self.find(name).expect("it was just made");
        made.ready_at = ready_at;
        if fails {
            made.will = "incompatible-restore";
        }
        // Done, and the caller does not know.
        if self.trouble(10) { Err("answer lost") } else { Ok(()) }
    }

    fn set_password(&mut self, name: &str) -> Answer {
        let there = self.find(name).ok_or("not found")?;
        assert!(there.made, "a source was touched");
        if there.seen.status != "available" {
            return Err("state");
        }
        there.seen.has_login = true;
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Answer {
        if self.trouble(10) {
            return Err("throttled");
        }
        let gone_at = self.time + self.random.pick(&[2, 10, 40]);
        let there = self.find(name).ok_or("not found")?;
        assert!(there.made, "deleted what no drill made: {:?}", there.seen);
        assert!(!there.seen.is_held(), "deleted what is held");
        there.seen.status = "deleting".into();
        there.gone_at = gone_at;
        Ok(())
    }

    fn put(&mut self, key: &InstanceDrillKey, proven: bool) -> Answer {
        if self.trouble(5) {
            return Err("store");
        }
        if self.evidence.contains_key(key) {
            return Err("412");
        }
        self.evidence.insert(key.clone(), proven);
        if self.trouble(5) { Err("answer lost") } else { Ok(()) }
    }

    // -- time and mischief

    fn pass(&mut self, minutes: i64) {
        self.time += minutes;
        let time = self.time;
        for i in &mut self.instances {
            if i.seen.status == "creating" && i.ready_at <= time {
                i.seen.status = i.will.into();
            }
        }
        self.instances.retain(|i| i.seen.status != "deleting" || i.gone_at > time);
    }

    fn make_trouble(&mut self) {
        let draw = self.random.below(100);
        let made: Vec<usize> = (0..self.instances.len())
            .filter(|i| self.instances[*i].made && self.instances[*i].seen.status == "available")
            .collect();
        let number = self.random.below(1_000_000);
        let one = (!made.is_empty()).then(|| made[self.random.below(made.len())]);
        let room = self.instances.len() < QUOTA;
        match (draw, one) {
            (0..6, Some(i)) => {
                // Somebody keeps a copy under another name.
                self.instances[i].seen.name = format!("keep-{number}");
                self.instances[i].made = false;
            }
            (6..10, Some(i)) => {
                drop(self.instances[i].seen.tags.insert(HOLD_TAG.into(), "why".into()));
            }
            (10..14, Some(i)) => drop(self.instances[i].seen.tags.remove(DRILL_TAG)),
            (14..17, Some(i)) if room => {
                // Restored from a snapshot of the copy: tags are inherited.
                let tags = self.instances[i].seen.tags.clone();
                self.add(format!("clone-{number}"), tags, false, "available");
            }
            (17..20, Some(i)) => {
                // It was deleted by hand, and somebody else took its name and its tags.
                let seen = self.instances.remove(i).seen;
                self.add(seen.name, BTreeMap::new(), false, "available");
            }
            (20..24, _) if room => {
                let tags = BTreeMap::from([
                    (OWNER_TAG.into(), "other".into()),
                    (DRILL_TAG.into(), "x".into()),
                ]);
                self.add(format!("{INSTANCE_PREFIX}somebody-{number}"), tags, false, "available");
            }
            (24..28, _) => self.skew = self.random.pick(&[0, 0, 400 * 24 * 60, -90, 45 * 24 * 60]),
            (28..30, _) => {
                // Production is renamed to a name like ours.
                if let Some(prod) = self.find("prod-a") {
                    prod.seen.name = format!("{INSTANCE_PREFIX}prod-a");
                }
            }
            _ => {}
        }
    }

    fn drills(&self) -> Vec<InstanceDrill> {
        let minutes = (self.time + self.skew).max(0);
        vec![InstanceDrill {
            drill: "monthly".into(),
            slot: at(minutes / MONTH * MONTH),
            is_open: true,
            assets: vec!["prod-a".into(), "prod-b".into()],
            max_live: 2,
        }]
    }

    /// Carries out a plan: one step's failure hides no other, and a kill may come between any two.
    fn apply(&mut self, plan: InstancePlan) {
        self.told.extend(plan.problems);
        let limits = limits();
        for step in plan.steps {
            if self.trouble(6) {
                return;
            }
            let _ = self.step(&limits, step);
        }
    }

    fn step(&mut self, limits: &InstanceLimits, step: InstanceStep) -> Answer {
        match step {
            InstanceStep::Restore { name, tags, key } => {
                let again = self.describe()?;
                let done = self.evidence.contains_key(&key);
                if self.mutant == Mutant::NoSecondLookAtRestore
                    || may_restore(limits, &name, &again, done)
                {
                    self.restore(&name, &tags, &key)?;
                }
            }
            InstanceStep::SetPassword { name, resource_id } => {
                let again = self.describe()?;
                let found = again.iter().find(|i| i.name == name);
                if may_delete(&limits.owner, &resource_id, found) {
                    self.set_password(&name)?;
                }
            }
            InstanceStep::Check { name, resource_id, key } => {
                if self.trouble(10) {
                    return Err("connection lost");
                }
                // It logs in to what it set the password of.
                let same = |i: &Instance| i.seen.name == name && i.seen.resource_id == resource_id;
                let ok = self.random.chance(90);
                if self.instances.iter().any(|i| same(i) && i.seen.status == "available") {
                    self.put(&key, ok)?;
                }
            }
            InstanceStep::Conclude { key, failed, .. } => {
                if failed {
                    let name = instance_name(OWNER, &key);
                    let there = self.instances.iter().find(|i| i.seen.name == name && i.made);
                    assert!(
                        there.is_none_or(|i| i.will != "available"),
                        "a good restore was called failed"
                    );
                }
                self.put(&key, false)?;
            }
            InstanceStep::Delete { name, resource_id } => {
                let again = self.describe()?;
                let found = again.iter().find(|i| i.name == name);
                if self.mutant == Mutant::NoSecondLookAtDelete
                    || may_delete(&limits.owner, &resource_id, found)
                {
                    self.delete(&name)?;
                }
            }
        }
        Ok(())
    }

    fn plan(
        &self,
        seen: &[ObservedInstance],
        evidence: &BTreeSet<InstanceDrillKey>,
        now: Timestamp,
        has: bool,
    ) -> InstancePlan {
        let drills = if has { self.drills() } else { Vec::new() };
        plan_instances(seen, evidence, &drills, &limits(), now)
    }
}

/// Plays a trace; panics where an invariant does not hold. How much evidence there was is the answer.
fn play(seed: u64, mutant: Mutant) -> usize {
    let mut world = World::new(seed, mutant);
    let mut has_drill = true;
    let mut pending = Vec::new();
    for _ in 0..60 + world.random.below(200) {
        let minutes = world.random.pick(&[1, 5, 15, 15, 15, 120, 120, 1440]);
        world.pass(minutes);
        if world.random.chance(25) {
            world.make_trouble();
        }
        if world.random.chance(1) {
            has_drill = !has_drill;
        }
        // A gap: nothing is planned.
        let Ok(view) = world.describe() else { continue };
        let evidence: BTreeSet<_> = world.evidence.keys().cloned().collect();
        pending.push(world.plan(&view, &evidence, world.now(), has_drill));
        if world.random.chance(80) {
            // A stale view: another run was slower.
            let which = world.random.below(pending.len());
            let plan = pending.remove(which);
            world.apply(plan);
        }
        if pending.len() > 3 {
            pending.remove(0);
        }
        let live = world.instances.iter().filter(|i| i.made).count();
        assert!(live <= 6, "{live} live at once");
        let names: BTreeSet<_> = world.instances.iter().map(|i| &i.seen.name).collect();
        assert_eq!(names.len(), world.instances.len());
    }
    // Trouble ends: nothing that a drill made stays, but what is told.
    world.faults = false;
    world.skew = 0;
    for _ in 0..200 {
        world.pass(15);
        let view = world.describe().expect("no trouble");
        let evidence: BTreeSet<_> = world.evidence.keys().cloned().collect();
        let plan = world.plan(&view, &evidence, world.now(), true);
        world.apply(plan);
    }
    let named = |i: &Instance| {
        let name = i.seen.name.clone();
        let problems = [InstanceProblem::Held(name.clone()), InstanceProblem::Foreign(name)];
        problems.iter().any(|p| world.told.contains(p))
    };
    for i in world.instances.iter().filter(|i| i.made && i.seen.status != "deleting") {
        let old = world.time - i.created > LIFE + 1000;
        assert!(!old || named(i), "it lives too long, and nobody is told: {:?}", i.seen);
    }
    assert!(world.instances.iter().any(|i| i.seen.resource_id == "db-1"), "production is gone");
    assert!(world.instances.iter().any(|i| i.seen.resource_id == "db-2"), "production is gone");
    world.evidence.len()
}

/// Traces that are played; thousands with `HOLDFAST_TRACES`.
fn traces() -> u64 {
    std::env::var("HOLDFAST_TRACES").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

#[test]
fn every_trace_keeps_every_invariant() {
    let evidence: usize = (0..traces()).map(|seed| play(seed, Mutant::None)).sum();
    assert!(evidence as u64 > traces(), "the traces restore something: {evidence}");
}

#[test]
fn what_a_second_look_is_for_is_seen_without_it() {
    for (mutant, name) in [
        (Mutant::NoSecondLookAtDelete, "no second look before a delete"),
        (Mutant::NoSecondLookAtRestore, "no second look before a restore"),
    ] {
        let caught =
            (0..traces()).any(|seed| std::panic::catch_unwind(|| play(seed, mutant)).is_err());
        assert!(caught, "{name} breaks no invariant");
    }
}

fn key() -> InstanceDrillKey {
    InstanceDrillKey { drill: "monthly".into(), slot: at(0), asset: "prod-a".into() }
}

fn own(status: &str) -> ObservedInstance {
    ObservedInstance {
        name: instance_name(OWNER, &key()),
        resource_id: "db-7".into(),
        tags: instance_tags(OWNER, &key()),
        status: status.into(),
        created_at: at(0),
        has_login: true,
    }
}

#[test]
fn only_the_same_resource_with_our_tags_and_name_may_be_deleted() {
    let may = |change: fn(&mut ObservedInstance)| {
        let mut found = own("available");
        change(&mut found);
        may_delete(OWNER, "db-7", Some(&found))
    };
    assert!(may(|_| {}));
    assert!(!may_delete(OWNER, "db-7", None));
    assert!(!may(|i| i.resource_id = "db-8".into()), "somebody else has the name by now");
    assert!(!may(|i| i.name = "prod-a".into()), "it was renamed");
    assert!(!may(|i| i.name = format!("{INSTANCE_PREFIX}x")), "a prefix alone");
    assert!(!may(|i| i.tags.clear()));
    assert!(!may(|i| drop(i.tags.insert(OWNER_TAG.into(), "other".into()))));
    assert!(!may(|i| drop(i.tags.insert(SLOT_TAG.into(), "202601010000".into()))));
    assert!(!may(|i| drop(i.tags.insert(HOLD_TAG.into(), String::new()))));
}

#[test]
fn a_name_is_of_one_owner_and_one_that_rds_takes() {
    let name = instance_name(OWNER, &key());
    assert_ne!(name, instance_name("acme@111122223333/us-east-1", &key()));
    let long =
        InstanceDrillKey { drill: "d-".repeat(40), asset: "Ünder_score--x".repeat(9), ..key() };
    for name in [name, instance_name(OWNER, &long)] {
        assert!(name.len() <= MAX_IDENTIFIER && name.starts_with(INSTANCE_PREFIX), "{name}");
        assert!(!name.contains("--") && !name.ends_with('-'), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
}

#[test]
fn a_failed_restore_is_failed_and_nothing_else_is() {
    let plan = |status: &str, minutes: i64| {
        let drill = InstanceDrill {
            drill: "monthly".into(),
            slot: at(0),
            is_open: true,
            assets: vec!["prod-a".into()],
            max_live: 2,
        };
        plan_instances(&[own(status)], &BTreeSet::new(), &[drill], &limits(), at(minutes)).steps
    };
    for status in
        ["failed", "incompatible-network", "restore-error", "inaccessible-encryption-credentials"]
    {
        assert!(
            matches!(&plan(status, 1)[..], [InstanceStep::Conclude { failed: true, .. }]),
            "{status}"
        );
    }
    for status in ["creating", "backing-up", "modifying"] {
        assert!(plan(status, 1).is_empty(), "{status} is waited for");
    }
    assert!(matches!(&plan("available", 1)[..], [InstanceStep::Check { .. }]));
    let old = plan("modifying", LIFE + 1);
    assert!(matches!(
        &old[..],
        [InstanceStep::Conclude { failed: false, .. }, InstanceStep::Delete { .. }]
    ));
}
