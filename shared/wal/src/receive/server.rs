//! What must be known of the server before WAL is received: who it is, its slot, its timelines, and where to begin.

use super::{
    ReceiveOptions,
    spool::segment_at,
    writer::{ReceivedCluster, store_file},
};
use crate::{
    error::{WalError, WalErrorKind},
    history::{TimelineHistories, parse_history},
    inventory::SystemInventory,
    name::{Lsn, SegmentSize, TimelineId, WalFileName},
    repository::WalRepository,
    windows::segments_on_path,
    wire::{ReplicationConnection, ServerIdentity},
};
use postgres::ConnectionConfig;
use std::io::Write;

/// A server that was asked.
#[derive(Clone, Debug)]
pub(super) struct IdentifiedServer {
    pub cluster: ReceivedCluster,
    pub timeline: TimelineId,
    /// Up to here its WAL is on its disk.
    pub flushed: Lsn,
    pub histories: TimelineHistories,
}

fn refused(doing: &str, why: impl Into<String>, hint: &str) -> WalError {
    WalError::new(WalErrorKind::Refused, doing, why, hint)
}

/// Asks the server, and archives the history of its timeline, which recovery must know before any segment of it.
///
/// # Errors
/// If it is lost, or its history can't be archived.
pub(super) async fn identify(
    connection: &mut ReplicationConnection,
    repository: &WalRepository,
) -> Result<IdentifiedServer, WalError> {
    let ServerIdentity { system, timeline, flushed } = connection.identify().await?;
    let shown = connection.query("SHOW wal_segment_size").await?;
    let shown = shown.first().and_then(|r| r.first()?.clone()).unwrap_or_default();
    let Some(segment_size) = parse_segment_size(&shown) else {
        return Err(connection.error(format!("\"{shown}\" is no segment size")));
    };
    let mut server = IdentifiedServer {
        cluster: ReceivedCluster { system, segment_size },
        timeline,
        flushed,
        histories: TimelineHistories::default(),
    };
    if timeline > 1 {
        let ancestors = archive_history(connection, repository, system, timeline).await?;
        server.histories.insert(timeline, ancestors);
    }
    Ok(server)
}

/// `16MB`, as `SHOW` says it.
fn parse_segment_size(text: &str) -> Option<SegmentSize> {
    let (number, shift) = match text.split_at_checked(text.len().checked_sub(2)?)? {
        (number, "MB") => (number, 20),
        (number, "GB") => (number, 30),
        _ => return None,
    };
    SegmentSize::from_bytes(number.parse::<u64>().ok()?.checked_mul(1 << shift)?)
}

/// Archives a timeline's history; returns its ancestors.
pub(super) async fn archive_history(
    connection: &mut ReplicationConnection,
    repository: &WalRepository,
    system: u64,
    timeline: TimelineId,
) -> Result<Vec<(TimelineId, Lsn)>, WalError> {
    connection.send_command(&format!("TIMELINE_HISTORY {timeline}")).await?;
    let rows = connection.read_byte_rows().await?;
    connection.read_ready().await?;
    let text = rows.into_iter().next().and_then(|r| r.into_iter().nth(1)?);
    let text = text.ok_or_else(|| connection.error("it sends no history of its timeline"))?;
    let doing = format!("archive the history of timeline {timeline}");
    let ancestors = parse_history(timeline, &String::from_utf8_lossy(&text));
    let ancestors =
        ancestors.map_err(|why| WalError::new(WalErrorKind::Damaged, &doing, why, ""))?;
    let write = || {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(&text)?;
        Ok(file)
    };
    let file = write().map_err(|e| WalError::from_io(&doing, &e))?;
    store_file(repository, system, WalFileName::History(timeline), &file).await?;
    Ok(ancestors)
}

/// Where the slot says that WAL is needed from. A slot that is not there is made.
///
/// # Errors
/// If it is no physical slot, or lost its WAL.
pub(super) async fn prepare_slot(
    connection: &mut ReplicationConnection,
    config: &ConnectionConfig,
    options: &ReceiveOptions,
) -> Result<(Option<Lsn>, bool), WalError> {
    let slot = &options.slot;
    let doing = format!("use the replication slot {slot}");
    let session = config.connect("postgres").await?;
    let query = "SELECT slot_type, restart_lsn::text, wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let failed = |e: &postgres::server::ClientError| {
        WalError::from(postgres::PostgresError::from_pg(&doing, e))
    };
    let read = async || -> Result<_, WalError> {
        let row = session.query_opt(query, &[slot]).await.map_err(|e| failed(&e))?;
        Ok(row.map(|r| {
            (r.get::<_, String>(0), r.get::<_, Option<String>>(1), r.get::<_, Option<String>>(2))
        }))
    };
    let before = read().await?;
    let created = before.is_none();
    let found = if created {
        let make = format!("CREATE_REPLICATION_SLOT \"{slot}\" PHYSICAL RESERVE_WAL");
        connection.query(&make).await?;
        read().await?
    } else {
        before
    };
    let Some((kind, restart, status)) = found else {
        return Err(connection.error(format!("the slot {slot} was made and is not there")));
    };
    if kind != "physical" {
        return Err(refused(&doing, format!("it is a {kind} slot"), "name another with --slot"));
    }
    if status.as_deref() == Some("lost") {
        let hint = "there is a gap: drop the slot, start this again, and take a base backup. A higher max_slot_wal_keep_size keeps more";
        return Err(refused(&doing, "the server gave up the WAL that it held for it", hint));
    }
    Ok((restart.and_then(|r| r.parse().ok()), created))
}

/// Where to begin: the timeline, and up to where everything is durable or is not needed. Receiving begins with the segment
/// in which that lies.
///
/// # Errors
/// If the server is behind that, or is of another history.
pub(super) async fn find_start(
    server: &IdentifiedServer,
    repository: &WalRepository,
    options: &ReceiveOptions,
    durable: Option<(TimelineId, Lsn)>,
    (restart, created): (Option<Lsn>, bool),
) -> Result<(TimelineId, Lsn), WalError> {
    let path = server.histories.path_to(server.timeline);
    let foreign = || {
        let why = "its history lacks the timeline of which WAL was received";
        let hint = "it is another copy of the cluster; take a base backup of the one that goes on";
        refused("begin to receive", why, hint)
    };
    let durable = durable.map(|(timeline, lsn)| {
        let span = path.iter().find(|s| s.timeline == timeline).ok_or_else(foreign)?;
        // What was received of a timeline after it was left belongs to no history: there it begins again.
        Ok::<_, WalError>(span.end.map_or(lsn, |end| end.min(lsn)))
    });
    let durable = durable.transpose()?;
    // A new slot begins at the last checkpoint; where the archive ends before it, perhaps the server still has what is between.
    let archived = if created && durable.is_none() {
        archived_end(server, repository, options).await.filter(|end| *end <= server.flushed)
    } else {
        None
    };
    let from = durable.or(archived).or(restart).unwrap_or(server.flushed);
    let (_, start) = segment_at(server.timeline, from, server.cluster.segment_size);
    if start > server.flushed {
        let why = format!("it is at {}, and WAL up to {from} was received before", server.flushed);
        let hint = "perhaps it is a standby that is behind";
        return Err(WalError::new(WalErrorKind::Database, "begin to receive", why, hint));
    }
    let span = path.iter().find(|s| s.end.is_none_or(|end| start < end));
    Ok((span.map_or(server.timeline, |s| s.timeline), from))
}

/// Where what is archived without a gap since the newest base backup ends on the server's way. A host that may only add can't
/// read that.
async fn archived_end(
    server: &IdentifiedServer,
    repository: &WalRepository,
    options: &ReceiveOptions,
) -> Option<Lsn> {
    let inventory = match repository.read_inventory().await {
        Ok(inventory) => inventory,
        Err(e) => {
            (options.report)(&format!("beginning at the slot, for the archive can't be read: {e}"));
            return None;
        }
    };
    let mut system: SystemInventory = inventory.select_system(Some(server.cluster.system))?.clone();
    system.histories = server.histories.clone();
    let newest = system.backups.last().and_then(|b| Some(*b.needed_segments()?.start()))?;
    let path = segments_on_path(&system, server.timeline, newest);
    let last = path.iter().take_while(|s| s.present).last()?;
    system.segment_end(last.timeline, last.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_size_is_read_as_it_is_shown() {
        let bytes = |text| parse_segment_size(text).map(SegmentSize::bytes);
        assert_eq!(bytes("16MB"), Some(16 << 20));
        assert_eq!(bytes("1GB"), Some(1 << 30));
        for bad in ["", "B", "16", "3MB", "xMB", "99999999999999999999GB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
