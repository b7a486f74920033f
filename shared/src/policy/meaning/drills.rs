//! What a drill's rule can't mean: a kind that does not fit its group, a calendar that says two things, SQL that is no
//! question.

use super::{ErrorSink, all_groups, unknown_name_message};
use crate::policy::{DrillKind, DrillRule, PointChoice, Policy, text::Name};

/// Every fault in the drills.
pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    for (name, drill) in &policy.drills {
        let at = |key: &str| format!("/drills/{name}/{key}");
        check_group(policy, drill, name, say);
        check_calendar(drill, &at("schedule/cron"), say);
        check_only(policy, drill, &at("only"), say);
        let restores_database = drill.kind.restores_database();
        for (check, sql) in &drill.checks {
            let at = at(&format!("checks/{check}"));
            match non_query_reason(sql) {
                Some(why) => say(at, format!("{why}: write one SELECT of one boolean")),
                None if !restores_database => say(at, kind_without_sql(drill.kind)),
                None => {}
            }
        }
        match drill.newest_row.as_deref().map(non_query_reason) {
            Some(Some(why)) => {
                say(at("newest_row"), format!("{why}: write one SELECT of one time"));
            }
            Some(None) if !restores_database => say(at("newest_row"), kind_without_sql(drill.kind)),
            _ => {}
        }
        if let Some(class) = &drill.instance_class {
            if !drill.kind.restores_instance() {
                let why = format!(
                    "a drill of kind {} restores no instance: leave instance_class out",
                    drill.kind
                );
                say(at("instance_class"), why);
            } else if !is_instance_class(class) {
                let why = format!(
                    "\"{class}\" is no instance class: write one such as \"db.t3.medium\", or \"same\""
                );
                say(at("instance_class"), why);
            }
        }
        if drill.scratch.is_some() && drill.kind != DrillKind::Dump {
            say(at("scratch"), "only a drill of kind dump restores to a scratch server".into());
        }
        if drill.rotate.is_some() && drill.of.is_none() {
            say(at("rotate"), "there is nothing to rotate through: write `of`".into());
        }
        if drill.rpo.is_some() && drill.point != PointChoice::Newest {
            let why = "only the newest recovery point says how much would be lost: leave rpo out, or write point: newest";
            say(at("rpo"), why.into());
        }
    }
}

fn kind_without_sql(kind: DrillKind) -> String {
    format!("a drill of kind {kind} restores no database that could be asked: leave it out")
}

fn check_group(policy: &Policy, drill: &DrillRule, name: &Name, say: ErrorSink<'_>) {
    let groups = all_groups(policy);
    let fitting = drill.kind.fitting_sections();
    let fits = |section: &str| fitting.is_empty() || fitting.contains(&section);
    let Some(of) = &drill.of else {
        if !fitting.is_empty() {
            let why = format!(
                "a drill of kind {} is of a group: write `of` with one of {}",
                drill.kind,
                fitting.join(", ")
            );
            say(format!("/drills/{name}"), why);
        }
        return;
    };
    let at = format!("/drills/{name}/of");
    let named: Vec<&str> = groups.iter().filter(|g| g.1 == of).map(|g| g.0).collect();
    if named.is_empty() {
        let known = groups.iter().map(|(_, name, _)| name.as_str());
        say(at, unknown_name_message(of.as_str(), known, "the groups of assets"));
    } else if !named.iter().any(|section| fits(section)) {
        let why = format!(
            "a drill of kind {} is of {}, and {of} is in {}",
            drill.kind,
            fitting.join(" or "),
            named.join(", ")
        );
        say(at, why);
    } else if matches!(drill.kind, DrillKind::Dump | DrillKind::Quick)
        && policy.postgres.get(of).is_some_and(|g| g.dumps.is_empty())
    {
        say(at, format!("{of} takes no dumps that could be restored: write its `dumps`"));
    }
}

/// `0 9 1 * 1` means every Monday and the 1st, which nobody means.
fn check_calendar(drill: &DrillRule, at: &str, say: ErrorSink<'_>) {
    let cron = drill.schedule.cron.to_string();
    let fields: Vec<&str> = cron.split_whitespace().collect();
    if let [_, _, day, _, weekday] = fields[..]
        && day != "*"
        && weekday != "*"
    {
        let why = format!(
            "\"{cron}\" names days of the month and of the week, and cron takes either: write \"MON#1\" for the first Monday"
        );
        say(at.to_owned(), why);
    }
}

fn check_only(policy: &Policy, drill: &DrillRule, at: &str, say: ErrorSink<'_>) {
    let Some(group) = drill.of.as_ref().and_then(|of| policy.postgres.get(of)) else { return };
    if group.databases.is_all() || !matches!(drill.kind, DrillKind::Dump | DrillKind::Quick) {
        return;
    }
    let known = group.databases.named();
    for (i, name) in drill.only.iter().enumerate().filter(|(_, name)| !known.contains(name)) {
        let names = known.iter().map(String::as_str);
        say(format!("{at}/{i}"), unknown_name_message(name, names, "the group's databases"));
    }
}

/// `db.t3.medium`: AWS knows which there are.
fn is_instance_class(text: &str) -> bool {
    let word = |w: &str| {
        !w.is_empty()
            && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let parts: Vec<&str> = text.split('.').collect();
    text == "same"
        || (parts[0] == "db" && (3..=5).contains(&parts.len()) && parts.into_iter().all(word))
}

/// Why this is not one query; none of one that is. It runs read-only and as a role without rights all the same.
fn non_query_reason(sql: &str) -> Option<&'static str> {
    let bare = strip_quoted(sql);
    let first = bare.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let first = first.split('(').next().unwrap_or_default();
    if !matches!(first, "SELECT" | "WITH" | "VALUES" | "TABLE") {
        return Some("it is no SELECT");
    }
    if bare.trim_end().trim_end_matches(';').contains(';') {
        return Some("it is more than one statement");
    }
    let writes = ["INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "TRUNCATE", "DROP", "ALTER"];
    let words = bare.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words
        .map(str::to_ascii_uppercase)
        .any(|word| writes.contains(&word.as_str()))
        .then_some("it changes something")
}

/// The SQL without what stands in quotes and comments.
fn strip_quoted(sql: &str) -> String {
    let mut bare = String::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '\'' | '"' => rest[1..].find(c).map_or(rest.len(), |i| i + 2),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |i| i + 2),
            _ => {
                bare.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        bare.push(' ');
        rest = &rest[end..];
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_query() {
        for sql in [
            "SELECT count(*) > 0 FROM orders",
            "select(true)",
            "  WITH x AS (SELECT 1) SELECT true FROM x;",
            "SELECT 'a; DROP TABLE x' = \"INSERT\" -- DELETE\n FROM t /* UPDATE; */",
            "SELECT updated_at > now() FROM t",
        ] {
            assert_eq!(non_query_reason(sql), None, "{sql}");
        }
        for sql in [
            "",
            "DROP TABLE orders",
            "SELECT 1; DROP TABLE orders",
            "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT true",
            "SELECT true INTO x",
            "-- SELECT\nDELETE FROM orders",
        ] {
            assert!(non_query_reason(sql).is_some(), "{sql}");
        }
    }

    #[test]
    fn a_class_looks_like_one_of_aws() {
        for class in ["db.t3.medium", "db.r6i.2xlarge", "db.r6i.8xlarge.tpc2.mem3x", "same"] {
            assert!(is_instance_class(class), "{class}");
        }
        for class in ["nonsense", "db", "db.", "t3.medium", "db.T3.medium"] {
            assert!(!is_instance_class(class), "{class}");
        }
    }

    #[test]
    fn a_kind_fits_its_group_and_a_calendar_says_one_thing() {
        let faults = |drill: &str| {
            let yaml = format!(
                "{{holdfast: 1, company: acme, id: host-1, postgres: {{main: {{databases: [shop], storage: {{directory: /b}}, \
                 dumps: {{daily: {{keep: {{newest: 3}}}}}}}}}}, redis: {{cache: {{storage: {{directory: /r}}, keep: {{newest: 3}}}}}}, \
                 drills: {{d: {drill}}}}}"
            );
            Policy::parse(&yaml).map_or_else(|e| e.to_string(), |_| String::new())
        };
        let monday = "schedule: { cron: \"0 9 * * MON#1\" }";
        assert_eq!(faults(&format!("{{ kind: dump, of: main, {monday} }}")), "");
        let quarter = "schedule: { cron: \"0 6 * 1,4,7,10 SUN#1\" }";
        assert_eq!(faults(&format!("{{ kind: quick, of: main, only: [shop], {quarter} }}")), "");
        for (drill, why) in [
            (format!("{{ kind: dump, {monday} }}"), "write `of`"),
            (format!("{{ kind: dump, of: cache, {monday} }}"), "cache is in redis"),
            (format!("{{ kind: snapshot, of: main, {monday} }}"), "main is in postgres"),
            (format!("{{ kind: dump, of: mian, {monday} }}"), "main"),
            (format!("{{ kind: dump, of: main, only: [shpo], {monday} }}"), "shop"),
            (
                format!("{{ kind: dump, of: main, instance_class: db.t3.medium, {monday} }}"),
                "restores no instance",
            ),
            (format!("{{ kind: full, instance_class: nonsense, {monday} }}"), "no instance class"),
            (
                format!("{{ kind: dump, of: main, checks: {{ a: DROP TABLE x }}, {monday} }}"),
                "no SELECT",
            ),
            (
                format!("{{ kind: quick, of: main, checks: {{ a: SELECT true }}, {monday} }}"),
                "restores no database",
            ),
            (
                format!("{{ kind: dump, of: main, newest_row: DELETE FROM x, {monday} }}"),
                "no SELECT",
            ),
            (
                format!("{{ kind: dump, of: main, point: oldest, rpo: 1h, {monday} }}"),
                "only the newest",
            ),
            ("{ kind: dump, of: main, schedule: { cron: \"0 9 1 * 1\" } }".into(), "MON#1"),
            (format!("{{ kind: dump, of: main, week: 1, {monday} }}"), "week"),
        ] {
            let said = faults(&drill);
            assert!(said.contains(why), "{drill}: {said}");
        }
    }
}
