use super::*;
use proptest::prelude::*;

fn form(text: &str) -> KeyForm {
    KeyForm::new(text, "").expect("a form")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// What a key tells, in a line.
fn told(read: Option<Read>) -> String {
    let Some(Read { database, reason, table, at, precision }) = read else { return "none".into() };
    let text = |t: Option<String>| t.unwrap_or_else(|| "-".into());
    format!("{} {} {} {at} +{}s", text(database), text(reason), text(table), precision.as_secs())
}

#[test]
fn keys_of_the_forms_that_companies_use_are_read() {
    let names = Names { databases: &list(&["orders", "orders_archive"]), reasons: &[] };
    let table = [
        ("{database}/{database}_%Y%m%d.dump", "orders/orders_20261120.dump"),
        ("{database}/{database}_%Y%m%d.dump", "orders/orders_archive_20261120.dump"),
        ("{database}/{database}_%Y%m%d.dump", "orders_archive/orders_archive_20261120.dump"),
        ("{database}_%Y%m%d.dump", "orders_archive_20261120.dump"),
        ("{database}_%Y%m%d.dump", "other_20261120.dump"),
        ("{reason}/{database}_%Y%m%d_%H%M%S.sql.gz", "daily/orders_20261120_020000.sql.gz"),
        ("%Y/%m/%d/{database}_%Y%m%d_%H%M%S.sql.gz", "2026/11/20/orders_20261120_020000.sql.gz"),
        ("%Y/%m/%d/{database}_%Y%m%d_%H%M%S.sql.gz", "2026/11/19/orders_20261120_020000.sql.gz"),
        ("backup_%Y%m%d_%H%M%S.sql.gz.enc", "backup_20261120_020000.sql.gz.enc"),
        ("backup_%Y%m%d_%H%M%S.sql.gz.enc", "backup_20261120_020000.sql.gz"),
        ("backup_%Y%m%d_%H%M%S.sql.gz.enc", "backup_20261120_020000.sql.gz.enc.sha256"),
        ("backup_%Y%m%d_%H%M%S.sql.gz.enc", "backup_20261131_020000.sql.gz.enc"),
        ("backup-manual-%Y%m%d-%H%M.gz", "backup-manual-20261120-0230.gz"),
        ("{database}_{table}_%Y%m%d_%H%M%S.csv", "orders_line_items_20261120_020000.csv"),
        (USUAL, "orders/orders_pre_deploy_20261120_020000"),
    ];
    let lines = table.map(|(text, key)| format!("{key}: {}", told(form(text).read(key, names))));
    insta::assert_snapshot!(lines.join("\n"), @"
    orders/orders_20261120.dump: orders - - 2026-11-20T00:00:00Z +86400s
    orders/orders_archive_20261120.dump: none
    orders_archive/orders_archive_20261120.dump: orders_archive - - 2026-11-20T00:00:00Z +86400s
    orders_archive_20261120.dump: orders_archive - - 2026-11-20T00:00:00Z +86400s
    other_20261120.dump: none
    daily/orders_20261120_020000.sql.gz: orders daily - 2026-11-20T02:00:00Z +1s
    2026/11/20/orders_20261120_020000.sql.gz: orders - - 2026-11-20T02:00:00Z +1s
    2026/11/19/orders_20261120_020000.sql.gz: none
    backup_20261120_020000.sql.gz.enc: - - - 2026-11-20T02:00:00Z +1s
    backup_20261120_020000.sql.gz: none
    backup_20261120_020000.sql.gz.enc.sha256: none
    backup_20261131_020000.sql.gz.enc: none
    backup-manual-20261120-0230.gz: - - - 2026-11-20T02:30:00Z +60s
    orders_line_items_20261120_020000.csv: orders - line_items 2026-11-20T02:00:00Z +1s
    orders/orders_pre_deploy_20261120_020000: orders pre_deploy - 2026-11-20T02:00:00Z +1s
    ");
}

#[test]
fn names_that_can_be_divided_in_two_ways_tell_neither() {
    let form = form("{database}_{reason}_%Y%m%d");
    let names = Names { databases: &list(&["a", "a_b"]), reasons: &list(&["c", "b_c", "daily"]) };
    assert_eq!(told(form.read("a_b_c_20261120", names)), "- - - 2026-11-20T00:00:00Z +86400s");
    assert_eq!(
        told(form.read("a_b_daily_20261120", names)),
        "a_b daily - 2026-11-20T00:00:00Z +86400s"
    );
}

#[test]
fn a_form_without_a_date_names_the_time_and_one_that_is_none_is_refused() {
    let table = [
        "latest.dump",
        "{database}.dump",
        "%H%M%S",
        "%Y%m/x.y.dump",
        "{databas}_%Y%m%d",
        "{database_%Y%m%d",
        "%Q",
    ];
    let time = at("2026-11-20T14:30:15Z");
    let lines = table.map(|text| match KeyForm::new(text, "") {
        Ok(form) => {
            let key = form.make("orders", "daily", "", time).expect("a key");
            format!("{key}: {}", told(form.read(&key, Names::default())))
        }
        Err(e) => format!("{e}; {}", e.mend),
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    latest-20261120T143015Z.dump: - - - 2026-11-20T14:30:15Z +1s
    orders-20261120T143015Z.dump: orders - - 2026-11-20T14:30:15Z +1s
    143015-20261120T143015Z: - - - 2026-11-20T14:30:15Z +1s
    202611/x-20261120T143015Z.y.dump: - - - 2026-11-20T14:30:15Z +1s
    read the key "{databas}_%Y%m%d": {databas} is no placeholder; write {database}, {reason} or {table}
    read the key "{database_%Y%m%d": a brace is not closed; write {database}, {reason} or {table}
    read the key "%Q": its time can't be read back, so backups would not be told apart; write the date, as in %Y%m%d, or no time at all
    "#);
}

#[test]
fn a_name_that_is_taken_gets_its_time_and_then_its_run() {
    let time = at("2026-11-20T14:30:15Z");
    let table = [
        ("{database}/{database}_%Y%m%d", ".dump.zst"),
        ("%Y/%m/%d/{reason}.sql.gz", ""),
        ("{database}_%Y%m%d_%H%M%S", ""),
        ("v1.2/{database}_100%%_%Y%m%d", ".x"),
        ("{database}", ".dump"),
    ];
    let mut lines = Vec::new();
    for (text, ending) in table {
        let form = KeyForm::new(text, ending).expect("a form");
        for key in form.candidates("orders", "daily", "", time, "18F0-a.B").expect("keys") {
            let read = form.read(&key, Names::default());
            assert!(read.as_ref().is_some_and(|r| r.holds(time)), "{key}");
            lines.push(format!("{key}: {}", told(read)));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @"
    orders/orders_20261120.dump.zst: orders - - 2026-11-20T00:00:00Z +86400s
    orders/orders_20261120-20261120T143015Z.dump.zst: orders - - 2026-11-20T14:30:15Z +1s
    orders/orders_20261120-20261120T143015Z-18f0-ab.dump.zst: orders - - 2026-11-20T14:30:15Z +1s
    2026/11/20/daily.sql.gz: - daily - 2026-11-20T00:00:00Z +86400s
    2026/11/20/daily-20261120T143015Z.sql.gz: - daily - 2026-11-20T14:30:15Z +1s
    2026/11/20/daily-20261120T143015Z-18f0-ab.sql.gz: - daily - 2026-11-20T14:30:15Z +1s
    orders_20261120_143015: orders - - 2026-11-20T14:30:15Z +1s
    orders_20261120_143015-20261120T143015Z: orders - - 2026-11-20T14:30:15Z +1s
    orders_20261120_143015-20261120T143015Z-18f0-ab: orders - - 2026-11-20T14:30:15Z +1s
    v1.2/orders_100%_20261120.x: orders - - 2026-11-20T00:00:00Z +86400s
    v1.2/orders_100%_20261120-20261120T143015Z.x: orders - - 2026-11-20T14:30:15Z +1s
    v1.2/orders_100%_20261120-20261120T143015Z-18f0-ab.x: orders - - 2026-11-20T14:30:15Z +1s
    orders-20261120T143015Z.dump: orders - - 2026-11-20T14:30:15Z +1s
    orders-20261120T143015Z-18f0-ab.dump: orders - - 2026-11-20T14:30:15Z +1s
    ");
}

#[test]
fn an_ending_is_added_once_and_a_percent_sign_in_it_is_text() {
    let at = at("2026-11-20T02:00:00Z");
    let make = |text, ending| {
        KeyForm::new(text, ending).expect("a form").make("d", "r", "t", at).expect("a key")
    };
    assert_eq!(make("x_%Y%m%d.dump", ".dump"), "x_20261120.dump");
    assert_eq!(make("x_%Y%m%d", ".dump.zst"), "x_20261120.dump.zst");
    assert_eq!(make("x_%Y%m%d", ".100%"), "x_20261120.100%");
    assert_eq!(make(USUAL, ".sql.gz"), "d/d_r_20261120_020000.sql.gz");
    assert_eq!(form("dumps/{database}_%Y%m%d").fixed(), "dumps/");
}

#[test]
fn a_name_never_leaves_its_place() {
    let at = at("2026-11-20T02:00:00Z");
    let make = |name| form("x/{database}/%Y%m%d").make(name, "r", "", at).expect("a key");
    let names = ["..", ".hidden", "a/b", "my db", "50%", "naïve", "a;rm -rf ~", "$HOME", "O'Hara"];
    insta::assert_snapshot!(names.map(make).join("\n"), @"
    x/%2E./20261120
    x/%2Ehidden/20261120
    x/a%2Fb/20261120
    x/my%20db/20261120
    x/50%25/20261120
    x/naïve/20261120
    x/a%3Brm%20-rf%20%7E/20261120
    x/%24HOME/20261120
    x/O%27Hara/20261120
    ");
    assert!(form("{database}%Y%m%d").make("", "r", "", at).is_err());
}

#[test]
fn a_day_holds_all_its_times() {
    let read = form("%Y%m%d").read("20261120", Names::default()).expect("a day");
    assert!(read.holds(at("2026-11-20T23:59:59Z")) && !read.holds(at("2026-11-21T00:00:00Z")));
    assert_eq!(read.latest(), at("2026-11-20T23:59:59Z"));
}

proptest! {
    #[test]
    fn what_is_made_is_read_back(
        database in ".{1,20}", reason in "[a-z][a-z0-9-]{0,10}", seconds in 0i64..4_000_000_000
    ) {
        let at = Timestamp::from_second(seconds).expect("a time");
        for (text, ending) in [
            (USUAL, ".dump.zst.age"),
            ("{reason}/{database}_%Y%m%d_%H%M%S", ".sql.gz"),
            ("%Y/%m/%d/{database}/{reason}-%s", ""),
            ("{database}/{reason}/%FT%H%M", ""),
            ("{database}/{reason}", ".dump"),
        ] {
            let form = KeyForm::new(text, ending).expect("a form");
            for key in form.candidates(&database, &reason, "", at, "18f-2a").expect("keys") {
                let read = form.read(&key, Names::default());
                let read = read.expect("its own key");
                prop_assert_eq!(read.database.as_deref(), Some(database.as_str()), "{}", key);
                prop_assert_eq!(read.reason.as_deref(), Some(reason.as_str()), "{}", key);
                prop_assert!(read.holds(at), "{} {:?}", key, read);
            }
        }
    }

    #[test]
    fn any_table_is_told_where_the_databases_are_known(
        table in "\\PC{1,20}", other in "[a-z_]{1,8}", seconds in 0i64..4_000_000_000
    ) {
        let at = Timestamp::from_second(seconds).expect("a time");
        let form = KeyForm::new(USUAL_OF_TABLES, ".csv.gz").expect("a form");
        let (databases, reasons) = (list(&["orders", &format!("orders_{other}")]), list(&["daily"]));
        let key = form.make("orders", "daily", &table, at).expect("a key");
        let read = form.read(&key, Names { databases: &databases, reasons: &reasons });
        let read = read.expect("its own key");
        prop_assert_eq!(read.database.as_deref(), Some("orders"));
        prop_assert_eq!(read.table, Some(table));
    }

    #[test]
    fn no_text_makes_it_fail(key in ".*") {
        let _ = form(USUAL).read(&key, Names::default());
    }
}

#[test]
fn a_key_that_can_be_divided_in_too_many_ways_tells_nothing_and_takes_no_time() {
    let form = KeyForm::new("{database}{reason}{table}%H%M%S%Y%m%d", ".dump").expect("a form");
    let hostile = format!("{}02000020261120.dump", "020000".repeat(160));
    assert!(hostile.len() < 1024);
    assert_eq!(form.read(&hostile, Names::default()), None);
    let long = format!("{}02000020261120.dump", "a".repeat(1024));
    assert_eq!(form.read(&long, Names::default()), None);
    let (databases, reasons) = (list(&["orders"]), list(&["daily"]));
    let names = Names { databases: &databases, reasons: &reasons };
    assert!(form.read("ordersdailya02000020261120.dump", names).is_some());
}
