//! Proofs, alarms and the audit trail.

use super::{
    badge,
    text::{DASH, day, plural, share, took, when},
};
use crate::model::{Alarm, Audit, Page, Proof, State};
use maud::{Markup, html as markup};

/// Proofs that are listed; the others are in report.json.
const LISTED: usize = 20;

/// What was proven, and what keeps watch.
pub(super) fn past(page: &Page) -> Markup {
    let restored = page.assets.iter().filter(|a| a.rto.measured > 0).count();
    markup! {
        section aria-labelledby="proofs" {
            h2 #proofs { "Proof" }
            p { @if restored == 0 { "No asset was" } @else { (plural(restored, "asset was", "assets were")) } " restored and timed in the last 92 days, of " (page.assets.len()) "." }
            @if page.proofs.is_empty() { p.dim { "No verification or restore is on record." } } @else { (table(page)) }
            (audit(page))
        }
        @if let Some(alarms) = &page.alarms { (list(alarms, page)) }
    }
}

fn table(page: &Page) -> Markup {
    // What failed stands first, whenever that was.
    let (failed, done): (Vec<&Proof>, Vec<&Proof>) = page.proofs.iter().partition(|p| !p.done);
    markup! {
        div.scroll tabindex="0" role="region" aria-labelledby="proofs" {
            table {
                caption.hidden { "Verifications and restores, the newest first" }
                thead { tr { th scope="col" { "When" } th scope="col" { "Asset" } th scope="col" { "What" } th scope="col" { "Result" } th.n scope="col" { "Took" } } }
                tbody { @for proof in failed.into_iter().chain(done).take(LISTED) { (row(proof)) } }
            }
        }
        @if page.proofs.len() > LISTED { p.dim { "And " (page.proofs.len() - LISTED) " more in report.json." } }
    }
}

fn row(proof: &Proof) -> Markup {
    let state = if proof.done { State::Ok } else { State::Critical };
    markup! {
        tr {
            td { (when(proof.at)) }
            th scope="row" { (proof.asset) }
            td { (proof.action) small { (proof.detail) } }
            td { (badge(state)) }
            td.n { @match proof.seconds { Some(s) => (took(s)), None => (DASH) } }
        }
    }
}

fn audit(page: &Page) -> Markup {
    let success = page.success.map(|s| match s.rate {
        Some(rate) => format!(
            "Of {} in {} days, {} went well; the target is {}, and under {} it is a finding.",
            plural(s.done + s.failed, "backup", "backups"),
            s.days,
            share(rate),
            share(s.target),
            share(s.alert)
        ),
        None => format!("No backup is on record in the last {} days.", s.days),
    });
    markup! {
        @if let Some(success) = success { p { (success) } }
        @match &page.audit {
            Audit::None => p.dim { "The policy keeps no audit trail, so there is no success rate and no proof to show. Write " code { "audit" } " in it." },
            Audit::Unseen { why } => p { (badge(State::Unknown)) " The audit trail could not be read: " (why) },
            Audit::Read { head: None } => p.dim { "The audit trail has no record of the last 92 days." },
            Audit::Read { head: Some(head) } => p.dim { "Audit trail: record " (head.seq) " of " (when(head.at)) ", " code.hash { (head.hash) } },
        }
    }
}

fn list(alarms: &[Alarm], page: &Page) -> Markup {
    let state = |a: &Alarm| match a.state.as_str() {
        "OK" => State::Ok,
        "ALARM" => State::Critical,
        _ => State::Unknown,
    };
    let of = |word: State| alarms.iter().filter(|a| state(a) == word).count();
    let (ringing, unknown) = (of(State::Critical), of(State::Unknown));
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
                ul.alarms { @for a in alarms { li { (badge(state(a))) " " (a.name) " " small { (a.state.to_lowercase().replace('_', " ")) @if let Some(since) = a.since { " since " (day(since, page.at)) } } } } }
            }
        }
    }
}
