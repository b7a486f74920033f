//! Dumps a database and throws the bytes away: what the reading alone costs.
//!
//! `PGHOST=.. PGPORT=.. PGUSER=.. [PGPASSWORD=..] dump_to_null DATABASE [JOBS]`

use postgres::{
    ConnectionConfig, TlsMode,
    dump::{DumpFileFormat, DumpOptions, dump_database},
};
use std::{env, time::Duration};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let of = |name: &str, other: &str| env::var(name).unwrap_or_else(|_| other.into());
    let mut args = env::args().skip(1);
    let database = args.next().ok_or("name a database")?;
    let server = ConnectionConfig {
        host: of("PGHOST", "127.0.0.1"),
        port: of("PGPORT", "5432").parse()?,
        user: of("PGUSER", "postgres"),
        password: env::var("PGPASSWORD").ok().map(Into::into),
        tls: TlsMode::Prefer,
        ca: None,
        application: "dump_to_null".into(),
        tool_dirs: Vec::new(),
    };
    let what = DumpOptions {
        format: if of("PLAIN", "").is_empty() {
            DumpFileFormat::Custom { zlib: None }
        } else {
            DumpFileFormat::Plain
        },
        tables: Vec::new(),
        jobs: args.next().map_or(Ok(2), |n| n.parse())?,
        lock_wait: Duration::from_mins(1),
        fingerprint: false,
    };
    let (out, mut pieces) = mpsc::channel::<std::io::Result<bytes::Bytes>>(4);
    let receive = async {
        let (mut bytes, mut count) = (0_u64, 0_u64);
        while let Some(Ok(piece)) = pieces.recv().await {
            bytes += piece.len() as u64;
            count += 1;
        }
        (bytes, count)
    };
    let (dumped, (bytes, count)) =
        tokio::join!(dump_database(&server, &database, &what, out), receive);
    let rows: u64 = dumped?.tables.iter().map(|t| t.rows).sum();
    eprintln!("{bytes} bytes in {count} pieces, {rows} rows");
    Ok(())
}
