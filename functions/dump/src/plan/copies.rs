//! Which dumps are copied to a second place.

use super::{
    CopyDump, CopyUnchangedMarker, DumpAction, ObservedDatabase, bad_key_finding,
    check_key_template,
};
use jiff::Timestamp;
use shared::plan::ActionPlan;
use storage::copies::{self, MissingCopy};

/// Good dumps that a second place's rule would keep and that are not there.
pub(super) fn plan_copies(
    plan: &mut ActionPlan<DumpAction>,
    l: &ObservedDatabase<'_>,
    now: Timestamp,
) {
    let Some((Ok(home), others)) = l.locations.split_first() else { return };
    for (to, (there, place)) in others.iter().zip(&l.rules.copies).enumerate() {
        let Ok(there) = there else { continue };
        for (backup, copy, at) in copies::missing_markers(home, there) {
            let note = CopyUnchangedMarker {
                group: l.group.clone(),
                database: l.database.clone(),
                from: backup.key.clone(),
                to,
                key: copy.key.clone(),
                at,
            };
            let because = format!("its database was still the same at {at}");
            plan.push_step(
                format!("{}/{}", l.group, l.database),
                DumpAction::CopyMarker(note),
                because,
            );
        }
        for (reason, dump) in &l.dumps {
            // What was taken after this run began is not of the future.
            let newest = copies::newest_data_time(home.iter().chain(there), reason.as_str());
            let now = newest.map_or(now, |newest| now.max(newest));
            let keep = place.keep.as_ref().unwrap_or(&dump.keep);
            for missing in copies::missing_copies(home, there, reason.as_str(), keep, now) {
                let MissingCopy { backup, manifest: m, reasons: why } = missing;
                if let Err(e) =
                    check_key_template(place, l, (reason, dump), m.table.as_deref(), now)
                {
                    plan.findings.push(bad_key_finding(l, &e));
                    return;
                }
                let copy = CopyDump {
                    group: l.group.clone(),
                    database: l.database.clone(),
                    from: backup.key.clone(),
                    to,
                };
                let because = format!("it is not there, and would be kept: {}", why.join(", "));
                plan.push_step(
                    format!("{}/{}", l.group, l.database),
                    DumpAction::Copy(copy),
                    because,
                );
            }
        }
    }
}
