//! One asset: how it stands, its points over time, what a loss would cost.

use super::{
    UNOWNED,
    past::AuditHistory,
    points::{
        self, full_density_secs, good_points, longest_gap, max_retention_secs, size_samples,
        timeline_rows, timestamp_from_secs,
    },
};
use crate::{
    facts::{AssetKey, AssetStorage, PointRecord, ReportInput},
    model::{AssetReport, CostLine, HealthState, LatestPoint, ProofStatus, RpoStatus, TimelineRow},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    hints::commands,
    objective::AgeObjective,
    parts,
    plan::{Finding, FindingCode, Severity},
    policy::{AssetObjectives, Policy, RetentionRule, ScheduleConfig, text::Period},
    report::{AssetCoverage, AssetStatus},
    time::format_duration,
};
use std::collections::BTreeMap;

/// What the policy says of a group's points.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupRules {
    max_age: Option<i64>,
    max_age_derived: bool,
    rpo: Option<i64>,
    rto: Option<i64>,
    max_size_deviation: Option<f64>,
    /// For how long points are kept, in seconds.
    kept: i64,
    /// For how long every point is kept, in seconds.
    pub(crate) dense: i64,
    offsite: bool,
    /// Whether it has points at all; a bucket is its own data.
    points: bool,
    /// What makes its points.
    maker: String,
}

impl GroupRules {
    fn new<'k>(
        objectives: &AssetObjectives,
        objective: Option<AgeObjective>,
        keeps: impl Iterator<Item = &'k RetentionRule> + Clone,
        offsite: bool,
        maker: impl Into<String>,
    ) -> Self {
        let span = |p: &Option<Period>| p.as_ref().map(|p| p.duration().as_secs());
        let max_age = objective.map(|o| o.max_age.as_secs());
        Self {
            max_age,
            max_age_derived: objective.is_some_and(|o| o.derived),
            rpo: span(&objectives.rpo).or(max_age),
            rto: span(&objectives.rto),
            max_size_deviation: objectives
                .max_size_deviation
                .as_ref()
                .map(shared::policy::text::Percentage::fraction),
            kept: keeps.clone().map(max_retention_secs).max().unwrap_or(0),
            dense: keeps.map(|k| full_density_secs(k, max_age)).max().unwrap_or(0),
            offsite,
            points: true,
            maker: maker.into(),
        }
    }
}

/// The rules of every group by its name.
pub(crate) fn group_rules(policy: &Policy, now: Timestamp) -> BTreeMap<&str, GroupRules> {
    let mut rules = BTreeMap::new();
    let of = |objectives: &AssetObjectives, whens: &[Option<&ScheduleConfig>]| {
        let whens = whens.iter().filter_map(|w| *w);
        AgeObjective::from_schedules(objectives.max_age.as_ref(), whens, &policy.time_zone, now)
    };
    for (name, g) in &policy.databases {
        // What is only taken on demand leaves gaps by itself.
        let own = g.snapshots.values().filter(|s| s.schedule.is_some()).map(|s| &s.keep);
        let whens: Vec<_> = g.snapshots.values().map(|s| s.schedule.as_ref()).collect();
        let objective = of(&g.objectives, &whens);
        let offsite = !g.copies.is_empty();
        let mut rule =
            GroupRules::new(&g.objectives, objective, own, offsite, commands::RUN_SNAPSHOT);
        let automated = g.automated_backups.as_ref().and_then(|a| a.retention.as_ref());
        let automated = automated.map_or(0, |r| r.duration().as_secs());
        let all = g.snapshots.values().map(|s| &s.keep).chain(g.copies.iter().map(|c| &c.keep));
        rule.dense = rule.dense.max(automated);
        rule.kept = all.map(max_retention_secs).max().unwrap_or(0).max(automated);
        rules.insert(name.as_str(), rule);
    }
    for (name, g) in &policy.buckets {
        let offsite = g.replication.is_some() || !g.copies.is_empty();
        let objective = of(&g.objectives, &[]);
        let rule = GroupRules::new(&g.objectives, objective, std::iter::empty(), offsite, "");
        rules.insert(name.as_str(), GroupRules { points: false, ..rule });
    }
    for (name, g) in policy.stored_groups() {
        let keeps = g.dumps.values().filter(|d| d.schedule.is_some()).map(|d| &d.keep);
        let whens: Vec<_> = g.dumps.values().map(|d| d.schedule.as_ref()).collect();
        let objective = of(&g.objectives, &whens);
        let offsite = !g.copies.is_empty();
        let maker = if policy.redis.contains_key(name) {
            commands::redis_dump(name.as_str())
        } else {
            commands::dump_due(name.as_str())
        };
        let mut rule = GroupRules::new(&g.objectives, objective, keeps, offsite, maker);
        rule.kept = g.dumps.values().map(|d| max_retention_secs(&d.keep)).max().unwrap_or(0);
        rules.insert(name.as_str(), rule);
    }
    let files = policy.files.iter();
    let files = files.map(|(n, g)| (n, &g.objectives, &g.keep, &g.copies[..], &g.schedule));
    let redis = policy.redis.iter().filter(|(_, g)| g.address.is_none());
    let redis = redis.map(|(n, g)| (n, &g.objectives, &g.keep, &[][..], &g.schedule));
    let cluster = policy.kubernetes.iter();
    let cluster = cluster.map(|(n, g)| (n, &g.objectives, &g.keep, &[][..], &g.schedule));
    for (name, objectives, keep, also, when) in files.chain(redis).chain(cluster) {
        let objective = of(objectives, &[when.as_ref()]);
        let rule =
            GroupRules::new(objectives, objective, std::iter::once(keep), !also.is_empty(), "");
        rules.insert(name.as_str(), rule);
    }
    rules
}

/// Every asset with how the judging functions say that it stands. A group whose databases are seen one by one is none
/// itself: what was said of it is said of each. What the policy names and nobody speaks of has a place too, with findings.
pub(crate) fn assets_with_status(
    policy: &Policy,
    facts: &ReportInput,
) -> (Vec<(AssetKey, Option<AssetStatus>)>, Vec<Finding>) {
    let mut standings: BTreeMap<AssetKey, AssetStatus> = BTreeMap::new();
    for s in &facts.statuses {
        let key = AssetKey::new(&s.group, &s.asset);
        match standings.get_mut(&key) {
            Some(held) => held.merge(s.clone()),
            None => drop(standings.insert(key, s.clone())),
        }
    }
    for f in facts.findings.iter().filter(|f| f.severity > Severity::Info) {
        let key = f.group.as_ref().map(|g| AssetKey::new(g, &f.asset));
        if let Some(held) = key.and_then(|k| standings.get_mut(&k)) {
            held.add_finding(f);
        }
    }
    // What is a host's to see is judged by what else was seen of it, if anything was.
    standings.retain(|key, s| {
        s.coverage != AssetCoverage::NotObserved
            || s.max_severity.is_some()
            || !facts.storage.contains_key(key)
    });
    let whole = |key: &AssetKey| AssetKey::new(&key.group, &key.group);
    let mut out = Vec::new();
    for key in facts.storage.keys().filter(|k| k.group != UNOWNED) {
        let standing = standings.remove(key).or_else(|| {
            let group = standings.get(&whole(key))?;
            let (age_seconds, newest, size_bytes) = (None, None, None);
            let asset = key.asset.clone();
            Some(AssetStatus {
                asset,
                age_seconds,
                newest_point: newest,
                size_bytes,
                ..group.clone()
            })
        });
        out.push((key.clone(), standing));
    }
    let split =
        |k: &AssetKey| k.group == k.asset && facts.storage.keys().any(|h| h.group == k.group);
    standings.retain(|k, _| !split(k));
    out.extend(standings.into_iter().map(|(key, standing)| (key, Some(standing))));
    let mut rows: Vec<_> =
        out.iter().map(|(key, _)| AssetStatus::new(&key.group, &key.asset)).collect();
    let known = rows.len();
    let unseen = parts::add_missing_assets(policy, &mut rows, |_| true);
    let more = rows.split_off(known).into_iter();
    out.extend(more.map(|s| (AssetKey::new(&s.group, &s.asset), Some(s))));
    (out, unseen)
}

/// What assets are looked at with.
pub(crate) struct AssetContext<'a> {
    /// What was seen.
    pub(crate) facts: &'a ReportInput,
    /// What was proven.
    pub(crate) past: &'a AuditHistory<'a>,
    /// Now.
    pub(crate) now: Timestamp,
}

/// Where an asset's own points lead to, when no function judged it.
#[derive(Default)]
struct FallbackEvaluation {
    state: Option<HealthState>,
    findings: Vec<Finding>,
}

impl AssetContext<'_> {
    /// An asset, and what was found of one that no other function judges.
    pub(crate) fn build_asset(
        &self,
        key: &AssetKey,
        standing: Option<AssetStatus>,
        held: &AssetStorage,
        rule: &GroupRules,
        cost: CostLine,
    ) -> (AssetReport, Vec<Finding>) {
        let (facts, now) = (self.facts, self.now);
        let points = good_points(held, now);
        let since = points::timeline_start(rule.kept, now);
        let lanes = timeline_rows(facts, held, &points, since, now);
        let judged = match standing {
            Some(_) => FallbackEvaluation::default(),
            None => self.evaluate_fallback(key, held, rule, &points, &lanes),
        };
        let standing = standing.unwrap_or_else(|| AssetStatus {
            max_age_seconds: rule.max_age,
            max_age_derived: rule.max_age_derived,
            offsite_wanted: rule.offsite,
            coverage: AssetCoverage::Watched,
            max_severity: judged.findings.iter().map(|f| f.severity).max(),
            messages: judged.findings.iter().map(|f| f.message.clone()).collect(),
            ..AssetStatus::new(&key.group, &key.asset)
        });
        let (sizes, deviation) = size_samples(facts, &points, rule.max_size_deviation);
        let newest = self.latest_point(&standing, held, &points);
        let offsite = standing.offsite_age_seconds.or_else(|| offsite_age(&lanes, now));
        let asset = AssetReport {
            state: judged.state.unwrap_or_else(|| self.health_state(&standing)),
            coverage: standing.coverage,
            max_age_seconds: standing.max_age_seconds.or(rule.max_age),
            max_age_derived: match standing.max_age_seconds {
                Some(_) => standing.max_age_derived,
                None => rule.max_age_derived,
            },
            full_density_seconds: rule.dense,
            offsite_wanted: standing.offsite_wanted || rule.offsite,
            offsite_age_seconds: offsite,
            proof: (standing.proof_wanted)
                .then_some(ProofStatus { age_seconds: standing.proof_age_seconds }),
            rpo: self.rpo_status(key, rule, newest.as_ref(), &points),
            rto: self.past.rto_status(key, rule.rto, now),
            verifications: self.past.timeline_marks(key, since),
            points: points.len(),
            has_recovery_points: rule.points && standing.coverage != AssetCoverage::NotRun,
            bytes: cost.bytes,
            group: standing.group,
            asset: standing.asset,
            messages: standing.messages,
            newest,
            since,
            timeline: lanes,
            sizes,
            deviation,
            cost,
        };
        (asset, judged.findings)
    }

    fn health_state(&self, standing: &AssetStatus) -> HealthState {
        let mine = |f: &&Finding| {
            f.severity == Severity::Critical
                && f.asset == standing.asset
                && f.group.as_ref() == Some(&standing.group)
        };
        let mut bad = self.facts.findings.iter().filter(mine).peekable();
        // Not seeing is not missing.
        let unobserved = standing.coverage == AssetCoverage::NotObserved;
        let blind = (unobserved || bad.peek().is_some()) && bad.all(Finding::unobserved);
        match (standing.max_severity, standing.coverage) {
            (Some(Severity::Critical), _) if blind => HealthState::Unknown,
            (Some(Severity::Critical), _) => HealthState::Critical,
            // Not watched is not well, however little is wrong.
            (_, AssetCoverage::NotObserved | AssetCoverage::NotWatched) => HealthState::Unknown,
            (_, AssetCoverage::NotRun | AssetCoverage::NeverTaken)
            | (Some(Severity::Warning), AssetCoverage::Watched) => HealthState::Warning,
            (Some(Severity::Info) | None, AssetCoverage::Watched) => HealthState::Ok,
        }
    }

    fn latest_point(
        &self,
        standing: &AssetStatus,
        held: &AssetStorage,
        points: &[PointRecord],
    ) -> Option<LatestPoint> {
        let here = |p: &&PointRecord| self.facts.location(p.location).is_some_and(|s| s.home);
        let seen = points.iter().rev().find(here).or(points.last());
        let told = standing
            .age_seconds
            .and_then(|age| self.now.checked_sub(SignedDuration::from_secs(age)).ok());
        let at = told.or_else(|| seen.and_then(|p| timestamp_from_secs(p.at)))?;
        Some(LatestPoint {
            name: standing.newest_point.clone().or_else(|| held.newest.clone()),
            at,
            age_seconds: self.now.duration_since(at).as_secs().max(0),
            bytes: standing
                .size_bytes
                .and_then(|b| u64::try_from(b).ok())
                .or_else(|| seen.map(|p| p.bytes)),
        })
    }

    /// Judges what no function judges: what lies in directories, at other endpoints, in Azure, at second places.
    fn evaluate_fallback(
        &self,
        key: &AssetKey,
        held: &AssetStorage,
        rule: &GroupRules,
        points: &[PointRecord],
        lanes: &[TimelineRow],
    ) -> FallbackEvaluation {
        let mut judged = FallbackEvaluation::default();
        if !rule.points {
            return judged;
        }
        let mut find = |severity, what, why: String, hint: String| {
            let found = Finding::new(severity, &key.asset, what, why, hint);
            judged.findings.push(found.in_group(&key.group));
        };
        let run = match rule.maker.as_str() {
            "" => "see whether what writes there runs".to_owned(),
            maker => commands::run(maker),
        };
        let home = |p: &&PointRecord| self.facts.location(p.location).is_some_and(|s| s.home);
        let newest = points.iter().rev().find(home).and_then(|p| timestamp_from_secs(p.at));
        let old = newest.map(|at| self.now.duration_since(at));
        let blind = lanes.iter().any(|l| l.home && !l.observed);
        match (old, rule.max_age.map(SignedDuration::from_secs)) {
            (None, _) if blind => judged.state = Some(HealthState::Unknown),
            (None, Some(_)) => {
                find(
                    Severity::Critical,
                    FindingCode::NoBackup,
                    "it has no good recovery point".into(),
                    run,
                );
            }
            // Without an objective there is nothing that it misses, and nothing that it has.
            (None, None) if held.points.is_empty() => judged.state = Some(HealthState::Unknown),
            (Some(old), Some(max)) if old > max => {
                let why = format!(
                    "its newest good point is {} old, over the objective of {}",
                    format_duration(old),
                    format_duration(max)
                );
                find(Severity::Critical, FindingCode::BackupStale, why, run);
            }
            _ => {}
        }
        for lane in lanes.iter().filter(|l| !l.home && l.observed) {
            let behind = newest.zip(lane.newest).map(|(n, there)| n.duration_since(there));
            let allowed = rule.max_age.map(SignedDuration::from_secs);
            if let Some((behind, allowed)) = behind.zip(allowed).filter(|(b, a)| b > a) {
                let why = format!(
                    "its newest copy at {} is {} behind, more than {}",
                    lane.location,
                    format_duration(behind),
                    format_duration(allowed)
                );
                let hint = "see why it is not copied there".to_owned();
                find(Severity::Warning, FindingCode::OffsiteCopyBehind, why, hint);
            }
        }
        judged
    }

    fn rpo_status(
        &self,
        key: &AssetKey,
        rule: &GroupRules,
        newest: Option<&LatestPoint>,
        points: &[PointRecord],
    ) -> RpoStatus {
        let (now, target) = (self.now, rule.rpo);
        let lag = self.facts.lags.get(key).copied();
        #[expect(clippy::cast_possible_truncation, reason = "a lag in whole seconds")]
        let lag = lag.map(|l| l.max(0.0) as i64);
        let age = newest.map(|n| n.age_seconds);
        let since = now.as_second() - rule.dense;
        let longest = (rule.dense > 0).then(|| longest_gap(points, since, now)).flatten();
        let now_seconds = match (lag, age) {
            (Some(lag), Some(age)) => Some(lag.min(age)),
            (lag, age) => lag.or(age),
        };
        let continuous = lag.is_some() && now_seconds == lag;
        let worst = if continuous { now_seconds } else { now_seconds.max(longest) };
        RpoStatus {
            target_seconds: target,
            now_seconds,
            continuous,
            longest_seconds: longest,
            measured_since: longest.and_then(|_| timestamp_from_secs(since)),
            met: worst.zip(target).map(|(worst, target)| worst <= target),
        }
    }
}

/// Age of the data in the newest copy elsewhere; of several places, where it is oldest; none where one has none.
fn offsite_age(lanes: &[TimelineRow], now: Timestamp) -> Option<i64> {
    let away = lanes.iter().filter(|l| !l.home);
    let ages: Option<Vec<i64>> =
        away.map(|l| Some(now.duration_since(l.newest?).as_secs().max(0))).collect();
    ages?.into_iter().max()
}
