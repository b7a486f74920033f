//! `holdfast wal setup`: what a server needs so that its WAL is archived, shown or done, and tried.

use super::{Access, open_repository, own_command, select_group};
use crate::{
    args::wal::WalSetupArgs,
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
};
use dump::means;
use postgres::{ConnectionConfig, PostgresError};
use serde::Serialize;
use std::time::{Duration, Instant};
use wal::{
    WalError, WalErrorKind, WalFileName, WalRepository,
    setup::{ServerFacts, SetupRequest, SetupStep, plan_setup, plan_undo},
    wire::ReplicationConnection,
};

/// So long the server and the archive have for one segment; PostgreSQL tries a failed command again after a minute.
const CHECK_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Shows what is needed, or does it and tries it.
pub(super) async fn run(
    session: &CommandContext<'_>,
    policy: &str,
    args: &WalSetupArgs,
) -> anyhow::Result<CommandExit> {
    let (name, rules, config) = select_group(session, args.group.as_deref())?;
    let secrets = session.secret_resolver();
    let failed = |e: WalError| CommandError::from_wal_error(&e);
    let world = session.dry_run_context();
    let server = means::connect_config(&world, &secrets, rules).await;
    let server = server.map_err(|e| CommandError::from_data_error(&e))?;
    let request = SetupRequest {
        archive_command: format!("{} wal push --group {name} \"%p\"", own_command(policy)?),
        slot: args.slot.clone(),
    };
    let connection = server.connect("postgres").await.map_err(|e| failed(e.into()))?;
    let plan = |facts: &ServerFacts| {
        if args.undo { plan_undo(facts, &request) } else { plan_setup(facts, &request) }
    };
    let mut steps = plan(&read_facts(&connection, args.slot.as_deref()).await.map_err(failed)?);
    if args.apply || args.undo {
        for statement in steps.iter().filter_map(|s| s.statement.as_deref()) {
            let done = connection.batch_execute(statement).await;
            done.map_err(|e| failed(PostgresError::from_pg(statement, &e).into()))?;
        }
        let reload = "SELECT pg_catalog.pg_reload_conf()";
        connection
            .batch_execute(reload)
            .await
            .map_err(|e| failed(PostgresError::from_pg(reload, &e).into()))?;
        if args.apply {
            steps =
                wait_for_settings(&connection, args.slot.as_deref(), plan).await.map_err(failed)?;
        }
    }
    let ready = !args.undo && steps.iter().all(|s| s.done);
    let mut checked = None;
    if ready && (args.apply || args.check) {
        let repository = open_repository(session, &secrets, rules, config, Access::List)
            .await
            .map_err(failed)?;
        let checking = Box::pin(check_archiving(&server, &connection, &repository));
        checked = Some(
            session.progress.with_spinner("archiving a segment", checking).await.map_err(failed)?,
        );
    }
    let output = SetupOutput { applied: args.apply || args.undo, undo: args.undo, steps, checked };
    session.output.print_output(&output)?;
    let well = args.undo || ready;
    Ok(if well { CommandExit::Success } else { CommandExit::Failed })
}

type Session = postgres::server::PgConnection;

async fn read_facts(connection: &Session, slot: Option<&str>) -> Result<ServerFacts, WalError> {
    let failed = |e: &postgres::server::ClientError| {
        WalError::from(PostgresError::from_pg("ask the server for its settings", e))
    };
    // While archive_mode is off, the setting itself reads "(disabled)".
    let query = "SELECT name, CASE name WHEN 'archive_command' THEN reset_val ELSE setting END, pending_restart
                 FROM pg_catalog.pg_settings WHERE name IN ('wal_level', 'archive_mode', 'archive_command', 'archive_library',
                 'archive_timeout', 'max_wal_senders', 'max_replication_slots')";
    let mut facts = ServerFacts::default();
    for row in connection.query(query, &[]).await.map_err(|e| failed(&e))? {
        let (name, value): (String, Option<String>) = (row.get(0), row.get(1));
        let value = value.unwrap_or_default();
        let number = || value.parse().unwrap_or_default();
        match name.as_str() {
            "wal_level" => facts.wal_level.clone_from(&value),
            "archive_mode" => facts.archive_mode.clone_from(&value),
            "archive_command" => facts.archive_command.clone_from(&value),
            "archive_library" => facts.archive_library.clone_from(&value),
            "archive_timeout" => facts.archive_timeout = number(),
            "max_wal_senders" => facts.max_wal_senders = number(),
            _ => facts.max_replication_slots = number(),
        }
        if row.get(2) {
            facts.pending_restart.push(name);
        }
    }
    let query = "SELECT rolname::text, rolreplication OR rolsuper,
                 EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1)
                 FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let row = connection.query_one(query, &[&slot]).await.map_err(|e| failed(&e))?;
    (facts.user, facts.may_replicate, facts.has_slot) = (row.get(0), row.get(1), row.get(2));
    Ok(facts)
}

/// Reads the plan again until what needs no restart is seen: a reload takes a moment.
async fn wait_for_settings(
    connection: &Session,
    slot: Option<&str>,
    plan: impl Fn(&ServerFacts) -> Vec<SetupStep>,
) -> Result<Vec<SetupStep>, WalError> {
    let begun = Instant::now();
    loop {
        let steps = plan(&read_facts(connection, slot).await?);
        if steps.iter().all(|s| s.statement.is_none()) || begun.elapsed() > Duration::from_secs(5) {
            return Ok(steps);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Logs in for replication, ends a segment, and waits until the archive has it; its name.
async fn check_archiving(
    server: &ConnectionConfig,
    connection: &Session,
    repository: &WalRepository,
) -> Result<String, WalError> {
    let system = ReplicationConnection::connect(server).await?.identify().await?.system;
    let failed = |e: &postgres::server::ClientError| {
        WalError::from(PostgresError::from_pg("end a segment", e))
    };
    let query = "SELECT pg_catalog.pg_create_restore_point('holdfast setup')";
    connection.batch_execute(query).await.map_err(|e| failed(&e))?;
    let query = "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), pg_catalog.pg_switch_wal()::text";
    let row = connection.query_one(query, &[]).await.map_err(|e| failed(&e))?;
    let name: String = row.get(0);
    let file: WalFileName = name
        .parse()
        .map_err(|why: String| WalError::new(WalErrorKind::Database, "check archiving", why, ""))?;
    if repository.wait_until_stored(system, &file, Instant::now() + CHECK_TIMEOUT).await? {
        return Ok(name);
    }
    let why =
        format!("{name} was ended, and is not in the archive after {} s", CHECK_TIMEOUT.as_secs());
    let hint = "the server's log says what archive_command said; it runs as the server's user, who must read the policy";
    Err(WalError::new(WalErrorKind::Late, "check archiving", why, hint))
}

#[derive(Serialize)]
struct SetupOutput {
    applied: bool,
    undo: bool,
    steps: Vec<SetupStep>,
    /// The segment that was ended and came into the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    checked: Option<String>,
}

impl CommandOutput for SetupOutput {
    fn render_text(&self, _: TerminalStyle) -> String {
        let mut lines = Vec::new();
        for step in &self.steps {
            let (state, detail) = match step {
                SetupStep { blocked: Some(why), .. } => ("BLOCKED", why.clone()),
                SetupStep { done: true, .. } => ("ok", String::new()),
                SetupStep { statement: Some(sql), .. } if self.applied && self.undo => {
                    ("done", sql.clone())
                }
                SetupStep { statement: Some(sql), .. } => ("to do", format!("{sql};")),
                SetupStep { .. } => ("set", String::new()),
            };
            let restart = if step.restart { " (counts after a restart of the server)" } else { "" };
            lines.push(format!("{state:8} {}{restart}", step.what));
            lines.extend((!detail.is_empty()).then(|| format!("         {detail}")));
        }
        lines.extend(
            self.checked.as_ref().map(|name| {
                format!("checked: {name} was ended by the server, and is in the archive")
            }),
        );
        if !self.undo && self.steps.iter().any(|s| s.restart) {
            lines.push("restart the server, then check it: the same command with --check".into());
        }
        if !self.undo && self.checked.is_none() {
            lines.push("pg_hba.conf needs a line for the database \"replication\", for base backups and for receiving".into());
        }
        lines.join("\n")
    }
}
