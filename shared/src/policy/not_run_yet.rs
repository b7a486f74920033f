//! The parts of the grammar that no function runs yet, as a policy uses them: named, never dropped in silence.

use super::{DrillKind, DrillRule, EncryptionConfig, Policy, grammar::AssetObjectives};

/// The objectives and the recovery priority of every group.
fn all_objectives(policy: &Policy) -> Vec<(String, &AssetObjectives, Option<u8>)> {
    let mut all = Vec::new();
    all.extend(
        policy.databases.iter().map(|(n, g)| (format!("databases.{n}"), &g.objectives, g.priority)),
    );
    all.extend(
        policy.buckets.iter().map(|(n, g)| (format!("buckets.{n}"), &g.objectives, g.priority)),
    );
    all.extend(
        policy.postgres.iter().map(|(n, g)| (format!("postgres.{n}"), &g.objectives, g.priority)),
    );
    all.extend(policy.redis.iter().map(|(n, g)| (format!("redis.{n}"), &g.objectives, g.priority)));
    all.extend(
        policy
            .kubernetes
            .iter()
            .map(|(n, g)| (format!("kubernetes.{n}"), &g.objectives, g.priority)),
    );
    all.extend(policy.files.iter().map(|(n, g)| (format!("files.{n}"), &g.objectives, g.priority)));
    all
}

/// Whether a drill that restores measures this group of dumps.
fn is_drilled(policy: &Policy, path: &str) -> bool {
    let Some(group) = path.strip_prefix("postgres.") else { return false };
    let of = |d: &DrillRule| d.of.as_ref().is_some_and(|of| of.as_str() == group);
    policy.drills.values().any(|d| d.kind == DrillKind::Dump && of(d))
}

/// Whether a key has to be changed now and then, and nobody can tell when it was.
fn has_unknown_key_age(encrypt: &EncryptionConfig) -> bool {
    let dated = encrypt.openssl.as_ref().is_some_and(|from| from.secret.is_some());
    encrypt.rotate_every.is_some() && !dated
}

/// The parts that a policy uses and no function runs yet.
pub(super) fn list_unimplemented(policy: &Policy) -> Vec<(String, &'static str)> {
    let mut parts: Vec<(String, &'static str)> = Vec::new();
    for (path, objectives, priority) in all_objectives(policy) {
        if objectives.rto.is_some() && !is_drilled(policy, &path) {
            parts.push((format!("{path}.objectives.rto"), "no drill measures it"));
        }
        if objectives.rpo.is_some() {
            parts.push((
                format!("{path}.objectives.rpo"),
                "judged by max_age and the restorable window only",
            ));
        }
        if priority.is_some() {
            parts.push((format!("{path}.priority"), "no recovery uses it yet"));
        }
    }
    for (name, g) in &policy.postgres {
        if g.wal.as_ref().is_some_and(|w| w.base_backups.schedule.is_some()) {
            let at = format!("postgres.{name}.wal.base_backups.schedule");
            parts.push((at, "base backups are held against it, and cron has to take them"));
        }
        for (reason, dump) in &g.dumps {
            if dump.encrypt.as_ref().is_some_and(has_unknown_key_age) {
                let at = format!("postgres.{name}.dumps.{reason}.encrypt.rotate_every");
                parts.push((at, "only the age of a passphrase in Secrets Manager is watched"));
            }
        }
    }
    for (name, g) in &policy.redis {
        if g.encrypt.as_ref().is_some_and(has_unknown_key_age) {
            let at = format!("redis.{name}.encrypt.rotate_every");
            parts.push((at, "only the age of a passphrase in Secrets Manager is watched"));
        }
    }
    for name in policy.kubernetes.keys() {
        let what = "cluster state is not exported yet; what lies in `storage` is watched";
        parts.push((format!("kubernetes.{name}"), what));
    }
    for name in policy.files.keys() {
        parts.push((
            format!("files.{name}"),
            "files are not backed up yet; what lies in `storage` is watched",
        ));
    }
    parts.extend(crate::parts::unimplemented_parts(policy).into_iter().map(|p| (p.path, p.why)));
    parts
}
