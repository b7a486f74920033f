//! Which node the RDB file is read from: the healthiest replica, else the node that the policy names.
//!
//! From a primary, a file that takes longer than some seconds makes Sentinel take us for a replica; from a replica it sees
//! nothing, and the fork costs the replica's memory and not the primary's.

use crate::fault::error_from_redis;
use redis::{
    RedisConfig, RedisError, RedisErrorKind, ServerInfo,
    replication::{RdbStream, start_rdb_stream},
};
use shared::{aws::OperationError, policy::RedisSource};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A replica that was not heard for longer is passed over, in seconds.
const MAX_REPLICA_LAG: i64 = 10;
/// How long a save or rewrite of the server's own is waited for: the file would queue behind it.
const QUIET_TIMEOUT: Duration = Duration::from_mins(2);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A node that begins to send its file.
#[derive(Debug)]
pub(crate) struct OpenRdbSource {
    /// Its address.
    pub(crate) node: String,
    /// What it says of itself.
    pub(crate) info: ServerInfo,
    /// The file.
    pub(crate) stream: RdbStream,
}

/// Opens the best node that does it.
///
/// # Errors
/// Of the node that the policy names, when that fails too.
pub(crate) async fn open_source(
    config: &RedisConfig,
    prefer: RedisSource,
) -> Result<OpenRdbSource, OperationError> {
    let failed = |e: RedisError| error_from_redis(&e);
    let named = node_info(config).await.map_err(failed)?;
    if prefer == RedisSource::PreferReplica {
        for node in healthy_replicas(config, &named) {
            match open_replica(&node, &named).await {
                Ok(open) => return Ok(open),
                Err(e) => {
                    tracing::warn!(node = %node.address, "this replica is passed over: {e}");
                }
            }
        }
    }
    open_node(config).await.map_err(failed)
}

/// The replicas of a primary that follow it closely, the closest first.
fn healthy_replicas(config: &RedisConfig, named: &ServerInfo) -> Vec<RedisConfig> {
    let mut replicas = named.replicas();
    replicas.retain(|r| r.state == "online" && r.lag_seconds <= MAX_REPLICA_LAG);
    replicas.sort_by(|a, b| b.offset.cmp(&a.offset).then_with(|| a.address.cmp(&b.address)));
    replicas.into_iter().map(|r| config.at(r.address)).collect()
}

/// A replica counts only while it follows the very history of the primary that names it.
async fn open_replica(
    node: &RedisConfig,
    primary: &ServerInfo,
) -> Result<OpenRdbSource, RedisError> {
    let info = node_info(node).await?;
    let follows = info.is_replica()
        && info.text("master_link_status") == Some("up")
        && info.text("master_replid") == primary.text("master_replid")
        && info.number("master_last_io_seconds_ago").is_some_and(|s| s <= MAX_REPLICA_LAG);
    if !follows {
        let why = "it does not follow its primary closely";
        return Err(RedisError::new(
            RedisErrorKind::Busy,
            format!("use {}", node.address),
            why,
            "",
        ));
    }
    open_node(node).await
}

async fn node_info(node: &RedisConfig) -> Result<ServerInfo, RedisError> {
    node.connect().await?.info().await
}

async fn open_node(node: &RedisConfig) -> Result<OpenRdbSource, RedisError> {
    let mut client = node.connect().await?;
    let doing = || format!("read the RDB file of {}", node.address);
    let began = Instant::now();
    let info = loop {
        let info = client.info().await?;
        let busy = ["loading", "rdb_bgsave_in_progress", "aof_rewrite_in_progress"];
        let Some(busy) = busy.iter().find(|field| info.is_set(field)) else { break info };
        if began.elapsed() > QUIET_TIMEOUT {
            let why = format!("the server is busy with itself ({busy})");
            return Err(RedisError::new(RedisErrorKind::Busy, doing(), why, "try again later"));
        }
        sleep(POLL_INTERVAL).await;
    };
    // The data of a replica without its primary is of an unknown time.
    if info.is_replica() && info.text("master_link_status") != Some("up") {
        let why = "it is a replica and its link to its primary is down";
        let hint = "name the primary, or see why the link is down";
        return Err(RedisError::new(RedisErrorKind::Busy, doing(), why, hint));
    }
    let stream = start_rdb_stream(client, &info).await?;
    Ok(OpenRdbSource { node: node.address.to_string(), info, stream })
}
