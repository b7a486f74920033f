//! Restores an archive from a local file into a database of a local server, for comparing with stock `pg_restore`:
//! `restore_from_file PORT DATABASE FILE JOBS`.
#![allow(clippy::print_stdout, reason = "a program for measuring")]

use bytes::Bytes;
use postgres::{ConnectionConfig, TlsMode, restore};
use std::{env, fs::File, io::Read as _, time::Instant};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("PORT DATABASE FILE JOBS");
    let (port, database, file, jobs) = (next()?.parse()?, next()?, next()?, next()?.parse()?);
    let server = ConnectionConfig {
        host: "127.0.0.1".into(),
        port,
        user: "postgres".into(),
        password: env::var("PGPASSWORD").ok().map(Into::into),
        tls: TlsMode::Disable,
        ca: None,
        application: "measure".into(),
        tool_dirs: Vec::new(),
    };
    let (give, take) = mpsc::channel(4);
    let mut from = File::open(file)?;
    let reader = tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; 256 << 10];
            let got = from.read(&mut piece)?;
            piece.truncate(got);
            // The last piece is the empty one, the clean end.
            if give.blocking_send(Ok(Bytes::from(piece))).is_err() || got == 0 {
                return std::io::Result::Ok(());
            }
        }
    });
    let how = restore::RestoreOptions { jobs, ..restore::RestoreOptions::default() };
    let started = Instant::now();
    let restored =
        restore::restore_stream(&server, &database, restore::PgDumpFormat::Custom, take, &how)
            .await?;
    reader.await??;
    let rows: u64 = restored.tables.iter().map(|t| t.rows).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    println!("{rows} rows, {} losses, {:.1?}, {peak}", restored.warnings.len(), started.elapsed());
    Ok(())
}
