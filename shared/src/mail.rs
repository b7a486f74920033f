//! E-mail addresses as people write them, in the form that mail servers and SES take.

use std::{fmt, str::FromStr};

/// An address with the name that stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress {
    /// The name: `Bör, Åsa`. It stands in headers alone and may hold anything.
    pub name: Option<String>,
    /// What stands before the `@`.
    pub local: String,
    /// The domain in ASCII: `xn--exmple-cua.se` for `exämple.se` (IDNA), which is what DNS has and what SES takes.
    pub domain: String,
}

impl EmailAddress {
    /// The address alone.
    pub fn address(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// Whether it needs SMTPUTF8 (RFC 6531) all the way to its mailbox; SES does not speak it.
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for EmailAddress {
    type Err = String;

    /// `ops@example.com`, `Ops <ops@example.com>`, `Bör, Åsa <asa@exämple.se>`: the name needs no quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| {
            format!(
                "\"{text}\" is no e-mail address: {why}; write one such as \"Ops <ops@example.com>\""
            )
        };
        if text.contains(char::is_control) {
            return Err(wrong("a control character stands in it"));
        }
        let (name, address) = match text.strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
            Some((name, address)) => (Some(name.trim().trim_matches('"').trim()), address.trim()),
            None => (None, text),
        };
        let (local, domain) = address.rsplit_once('@').ok_or_else(|| wrong("it has no @"))?;
        if local.contains(['@', ',', ';']) {
            return Err(wrong("there are several: give each a line of its own"));
        }
        let stops = |c: char| c.is_whitespace() || "<>()[]\\:\"".contains(c);
        if local.is_empty() || local.len() > 64 || local.contains(stops) {
            return Err(wrong("what stands before the @ is no mailbox"));
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(wrong("dots stand alone and inside before the @"));
        }
        let ascii = idna::domain_to_ascii_strict(domain);
        let domain = ascii.ok().filter(|d| !d.is_empty() && d.len() <= 253);
        let domain = domain.ok_or_else(|| wrong("what stands behind the @ is no domain"))?;
        let name = name.filter(|n| !n.is_empty()).map(str::to_owned);
        Ok(Self { name, local: local.to_owned(), domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let table = [
            ("ops@example.com", None, "ops@example.com"),
            ("Ops <ops@example.com>", Some("Ops"), "ops@example.com"),
            ("Åsa Bör, Ltd <asa@example.com>", Some("Åsa Bör, Ltd"), "asa@example.com"),
            ("\"Bör, Åsa\" <asa@example.com>", Some("Bör, Åsa"), "asa@example.com"),
            ("Архив <backups@пример.бг>", Some("Архив"), "backups@xn--e1afmkfd.xn--90ae"),
            ("ops@exämple.se", None, "ops@xn--exmple-cua.se"),
            ("åsa@example.com", None, "åsa@example.com"),
            (" <ops@localhost> ", None, "ops@localhost"),
            ("a.b+tag@EXAMPLE.com", None, "a.b+tag@example.com"),
        ];
        for (text, name, address) in table {
            let read: EmailAddress = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (read.name.as_deref(), read.to_string().as_str()),
                (name, address),
                "{text}"
            );
        }
        let utf8 = |text: &str| text.parse::<EmailAddress>().expect(text).needs_utf8();
        assert!(utf8("åsa@example.com") && !utf8("Åsa <asa@exämple.se>"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("nobody", "no @"),
            ("a@b@c.example", "several"),
            ("a@x.example, b@y.example", "several"),
            ("@example.com", "no mailbox"),
            ("a b@example.com", "no mailbox"),
            ("a@", "no domain"),
            ("a@exa mple.com", "no domain"),
            ("a@-x-.com", "no domain"),
            (".a@example.com", "dots"),
            ("x\r\nBcc: y <a@example.com>", "control"),
            ("", "no @"),
        ] {
            let said = text.parse::<EmailAddress>().expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
