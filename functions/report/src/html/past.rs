//! Proofs, alarms and the audit trail.

use super::{
    render_state,
    text::{DASH, format_date, format_elapsed, format_plural, format_rate, format_time},
};
use crate::model::{AlarmStatus, AuditStatus, HealthState, StatusPageData, VerificationRecord};
use maud::{Markup, html as markup};

/// Proofs that are listed; the others are in report.json.
const MAX_LISTED_RECORDS: usize = 20;

/// What was proven, and what keeps watch.
pub(super) fn render_verification(page: &StatusPageData) -> Markup {
    let restored = page.assets.iter().filter(|a| a.rto.measured > 0).count();
    markup! {
        section aria-labelledby="proofs" {
            h2 #proofs { "Proof" }
            p { @if restored == 0 { "No asset was" } @else { (format_plural(restored, "asset was", "assets were")) } " restored and timed in the last 92 days, of " (page.assets.len()) "." }
            @if page.verifications.is_empty() { p.dim { "No verification or restore is on record." } } @else { (render_verification_table(page)) }
            (render_audit(page))
        }
        @if let Some(alarms) = &page.alarms { (render_alarms(alarms, page)) }
    }
}

fn render_verification_table(page: &StatusPageData) -> Markup {
    // What failed stands first, whenever that was.
    let (failed, done): (Vec<&VerificationRecord>, Vec<&VerificationRecord>) =
        page.verifications.iter().partition(|p| !p.succeeded);
    markup! {
        div.scroll tabindex="0" role="region" aria-labelledby="proofs" {
            table {
                caption.hidden { "Verifications and restores, the newest first" }
                thead { tr { th scope="col" { "When" } th scope="col" { "Asset" } th scope="col" { "What" } th scope="col" { "Result" } th.n scope="col" { "Took" } } }
                tbody { @for proof in failed.into_iter().chain(done).take(MAX_LISTED_RECORDS) { (render_verification_row(proof)) } }
            }
        }
        @if page.verifications.len() > MAX_LISTED_RECORDS { p.dim { "And " (page.verifications.len() - MAX_LISTED_RECORDS) " more in report.json." } }
    }
}

fn render_verification_row(proof: &VerificationRecord) -> Markup {
    let state = if proof.succeeded { HealthState::Ok } else { HealthState::Critical };
    markup! {
        tr {
            td { (format_time(proof.at)) }
            th scope="row" { (proof.asset) }
            td { (proof.action) small { (proof.detail) } }
            td { (render_state(state)) }
            td.n { @match proof.seconds { Some(s) => (format_elapsed(s)), None => (DASH) } }
        }
    }
}

fn render_audit(page: &StatusPageData) -> Markup {
    let success = page.success.map(|s| match s.rate {
        Some(rate) => format!(
            "Of {} in {} days, {} went well; the target is {}, and under {} it is a finding.",
            format_plural(s.succeeded + s.failed, "backup", "backups"),
            s.days,
            format_rate(rate),
            format_rate(s.target),
            format_rate(s.alert)
        ),
        None => format!("No backup is on record in the last {} days.", s.days),
    });
    markup! {
        @if let Some(success) = success { p { (success) } }
        @match &page.audit {
            AuditStatus::None => p.dim { "The policy keeps no audit trail, so there is no success rate and no proof to show. Write " code { "audit" } " in it." },
            AuditStatus::Unreadable { reason: why } => p { (render_state(HealthState::Unknown)) " The audit trail could not be read: " (why) },
            AuditStatus::Read { head: None } => p.dim { "The audit trail has no record of the last 92 days." },
            AuditStatus::Read { head: Some(head) } => p.dim { "Audit trail: record " (head.seq) " of " (format_time(head.at)) ", " code.hash { (head.hash) } },
        }
    }
}

fn render_alarms(alarms: &[AlarmStatus], page: &StatusPageData) -> Markup {
    let state = |a: &AlarmStatus| match a.state.as_str() {
        "OK" => HealthState::Ok,
        "ALARM" => HealthState::Critical,
        _ => HealthState::Unknown,
    };
    let of = |word: HealthState| alarms.iter().filter(|a| state(a) == word).count();
    let (ringing, unknown) = (of(HealthState::Critical), of(HealthState::Unknown));
    let told = match (ringing, unknown) {
        (0, 0) => format!("None of {} rings", alarms.len()),
        (0, n) => format!("None rings; {n} of {} are missing or have no data", alarms.len()),
        (r, 0) => format!("{} of {} ring", r, alarms.len()),
        (r, n) => format!("{r} of {} ring; {n} are missing or have no data", alarms.len()),
    };
    markup! {
        section aria-labelledby="alarms" {
            h2 #alarms { "Alarms" }
            details open[ringing > 0] {
                summary { (told) }
                ul.alarms { @for a in alarms { li { (render_state(state(a))) " " (a.name) " " small { (a.state.to_lowercase().replace('_', " ")) @if let Some(since) = a.since { " since " (format_date(since, page.at)) } } } } }
            }
        }
    }
}
