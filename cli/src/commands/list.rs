//! `holdfast list`: the dumps that there are, from the stores alone.

use crate::{
    backups::{Found, Item, find},
    output::{self, Answer},
    session::Session,
    stop::Exit,
    table::Look,
    words::{NONE, age, count, format_size, time},
};
use jiff::Timestamp;
use serde::Serialize;
use store::catalogue::Of;

/// Lists every dump of the groups, or of what was asked for.
pub(super) async fn run(session: &Session<'_>, of: Option<&str>) -> anyhow::Result<Exit> {
    let secrets = session.secrets();
    let looking = Box::pin(find(session, &secrets, of));
    let found: Found<'_> = session.progress.during("looking at the stores", looking).await?;
    let rows = found.items.iter().map(|i| Row::of(i, session.edge.now)).collect();
    session.output.answer(&List { rows, whole: found.gaps.is_empty() })?;
    for gap in &found.gaps {
        output::tell(&format!("holdfast: {}", gap.to_line_with_hint()));
    }
    Ok(if found.gaps.is_empty() { Exit::Well } else { Exit::Blind })
}

/// A dump as it is listed.
#[derive(Debug, Serialize)]
struct Row {
    /// What `verify` and `restore` take.
    backup: String,
    address: String,
    group: String,
    database: String,
    /// 0 is `stored`, then each of `also_stored`.
    place: usize,
    reason: Option<String>,
    table: Option<String>,
    data_time: Option<Timestamp>,
    /// When the file itself was read, where its database was still the same later.
    unchanged_since: Option<Timestamp>,
    age_seconds: Option<i64>,
    bytes: u64,
    format: Option<store::manifest::Format>,
    encrypted: Option<bool>,
    rows: Option<u64>,
    archived: bool,
    held: Option<String>,
    locked_until: Option<Timestamp>,
    state: &'static str,
    /// What kind of fault a faulty one has.
    fault: Option<store::Kind>,
    why: Option<String>,
}

impl Row {
    fn of(item: &Item<'_>, now: Timestamp) -> Self {
        let m = item.good();
        let at = item.at();
        Self {
            backup: item.backup.key.clone(),
            address: item.open.store.arn(&item.backup.key),
            group: item.group.to_string(),
            database: item.database.clone(),
            place: item.place,
            reason: item.backup.reason().map(str::to_owned),
            table: m.and_then(|m| m.table.clone()),
            data_time: at,
            unchanged_since: m.map(|m| m.data_time).filter(|_| !item.backup.unchanged.is_empty()),
            age_seconds: at.map(|at| now.duration_since(at).as_secs()),
            bytes: item.backup.size,
            format: m.map(|m| m.format),
            encrypted: m.map(|m| m.layers.cipher.is_some()),
            rows: m.map(|m| m.tables.iter().map(|t| t.rows).sum()),
            archived: item.backup.archived,
            held: item.backup.hold.clone(),
            locked_until: m.and_then(|m| m.locked_until).filter(|until| *until > now),
            state: match &item.backup.kind {
                Of::Committed(_) => "good",
                Of::Foreign(_) => "foreign",
                Of::Faulty { .. } => "faulty",
            },
            fault: match &item.backup.kind {
                Of::Faulty { kind, .. } => Some(*kind),
                _ => None,
            },
            why: match &item.backup.kind {
                Of::Faulty { why, .. } => Some(why.clone()),
                _ => None,
            },
        }
    }

    /// What else there is to say of it.
    fn notes(&self) -> String {
        let mut notes = Vec::new();
        match self.state {
            "foreign" => notes.push("foreign: no commit record, never deleted".into()),
            "faulty" => {
                let word = match self.fault {
                    Some(store::Kind::Damaged) => "DAMAGED",
                    Some(store::Kind::Untrusted) => "NOT TRUSTED",
                    _ => "FAULTY",
                };
                notes.push(format!("{word}: {}", self.why.as_deref().unwrap_or_default()));
            }
            _ => {}
        }
        notes.extend(self.held.as_ref().map(|why| format!("held: {why}")));
        notes.extend(self.locked_until.map(|until| format!("locked until {}", time(until))));
        notes.extend(self.unchanged_since.map(|since| format!("unchanged since {}", time(since))));
        if self.encrypted == Some(true) {
            notes.push("encrypted".into());
        }
        if self.archived {
            notes.push("archived".into());
        }
        if self.place > 0 {
            notes.push(format!("copy in {}", self.address.trim_end_matches(&self.backup)));
        }
        notes.join(", ")
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct List {
    rows: Vec<Row>,
    /// Whether every place was seen.
    #[serde(skip)]
    whole: bool,
}

impl Answer for List {
    fn text(&self, look: Look) -> String {
        if self.rows.is_empty() {
            // Of a place that was not seen, nobody knows.
            return if self.whole { "no dumps" } else { "nothing was seen" }.into();
        }
        let head = ["database", "backup", "reason", "data of", "age", "size", "rows", "notes"];
        let none = || NONE.to_owned();
        let rows = self.rows.iter().map(|r| {
            vec![
                format!("{}/{}", r.group, r.database),
                r.backup.clone(),
                r.reason.clone().unwrap_or_else(none),
                r.data_time.map_or_else(none, time),
                r.age_seconds.map_or_else(none, age),
                format_size(i64::try_from(r.bytes).unwrap_or(i64::MAX)),
                r.rows.map_or_else(none, |n| n.to_string()),
                r.notes(),
            ]
        });
        let good = self.rows.iter().filter(|r| r.state == "good").count();
        format!("{}\n\n{}", look.table(&head, rows), count(good, "good dump", "good dumps"))
    }
}
