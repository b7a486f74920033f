//! What libpq's own files say of a server: `.pgpass` and `pg_service.conf`. Pure: the files' texts come in.
//!
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html> and
//! <https://www.postgresql.org/docs/current/libpq-pgservice.html>

use crate::TlsMode;
use secrecy::SecretString;

/// A server as a section of `pg_service.conf` names it.
#[derive(Clone, Debug, Default)]
pub struct ConnectionService {
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// `sslmode`.
    pub tls: Option<TlsMode>,
    /// `sslrootcert`.
    pub ca: Option<String>,
}

/// The section of this name; none where the text has none.
pub fn find_service(text: &str, name: &str) -> Option<ConnectionService> {
    let mut found: Option<ConnectionService> = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = section == name;
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let service = found.as_mut().filter(|_| inside && !line.starts_with('#'));
        let (Some(service), Some((key, value))) = (service, line.split_once('=')) else { continue };
        let text = || Some(value.trim().to_owned());
        match key.trim() {
            "host" => service.host = text(),
            // An address instead of a name; a name that is there as well is what a certificate must be for.
            "hostaddr" if service.host.is_none() => service.host = text(),
            "port" => service.port = value.trim().parse().ok(),
            "user" => service.user = text(),
            "password" => service.password = Some(value.trim().into()),
            "sslmode" => service.tls = parse_sslmode(value.trim()),
            "sslrootcert" => service.ca = text(),
            _ => {}
        }
    }
    found
}

/// A mode by libpq's word for it. `verify-ca` is what `require` is with a CA file.
fn parse_sslmode(word: &str) -> Option<TlsMode> {
    match word {
        "disable" => Some(TlsMode::Disable),
        "allow" | "prefer" => Some(TlsMode::Prefer),
        "require" | "verify-ca" => Some(TlsMode::Require),
        "verify-full" => Some(TlsMode::VerifyFull),
        _ => None,
    }
}

/// The password of the first line of `.pgpass` that is for this server and user, and for one of the databases: a role has one
/// password for all of them.
pub fn find_password(
    text: &str,
    host: &str,
    port: u16,
    databases: &[String],
    user: &str,
) -> Option<SecretString> {
    // libpq looks for a socket in a directory by the name localhost.
    let host = if host.starts_with('/') { "localhost" } else { host };
    let (port, any) = (port.to_string(), |field: &str| field == "*");
    text.lines().filter(|l| !l.starts_with('#')).find_map(|line| {
        let fields = split_fields(line);
        let [for_host, for_port, for_database, for_user, password] = &fields[..] else {
            return None;
        };
        let fits = (any(for_host) || for_host == host)
            && (any(for_port) || *for_port == port)
            && (any(for_database) || databases.contains(for_database))
            && (any(for_user) || for_user == user);
        fits.then(|| password.as_str().into())
    })
}

/// The five fields of a line; the last one may hold colons. A backslash takes the character after it as it is.
fn split_fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut characters = line.trim_end_matches(['\r', '\n']).chars();
    while let Some(c) = characters.next() {
        let last = all.len() == 5;
        let field = all.last_mut().expect("there is one");
        match c {
            '\\' => field.extend(characters.next()),
            ':' if !last => all.push(String::new()),
            c => field.push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let file = "# comment\nother:5432:*:app:no\ndb.example.com:5432:orders:app:pa\\:ss\\\\:word\n\
            *:*:*:app:last\nlocalhost:*:*:me:socket\nbroken:line\n";
        let databases = ["orders".to_owned()];
        let of = |host: &str, port, user: &str| {
            find_password(file, host, port, &databases, user).map(|p| p.expose_secret().to_owned())
        };
        assert_eq!(of("db.example.com", 5432, "app").as_deref(), Some("pa:ss\\:word"));
        assert_eq!(of("db.example.com", 5433, "app").as_deref(), Some("last"));
        assert_eq!(of("/var/run/postgresql", 5432, "me").as_deref(), Some("socket"));
        assert_eq!(of("db.example.com", 5432, "eve"), None);
        assert!(find_password(file, "db.example.com", 5432, &["shop".to_owned()], "app").is_some());
    }

    #[test]
    fn a_service_is_its_section_and_no_other() {
        let file = "# services\n[shop]\nhost = db.example.com\nport=6432\nuser=app\npassword=p=w\nsslmode=verify-full\n\
            sslrootcert=/ca.pem\ndbname=orders\n\n[other]\nhost=other\n";
        let shop = find_service(file, "shop").expect("it is there");
        assert_eq!((shop.host.as_deref(), shop.port), (Some("db.example.com"), Some(6432)));
        assert_eq!(shop.password.as_ref().map(secrecy::ExposeSecret::expose_secret), Some("p=w"));
        assert_eq!((shop.tls, shop.ca.as_deref()), (Some(TlsMode::VerifyFull), Some("/ca.pem")));
        assert!(find_service(file, "nothing").is_none());
        assert!(!format!("{shop:?}").contains("p=w"));
    }
}
