//! Which dumps are copied to a second place.

use super::{Action, Copying, Looked, Noting, bad_key, nameable};
use jiff::Timestamp;
use shared::plan::ActionPlan;
use store::copies::{self, MissingCopy};

/// Good dumps that a second place's rule would keep and that are not there.
pub(super) fn copy(plan: &mut ActionPlan<Action>, l: &Looked<'_>, now: Timestamp) {
    let Some((Ok(home), others)) = l.places.split_first() else { return };
    for (to, (there, place)) in others.iter().zip(&l.rules.also_stored).enumerate() {
        let Ok(there) = there else { continue };
        for (backup, copy, at) in copies::missing_markers(home, there) {
            let note = Noting {
                group: l.group.clone(),
                database: l.database.clone(),
                from: backup.key.clone(),
                to,
                key: copy.key.clone(),
                at,
            };
            let because = format!("its database was still the same at {at}");
            plan.push_step(format!("{}/{}", l.group, l.database), Action::Note(note), because);
        }
        for (reason, dump) in &l.dumps {
            // What was taken after this run began is not of the future.
            let newest = copies::newest_data_time(home.iter().chain(there), reason.as_str());
            let now = newest.map_or(now, |newest| now.max(newest));
            let keep = place.keep.as_ref().unwrap_or(&dump.keep);
            for missing in copies::missing_copies(home, there, reason.as_str(), keep, now) {
                let MissingCopy { backup, manifest: m, reasons: why } = missing;
                if let Err(e) = nameable(place, l, (reason, dump), m.table.as_deref(), now) {
                    plan.findings.push(bad_key(l, &e));
                    return;
                }
                let copy = Copying {
                    group: l.group.clone(),
                    database: l.database.clone(),
                    from: backup.key.clone(),
                    to,
                };
                let because = format!("it is not there, and would be kept: {}", why.join(", "));
                plan.push_step(format!("{}/{}", l.group, l.database), Action::Copy(copy), because);
            }
        }
    }
}
