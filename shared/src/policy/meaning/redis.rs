//! What the groups of `redis` must mean: a server that can be reached, and files that can be told apart.

use super::{ErrorSink, postgres::check_encryption};
use crate::policy::{DumpCompression, Policy, RedisGroup};

pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    for (name, group) in &policy.redis {
        let at = format!("/redis/{name}");
        check_connection(group, &at, say);
        if let Some(encrypt) = &group.encrypt {
            check_encryption(encrypt, &format!("{at}/encrypt"), say);
        }
        if group.compress == DumpCompression::Gzip {
            say(format!("{at}/compress"), "RDB files are compressed by zstd or none".into());
        }
        for (i, sentinel) in group.sentinels.iter().enumerate() {
            if !is_host_and_port(sentinel) {
                say(format!("{at}/sentinels/{i}"), "write host:port".into());
            }
        }
        if group.sentinel_name.is_empty() || group.sentinel_name.contains(char::is_whitespace) {
            say(format!("{at}/sentinel_name"), "it is one word, as in `sentinel monitor`".into());
        }
    }
}

fn check_connection(group: &RedisGroup, at: &str, say: ErrorSink<'_>) {
    match &group.address {
        Some(address) if address.contains("://") => {
            let why = "write host:port alone; user, password and tls have keys of their own";
            say(format!("{at}/address"), why.into());
        }
        Some(address) if !address.starts_with('/') && !is_host_and_port(address) => {
            say(format!("{at}/address"), "write host:port, or the path of a Unix socket".into());
        }
        Some(address) if address.starts_with('/') && group.tls => {
            say(format!("{at}/tls"), "there is no TLS on a Unix socket: leave it out".into());
        }
        Some(_) => {}
        None => {
            let used = [
                ("settings", !group.settings.is_empty()),
                ("copies", !group.copies.is_empty()),
                ("replica_max_lag", group.replica_max_lag.is_some()),
                ("encrypt", group.encrypt.is_some()),
            ];
            for (key, _) in used.into_iter().filter(|u| u.1) {
                say(format!("{at}/{key}"), "this asks the server: write address".into());
            }
        }
    }
    if group.tls_ca.is_some() && !group.tls {
        say(format!("{at}/tls_ca"), "certificates are for tls: write tls: true".into());
    }
}

/// Whether it is a host (name, IPv4, or IPv6 in brackets) and a port.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let bracketed = bare.is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
    let plain = !host.is_empty() && !host.contains([':', '/', '@', '[', ']', ' ']);
    (bracketed || plain) && port.parse::<u16>().is_ok_and(|p| p > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(group: &str) -> String {
        let text = format!("{{holdfast: 1, company: acme, id: host-1, redis: {{cache: {group}}}}}");
        Policy::parse(&text).map_or_else(|faults| faults.to_string(), |_| String::new())
    }

    #[test]
    fn a_group_says_where_its_server_is_and_nothing_that_needs_one_without_it() {
        let rest = "storage: {directory: /b}, keep: {newest: 3}";
        for good in ["address: \"db:6379\"", "address: \"[::1]:6379\"", "address: /run/redis.sock"]
        {
            assert_eq!(faults(&format!("{{{good}, {rest}}}")), "", "{good}");
        }
        for (bad, said) in [
            ("address: \"redis://db:6379\"", "host:port alone"),
            ("address: db", "host:port"),
            ("address: \"db:0\"", "host:port"),
            ("address: \"::1:6379\"", "host:port"),
            ("address: /run/redis.sock, tls: true", "no TLS"),
            ("address: \"db:6379\", tls_ca: /ca.pem", "tls: true"),
            ("address: \"db:6379\", compress: gzip", "zstd or none"),
            ("settings: {save: \"900 1\"}", "write address"),
            ("address: \"db:6379\", sentinels: [a]", "host:port"),
        ] {
            let faults = faults(&format!("{{{bad}, {rest}}}"));
            assert!(faults.contains(said), "{bad}: {faults}");
        }
    }

    #[test]
    fn two_groups_do_not_share_a_place() {
        let group = "address: \"db:6379\", storage: {directory: /b}, keep: {newest: 3}";
        let text = format!(
            "{{holdfast: 1, company: acme, id: host-1, redis: {{a: {{{group}}}, b: {{{group}}}}}}}"
        );
        let faults = Policy::parse(&text).expect_err("one place").to_string();
        assert!(faults.contains("redis.b.storage"), "{faults}");
    }
}
