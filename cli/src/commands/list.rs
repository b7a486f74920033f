//! `holdfast list`: the dumps that there are, from the stores alone.

use crate::{
    backups::{BackupSearch, LocatedBackup, find_backups},
    output::{self, CommandOutput},
    session::CommandContext,
    stop::CommandExit,
    table::TerminalStyle,
    words::{PLACEHOLDER, format_age, format_size, format_time, pluralize},
};
use jiff::Timestamp;
use serde::Serialize;
use storage::catalogue::BackupKind;

/// Lists every dump of the groups, or of what was asked for.
pub(super) async fn run(
    session: &CommandContext<'_>,
    of: Option<&str>,
) -> anyhow::Result<CommandExit> {
    let secrets = session.secret_resolver();
    let looking = Box::pin(find_backups(session, &secrets, of));
    let found: BackupSearch<'_> =
        session.progress.with_spinner("looking at the stores", looking).await?;
    let rows = found.backups.iter().map(|i| BackupRow::from_backup(i, session.env.now)).collect();
    session
        .output
        .print_output(&ListOutput { rows, is_complete: found.observation_errors.is_empty() })?;
    for gap in &found.observation_errors {
        output::print_stderr(&format!("holdfast: {}", gap.to_line_with_hint()));
    }
    Ok(if found.observation_errors.is_empty() {
        CommandExit::Success
    } else {
        CommandExit::Unreachable
    })
}

/// A dump as it is listed.
#[derive(Debug, Serialize)]
struct BackupRow {
    /// What `verify` and `restore` take.
    backup: String,
    uri: String,
    group: String,
    database: String,
    /// 0 is `storage`, then each of `copies`.
    location_index: usize,
    reason: Option<String>,
    table: Option<String>,
    data_time: Option<Timestamp>,
    /// When the file itself was read, where its database was still the same later.
    unchanged_since: Option<Timestamp>,
    age_seconds: Option<i64>,
    bytes: u64,
    format: Option<storage::manifest::ManifestFormat>,
    encrypted: Option<bool>,
    rows: Option<u64>,
    archived: bool,
    legal_hold: Option<String>,
    locked_until: Option<Timestamp>,
    state: &'static str,
    /// What kind of fault a faulty one has.
    fault: Option<storage::StoreErrorKind>,
    message: Option<String>,
}

impl BackupRow {
    fn from_backup(item: &LocatedBackup<'_>, now: Timestamp) -> Self {
        let m = item.committed_manifest();
        let at = item.data_time();
        Self {
            backup: item.backup.key.clone(),
            uri: item.location.store.full_uri(&item.backup.key),
            group: item.group.to_string(),
            database: item.database.clone(),
            location_index: item.location_index,
            reason: item.backup.reason().map(str::to_owned),
            table: m.and_then(|m| m.table.clone()),
            data_time: at,
            unchanged_since: m.map(|m| m.data_time).filter(|_| !item.backup.unchanged.is_empty()),
            age_seconds: at.map(|at| now.duration_since(at).as_secs()),
            bytes: item.backup.size,
            format: m.map(|m| m.format),
            encrypted: m.map(|m| m.layers.encryption.is_some()),
            rows: m.map(storage::BackupManifest::row_count),
            archived: item.backup.archived,
            legal_hold: item.backup.hold.clone(),
            locked_until: m.and_then(|m| m.locked_until).filter(|until| *until > now),
            state: match &item.backup.kind {
                BackupKind::Committed(_) => "good",
                BackupKind::Foreign(_) => "foreign",
                BackupKind::Faulty { .. } => "faulty",
            },
            fault: match &item.backup.kind {
                BackupKind::Faulty { kind, .. } => Some(*kind),
                _ => None,
            },
            message: match &item.backup.kind {
                BackupKind::Faulty { why, .. } => Some(why.clone()),
                _ => None,
            },
        }
    }

    /// What else there is to say of it.
    fn format_notes(&self) -> String {
        let mut notes = Vec::new();
        match self.state {
            "foreign" => notes.push("foreign: no commit record, never deleted".into()),
            "faulty" => {
                let word = match self.fault {
                    Some(storage::StoreErrorKind::Damaged) => "DAMAGED",
                    Some(storage::StoreErrorKind::Untrusted) => "NOT TRUSTED",
                    _ => "FAULTY",
                };
                notes.push(format!("{word}: {}", self.message.as_deref().unwrap_or_default()));
            }
            _ => {}
        }
        notes.extend(self.legal_hold.as_ref().map(|why| format!("held: {why}")));
        notes.extend(self.locked_until.map(|until| format!("locked until {}", format_time(until))));
        notes.extend(
            self.unchanged_since.map(|since| format!("unchanged since {}", format_time(since))),
        );
        if self.encrypted == Some(true) {
            notes.push("encrypted".into());
        }
        if self.archived {
            notes.push("archived".into());
        }
        if self.location_index > 0 {
            notes.push(format!("copy in {}", self.uri.trim_end_matches(&self.backup)));
        }
        notes.join(", ")
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ListOutput {
    rows: Vec<BackupRow>,
    /// Whether every place was seen.
    #[serde(skip)]
    is_complete: bool,
}

impl CommandOutput for ListOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.rows.is_empty() {
            // Of a place that was not seen, nobody knows.
            return if self.is_complete { "no dumps" } else { "nothing was seen" }.into();
        }
        let head = ["database", "backup", "reason", "data of", "age", "size", "rows", "notes"];
        let none = || PLACEHOLDER.to_owned();
        let rows = self.rows.iter().map(|r| {
            vec![
                format!("{}/{}", r.group, r.database),
                r.backup.clone(),
                r.reason.clone().unwrap_or_else(none),
                r.data_time.map_or_else(none, format_time),
                r.age_seconds.map_or_else(none, format_age),
                format_size(i64::try_from(r.bytes).unwrap_or(i64::MAX)),
                r.rows.map_or_else(none, |n| n.to_string()),
                r.format_notes(),
            ]
        });
        let good = self.rows.iter().filter(|r| r.state == "good").count();
        format!(
            "{}\n\n{}",
            look.render_table(&head, rows),
            pluralize(good, "good dump", "good dumps")
        )
    }
}
