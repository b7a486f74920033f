//! What is wrong with a server: its settings, its own saving, its replicas, its Sentinels. Pure: no I/O and no clock.

use jiff::{SignedDuration, Timestamp};
use redis::{RedisError, ServerInfo, sentinel::SentinelView, settings::is_same_setting};
use shared::{
    aws::OperationError,
    plan::{Finding, FindingCode, Severity},
    policy::{RedisGroup, text::Name},
    time::format_duration,
};
use std::collections::{BTreeMap, BTreeSet};

/// A server with changes that was to save by now, with this much patience.
const SAVE_PATIENCE: SignedDuration = SignedDuration::from_hours(2);

/// A group's server, and what was seen of it.
#[derive(Debug)]
pub struct ObservedRedis<'p> {
    /// The group.
    pub name: &'p Name,
    /// What the policy says about it.
    pub rules: &'p RedisGroup,
    /// Its server, or why it can't be asked.
    pub server: Result<ServerFacts, OperationError>,
    /// Each Sentinel's address and view.
    pub sentinels: Vec<(String, Result<SentinelView, RedisError>)>,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Where it listens.
    pub address: String,
    /// INFO.
    pub info: ServerInfo,
    /// Settings by name, or why they are not shown.
    pub settings: Result<BTreeMap<String, String>, RedisError>,
}

/// Everything that is wrong with a group's server at `now`.
pub fn evaluate_server(seen: &ObservedRedis<'_>, now: Timestamp) -> Vec<Finding> {
    let mut out = Findings { group: seen.name, all: Vec::new() };
    match &seen.server {
        Err(e) => {
            let why = format!("the server could not be asked: {e}");
            out.push(Severity::Critical, FindingCode::PreflightFailed, why, e.hint());
        }
        Ok(facts) => {
            check_settings(&mut out, seen.rules, facts);
            check_saving(&mut out, facts, now);
            check_replication(&mut out, seen.rules, facts);
        }
    }
    check_sentinels(&mut out, seen);
    out.all
}

struct Findings<'p> {
    group: &'p Name,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn push(
        &mut self,
        severity: Severity,
        code: FindingCode,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let asset = format!("{0}/{0}", self.group);
        self.all.push(Finding::new(severity, asset, code, why, hint).in_group(self.group));
    }
}

fn check_settings(out: &mut Findings<'_>, rules: &RedisGroup, facts: &ServerFacts) {
    let settings = match &facts.settings {
        Ok(settings) => settings,
        Err(e) => {
            if !rules.settings.is_empty() {
                let why = format!("its settings could not be compared: {e}");
                out.push(Severity::Warning, FindingCode::SettingsNotReadable, why, &*e.hint);
            }
            return;
        }
    };
    for (name, expected) in &rules.settings {
        let Some(actual) = settings.get(name) else {
            let why =
                format!("{} {} has no setting {name}", facts.info.family(), facts.info.version());
            let hint = "correct its name in the policy";
            out.push(Severity::Warning, FindingCode::SettingsDrift, why, hint);
            continue;
        };
        if is_same_setting(name, expected, actual) {
            continue;
        }
        let why = format!("{name} is \"{actual}\", and the policy says \"{expected}\"");
        let hint = match name.as_str() {
            "appendonly" => format!(
                "redis-cli CONFIG SET appendonly {expected}, wait for aof_rewrite_in_progress:0, then CONFIG REWRITE; \
                 never by an edit and a restart, which loads no RDB file"
            ),
            _ => format!("redis-cli CONFIG SET {name} \"{expected}\", then CONFIG REWRITE"),
        };
        out.push(Severity::Warning, FindingCode::SettingsDrift, why, hint);
    }
    if settings.get("rdbchecksum").is_some_and(|v| v == "no") {
        let why = "rdbchecksum is no: nobody sees damage in its own RDB files when they are loaded";
        let hint = "set rdbchecksum yes in redis.conf and restart the server";
        out.push(Severity::Warning, FindingCode::RdbChecksumOff, why, hint);
    }
}

fn check_saving(out: &mut Findings<'_>, facts: &ServerFacts, now: Timestamp) {
    let info = &facts.info;
    let hint = "see the server's log: its disk, its folder, or memory for the fork";
    let stops = facts.settings.as_ref().ok().and_then(|s| s.get("stop-writes-on-bgsave-error"));
    if info.text("rdb_last_bgsave_status").is_some_and(|s| s != "ok") {
        let refused =
            if stops.is_none_or(|v| v == "yes") { ", and it may refuse writes" } else { "" };
        let why = format!("its last BGSAVE failed{refused}");
        out.push(Severity::Critical, FindingCode::RdbSaveFailed, why, hint);
    }
    let aof = ["aof_last_write_status", "aof_last_bgrewrite_status"];
    for field in aof.iter().filter(|_| info.is_set("aof_enabled")) {
        if info.text(field).is_some_and(|s| s != "ok") {
            let why = format!("its append-only file can't be written ({field})");
            out.push(Severity::Critical, FindingCode::RdbSaveFailed, why, hint);
        }
    }
    let save = facts.settings.as_ref().ok().and_then(|s| s.get("save"));
    let points = save.map(String::as_str).unwrap_or_default().split_whitespace().step_by(2);
    let Some(longest) = points.filter_map(|s| s.parse::<i64>().ok()).max() else { return };
    let (Some(last), Some(changes)) =
        (info.number("rdb_last_save_time"), info.number("rdb_changes_since_last_save"))
    else {
        return;
    };
    let Ok(last) = Timestamp::from_second(last) else { return };
    let age = now.duration_since(last);
    if changes > 0 && age > SAVE_PATIENCE.max(SignedDuration::from_secs(longest)) {
        // On a server that never saved, LASTSAVE is the time at which it was started.
        let never = info.number("rdb_saves") == Some(0);
        let since = if never { "it has not saved since its start" } else { "its last save is" };
        let why = format!("{since} {} ago, with {changes} changes since", format_duration(age));
        out.push(Severity::Warning, FindingCode::RdbSaveFailed, why, hint);
    }
}

fn check_replication(out: &mut Findings<'_>, rules: &RedisGroup, facts: &ServerFacts) {
    let info = &facts.info;
    let allowed = rules.replica_max_lag.as_ref().map(shared::policy::text::Period::duration);
    if info.is_replica() {
        let silent =
            SignedDuration::from_secs(info.number("master_last_io_seconds_ago").unwrap_or(0));
        if info.text("master_link_status") != Some("up") {
            let why = format!("{} is a replica and its link to its primary is down", facts.address);
            let hint = "see its log, and whether the primary answers";
            out.push(Severity::Critical, FindingCode::ReplicaStopped, why, hint);
        } else if let Some(allowed) = allowed.filter(|allowed| silent > *allowed) {
            let why = format!(
                "{} heard nothing of its primary for {}, over {}",
                facts.address,
                format_duration(silent),
                format_duration(allowed)
            );
            out.push(Severity::Critical, FindingCode::ReplicaLag, why, "see the replica's log");
        }
        return;
    }
    let Some(allowed) = allowed else { return };
    let replicas = info.replicas();
    if replicas.is_empty() {
        let why = "the policy watches the lag of its replicas and it has none";
        let hint = "see why no replica is connected, or take replica_max_lag out of the policy";
        out.push(Severity::Critical, FindingCode::NoReplica, why, hint);
    }
    for replica in replicas {
        let lag = SignedDuration::from_secs(replica.lag_seconds);
        if replica.state != "online" {
            let why = format!("the replica {} is not in sync: {}", replica.address, replica.state);
            let hint = "see the replica's log; a full sync ends by itself";
            out.push(Severity::Warning, FindingCode::ReplicaStopped, why, hint);
        } else if lag > allowed {
            let why = format!(
                "the replica {} was last heard {} ago, over {}",
                replica.address,
                format_duration(lag),
                format_duration(allowed)
            );
            out.push(Severity::Critical, FindingCode::ReplicaLag, why, "see the replica's log");
        }
    }
}

fn check_sentinels(out: &mut Findings<'_>, seen: &ObservedRedis<'_>) {
    let mut views = Vec::new();
    for (address, view) in &seen.sentinels {
        match view {
            Ok(view) => views.push((address, view)),
            Err(e) => {
                let why = format!("the Sentinel {address} could not be asked: {e}");
                let hint = "start it, or take it out of the policy";
                out.push(Severity::Critical, FindingCode::SentinelQuorumLost, why, hint);
            }
        }
    }
    // An older epoch alone is one that has not heard of the last failover.
    let named: BTreeSet<(&str, i64)> =
        views.iter().map(|(_, v)| (v.primary.as_str(), v.epoch)).collect();
    if named.len() > 1 {
        let said: Vec<String> = views
            .iter()
            .map(|(address, v)| format!("{address} says {} (epoch {})", v.primary, v.epoch))
            .collect();
        let why = format!("the Sentinels do not agree on the primary: {}", said.join(", "));
        let hint =
            "after a failover this ends within seconds; else compare SENTINEL MASTER of each";
        out.push(Severity::Critical, FindingCode::SentinelDisagreement, why, hint);
    }
    let others = i64::try_from(seen.sentinels.len()).unwrap_or(0) - 1;
    for (address, view) in views {
        let down = view.flags.iter().find(|f| f.contains("down") || f.contains("failover"));
        if let Some(flag) = down {
            let why = format!("the Sentinel {address} says {flag} of the primary {}", view.primary);
            let hint = "see whether the primary answers";
            out.push(Severity::Critical, FindingCode::SentinelDisagreement, why, hint);
        }
        if let Some(no) = &view.quorum_error {
            let why = format!("the Sentinel {address} could not agree on a failover: {no}");
            out.push(
                Severity::Critical,
                FindingCode::SentinelQuorumLost,
                why,
                "see SENTINEL CKQUORUM",
            );
        }
        if view.other_sentinels < others {
            let why = format!(
                "the Sentinel {address} knows {} others, and the policy has {others}",
                view.other_sentinels
            );
            let hint = "see whether they watch the primary under the same name";
            out.push(Severity::Warning, FindingCode::SentinelQuorumLost, why, hint);
        }
    }
}

#[cfg(test)]
mod tests;
