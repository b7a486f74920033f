//! What INFO says. <https://redis.io/docs/latest/commands/info/>

use crate::RedisAddress;
use facts::RedisFamily;
use std::collections::BTreeMap;

/// The fields of INFO, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo(BTreeMap<String, String>);

/// A replica as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Where it listens.
    pub address: RedisAddress,
    /// `online` when it follows; else what it waits for.
    pub state: String,
    /// Bytes of the stream that it has.
    pub offset: i64,
    /// Seconds since it last said so.
    pub lag_seconds: i64,
}

impl ServerInfo {
    /// Reads the text of INFO.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let fields = lines.filter_map(|line| line.trim_end().split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A field's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field's number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Whether a field is 1.
    pub fn is_set(&self, name: &str) -> bool {
        self.number(name) == Some(1)
    }

    /// Who made the server.
    pub fn family(&self) -> RedisFamily {
        let valkey =
            self.text("valkey_version").is_some() || self.text("server_name") == Some("valkey");
        if valkey { RedisFamily::Valkey } else { RedisFamily::Redis }
    }

    /// The server's version; of Valkey its own, not the one of Redis that it is compatible with.
    pub fn version(&self) -> &str {
        self.text("valkey_version").or(self.text("redis_version")).unwrap_or_default()
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.text("role") == Some("slave")
    }

    /// The primary that a replica follows.
    pub fn primary(&self) -> Option<RedisAddress> {
        let port = u16::try_from(self.number("master_port")?).ok()?;
        Some(RedisAddress::Tcp(self.text("master_host")?.to_owned(), port))
    }

    /// Keys of each database that is not empty.
    pub fn keyspace(&self) -> BTreeMap<u64, u64> {
        let fields = self.0.iter().filter_map(|(name, value)| {
            let database = name.strip_prefix("db")?.parse().ok()?;
            let keys = value.split(',').find_map(|f| f.strip_prefix("keys="))?;
            Some((database, keys.parse().ok()?))
        });
        fields.collect()
    }

    /// The replicas of a primary. A client that takes the RDB file has port 0 and is none.
    pub fn replicas(&self) -> Vec<ReplicaInfo> {
        let fields = self.0.iter().filter(|(name, _)| {
            name.strip_prefix("slave").is_some_and(|n| n.parse::<u32>().is_ok())
        });
        fields.filter_map(|(_, value)| parse_replica(value)).collect()
    }
}

fn parse_replica(value: &str) -> Option<ReplicaInfo> {
    let fields: BTreeMap<&str, &str> = value.split(',').filter_map(|f| f.split_once('=')).collect();
    let port: u16 = fields.get("port")?.parse().ok().filter(|p| *p > 0)?;
    let number = |name: &str| fields.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
    Some(ReplicaInfo {
        address: RedisAddress::Tcp((*fields.get("ip")?).to_owned(), port),
        state: (*fields.get("state")?).to_owned(),
        offset: number("offset"),
        lag_seconds: number("lag"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_from_clients_that_take_a_file() {
        let info = ServerInfo::parse(
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=1\r\n\
             slave1:ip=127.0.0.1,port=0,state=wait_bgsave,offset=0,lag=0\r\nslave_expires_tracked_keys:0\r\n\
             # Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n",
        );
        assert_eq!((info.family(), info.version()), (RedisFamily::Valkey, "9.1.2"));
        let address = RedisAddress::Tcp("10.0.0.2".into(), 6379);
        let state = "online".to_owned();
        assert_eq!(info.replicas(), [ReplicaInfo { address, state, offset: 42, lag_seconds: 1 }]);
        assert!(!info.is_replica() && info.primary().is_none());
    }
}
