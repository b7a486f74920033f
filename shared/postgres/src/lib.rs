//! PostgreSQL's side of the data path: dumps that are read fast and restored fast, as archives that stock tools read.
//!
//! Layout: [`server`] connects (own TLS, keepalives) and starts client programs, [`child`] gives those their environment; [`tools`] finds those; [`libpq`] reads its files; [`lock`] is the
//! lease that keeps two runs apart; [`toc`] reads the head of an archive; [`dump`](mod@dump) writes archives, [`restore`](mod@restore) reads
//! them; [`database`] creates, swaps and counts; [`scratch_server`] is a server of our own for test restores.
//!
//! Every stream of bytes is a `tokio::sync::mpsc` channel of `std::io::Result<bytes::Bytes>`. An empty [`bytes::Bytes`]
//! is the clean end; a channel that closes without it broke off and its bytes are worth nothing.

pub mod child;
pub mod database;
pub mod dump;
pub mod error;
pub mod libpq;
pub mod lock;
pub mod restore;
pub mod scratch_server;
pub mod server;
pub mod toc;
pub mod tools;

pub use error::{PostgresError, PostgresErrorKind};
pub use server::{ConnectionConfig, PgConnection, TlsMode};

use serde::{Deserialize, Serialize};

/// How many rows of a table there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCounts {
    /// The table as SQL names it: `public.orders`, `public."Odd Name"`.
    pub name: String,
    /// Its rows: a table's own (`FROM ONLY`), and for a partitioned table those of its partitions.
    pub rows: u64,
    /// Bytes of its data as COPY text; 0 where they were not counted.
    pub bytes: u64,
}

/// An identifier as SQL needs it: always in double quotes.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL needs it, whatever `standard_conforming_strings` says.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}
