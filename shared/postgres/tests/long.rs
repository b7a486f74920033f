//! What takes too long for every run: `dev/test --long` runs it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use postgres::restore::{PgDumpFormat, RestoreOptions, restore_stream};
use support::{
    Cluster,
    dumping::{CUSTOM, collect, what},
};
use tokio::sync::mpsc;

const TABLES: usize = 7000;

#[tokio::test]
#[ignore = "makes 7,000 tables: run by dev/test --long"]
async fn seven_thousand_tables_are_dumped_and_restored_at_the_usual_number_of_locks() {
    let cluster = Cluster::with("max_locks_per_transaction = 64\nmax_connections = 100");
    let (database, back) = (cluster.database("many"), cluster.database("back"));
    // In parts: making them takes more locks than reading them.
    for from in (1..=TABLES).step_by(500) {
        let tables = format!(
            "DO $$ BEGIN FOR i IN {from}..{} LOOP
                EXECUTE format('CREATE TABLE t_%s (id int); INSERT INTO t_%s VALUES (%s)', i, i, i); END LOOP; END $$",
            from + 499
        );
        cluster.psql(&database, &tables);
    }
    let stock = cluster.command("pg_dump").args(["-Fc", "-d", &database]).output().unwrap();
    assert!(stock.status.success(), "{}", String::from_utf8_lossy(&stock.stderr));
    let (dumped, archive) = collect(&cluster, &database, &what(CUSTOM)).await.unwrap();
    assert_eq!(dumped.tables.len(), TABLES);
    assert_eq!(dumped.tables.iter().map(|t| t.rows).sum::<u64>(), TABLES as u64);

    let (give, take) = mpsc::channel(2);
    give.send(Ok(archive.into())).await.unwrap();
    let how = RestoreOptions { jobs: 3, ..RestoreOptions::default() };
    let server = cluster.server();
    let end = async {
        give.send(Ok(bytes::Bytes::new())).await.unwrap();
    };
    let (restored, ()) =
        tokio::join!(restore_stream(&server, &back, PgDumpFormat::Custom, take, &how), end);
    let restored = restored.unwrap();
    assert_eq!((restored.warnings.len(), restored.tables.len()), (0, TABLES));
    let sum = "SELECT sum((xpath('/row/c/text()', query_to_xml(format('SELECT id AS c FROM %I', relname), false, true, '')))[1]::text::int)
        FROM pg_class WHERE relname ~ '^t_'";
    // Each row is in its own table; a thousand at a time, for this takes a lock on each too.
    let mut total: u64 = 0;
    for end in 0..10 {
        total +=
            cluster.psql(&back, &format!("{sum} AND relname ~ '{end}$'")).parse::<u64>().unwrap();
    }
    assert_eq!(total, (1..=TABLES as u64).sum::<u64>());
}
