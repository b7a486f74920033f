//! Everything of an archive but its rows: each entry is run over connections of our own, as `pg_restore` would.
//!
//! So an error comes with its SQLSTATE, whatever language the server speaks, and waits for locks are bounded where they
//! have to be. What `pg_restore` does for an entry: `_printTocEntry` and `restore_toc_entries_parallel` in
//! <https://github.com/postgres/postgres/blob/master/src/bin/pg_dump/pg_backup_archiver.c>

mod objects;
mod parallel;
mod statements;

use super::{
    RestoreOptions,
    loss::{RestoreWarning, RestoreWarningKind, StatementTopic, is_recoverable},
};
use crate::{
    ConnectionConfig, PgConnection, PostgresError,
    toc::{Toc, TocEntry, TocSection},
};
use futures_util::future::try_join_all;
pub(crate) use objects::{large_object_entries, sequence_value_entries};
pub(crate) use statements::describe_entry;

use statements::{Step, entry_statements, session_settings};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

/// One of the runs that a restore is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefinitionPhase {
    /// What comes before the rows.
    Before,
    /// Entries of the data section that have no data block: values of sequences; since PostgreSQL 17 empty large objects.
    Values,
    /// What comes after the rows, over several connections.
    After,
}

/// In which order entries of one run come: grants after all that they are about, and last what looks at all the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RestorePass {
    Main,
    Acl,
    PostAcl,
}

impl RestorePass {
    fn from_entry(entry: &TocEntry) -> Self {
        match entry.desc.as_str() {
            "ACL" | "ACL LANGUAGE" | "DEFAULT ACL" => Self::Acl,
            "EVENT TRIGGER" | "MATERIALIZED VIEW DATA" => Self::PostAcl,
            "COMMENT" if entry.tag.starts_with("EVENT TRIGGER ") => Self::PostAcl,
            "STATISTICS DATA" if entry.section == TocSection::PostData => Self::PostAcl,
            _ => Self::Main,
        }
    }
}

/// The definitions of an archive, ready to be run in a database.
pub(crate) struct DefinitionRestorer<'a> {
    server: &'a ConnectionConfig,
    database: &'a str,
    how: &'a RestoreOptions,
    toc: &'a Toc,
    sections: HashMap<i32, TocSection>,
    tablespaces: BTreeSet<String>,
    /// Objects that were in a tablespace that is not here, by its name.
    moved: Mutex<BTreeMap<String, u64>>,
}

/// A connection, and what is set on it now.
pub(crate) struct DefinitionWorker {
    session: PgConnection,
    tablespace: Option<String>,
    access_method: Option<String>,
}

impl<'a> DefinitionRestorer<'a> {
    /// Asks the server which tablespaces there are.
    pub(crate) async fn new(
        server: &'a ConnectionConfig,
        database: &'a str,
        how: &'a RestoreOptions,
        toc: &'a Toc,
        session: &PgConnection,
    ) -> Result<Self, PostgresError> {
        let sql = "SELECT spcname::pg_catalog.text FROM pg_catalog.pg_tablespace";
        let rows = session.query(sql, &[]).await;
        let rows = rows.map_err(|e| PostgresError::from_pg("list the tablespaces", &e))?;
        let tablespaces = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let sections = entry_sections(toc);
        Ok(Self { server, database, how, toc, sections, tablespaces, moved: Mutex::default() })
    }

    /// Runs one section's entries, those that are `wanted`; what could not be restored is the answer.
    pub(crate) async fn run_phase(
        &self,
        run: DefinitionPhase,
        wanted: impl Fn(i32) -> bool,
    ) -> Result<Vec<RestoreWarning>, PostgresError> {
        let section = match run {
            DefinitionPhase::Before => TocSection::PreData,
            DefinitionPhase::Values => TocSection::Data,
            DefinitionPhase::After => TocSection::PostData,
        };
        let entries: Vec<&TocEntry> = (self.toc.entries.iter())
            .filter(|e| self.sections.get(&e.dump_id) == Some(&section) && !e.has_data)
            .filter(|e| wanted(e.dump_id) && self.is_restored(e))
            .collect();
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let of = |pass| {
            entries.iter().copied().filter(move |e| RestorePass::from_entry(e) == pass).collect()
        };
        let mut worker = self.connect_worker().await?;
        let main: Vec<&TocEntry> = of(RestorePass::Main);
        let mut losses = if run == DefinitionPhase::After && self.how.jobs > 1 && main.len() > 1 {
            parallel::run_parallel(self, main).await?
        } else {
            self.restore_in_order(&mut worker, main).await?
        };
        for pass in [RestorePass::Acl, RestorePass::PostAcl] {
            losses.extend(self.restore_in_order(&mut worker, of(pass)).await?);
        }
        Ok(losses)
    }

    /// Runs one entry that waits for locks no longer than `lock_wait`; none when it did not get them.
    pub(crate) async fn try_entry_early(
        &self,
        id: i32,
        lock_wait: &str,
    ) -> Result<Option<Vec<RestoreWarning>>, PostgresError> {
        let Some(entry) = self.toc.entry_by_id(id).filter(|e| self.is_restored(e)) else {
            return Ok(Some(Vec::new()));
        };
        let mut worker = self.connect_worker().await?;
        let set = format!("SET lock_timeout = {}", crate::quote_literal(lock_wait));
        let set = worker.session.batch_execute(&set).await;
        set.map_err(|e| PostgresError::from_pg("set up a connection", &e))?;
        let losses = self.restore_entry(&mut worker, entry).await?;
        let late = losses.iter().any(|l| l.sqlstate.as_deref() == Some(LOCK_NOT_AVAILABLE));
        Ok((!late).then_some(losses))
    }

    /// What could not be put where it was, once all is run.
    pub(crate) fn tablespace_warnings(&self) -> Vec<RestoreWarning> {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let loss = |(name, count): (&String, &u64)| {
            let why = format!(
                "it is not on this server; what was in it ({count} tables and indexes) is in the default one"
            );
            RestoreWarning::new(RestoreWarningKind::Tablespace, format!("TABLESPACE {name}"), why)
        };
        moved.iter().map(loss).collect()
    }

    async fn restore_in_order(
        &self,
        on: &mut DefinitionWorker,
        entries: Vec<&TocEntry>,
    ) -> Result<Vec<RestoreWarning>, PostgresError> {
        let mut losses = Vec::new();
        for entry in entries {
            losses.extend(self.restore_entry(on, entry).await?);
        }
        Ok(losses)
    }

    /// Whether an entry is restored at all: what is about the database as a whole is not of its archive's making.
    fn is_restored(&self, entry: &TocEntry) -> bool {
        match entry.desc.as_str() {
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES" => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("DATABASE ") => false,
            "ACL" | "ACL LANGUAGE" | "DEFAULT ACL" => self.how.privileges,
            _ => true,
        }
    }

    async fn connect_worker(&self) -> Result<DefinitionWorker, PostgresError> {
        let session = self.server.connect(self.database).await?;
        let set = session.batch_execute(&session_settings(self.toc)).await;
        set.map_err(|e| PostgresError::from_pg("set up a connection", &e))?;
        Ok(DefinitionWorker { session, tablespace: None, access_method: None })
    }

    /// Runs one entry. After a statement that fails, those that would only follow from it are left out.
    async fn restore_entry(
        &self,
        on: &mut DefinitionWorker,
        entry: &TocEntry,
    ) -> Result<Vec<RestoreWarning>, PostgresError> {
        self.set_table_defaults(on, entry).await?;
        let mut losses = Vec::new();
        for step in entry_statements(self.toc, entry, self.how.owners) {
            let Step { all, each, topic, what } = step;
            let Err(e) = together(&on.session, &all).await else { continue };
            self.record_warning(&e, topic, &what, &mut losses)?;
            if each.is_empty() {
                break;
            }
            losses.pop();
            for (sql, what) in &each {
                if let Err(e) = on.session.query_typed(sql, &[]).await {
                    self.record_warning(&e, topic, what, &mut losses)?;
                }
            }
        }
        Ok(losses)
    }

    fn record_warning(
        &self,
        e: &tokio_postgres::Error,
        topic: StatementTopic,
        what: &str,
        losses: &mut Vec<RestoreWarning>,
    ) -> Result<(), PostgresError> {
        if !is_recoverable(e) {
            return Err(PostgresError::from_pg(
                format!("restore {what} into {}", self.database),
                e,
            ));
        }
        losses.push(RestoreWarning::from_error(e, topic, what));
        Ok(())
    }

    /// Makes what comes next be in its tablespace and of its access method.
    async fn set_table_defaults(
        &self,
        on: &mut DefinitionWorker,
        entry: &TocEntry,
    ) -> Result<(), PostgresError> {
        let mut set = Vec::new();
        if let Some(wanted) = &entry.tablespace {
            let here = wanted.is_empty() || self.tablespaces.contains(wanted);
            if !here {
                let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
                *moved.entry(wanted.clone()).or_default() += 1;
            }
            let wanted = if here { wanted.as_str() } else { "" };
            if on.tablespace.as_deref() != Some(wanted) {
                let value =
                    if wanted.is_empty() { "''".into() } else { crate::quote_ident(wanted) };
                set.push(format!("SET default_tablespace = {value}"));
                on.tablespace = Some(wanted.to_owned());
            }
        }
        if let Some(wanted) = entry.access_method.as_ref().filter(|_| !entry.is_partitioned)
            && on.access_method.as_ref() != Some(wanted)
        {
            set.push(format!("SET default_table_access_method = {}", crate::quote_ident(wanted)));
            on.access_method = Some(wanted.clone());
        }
        for statement in set {
            match on.session.batch_execute(&statement).await {
                // An access method that is not here: the table is made in the usual one.
                Err(e) if !is_recoverable(&e) => {
                    return Err(PostgresError::from_pg("set up a connection", &e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Runs statements in one transaction. The extended protocol takes one at a time, whatever a text has in it: so the server
/// runs nothing that was not judged as a statement of its own.
async fn together(session: &PgConnection, all: &[String]) -> Result<(), tokio_postgres::Error> {
    match all {
        [] => return Ok(()),
        [one] => return session.query_typed(one, &[]).await.map(drop),
        _ => session.batch_execute("BEGIN").await?,
    }
    // All are sent before the first answer is awaited.
    let run = try_join_all(all.iter().map(|sql| session.query_typed(sql, &[]))).await;
    let end = session.batch_execute(if run.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    run?;
    end
}

/// `lock_not_available`
pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The section of each entry: comments and grants are of that of the entry before them.
fn entry_sections(toc: &Toc) -> HashMap<i32, TocSection> {
    let mut now = TocSection::PreData;
    let with = |entry: &TocEntry| {
        if entry.section != TocSection::None {
            now = entry.section;
        }
        (entry.dump_id, now)
    };
    toc.entries.iter().map(with).collect()
}
