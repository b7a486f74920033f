//! `holdfast alarms`: the policy's alarms, and how they are.

use crate::{
    output::CommandOutput,
    session::CommandContext,
    stop::{CommandError, CommandExit},
    table::TerminalStyle,
    words::{PLACEHOLDER, format_age, format_time, pluralize},
};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    aws::cloudwatch::{AlarmState, MetricAlarm},
    catalog::Location,
    hints, metrics,
    policy::Policy,
};

/// There is no alarm of that name.
const MISSING_STATE: &str = "MISSING";

/// Shows the alarms.
pub(super) async fn run(session: &CommandContext<'_>) -> anyhow::Result<CommandExit> {
    let cloudwatch = session.aws.cloudwatch(&Location::home_from_policy(&session.policy));
    let names: Vec<_> = session.policy.alarms.keys().cloned().collect();
    let asked = session
        .progress
        .with_spinner("asking CloudWatch", cloudwatch.describe_alarms(&names))
        .await;
    let found = asked.map_err(|e| CommandError::from_operation_error(&e))?;
    let alarms = AlarmsOutput(alarm_rows(&session.policy, &found, session.env.now));
    session.output.print_output(&alarms)?;
    let bad = alarms.0.iter().any(|a| a.state == MISSING_STATE || a.state == "ALARM");
    Ok(if bad { CommandExit::Failed } else { CommandExit::Success })
}

/// An alarm of the policy with its state.
#[derive(Debug, Serialize)]
struct AlarmRow {
    name: String,
    state: String,
    since: Option<Timestamp>,
    /// For how long it is in that state.
    age_seconds: Option<i64>,
    metric: String,
    group: Option<String>,
    /// It rings above this, or below that.
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<String>,
    /// The function that feeds its metric, and sets it.
    function: &'static str,
    reason: String,
    /// It is there, and not as the policy wants it.
    drifted: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct AlarmsOutput(Vec<AlarmRow>);

fn alarm_rows(policy: &Policy, found: &[AlarmState], now: Timestamp) -> Vec<AlarmRow> {
    let mut rows: Vec<_> = policy
        .alarms
        .iter()
        .map(|(name, alarm)| {
            let metric = alarm.metric.metric();
            let function = metric.publisher();
            let state = found.iter().find(|f| f.name == *name);
            let wanted = metrics::alarms_for_function(policy, function, None);
            let wanted = wanted.iter().find(|w| w.name == *name);
            let differs = state.is_some_and(|s| !matches_policy(wanted, s.alarm.as_ref()));
            let reason = match state {
                None => {
                    format!(
                        "CloudWatch has none of this name; `{}` sets it",
                        hints::function(function)
                    )
                }
                Some(state) if !differs => state.reason.clone(),
                Some(state) => {
                    let differs = format!(
                        "it differs from the policy; `{}` sets it again",
                        hints::function(function)
                    );
                    [state.reason.as_str(), &differs]
                        .into_iter()
                        .filter(|r| !r.is_empty())
                        .collect::<Vec<_>>()
                        .join("; ")
                }
            };
            let since = state.and_then(|s| s.since);
            AlarmRow {
                name: name.clone(),
                state: state.map_or(MISSING_STATE.to_owned(), |s| s.state.clone()),
                since,
                age_seconds: since.map(|since| now.duration_since(since).as_secs().max(0)),
                metric: metric.name().to_owned(),
                group: alarm.of.as_ref().map(ToString::to_string),
                above: alarm.above.as_ref().map(ToString::to_string),
                below: alarm.below.as_ref().map(ToString::to_string),
                function,
                reason,
                drifted: differs,
            }
        })
        .collect();
    let rank = |r: &AlarmRow| {
        ["ALARM", MISSING_STATE, "INSUFFICIENT_DATA"]
            .iter()
            .position(|s| r.state == *s)
            .unwrap_or(9)
    };
    rows.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
    rows
}

/// Whether an alarm is as the policy wants it; the topics also depend on the stack, so they are not compared.
fn matches_policy(wanted: Option<&MetricAlarm>, found: Option<&MetricAlarm>) -> bool {
    let without = |a: &MetricAlarm| MetricAlarm { topics: Vec::new(), ..a.clone() };
    matches!((wanted, found), (Some(wanted), Some(found)) if without(wanted) == without(found))
}

/// `> 25h`, `< 99%`.
fn format_threshold(row: &AlarmRow) -> String {
    let above = row.above.as_ref().map(|t| format!("> {t}"));
    above.or(row.below.as_ref().map(|t| format!("< {t}"))).unwrap_or_default()
}

impl CommandOutput for AlarmsOutput {
    fn render_text(&self, look: TerminalStyle) -> String {
        if self.0.is_empty() {
            return "the policy asks for no alarms".into();
        }
        let rows = self.0.iter().map(|r| {
            let watches =
                r.group.as_ref().map_or(r.metric.clone(), |of| format!("{} of {of}", r.metric));
            let since = r.since.map_or(PLACEHOLDER.to_owned(), format_time);
            vec![
                r.name.clone(),
                r.state.clone(),
                since,
                r.age_seconds.map_or(PLACEHOLDER.to_owned(), format_age),
                watches,
                format_threshold(r),
                r.reason.clone(),
            ]
        });
        let head = ["alarm", "state", "since (UTC)", "for", "watches", "threshold", "reason"];
        let table = look.render_table(&head, rows);
        let states = ["ALARM", MISSING_STATE, "INSUFFICIENT_DATA", "OK"];
        let counts: Vec<_> = states
            .iter()
            .map(|s| (self.0.iter().filter(|r| r.state == *s).count(), s))
            .filter(|(n, _)| *n > 0)
            .map(|(n, s)| format!("{n} {s}"))
            .collect();
        format!("{table}\n\n{}: {}", pluralize(self.0.len(), "alarm", "alarms"), counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            r#"
holdfast: 1
company: acme
home: { account: "111122223333", region: eu-west-1 }
databases:
  fleet: { select: { include: ["acme-*"] }, objectives: { max_age: 25h } }
alarms:
  acme-backup-age: { metric: backup-age, of: fleet, above: 25h }
  acme-backup-failing: { metric: failing-assets, above: "0" }
  acme-backup-unprotected: { metric: unprotected-databases, above: "0" }
"#,
        )
        .expect("a policy")
    }

    #[test]
    fn what_rings_and_what_is_missing_stands_first_and_a_changed_alarm_is_told() {
        let policy = policy();
        let wanted =
            metrics::alarms_for_function(&policy, "freshness", Some("arn:aws:sns:eu-west-1:1:t"));
        let state = |alarm: &MetricAlarm, state: &str, reason: &str| AlarmState {
            name: alarm.name.clone(),
            alarm: Some(alarm.clone()),
            state: state.into(),
            reason: reason.into(),
            since: "2026-11-20T02:07:00Z".parse().ok(),
        };
        let louder = MetricAlarm { threshold: 5.0, ..wanted[1].clone() };
        let found =
            [state(&louder, "OK", ""), state(&wanted[0], "ALARM", "2 datapoints were greater")];
        let now = "2026-11-20T14:09:00Z".parse().expect("a time");
        let alarms = AlarmsOutput(alarm_rows(&policy, &found, now));
        insta::assert_snapshot!(alarms.render_text(TerminalStyle::default()), @"
        ALARM                    STATE    SINCE (UTC)       FOR     WATCHES               THRESHOLD  REASON
        acme-backup-age          ALARM    2026-11-20 02:07  12h 2m  BackupAge of fleet    > 25h      2 datapoints were greater
        acme-backup-unprotected  MISSING  -                 -       UnprotectedDatabases  > 0        CloudWatch has none of this name; `holdfast run freshness` sets it
        acme-backup-failing      OK       2026-11-20 02:07  12h 2m  FailingAssets         > 0        it differs from the policy; `holdfast run freshness` sets it again

        3 alarms: 1 ALARM, 1 MISSING, 1 OK
        ");
    }
}
