//! What a server needs so that its WAL is archived: planned from what it says of itself, for a person or for SQL.

use serde::Serialize;

/// The longest time that an archived server may go without ending a segment: what is lost with the host without a receiver.
const ARCHIVE_TIMEOUT: &str = "5min";

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `wal_level` as it runs.
    pub wal_level: String,
    /// `archive_mode` as it runs.
    pub archive_mode: String,
    /// `archive_command` as it is configured, whether it counts or not.
    pub archive_command: String,
    /// `archive_library`; empty before PostgreSQL 15.
    pub archive_library: String,
    /// `archive_timeout`, in seconds.
    pub archive_timeout: i64,
    /// `max_wal_senders`.
    pub max_wal_senders: i64,
    /// `max_replication_slots`.
    pub max_replication_slots: i64,
    /// Settings that are changed and wait for a restart.
    pub pending_restart: Vec<String>,
    /// The user that was logged in.
    pub user: String,
    /// Whether it may replicate.
    pub may_replicate: bool,
    /// Whether the slot is there.
    pub has_slot: bool,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupRequest {
    /// The `archive_command`.
    pub archive_command: String,
    /// The slot of a receiver, if there is one.
    pub slot: Option<String>,
}

/// One thing that the server needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetupStep {
    /// What it is.
    pub what: String,
    /// Whether it is so already.
    pub done: bool,
    /// The statement that makes it so; none where a person must decide.
    pub statement: Option<String>,
    /// Whether it counts only after a restart of the server.
    pub restart: bool,
    /// What a person must decide.
    pub blocked: Option<String>,
}

impl SetupStep {
    fn setting(facts: &ServerFacts, name: &str, value: &str, done: bool, restart: bool) -> Self {
        let pending = facts.pending_restart.iter().any(|p| p == name);
        Self {
            what: format!("{name} = {value}"),
            done: done && !pending,
            statement: (!pending && !done)
                .then(|| format!("ALTER SYSTEM SET {name} = {}", quote_literal(value))),
            restart: restart && (!done || pending),
            blocked: None,
        }
    }
}

fn quote_literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What is to be done, in the order in which it is done.
pub fn plan_setup(facts: &ServerFacts, request: &SetupRequest) -> Vec<SetupStep> {
    let set =
        |name, value: &str, done, restart| SetupStep::setting(facts, name, value, done, restart);
    let mut steps = vec![set("wal_level", "replica", facts.wal_level != "minimal", true)];
    if facts.max_wal_senders < 2 {
        steps.push(set("max_wal_senders", "10", false, true));
    }
    if request.slot.is_some() && facts.max_replication_slots < 1 {
        steps.push(set("max_replication_slots", "10", false, true));
    }
    let ours = facts.archive_command == request.archive_command;
    let mut command = set("archive_command", &request.archive_command, ours, false);
    let other = if !facts.archive_library.is_empty() {
        Some(format!("archive_library is {}", facts.archive_library))
    } else if !ours && !facts.archive_command.is_empty() {
        Some(format!("archive_command is {}", facts.archive_command))
    } else {
        None
    };
    if let Some(other) = other {
        // Two archives need one command that calls both, and only who runs the other knows whether it is still wanted.
        command.statement = None;
        command.blocked = Some(format!(
            "something else archives here: {other}. Take it away first, if it is no longer wanted"
        ));
    }
    let blocked = command.blocked.is_some();
    steps.push(command);
    if !blocked {
        steps.push(set("archive_mode", "on", facts.archive_mode != "off", true));
        steps.push(set("archive_timeout", ARCHIVE_TIMEOUT, facts.archive_timeout > 0, false));
    }
    steps.push(SetupStep {
        what: format!("{} may replicate", facts.user),
        done: facts.may_replicate,
        statement: (!facts.may_replicate)
            .then(|| format!("ALTER ROLE {} REPLICATION", quote_name(&facts.user))),
        restart: false,
        blocked: None,
    });
    if let Some(slot) = &request.slot {
        let make = format!(
            "SELECT pg_catalog.pg_create_physical_replication_slot({}, true)",
            quote_literal(slot)
        );
        steps.push(SetupStep {
            what: format!("the replication slot {slot}, which holds WAL until it is received"),
            done: facts.has_slot,
            statement: (!facts.has_slot).then_some(make),
            restart: false,
            blocked: None,
        });
    }
    steps
}

/// What takes it back: only what is ours, and nothing that others may use by now.
pub fn plan_undo(facts: &ServerFacts, request: &SetupRequest) -> Vec<SetupStep> {
    let ours = facts.archive_command == request.archive_command;
    let step = |what: &str, statement: Option<String>, restart| SetupStep {
        what: what.into(),
        done: statement.is_none(),
        statement,
        restart,
        blocked: None,
    };
    let reset = |name: &str| ours.then(|| format!("ALTER SYSTEM RESET {name}"));
    let mut steps = vec![
        // First, so that the server does not keep WAL for a command that is gone.
        step("archive_mode as it was", reset("archive_mode"), ours),
        step("archive_command as it was", reset("archive_command"), false),
        step("archive_timeout as it was", reset("archive_timeout"), false),
    ];
    if let Some(slot) = &request.slot {
        let drop = format!("SELECT pg_catalog.pg_drop_replication_slot({})", quote_literal(slot));
        steps.push(step(
            &format!("no replication slot {slot}"),
            facts.has_slot.then_some(drop),
            false,
        ));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            wal_level: "replica".into(),
            archive_mode: "off".into(),
            max_wal_senders: 10,
            max_replication_slots: 10,
            user: "po\"stgres".into(),
            ..ServerFacts::default()
        }
    }

    fn request() -> SetupRequest {
        SetupRequest {
            archive_command: "holdfast wal push '%p'".into(),
            slot: Some("holdfast".into()),
        }
    }

    fn statements(steps: &[SetupStep]) -> Vec<&str> {
        steps.iter().filter_map(|s| s.statement.as_deref()).collect()
    }

    #[test]
    fn what_a_new_server_needs_is_planned_and_quoted() {
        let steps = plan_setup(&facts(), &request());
        let expected = [
            "ALTER SYSTEM SET archive_command = 'holdfast wal push ''%p'''",
            "ALTER SYSTEM SET archive_mode = 'on'",
            "ALTER SYSTEM SET archive_timeout = '5min'",
            "ALTER ROLE \"po\"\"stgres\" REPLICATION",
            "SELECT pg_catalog.pg_create_physical_replication_slot('holdfast', true)",
        ];
        assert_eq!(statements(&steps), expected);
        let restart: Vec<_> = steps.iter().filter(|s| s.restart).map(|s| s.what.as_str()).collect();
        assert_eq!(restart, ["archive_mode = on"]);
    }

    #[test]
    fn what_is_done_is_not_done_again_and_what_waits_for_a_restart_is_not_done() {
        let mut done = facts();
        done.archive_command = request().archive_command;
        done.archive_timeout = 60;
        (done.may_replicate, done.has_slot) = (true, true);
        done.pending_restart = vec!["archive_mode".into()];
        let steps = plan_setup(&done, &request());
        assert_eq!(statements(&steps), [""; 0]);
        let waits: Vec<_> =
            steps.iter().filter(|s| !s.done).map(|s| (s.what.as_str(), s.restart)).collect();
        assert_eq!(waits, [("archive_mode = on", true)]);
    }

    #[test]
    fn another_archive_is_left_alone() {
        for other in [("cp %p /backup/%f", ""), ("", "basic_archive")] {
            let mut theirs = facts();
            (theirs.archive_command, theirs.archive_library) = (other.0.into(), other.1.into());
            let steps = plan_setup(&theirs, &request());
            assert!(!statements(&steps).iter().any(|s| s.contains("archive_")), "{steps:?}");
            assert!(steps.iter().any(|s| s.blocked.is_some()));
            let undo = plan_undo(&theirs, &request());
            assert_eq!(statements(&undo), [""; 0]);
        }
    }
}
