//! The parts of the grammar that no function runs yet, as a policy uses them: named, never dropped in silence.

use super::{Encrypt, Policy, grammar::Objectives};

/// The objectives and the recovery priority of every group.
fn all_objectives(policy: &Policy) -> Vec<(String, &Objectives, Option<u8>)> {
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

/// Whether a key has to be changed now and then, and nobody can tell when it was.
fn age_unknown(encrypt: &Encrypt) -> bool {
    let dated = encrypt.openssl.as_ref().is_some_and(|from| from.secret.is_some());
    encrypt.rotate_every.is_some() && !dated
}

/// The parts that a policy uses and no function runs yet.
pub(super) fn list(policy: &Policy) -> Vec<(String, &'static str)> {
    let mut parts: Vec<(String, &'static str)> = Vec::new();
    for (name, d) in &policy.destinations {
        if d.azure.is_some() {
            parts.push((format!("destinations.{name}.azure"), "nothing is copied to Azure yet"));
        }
    }
    for (path, objectives, priority) in all_objectives(policy) {
        if objectives.rto.is_some() {
            parts.push((format!("{path}.objectives.rto"), "no drill measures it yet"));
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
        for (reason, dump) in &g.dumps {
            let at = format!("postgres.{name}.dumps.{reason}");
            if dump.format == super::DumpFormat::Base {
                parts.push((at, "base backups are not taken yet"));
            } else if dump.encrypt.as_ref().is_some_and(age_unknown) {
                parts.push((
                    format!("{at}.encrypt.rotate_every"),
                    "only the age of a passphrase in Secrets Manager is watched",
                ));
            }
        }
        if g.wal.is_some() {
            parts.push((format!("postgres.{name}.wal"), "WAL is not archived or checked yet"));
        }
        if g.replica_max_lag.is_some() {
            parts.push((
                format!("postgres.{name}.replica_max_lag"),
                "streaming replicas are not watched yet",
            ));
        }
    }
    for name in policy.redis.keys() {
        let what = "RDB files are not taken and settings not checked yet; what lies in `stored` is watched";
        parts.push((format!("redis.{name}"), what));
    }
    for name in policy.kubernetes.keys() {
        let what = "cluster state is not exported yet; what lies in `stored` is watched";
        parts.push((format!("kubernetes.{name}"), what));
    }
    for name in policy.secrets.keys() {
        parts.push((format!("secrets.{name}"), "secrets are not checked yet"));
    }
    for name in policy.files.keys() {
        parts.push((
            format!("files.{name}"),
            "files are not backed up yet; what lies in `stored` is watched",
        ));
    }
    parts.extend(
        policy.drills.keys().map(|n| (format!("drills.{n}"), "no function runs drills yet")),
    );
    parts
}
