//! The command lines that hints name. Nothing else in the workspace spells one, so that each is one that the command
//! takes: a test of the command builds all of them and reads each with its own parser.

use crate::words::shell_quote;

/// A hint that is a command.
pub fn run(command: &str) -> String {
    format!("run `{command}`")
}

/// How everything stands.
pub const STATUS: &str = "holdfast status";
/// How the alarms of the policy stand.
pub const ALARMS: &str = "holdfast alarms";
/// Metrics where the host's own directories can be seen.
pub const MONITOR: &str = "holdfast monitor";
/// What `notify` knows to be open.
pub const NOTIFY_LIST: &str = "holdfast notify --list";
/// What retention would delete, and why.
pub const PLAN_RETENTION: &str = "holdfast plan retention";
/// Whether the record of operations is whole.
pub const AUDIT_VERIFY: &str = "holdfast audit verify";
/// What was done.
pub const AUDIT_LIST: &str = "holdfast audit list";
/// What was done in the last month.
pub const AUDIT_LIST_MONTH: &str = "holdfast audit list --since 31d";
/// Marks of the stores.
pub const STORE_INIT: &str = "holdfast store init";
/// The policy played ahead.
pub const SIMULATE: &str = "holdfast simulate";
/// A pair of keys that signs.
pub const KEY_NEW: &str = "holdfast key new signing.key";
/// Every dump.
pub const LIST: &str = "holdfast list";
/// Test restores, which also drop what an earlier one left.
pub const VERIFY_FULL: &str = "holdfast verify --full";
/// What is due of the snapshots.
pub const RUN_SNAPSHOT: &str = "holdfast run snapshot";
/// The copies of snapshots and objects that are missing.
pub const RUN_OFFSITE: &str = "holdfast run offsite";
/// The drills, their calendars and their verdicts.
pub const DRILL_LIST: &str = "holdfast drill list";
/// The drills that are due.
pub const RUN_DRILL: &str = "holdfast run drill";
/// The status page.
pub const REPORT: &str = "holdfast report";
/// A base backup, where one group has a WAL archive.
pub const BASEBACKUP: &str = "holdfast basebackup";

/// Commands without an argument, for the test.
pub const ALL: [&str; 19] = [
    STATUS,
    ALARMS,
    MONITOR,
    NOTIFY_LIST,
    PLAN_RETENTION,
    AUDIT_VERIFY,
    AUDIT_LIST,
    AUDIT_LIST_MONTH,
    STORE_INIT,
    KEY_NEW,
    SIMULATE,
    LIST,
    VERIFY_FULL,
    RUN_SNAPSHOT,
    RUN_OFFSITE,
    DRILL_LIST,
    RUN_DRILL,
    REPORT,
    BASEBACKUP,
];

/// A snapshot of a database at once, for a reason of its group.
pub fn snapshot(reason: &str, asset: &str) -> String {
    format!("holdfast run snapshot --reason {reason} --asset {}", shell_quote(asset))
}

/// A dump of a group or of one of its databases at once, for a reason of the group.
pub fn dump(of: &str, reason: &str) -> String {
    format!("holdfast dump {} --reason {reason}", shell_quote(of))
}

/// An RDB file of a group at once.
pub fn redis_dump(group: &str) -> String {
    format!("holdfast redis dump {}", shell_quote(group))
}

/// What is wrong with a Redis server.
pub fn redis_check(group: &str) -> String {
    format!("holdfast redis check {}", shell_quote(group))
}

/// The dumps of a group that are due, and the copies that are missing at its second places.
pub fn dump_due(group: &str) -> String {
    format!("holdfast dump {group}")
}

/// The dumps of a group, or of one of its databases.
pub fn list(of: &str) -> String {
    format!("{LIST} {}", shell_quote(of))
}

/// One database with each of its points, or what lies as objects.
pub fn explain(asset: &str) -> String {
    format!("holdfast explain {}", shell_quote(asset))
}

/// A test message to one channel.
pub fn notify_test(channel: &str) -> String {
    format!("holdfast notify --test {}", shell_quote(channel))
}

/// A restore of the newest dump into a new database, beside the living one.
pub fn restore_beside(backup: &str, to: &str) -> String {
    format!("holdfast restore {} --to {}", shell_quote(backup), shell_quote(to))
}

/// A drill of every asset of it, at once.
pub fn drill_run(drill: &str) -> String {
    format!("holdfast drill run {drill}")
}

/// What a drill showed.
pub fn drill_show(drill: &str) -> String {
    format!("holdfast drill show {drill}")
}

/// What a function does, with its log.
pub fn watch(function: &str) -> String {
    format!("holdfast run {function} --dry-run -v")
}

/// The command that does what a function does; `None` of a name that is no function's.
pub fn function(name: &str) -> Option<String> {
    Some(match name {
        "snapshot" | "offsite" | "freshness" | "replication" | "redis" | "secrets"
        | "retention" | "drill" => {
            format!("holdfast run {name}")
        }
        "dump" | "notify" | "report" | "verify" => format!("holdfast {name}"),
        _ => return None,
    })
}
