use super::*;
use proptest::prelude::*;

fn template(text: &str) -> KeyTemplate {
    KeyTemplate::new(text, "").expect("a form")
}

fn parse_time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn to_strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// What a key tells, in a line.
fn render_parsed(read: Option<ParsedKey>) -> String {
    let Some(ParsedKey { database, reason, table, earliest: at, precision }) = read else {
        return "none".into();
    };
    let text = |t: Option<String>| t.unwrap_or_else(|| "-".into());
    format!("{} {} {} {at} +{}s", text(database), text(reason), text(table), precision.as_secs())
}

#[test]
fn keys_of_the_forms_that_companies_use_are_read() {
    let names = KnownNames { databases: &to_strings(&["orders", "orders_archive"]), reasons: &[] };
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
        (DEFAULT_KEY_TEMPLATE, "orders/orders_pre_deploy_20261120_020000"),
    ];
    let lines = table.map(|(text, key)| {
        format!("{key}: {}", render_parsed(template(text).parse_key(key, names)))
    });
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
    let form = template("{database}_{reason}_%Y%m%d");
    let names = KnownNames {
        databases: &to_strings(&["a", "a_b"]),
        reasons: &to_strings(&["c", "b_c", "daily"]),
    };
    assert_eq!(
        render_parsed(form.parse_key("a_b_c_20261120", names)),
        "- - - 2026-11-20T00:00:00Z +86400s"
    );
    assert_eq!(
        render_parsed(form.parse_key("a_b_daily_20261120", names)),
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
    let time = parse_time("2026-11-20T14:30:15Z");
    let lines = table.map(|text| match KeyTemplate::new(text, "") {
        Ok(form) => {
            let key = form.render_key("orders", "daily", "", time).expect("a key");
            format!("{key}: {}", render_parsed(form.parse_key(&key, KnownNames::default())))
        }
        Err(e) => format!("{e}; {}", e.hint),
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
    let time = parse_time("2026-11-20T14:30:15Z");
    let table = [
        ("{database}/{database}_%Y%m%d", ".dump.zst"),
        ("%Y/%m/%d/{reason}.sql.gz", ""),
        ("{database}_%Y%m%d_%H%M%S", ""),
        ("v1.2/{database}_100%%_%Y%m%d", ".x"),
        ("{database}", ".dump"),
    ];
    let mut lines = Vec::new();
    for (text, ending) in table {
        let form = KeyTemplate::new(text, ending).expect("a form");
        for key in form.candidate_keys("orders", "daily", "", time, "18F0-a.B").expect("keys") {
            let read = form.parse_key(&key, KnownNames::default());
            assert!(read.as_ref().is_some_and(|r| r.contains_time(time)), "{key}");
            lines.push(format!("{key}: {}", render_parsed(read)));
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
    let at = parse_time("2026-11-20T02:00:00Z");
    let make = |text, ending| {
        KeyTemplate::new(text, ending)
            .expect("a form")
            .render_key("d", "r", "t", at)
            .expect("a key")
    };
    assert_eq!(make("x_%Y%m%d.dump", ".dump"), "x_20261120.dump");
    assert_eq!(make("x_%Y%m%d", ".dump.zst"), "x_20261120.dump.zst");
    assert_eq!(make("x_%Y%m%d", ".100%"), "x_20261120.100%");
    assert_eq!(make(DEFAULT_KEY_TEMPLATE, ".sql.gz"), "d/d_r_20261120_020000.sql.gz");
    assert_eq!(template("dumps/{database}_%Y%m%d").static_prefix(), "dumps/");
}

#[test]
fn a_name_never_leaves_its_place() {
    let at = parse_time("2026-11-20T02:00:00Z");
    let make = |name| template("x/{database}/%Y%m%d").render_key(name, "r", "", at).expect("a key");
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
    assert!(template("{database}%Y%m%d").render_key("", "r", "", at).is_err());
}

#[test]
fn a_day_holds_all_its_times() {
    let read = template("%Y%m%d").parse_key("20261120", KnownNames::default()).expect("a day");
    assert!(
        read.contains_time(parse_time("2026-11-20T23:59:59Z"))
            && !read.contains_time(parse_time("2026-11-21T00:00:00Z"))
    );
    assert_eq!(read.latest_time(), parse_time("2026-11-20T23:59:59Z"));
}

proptest! {
    #[test]
    fn what_is_made_is_read_back(
        database in ".{1,20}", reason in "[a-z][a-z0-9-]{0,10}", seconds in 0i64..4_000_000_000
    ) {
        let at = Timestamp::from_second(seconds).expect("a time");
        for (text, ending) in [
            (DEFAULT_KEY_TEMPLATE, ".dump.zst.age"),
            ("{reason}/{database}_%Y%m%d_%H%M%S", ".sql.gz"),
            ("%Y/%m/%d/{database}/{reason}-%s", ""),
            ("{database}/{reason}/%FT%H%M", ""),
            ("{database}/{reason}", ".dump"),
        ] {
            let form = KeyTemplate::new(text, ending).expect("a form");
            for key in form.candidate_keys(&database, &reason, "", at, "18f-2a").expect("keys") {
                let read = form.parse_key(&key, KnownNames::default());
                let read = read.expect("its own key");
                prop_assert_eq!(read.database.as_deref(), Some(database.as_str()), "{}", key);
                prop_assert_eq!(read.reason.as_deref(), Some(reason.as_str()), "{}", key);
                prop_assert!(read.contains_time(at), "{} {:?}", key, read);
            }
        }
    }

    #[test]
    fn any_table_is_told_where_the_databases_are_known(
        table in "\\PC{1,20}", other in "[a-z_]{1,8}", seconds in 0i64..4_000_000_000
    ) {
        let at = Timestamp::from_second(seconds).expect("a time");
        let form = KeyTemplate::new(DEFAULT_TABLE_KEY_TEMPLATE, ".csv.gz").expect("a form");
        let (databases, reasons) = (to_strings(&["orders", &format!("orders_{other}")]), to_strings(&["daily"]));
        let key = form.render_key("orders", "daily", &table, at).expect("a key");
        let read = form.parse_key(&key, KnownNames { databases: &databases, reasons: &reasons });
        let read = read.expect("its own key");
        prop_assert_eq!(read.database.as_deref(), Some("orders"));
        prop_assert_eq!(read.table, Some(table));
    }

    #[test]
    fn no_text_makes_it_fail(key in ".*") {
        let _ = template(DEFAULT_KEY_TEMPLATE).parse_key(&key, KnownNames::default());
    }
}

#[test]
fn a_key_that_can_be_divided_in_too_many_ways_tells_nothing_and_takes_no_time() {
    let form = KeyTemplate::new("{database}{reason}{table}%H%M%S%Y%m%d", ".dump").expect("a form");
    let hostile = format!("{}02000020261120.dump", "020000".repeat(160));
    assert!(hostile.len() < 1024);
    assert_eq!(form.parse_key(&hostile, KnownNames::default()), None);
    let long = format!("{}02000020261120.dump", "a".repeat(1024));
    assert_eq!(form.parse_key(&long, KnownNames::default()), None);
    let (databases, reasons) = (to_strings(&["orders"]), to_strings(&["daily"]));
    let names = KnownNames { databases: &databases, reasons: &reasons };
    assert!(form.parse_key("ordersdailya02000020261120.dump", names).is_some());
}
