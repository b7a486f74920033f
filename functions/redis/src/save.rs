//! BGSAVE on demand: the server's own RDB file on its own disk, only when that is safe.
//!
//! A BGSAVE that fails stops the writes of a server with `stop-writes-on-bgsave-error` (the default), so none is asked for
//! where the last one failed, or while the server is busy with another fork.

use crate::{
    fault::error_from_redis,
    observe::{connect_config, rdb_groups},
};
use redis::{RedisClient, RedisError, RedisErrorKind, ServerInfo};
use shared::{aws::OperationError, run::RunContext};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// A save that goes on for longer is left alone.
const SAVE_TIMEOUT: Duration = Duration::from_mins(30);

/// Has a group's server save, and waits until it has: the line that tells it.
///
/// # Errors
/// If there is no such group, it is not safe, or the save failed.
pub async fn save_server(world: &RunContext<'_>, group: &str) -> Result<String, OperationError> {
    let groups = rdb_groups(world);
    let found = groups.iter().find(|g| g.name.as_str() == group).ok_or_else(|| {
        let known: Vec<&str> = groups.iter().map(|g| g.name.as_str()).collect();
        let why =
            format!("no redis group with an address has that name; there is: {}", known.join(", "));
        OperationError::from_message(format!("save {group}"), why)
    })?;
    let config = connect_config(&world.secret_resolver(), found.rules).await?;
    let saved = async {
        let mut client = config.connect().await?;
        let before = client.info().await?;
        ensure_save_is_safe(&before)?;
        if world.dry_run {
            return Ok(format!("{} could save now", config.address));
        }
        client.command(&["BGSAVE"]).await?;
        let seconds = wait_for_save(&mut client, &before).await?;
        Ok(format!("{} saved its RDB file on its own disk in {seconds:.1} s", config.address))
    };
    saved.await.map_err(|e: RedisError| error_from_redis(&e))
}

fn ensure_save_is_safe(info: &ServerInfo) -> Result<(), RedisError> {
    let refused = |kind, why: &str, hint: &str| Err(RedisError::new(kind, "save", why, hint));
    for field in ["loading", "rdb_bgsave_in_progress", "aof_rewrite_in_progress"] {
        if info.is_set(field) {
            let why = format!("the server is busy with itself ({field})");
            return refused(RedisErrorKind::Busy, &why, "try again later");
        }
    }
    if info.text("rdb_last_bgsave_status").is_some_and(|s| s != "ok") {
        let why = "its last save failed, and another one that fails may stop its writes";
        let hint = "see the server's log, mend its disk or folder, and run BGSAVE there by hand";
        return refused(RedisErrorKind::Refused, why, hint);
    }
    Ok(())
}

/// BGSAVE answers at once: done is when no child runs, the status is good, and a save was counted since.
async fn wait_for_save(client: &mut RedisClient, before: &ServerInfo) -> Result<f64, RedisError> {
    let began = Instant::now();
    let newer = |info: &ServerInfo, field: &str| info.number(field) > before.number(field);
    loop {
        let info = client.info().await?;
        let running = info.is_set("rdb_bgsave_in_progress");
        if !running && info.text("rdb_last_bgsave_status").is_some_and(|s| s != "ok") {
            let hint =
                "its writes may be refused now: see its log, mend its disk, and run BGSAVE there";
            return Err(RedisError::new(RedisErrorKind::Refused, "save", "the save failed", hint));
        }
        // `rdb_saves` is there since 7.0; the time has whole seconds.
        let counted = info.number("rdb_saves").is_some();
        let field = if counted { "rdb_saves" } else { "rdb_last_save_time" };
        if !running && newer(&info, field) {
            return Ok(began.elapsed().as_secs_f64());
        }
        if began.elapsed() > SAVE_TIMEOUT {
            let why = "it did not come to its end";
            return Err(RedisError::new(RedisErrorKind::Busy, "save", why, "see the server's log"));
        }
        sleep(POLL_INTERVAL).await;
    }
}
