//! What a Sentinel says of a primary. <https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/>

use crate::{RedisClient, RedisError, RedisErrorKind};
use std::collections::BTreeMap;

/// One Sentinel's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelView {
    /// The primary: host and port as it says them.
    pub primary: String,
    /// Flags of the primary: `master`, `s_down`, `o_down`, `failover_in_progress`.
    pub flags: Vec<String>,
    /// How many other Sentinels it knows.
    pub other_sentinels: i64,
    /// The configuration's epoch: grows with each failover.
    pub epoch: i64,
    /// Why a failover could not be agreed on; none where it could.
    pub quorum_error: Option<String>,
}

/// Asks one Sentinel for its view.
///
/// # Errors
/// If it does not answer, or watches no primary of that name.
pub async fn observe_sentinel(
    client: &mut RedisClient,
    name: &str,
) -> Result<SentinelView, RedisError> {
    let reply = client.command(&["SENTINEL", "MASTER", name]).await?;
    let fields: BTreeMap<String, String> = reply.text_pairs().collect();
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let number = |name: &str| field(name).parse().unwrap_or(0);
    let quorum_error = match client.command(&["SENTINEL", "CKQUORUM", name]).await {
        Ok(_) => None,
        Err(e) if e.kind == RedisErrorKind::Connection => return Err(e),
        Err(e) => Some(e.why),
    };
    Ok(SentinelView {
        primary: format!("{}:{}", field("ip"), field("port")),
        flags: field("flags").split(',').map(str::to_owned).collect(),
        other_sentinels: number("num-other-sentinels"),
        epoch: number("config-epoch"),
        quorum_error,
    })
}
