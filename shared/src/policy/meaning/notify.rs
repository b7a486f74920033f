//! What a schema can't say of who is told what: names that are there, channels of one kind, routes that lead somewhere.

use super::{ErrorSink, Policy, all_groups, check_reference, unknown_name_message};
use crate::{
    mail::EmailAddress,
    policy::{
        SecretSource,
        notify::{
            ChannelConfig, EscalationStep, MailTls, MinSeverity, NotifyConfig, NotifyEventKind,
            NotifyRoute, SesConfig, SmtpConfig,
        },
        secrets,
        text::Name,
    },
};
use jiff::SignedDuration;

/// Every fault in who is told what.
pub(super) fn check(policy: &Policy, say: ErrorSink<'_>) {
    let Some(notify) = &policy.notify else { return };
    if notify.channels.is_empty() {
        say("/notify/channels".into(), "nobody can be told anything: write a channel".into());
    }
    for (name, channel) in &notify.channels {
        let at = format!("/notify/channels/{name}");
        check_one_kind(channel, &at, say);
        check_keys_of_kind(notify, channel, &at, say);
    }
    check_mail(notify.smtp.as_ref(), notify.ses.as_ref(), "/notify", say);
    for (i, route) in notify.routes.iter().enumerate() {
        check_route(policy, route, &format!("/notify/routes/{i}"), say);
    }
    if !notify.routes.iter().any(is_for_failures) {
        let hint = "write a route without `of` and `events`, or with `events: [failure]`";
        say(
            "/notify/routes".into(),
            format!("no route is for failures, so nobody would hear of one: {hint}"),
        );
    }
    for (i, step) in notify.escalation.iter().enumerate() {
        let before = i.checked_sub(1).map(|b| &notify.escalation[b]);
        check_escalation_step(policy, step, before, &format!("/notify/escalation/{i}"), say);
    }
    let digest = notify.digest.iter().map(|d| ("/notify/digest/to", &d.to));
    let recovery = notify.recovery.iter().flat_map(|r| {
        [("/notify/recovery/to", &r.to), ("/notify/recovery/complete_to", &r.complete_to)]
    });
    for (at, to) in digest.chain(recovery) {
        check_channel_names(notify, to, at, say);
    }
    check_periods(notify, say);
}

/// Every secret that a channel is reached with.
pub(super) fn secret_sources(notify: &NotifyConfig) -> Vec<(String, &SecretSource)> {
    let mut all = Vec::new();
    for (name, channel) in &notify.channels {
        let at = |key| format!("/notify/channels/{name}/{key}");
        all.extend(channel.slack.iter().map(|s| (at("slack"), s)));
        all.extend(channel.pagerduty.iter().map(|s| (at("pagerduty"), s)));
        all.extend(channel.token.iter().map(|s| (at("token"), s)));
        let password = channel.smtp.iter().filter_map(|s| s.password.as_ref());
        all.extend(password.map(|s| (at("smtp/password"), s)));
    }
    let password = notify.smtp.iter().filter_map(|s| s.password.as_ref());
    all.extend(password.map(|s| ("/notify/smtp/password".into(), s)));
    all.extend(notify.heartbeat.iter().map(|h| ("/notify/heartbeat/http".into(), &h.http)));
    all
}

fn check_one_kind(channel: &ChannelConfig, at: &str, say: ErrorSink<'_>) {
    let ways = [
        channel.slack.is_some(),
        channel.pagerduty.is_some(),
        !channel.email.is_empty(),
        channel.sns.is_some(),
        channel.http.is_some(),
    ];
    if ways.iter().filter(|w| **w).count() != 1 {
        let what = "a channel is one way to reach people: write exactly one of slack, pagerduty, email, sns, http";
        say(at.to_owned(), what.into());
    }
}

/// Keys that belong to another kind of channel would do nothing in silence.
fn check_keys_of_kind(
    notify: &NotifyConfig,
    channel: &ChannelConfig,
    at: &str,
    say: ErrorSink<'_>,
) {
    let http = [
        ("body", channel.body.is_some()),
        ("headers", !channel.headers.is_empty()),
        ("token", channel.token.is_some()),
    ];
    for (key, _) in http.iter().filter(|(_, used)| *used && channel.http.is_none()) {
        say(format!("{at}/{key}"), "this goes with http alone".into());
    }
    if channel.email.is_empty() && (channel.smtp.is_some() || channel.ses.is_some()) {
        say(at.to_owned(), "smtp and ses go with email alone: write email".into());
    }
    if channel.endpoint.is_some() && channel.pagerduty.is_none() {
        say(format!("{at}/endpoint"), "this goes with pagerduty alone".into());
    }
    if let Some(url) = channel.http.as_ref().filter(|u| !is_allowed_url(u)) {
        say(
            format!("{at}/http"),
            format!(
                "\"{url}\" is no web address that can be posted to: write one that begins with https:// (http:// on this host only)"
            ),
        );
    }
    for (name, value) in &channel.headers {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
            say(format!("{at}/headers/{name}"), "this is no HTTP header".into());
        } else if secrets::is_secret_header(name) {
            say(
                format!("{at}/headers/{name}"),
                "a secret does not stand in a policy: write token".into(),
            );
        }
    }
    let ses = channel.ses.as_ref().or(notify.ses.as_ref().filter(|_| channel.smtp.is_none()));
    for (i, address) in channel.email.iter().enumerate() {
        let why = match address.parse::<EmailAddress>() {
            Err(why) => why,
            // https://docs.aws.amazon.com/ses/latest/dg/quotas.html: the local part of an address is ASCII.
            Ok(read) if ses.is_some() && read.needs_utf8() => {
                format!(
                    "\"{address}\": SES takes ASCII alone before the @: write another address, or use smtp"
                )
            }
            Ok(_) => continue,
        };
        say(format!("{at}/email/{i}"), why);
    }
    if channel.email.len() > MAX_ADDRESSES {
        let why = format!(
            "{MAX_ADDRESSES} addresses are the most of one channel: use a list, or another channel"
        );
        say(format!("{at}/email"), why);
    }
    if let Some(topic) =
        channel.sns.as_ref().filter(|t| t.as_str().split(':').nth(2) != Some("sns"))
    {
        say(format!("{at}/sns"), format!("\"{topic}\" is no topic of SNS"));
    }
    if let Some(address) = channel.endpoint.as_ref().filter(|u| !is_allowed_url(u)) {
        say(
            format!("{at}/endpoint"),
            format!(
                "\"{address}\" is no web address: write one such as \"https://events.eu.pagerduty.com\""
            ),
        );
    }
    check_mail(channel.smtp.as_ref(), channel.ses.as_ref(), at, say);
}

/// Mail servers take a hundred at least (RFC 5321, 4.5.3.1.8); beyond it a mail is a mailing.
const MAX_ADDRESSES: usize = 100;

fn check_mail(smtp: Option<&SmtpConfig>, ses: Option<&SesConfig>, at: &str, say: ErrorSink<'_>) {
    if smtp.is_some() && ses.is_some() {
        say(at.to_owned(), "mail goes one way: write smtp or ses".into());
    }
    if let Some(Err(why)) = ses.map(|ses| ses.from.parse::<EmailAddress>()) {
        say(format!("{at}/ses/from"), why);
    }
    let Some(smtp) = smtp else { return };
    if smtp.user.is_some() != smtp.password.is_some() {
        say(format!("{at}/smtp"), "user and password go together: write both or none".into());
    }
    if let Err(why) = smtp.from.parse::<EmailAddress>() {
        say(format!("{at}/smtp/from"), why);
    }
    if let Err(why) = super::places::check_host(&smtp.host) {
        say(format!("{at}/smtp/host"), why);
    }
    let here = smtp.host == "localhost"
        || smtp.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if smtp.tls == Some(MailTls::Never) && smtp.password.is_some() && !here {
        let why =
            "a password is not sent over a network without encryption: write start-tls or always";
        say(format!("{at}/smtp/tls"), why.into());
    }
}

/// Nothing is posted over a network that reads along: `http://` is for this host alone.
fn is_allowed_url(text: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    if text.contains(char::is_whitespace) {
        return false;
    }
    match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty(),
        (_, Some(rest)) => {
            let host = host(rest);
            let name = if host.starts_with('[') {
                host.as_str()
            } else {
                host.split(':').next().unwrap_or_default()
            };
            name == "localhost" || name.starts_with("127.") || name.starts_with("[::1]")
        }
        _ => false,
    }
}

fn is_for_failures(route: &NotifyRoute) -> bool {
    route.events.is_empty() || route.events.contains(&NotifyEventKind::Failure)
}

fn check_route(policy: &Policy, route: &NotifyRoute, at: &str, say: ErrorSink<'_>) {
    let notify = policy.notify.as_ref().expect("its routes are checked");
    if route.to.is_empty() {
        say(format!("{at}/to"), "an empty route tells nobody: write a channel".into());
    }
    check_channel_names(notify, &route.to, &format!("{at}/to"), say);
    check_group_names(policy, &route.of, &format!("{at}/of"), say);
    let only_good =
        !route.events.is_empty() && route.events.iter().all(|on| *on == NotifyEventKind::Success);
    if only_good && route.severity != MinSeverity::Info {
        say(format!("{at}/severity"), "a success is of severity info: write info".into());
    }
}

fn check_escalation_step(
    policy: &Policy,
    step: &EscalationStep,
    before: Option<&EscalationStep>,
    at: &str,
    say: ErrorSink<'_>,
) {
    let notify = policy.notify.as_ref().expect("its steps are checked");
    if step.to.is_empty() {
        say(format!("{at}/to"), "an empty step tells nobody: write a channel".into());
    }
    check_channel_names(notify, &step.to, &format!("{at}/to"), say);
    check_group_names(policy, &step.of, &format!("{at}/of"), say);
    if before.is_some_and(|b| b.after.duration() > step.after.duration()) {
        say(format!("{at}/after"), "steps stand in the order of their times".into());
    }
}

fn check_channel_names(notify: &NotifyConfig, to: &[Name], at: &str, say: ErrorSink<'_>) {
    for (j, name) in to.iter().enumerate() {
        check_reference(name, &notify.channels, "notify.channels", &format!("{at}/{j}"), say);
        if to[..j].contains(name) {
            say(format!("{at}/{j}"), format!("\"{name}\" stands here twice"));
        }
    }
}

fn check_group_names(policy: &Policy, of: &[Name], at: &str, say: ErrorSink<'_>) {
    let groups = all_groups(policy);
    for (j, of) in of.iter().enumerate() {
        if !groups.iter().any(|(_, name, _)| *name == of) {
            let known = groups.iter().map(|(_, name, _)| name.as_str());
            say(
                format!("{at}/{j}"),
                unknown_name_message(of.as_str(), known, "the groups of assets"),
            );
        }
    }
}

/// The functions whose reports can be awaited.
const REPORTING_FUNCTIONS: &[&str] =
    &["snapshot", "offsite", "freshness", "replication", "retention", "dump", "report", "drill"];

fn check_periods(notify: &NotifyConfig, say: ErrorSink<'_>) {
    for (name, after) in &notify.expect {
        let at = format!("/notify/expect/{name}");
        if !REPORTING_FUNCTIONS.contains(&name.as_str()) {
            say(
                at.clone(),
                unknown_name_message(
                    name.as_str(),
                    REPORTING_FUNCTIONS.iter().copied(),
                    "the functions",
                ),
            );
        }
        if after.duration() < SignedDuration::from_mins(5) {
            say(at, "notify looks every 5 minutes: write that or more".into());
        }
    }
    let minute = SignedDuration::from_mins(1);
    if notify.heartbeat.as_ref().is_some_and(|h| h.every.duration() < minute) {
        say("/notify/heartbeat/every".into(), "a minute is the least".into());
    }
    if notify.recovery.iter().filter_map(|r| r.every.as_ref()).any(|e| e.duration() < minute) {
        say("/notify/recovery/every".into(), "a minute is the least".into());
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    fn policy_errors(notify: &str) -> String {
        let text = format!(
            "holdfast: 1\ncompany: acme\nid: host-1\npostgres:\n  shop: {{ databases: [shop], storage: {{ directory: /b }} }}\nnotify:\n{notify}"
        );
        match Policy::parse(&text) {
            Ok(_) => "none".into(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn every_fault_in_who_is_told_is_found_with_its_place_and_the_hint() {
        let said = policy_errors(
            r#"  channels:
    both: { slack: { env: S }, http: "https://a.example" }
    none: {}
    mail: { email: ["nobody"], body: alert, smtp: { host: h, from: "a b", user: u } }
    web: { http: "a.example", headers: { Authorization: x, "a b": y }, ses: { from: a@b.example } }
    slack: { slack: { env: A, file: B } }
  routes:
    - { severity: critical, to: [] }
    - { severity: warning, of: [shopp], events: [success], to: [slak, slack, slack] }
  escalation:
    - { after: 4h, to: [slack] }
    - { after: 1h, to: [] }
  digest: { cron: "0 8 * * *", to: [nobody] }
  recovery: { to: [slack], every: 10s }
  heartbeat: { http: { env: H }, every: 5s }
  expect: { freshnes: 45m, dump: 1m }
"#,
        );
        insta::assert_snapshot!(said, @r#"
        8:5: notify.channels.both: a channel is one way to reach people: write exactly one of slack, pagerduty, email, sns, http
        9:5: notify.channels.none: a channel is one way to reach people: write exactly one of slack, pagerduty, email, sns, http
        10:21: notify.channels.mail.email[0]: "nobody" is no e-mail address: it has no @; write one such as "Ops <ops@example.com>"
        10:32: notify.channels.mail.body: this goes with http alone
        10:45: notify.channels.mail.smtp: user and password go together: write both or none
        10:62: notify.channels.mail.smtp.from: "a b" is no e-mail address: it has no @; write one such as "Ops <ops@example.com>"
        11:5: notify.channels.web: smtp and ses go with email alone: write email
        11:12: notify.channels.web.http: "a.example" is no web address that can be posted to: write one that begins with https:// (http:// on this host only)
        11:42: notify.channels.web.headers.Authorization: a secret does not stand in a policy: write token
        11:60: notify.channels.web.headers.a b: this is no HTTP header
        12:14: notify.channels.slack.slack: a secret comes from one place: write exactly one of secret, env, file
        14:29: notify.routes[0].to: an empty route tells nobody: write a channel
        15:9: notify.routes[1].severity: a success is of severity info: write info
        15:33: notify.routes[1].of[0]: "shopp" is not in the groups of assets; did you mean "shop"?
        15:65: notify.routes[1].to[0]: "slak" is not in notify.channels; did you mean "slack"?
        15:78: notify.routes[1].to[2]: "slack" stands here twice
        18:9: notify.escalation[1].after: steps stand in the order of their times
        18:20: notify.escalation[1].to: an empty step tells nobody: write a channel
        19:37: notify.digest.to[0]: "nobody" is not in notify.channels; notify.channels has: both, mail, none, slack, web
        20:28: notify.recovery.every: a minute is the least
        21:34: notify.heartbeat.every: a minute is the least
        22:13: notify.expect.freshnes: "freshnes" is not in the functions; did you mean "freshness"?
        22:28: notify.expect.dump: notify looks every 5 minutes: write that or more
        "#);
    }

    #[test]
    fn a_policy_in_which_nobody_hears_of_a_failure_is_faulty() {
        let said = policy_errors(
            "  channels: { s: { slack: { env: S } } }\n  routes:\n    - { severity: info, events: [success], to: [s] }\n",
        );
        assert!(said.contains("nobody would hear"), "{said}");
        assert_eq!(
            policy_errors(
                "  channels: { s: { slack: { env: S } } }\n  routes: [{ severity: critical, to: [s] }]\n"
            ),
            "none"
        );
    }
}
