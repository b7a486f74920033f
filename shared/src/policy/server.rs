//! Which databases of a PostgreSQL server a group means: those that it lists, or all that the server has.

use super::PostgresGroup;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The word for every database of a server.
const ALL: &str = "all";

/// Databases that belong to whoever runs the server, and that nobody else can read: of RDS, Cloud SQL and Azure.
const PROVIDERS: [&str; 4] = ["rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys"];

/// The databases of a server that a group means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerDatabases {
    /// Every one that takes connections and is no template: the server is asked at each run.
    All,
    /// These.
    Named(Vec<String>),
}

impl ServerDatabases {
    /// Those that the policy names; none where it means all.
    pub fn named(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::Named(names) => names,
        }
    }

    /// Whether it means all that the server has.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// The only one, where there can be no other: a file without a database in its name is of that one.
    pub fn only(&self) -> Option<&String> {
        match self.named() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl PostgresGroup {
    /// Whether `exclude` names this database.
    pub fn excepts(&self, database: &str) -> bool {
        self.exclude.iter().any(|glob| glob.matcher().is_match(database))
    }

    /// Whether this is a database of the group. Of one that means all, each is that is not excepted, no template and not
    /// the server's provider's own; whether the server still has it is not known here.
    pub fn has_database(&self, database: &str) -> bool {
        match &self.databases {
            ServerDatabases::Named(names) => names.iter().any(|name| name == database),
            ServerDatabases::All => {
                !matches!(database, "template0" | "template1")
                    && !PROVIDERS.contains(&database)
                    && !self.excepts(database)
            }
        }
    }
}

/// What checks the word that stands in place of a list.
pub(super) fn word(text: &str) -> Result<(), String> {
    if text == ALL {
        return Ok(());
    }
    Err(format!(
        "\"{text}\" is one value and a list is wanted: write [\"{text}\"], or {ALL} for every database of the server"
    ))
}

impl Serialize for ServerDatabases {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str(ALL),
            Self::Named(names) => names.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for ServerDatabases {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Names(Vec<String>),
        }
        match Written::deserialize(from)? {
            Written::Word(text) => word(&text).map(|()| Self::All).map_err(D::Error::custom),
            Written::Names(names) => Ok(Self::Named(names)),
        }
    }
}

impl JsonSchema for ServerDatabases {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServerDatabases".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["array", "string"],
            "format": "holdfast-databases",
            "items": { "type": "string" },
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    fn policy(databases: &str, key: &str) -> Result<Policy, String> {
        Policy::parse(&format!(
            "{{holdfast: 1, company: acme, id: host-1, postgres: {{main: {{databases: {databases}, exclude: [\"test_*\"], \
             storage: {{directory: /b{key}}}, dumps: {{daily: {{keep: {{for: 7d}}}}}}}}}}}}"
        ))
        .map_err(|faults| faults.to_string())
    }

    #[test]
    fn all_means_every_database_but_templates_and_what_is_excepted() {
        let all = policy("all", "").expect("a policy");
        let group = all.postgres.values().next().expect("a group");
        assert!(group.databases.is_all() && group.databases.only().is_none());
        for (database, has) in [
            ("orders", true),
            ("postgres", true),
            ("all", true),
            ("template1", false),
            ("template0", false),
            ("rdsadmin", false),
            ("test_1", false),
        ] {
            assert_eq!(group.has_database(database), has, "{database}");
        }
        let listed = policy("[orders, test_1]", "").expect("a policy");
        let group = listed.postgres.values().next().expect("a group");
        assert!(group.has_database("test_1"), "what is listed is dumped whatever else is said");
        assert!(!group.has_database("users"));
        let again = serde_json::to_value([&all, &listed].map(|p| &p.postgres)).expect("json");
        assert_eq!(again[0]["main"]["databases"], "all");
        assert_eq!(again[1]["main"]["databases"], serde_json::json!(["orders", "test_1"]));
    }

    #[test]
    fn what_is_neither_a_list_nor_all_is_refused_and_all_needs_the_database_in_the_key() {
        for (databases, key, said) in [
            ("orders", "", "write [\"orders\"], or all for every database of the server"),
            ("ALL", "", "or all for every database"),
            ("7", "", "a list is wanted"),
            ("[]", "", "no database is named"),
            ("all", ", key: \"%Y%m%d.dump\"", "{database}"),
        ] {
            let faults = policy(databases, key).expect_err(databases);
            assert!(faults.contains(said), "{databases}: {faults}");
        }
        policy("all", ", key: \"{database}/%Y%m%d.dump\"").expect("a policy");
    }
}
